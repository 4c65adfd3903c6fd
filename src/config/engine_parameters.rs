//! `engines.NAME.parameters`: what a request may set, typed and bounded.

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::addresses::Cidr;
use crate::config::document::{Body, Entry, Node, shown_key};
use crate::config::kinds::{Kind, List, Number, Scope, Secrets, Text};
use crate::config::settings::Network;
use crate::core::command_template::{Kind as Type, MAX_VALUE, Parameter, is_name};
use crate::core::url_target::{Host, Reach, Target};

/// Bytes of a text parameter when the entry does not say.
const TEXT_LENGTH: usize = 64;

const VALUES: List<Text> = List(Text(MAX_VALUE), "a list of values");
const NETWORKS: List<Cidr> = List(Cidr, "a list of networks, like [10.20.0.0/16]");
const HOSTS: List<HostName> = List(HostName, "a list of host names, like [cam.example.com]");
const SCHEMES: List<Scheme> = List(Scheme, "a list of URL schemes, like [rtsp, https]");

/// All parameters of an engine.
pub struct Parameters;

/// A URL's scheme.
struct Scheme;

/// A URL's host, when that is a name.
struct HostName;

/// A number that may be negative and may have a fraction.
struct Figure;

impl Kind<Vec<Parameter>> for Parameters {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Vec<Parameter>> {
        let Body::Map(entries) = &node.body else {
            if !matches!(node.body, Body::Refused) {
                scope.wrong(node, format!("expected parameters by name, found {}", node.describe()));
            }
            return None;
        };
        let read = |entry| read_parameter(entry, scope);
        let parameters: Vec<Option<Parameter>> = entries.iter().map(read).collect();
        parameters.into_iter().collect()
    }

    fn show(&self, value: &Vec<Parameter>, secrets: Secrets) -> Option<Yaml> {
        let shown = value.iter().map(|each| (Yaml::from(each.name.as_str()), show_parameter(each, secrets)));
        (!value.is_empty()).then(|| Yaml::Mapping(shown.collect()))
    }
}

/// A parameter of which not everything is known yet.
#[derive(Default)]
struct Draft<'n> {
    kind: Option<&'n str>,
    min: Option<f64>,
    max: Option<f64>,
    max_length: Option<usize>,
    values: Option<Vec<String>>,
    schemes: Option<Vec<String>>,
    networks: Option<Vec<Network>>,
    hosts: Option<Vec<String>>,
    default: Option<String>,
}

fn read_parameter(entry: &Entry, scope: &mut Scope<'_>) -> Option<Parameter> {
    scope.within(&format!(".{}", shown_key(&entry.key)), |scope| {
        if !is_name(&entry.key) {
            let text = "is no name for a parameter; take a-z 0-9 _ - , a letter first";
            scope.report.wrong(&entry.place, &scope.key, text);
            return None;
        }
        let Body::Map(keys) = &entry.value.body else {
            if !matches!(entry.value.body, Body::Refused) {
                let text = format!("expected type and bounds, found {}", entry.value.describe());
                scope.report.wrong(&entry.place, &scope.key, text);
            }
            return None;
        };
        let mut draft = Draft::default();
        let sound = keys.iter().map(|key| draft.take(key, scope)).fold(true, |all, sound| all & sound);
        sound.then_some(()).and_then(|()| draft.finish(entry, scope))
    })
}

impl<'n> Draft<'n> {
    /// Takes one key; false after a problem.
    fn take(&mut self, entry: &'n Entry, scope: &mut Scope<'_>) -> bool {
        let Entry { key, place, value } = entry;
        scope.within(&format!(".{}", shown_key(key)), |scope| match key.as_str() {
            "type" => stored(&mut self.kind, scope.text(value, "a type")),
            "min" => stored(&mut self.min, Figure.read(value, scope)),
            "max" => stored(&mut self.max, Figure.read(value, scope)),
            "max_length" => stored(&mut self.max_length, Number(1, MAX_VALUE as u64).read(value, scope)),
            "values" => stored(&mut self.values, VALUES.read(value, scope)),
            "schemes" => stored(&mut self.schemes, SCHEMES.read(value, scope)),
            "allow_networks" => stored(&mut self.networks, NETWORKS.read(value, scope)),
            "allow_hosts" => stored(&mut self.hosts, HOSTS.read(value, scope)),
            "default" => stored(&mut self.default, Text(MAX_VALUE).read(value, scope)),
            _ => {
                let text = "unknown key; a parameter has type, default, and min and max, max_length, values, or schemes, \
                            allow_networks and allow_hosts";
                scope.report.wrong(place, &scope.key, text);
                false
            }
        })
    }

    fn finish(self, entry: &Entry, scope: &mut Scope<'_>) -> Option<Parameter> {
        let name = entry.key.clone();
        let kind = match self.kind() {
            Ok(kind) => kind,
            Err((suffix, text)) => {
                scope.within(suffix, |scope| scope.report.wrong(&entry.place, &scope.key, text));
                return None;
            }
        };
        let reach = Reach { networks: self.networks, hosts: self.hosts.unwrap_or_default() };
        match self.default.map(|text| kind.check(&text)) {
            None => Some(Parameter { name, kind, default: None, reach }),
            Some(Ok(default)) => Some(Parameter { name, kind, default: Some(default), reach }),
            Some(Err(_)) => {
                let text = "is not a value that the parameter itself would take; change one of them";
                scope.within(".default", |scope| scope.report.wrong(&entry.place, &scope.key, text));
                None
            }
        }
    }

    /// The type with its bounds, or which key is wrong and how.
    fn kind(&self) -> Result<Type, (&'static str, &'static str)> {
        let bounds = || match (self.min, self.max) {
            (Some(least), Some(most)) if least <= most => Ok((least, most)),
            (Some(_), Some(_)) => Err((".max", "is less than min; swap them")),
            _ => Err(("", "needs min and max; give both")),
        };
        let whole = |number: f64, key| match number.fract() == 0.0 && number.abs() < 9e15 {
            // Exact: whole, and far below where i64 ends.
            true => Ok(number as i64),
            false => Err((key, "is no whole number, as the type says; remove the fraction")),
        };
        let numeric = self.min.is_some() || self.max.is_some();
        let of_urls = self.schemes.is_some() || self.networks.is_some() || self.hosts.is_some();
        let given = [numeric, self.max_length.is_some(), self.values.is_some(), of_urls];
        let only = |index: usize| given.iter().enumerate().all(|(at, given)| at == index || !given);
        let stray = Err((
            "",
            "has bounds of another type; numbers have min and max, texts max_length, choices values, URLs schemes, allow_networks and allow_hosts",
        ));
        match self.kind {
            Some("integer") if only(0) => bounds()
                .and_then(|(least, most)| Ok(Type::Integer(whole(least, ".min")?, whole(most, ".max")?))),
            Some("number") if only(0) => bounds().map(|(least, most)| Type::Number(least, most)),
            Some("text") if only(1) => Ok(Type::Text(self.max_length.unwrap_or(TEXT_LENGTH))),
            Some("choice") if only(2) => match &self.values {
                Some(values) if !values.is_empty() => Ok(Type::Choice(values.clone())),
                _ => Err(("", "needs values; list what may be chosen")),
            },
            Some("url") if only(3) => match &self.schemes {
                Some(schemes) if !schemes.is_empty() => Ok(Type::Url(schemes.clone())),
                _ => Err(("", "needs schemes; list those that are allowed, like [rtsp, https]")),
            },
            Some("integer" | "number" | "text" | "choice" | "url") => stray,
            Some(_) => Err((".type", "expected one of: integer, number, text, choice, url")),
            None => Err(("", "needs a type: integer, number, text, choice or url")),
        }
    }
}

fn stored<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}

fn show_parameter(parameter: &Parameter, secrets: Secrets) -> Yaml {
    let mut map = Mapping::new();
    let mut put = |key: &str, value: Yaml| {
        map.insert(key.into(), value);
    };
    match &parameter.kind {
        Type::Integer(least, most) => {
            put("type", "integer".into());
            put("min", (*least).into());
            put("max", (*most).into());
        }
        Type::Number(least, most) => {
            put("type", "number".into());
            put("min", (*least).into());
            put("max", (*most).into());
        }
        Type::Text(longest) => {
            put("type", "text".into());
            put("max_length", (*longest as u64).into());
        }
        Type::Choice(values) => {
            put("type", "choice".into());
            VALUES.show(values, secrets).into_iter().for_each(|values| put("values", values));
        }
        Type::Url(schemes) => {
            put("type", "url".into());
            SCHEMES.show(schemes, secrets).into_iter().for_each(|schemes| put("schemes", schemes));
            let Reach { networks, hosts } = &parameter.reach;
            let networks = networks.as_ref().and_then(|networks| NETWORKS.show(networks, secrets));
            networks.into_iter().for_each(|networks| put("allow_networks", networks));
            let hosts =
                Some(hosts).filter(|hosts| !hosts.is_empty()).and_then(|hosts| HOSTS.show(hosts, secrets));
            hosts.into_iter().for_each(|hosts| put("allow_hosts", hosts));
        }
    }
    if let Some(default) = &parameter.default {
        put("default", default.as_str().into());
    }
    Yaml::Mapping(map)
}

impl Kind<String> for Scheme {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = "a URL scheme in lower case, like rtsp";
        let text = scope.text(node, expected)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(fits) {
            return Some(text.to_owned());
        }
        scope.wrong(node, format!("expected {expected}"));
        None
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

impl Kind<String> for HostName {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let expected = "a host name, like cam.example.com; addresses go into allow_networks";
        let text = scope.text(node, expected)?;
        let plain = !text.contains([':', '/', '@', '?', '#']);
        let target = Target::parse(&format!("x://{text}")).filter(|_| plain);
        match target.as_ref().map(Target::host) {
            Some(Host::Name(name)) => Some(name.clone()),
            _ => {
                scope.wrong(node, format!("expected {expected}"));
                None
            }
        }
    }

    fn show(&self, value: &String, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(value.as_str()))
    }
}

impl Kind<f64> for Figure {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<f64> {
        let text = scope.text(node, "a number")?;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            scope.wrong(node, "expected a number");
        }
        number
    }

    fn show(&self, value: &f64, _: Secrets) -> Option<Yaml> {
        Some(Yaml::from(*value))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::settings::Role;
    use crate::config::tests::{MINIMAL, loaded, refused};

    fn file(parameter: &str) -> String {
        format!(
            "{MINIMAL}engines:\n  a:\n    command: [/x, -y, \"{{p}}\"]\n    parameters:\n      p: {parameter}\n"
        )
    }

    #[test]
    fn every_type_has_its_own_bounds() {
        for good in [
            "{type: integer, min: -5, max: 5}",
            "{type: number, min: 0.5, max: 5, default: 1.5}",
            "{type: text}",
            "{type: text, max_length: 3, default: abc}",
            "{type: choice, values: [a, 7], default: 7}",
            "{type: url, schemes: [rtsp, https], default: 'https://a.b/c'}",
            "{type: url, schemes: [https], allow_networks: [10.0.0.0/8, '::1'], allow_hosts: [Cam.example]}",
        ] {
            assert_eq!(loaded(&file(good), Role::Worker).engines[0].parameters.len(), 1, "{good}");
        }
        for (bad, key) in [
            ("{type: integer, min: 1}", ""),
            ("{type: integer, min: 3, max: 1}", ".max"),
            ("{type: integer, min: 1.5, max: 3}", ".min"),
            ("{type: integer, min: 1, max: 3, default: 4}", ".default"),
            ("{type: number, min: 1, max: x}", ".max"),
            ("{type: text, min: 1, max: 3}", ""),
            ("{type: text, max_length: 0}", ".max_length"),
            ("{type: text, default: '../x'}", ".default"),
            ("{type: choice}", ""),
            ("{type: choice, values: []}", ""),
            ("{type: url}", ""),
            ("{type: url, schemes: ['a b']}", ".schemes[0]"),
            ("{type: url, schemes: [rtsp], allow_networks: [cam.example]}", ".allow_networks[0]"),
            ("{type: url, schemes: [rtsp], allow_hosts: [10.0.0.1]}", ".allow_hosts[0]"),
            ("{type: url, schemes: [rtsp], allow_hosts: ['cam.example:554']}", ".allow_hosts[0]"),
            ("{type: url, schemes: [rtsp], allow_hosts: ['*.example']}", ".allow_hosts[0]"),
            ("{type: text, allow_networks: [10.0.0.0/8]}", ""),
            ("{min: 1}", ""),
            ("{type: text, pattern: '.*'}", ".pattern"),
            ("text", ""),
        ] {
            assert_eq!(
                refused(&file(bad), Role::Worker),
                [format!("6 engines.a.parameters.p{key}")],
                "{bad}"
            );
        }
    }
}
