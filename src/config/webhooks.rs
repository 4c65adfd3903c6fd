//! `webhooks`: a list of receivers, each with a URL, a secret and the events that it is told of.

use std::collections::HashSet;

use serde_yaml::{Mapping, Value as Yaml};

use crate::config::addresses::Url;
use crate::config::document::{Body, Entry, Node, shown_key};
use crate::config::kinds::{FilePath, Hidden, Kind, Scope, Secrets};
use crate::config::secret::Secret;
use crate::config::secret_file::{self, Readers};
use crate::config::settings::Webhook;
use crate::config::weakness;
use crate::core::webhook::EventKind;

/// Receivers at most: each event is a file for each of them.
const MOST: usize = 16;

/// The whole list.
pub struct Webhooks;

const EXPECTED: &str = "a list of webhooks, each with url, secret_file and events";

impl Kind<Vec<Webhook>> for Webhooks {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<Vec<Webhook>> {
        let items = scope.items(node, EXPECTED)?;
        if items.len() > MOST {
            scope.wrong(node, format!("holds more than {MOST} webhooks; let one of them pass events on"));
            return None;
        }
        let read = |(index, item)| {
            scope.within(&format!("[{index}]"), |scope| Draft::default().read(item, index, scope))
        };
        let hooks: Vec<Option<Webhook>> = items.iter().enumerate().map(read).collect();
        let hooks: Vec<Webhook> = hooks.into_iter().collect::<Option<_>>()?;
        let mut urls = HashSet::new();
        let double = hooks.iter().position(|hook| !urls.insert(hook.url.as_str()));
        if let (Some(index), Some(item)) = (double, double.and_then(|index| items.get(index))) {
            let text = "is the url of another webhook too; put their events together into one";
            scope.within(&format!("[{index}].url"), |scope| scope.wrong(item, text));
            return None;
        }
        Some(hooks)
    }

    fn show(&self, value: &Vec<Webhook>, secrets: Secrets) -> Option<Yaml> {
        let show = |hook: &Webhook| {
            let mut map = Mapping::new();
            map.insert("url".into(), hook.url.as_str().into());
            if let Some(secret) = Hidden.show(&hook.secret, secrets) {
                map.insert("secret".into(), secret);
            }
            let events = hook.events.iter().map(|kind| Yaml::from(kind.name()));
            map.insert("events".into(), Yaml::Sequence(events.collect()));
            Yaml::Mapping(map)
        };
        Some(Yaml::Sequence(value.iter().map(show).collect()))
    }
}

/// A webhook of which not everything is known yet.
#[derive(Default)]
struct Draft {
    url: Option<String>,
    secret: Option<Secret>,
    events: Option<Vec<EventKind>>,
}

impl Draft {
    fn read(mut self, node: &Node, index: usize, scope: &mut Scope<'_>) -> Option<Webhook> {
        let Body::Map(entries) = &node.body else {
            if !matches!(node.body, Body::Refused) {
                scope.wrong(node, format!("expected url, secret_file and events, found {}", node.describe()));
            }
            return None;
        };
        let sound = entries.iter().map(|entry| self.take(entry, scope)).fold(true, |all, sound| all & sound);
        let names = |name: &str| entries.iter().any(|entry| entry.key == name);
        if !names("secret") && !names("secret_file") {
            self.secret = secret_from_directory(node, index, scope)?;
        }
        let missing = [
            ("url", names("url"), "where events go, like https://hooks.example.com/neck"),
            (
                "secret_file",
                names("secret") || names("secret_file") || self.secret.is_some(),
                "a file with a long random text, like the output of `openssl rand -hex 32`; the receiver checks signatures with it",
            ),
            ("events", names("events"), "a list like [session.ended, worker.down]"),
        ];
        let missing: Vec<_> = missing.into_iter().filter(|(_, there, _)| !there).collect();
        for (name, _, what) in &missing {
            scope.within(&format!(".{name}"), |scope| scope.wrong(node, format!("missing; give {what}")));
        }
        (sound && missing.is_empty()).then_some(())?;
        Some(Webhook { url: self.url?, secret: self.secret?, events: self.events? })
    }

    /// Takes one key; false after a problem.
    fn take(&mut self, entry: &Entry, scope: &mut Scope<'_>) -> bool {
        let Entry { key, place, value } = entry;
        scope.within(&format!(".{}", shown_key(key)), |scope| match key.as_str() {
            "url" => stored(&mut self.url, url(value, scope)),
            "secret" | "secret_file" if self.secret.is_some() => {
                let text = "secret and secret_file are both given; keep one";
                scope.report.wrong(place, &scope.key, text);
                false
            }
            "secret" => stored(&mut self.secret, strong(value, scope)),
            "secret_file" => stored(&mut self.secret, secret_from_file(value, scope)),
            "events" => stored(&mut self.events, events(value, scope)),
            _ => {
                let text = "unknown key; a webhook has url, secret_file (or secret) and events";
                scope.report.wrong(place, &scope.key, text);
                false
            }
        })
    }
}

fn stored<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    *slot = value;
    slot.is_some()
}

fn url(node: &Node, scope: &mut Scope<'_>) -> Option<String> {
    let url = Url::Page.read(node, scope)?;
    if url.contains('#') {
        scope.wrong(node, "holds a #, and what follows it is never sent; remove it");
        return None;
    }
    Some(url)
}

/// A secret that others sign with too if they guess it.
fn strong(node: &Node, scope: &mut Scope<'_>) -> Option<Secret> {
    let secret = Hidden.read(node, scope)?;
    match weakness::guessable(secret.expose()) {
        Some(text) => {
            scope.wrong(node, text);
            None
        }
        None => Some(secret),
    }
}

fn secret_from_file(node: &Node, scope: &mut Scope<'_>) -> Option<Secret> {
    let path = FilePath.read(node, scope)?;
    match secret_file::read(&path, Readers::Owner) {
        Ok(secret) => strong(&Node::plain(node.place.clone(), secret), scope),
        Err(text) => {
            scope.wrong(node, text);
            None
        }
    }
}

/// Looks `webhooks.INDEX.secret` up in the credentials directory. Outside `None` after a problem.
fn secret_from_directory(node: &Node, index: usize, scope: &mut Scope<'_>) -> Option<Option<Secret>> {
    let Some(path) = scope.credentials.find(&format!("webhooks.{index}.secret")) else { return Some(None) };
    match secret_file::read(&path, Readers::OwnerAndGroup) {
        Ok(secret) => strong(&Node::plain(node.place.clone(), secret), scope).map(Some),
        Err(text) => {
            scope.wrong(node, text);
            None
        }
    }
}

fn events(node: &Node, scope: &mut Scope<'_>) -> Option<Vec<EventKind>> {
    let items = scope.items(node, "a list of events, like [session.ended, worker.down]")?;
    if items.is_empty() {
        scope.wrong(node, "names no event, so nothing is ever sent; name some, or remove the webhook");
        return None;
    }
    let kinds = scope.each(items, &EventName)?;
    let mut seen = HashSet::new();
    if let Some(double) = kinds.iter().find(|kind| !seen.insert(**kind)) {
        scope.wrong(node, format!("names {double} twice; once is enough"));
        return None;
    }
    Some(kinds)
}

struct EventName;

impl Kind<EventKind> for EventName {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<EventKind> {
        let names = EventKind::ALL.map(EventKind::name).join(", ");
        let expected = format!("one of: {names}");
        let kind = EventKind::of_name(scope.text(node, &expected)?);
        if kind.is_none() {
            scope.wrong(node, format!("expected {expected}"));
        }
        kind
    }

    fn show(&self, value: &EventKind, _: Secrets) -> Option<Yaml> {
        Some(value.name().into())
    }
}
