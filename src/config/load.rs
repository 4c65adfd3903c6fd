//! Source → settings: reads the tree by the table of keys, lays overrides over it, resolves secrets, then checks what
//! must hold between keys. Goes on after each problem, so that all are reported at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::contradiction::Contradiction;
use crate::config::document::{self, Body, Node, shown_key};
use crate::config::keys::{self, FILE_SUFFIX, KEYS, Key};
use crate::config::kinds::{FilePath, Kind, ROLES, Scope};
use crate::config::problems::Problems;
use crate::config::report::{Place, Report};
use crate::config::secret_file::{self, Credentials, Found, Readers};
use crate::config::settings::{Role, Settings};
use crate::config::source::{self, Source};
use crate::config::transport::{self, Written};
use crate::config::{check, slips, tls_files};

/// What `mode:` says, for verbs that have no role of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It names a role.
    Declared(Role),
    /// There is none.
    Missing,
    /// It, or the whole file, cannot be understood; loading the file reports why.
    Unreadable,
}

/// What to give where one key of a pair is missing.
const URL: &str = "a URL like https://neck.example.com is needed here";
const TOKEN: &str = "the other side's token is needed here";
const CHAIN: &str = "the file of the certificate that server.tls.key belongs to is needed here";
const TURN_SECRET: &str = "the static-auth-secret of the TURN server is needed here";
const TURN_URLS: &str =
    "at least one URL of the TURN server is needed here, like [\"turn:203.0.113.7:3478\"]";
const KEY: &str = "the file of the certificate's private key is needed here";

/// Finds out which role a source is for.
pub fn parse_mode(source: &Source) -> Mode {
    let mut loader = Loader::new(source);
    if loader.read_file().is_none() {
        return Mode::Unreadable;
    }
    loader.read_overrides();
    match loader.given.get("mode").map(|node| &node.body) {
        Some(Body::Scalar { text, .. }) => ROLES.find(text).map_or(Mode::Unreadable, Mode::Declared),
        Some(_) => Mode::Unreadable,
        None if loader.report.into_problems().is_empty() => Mode::Missing,
        None => Mode::Unreadable,
    }
}

/// Makes checked settings for `role`, or returns every problem.
pub fn load(source: &Source, role: Role) -> Result<Settings, Problems> {
    let mut loader = Loader::new(source);
    if loader.read_file().is_none() {
        return Err(Problems::new(source.path.clone(), loader.report.into_problems()));
    }
    loader.read_overrides();
    let meant = loader.check_mode(role);
    loader.check_roles(meant);
    loader.read_credentials(meant);
    let mut settings = loader.settings(role);
    loader.check(&settings, meant);
    loader.check_readers();
    loader.check_slips();
    let problems = std::mem::take(&mut loader.report).into_problems();
    if !problems.is_empty() {
        return Err(Problems::new(source.path.clone(), problems));
    }
    settings.config_file.clone_from(&source.path);
    settings.warnings = check::warnings(&settings);
    settings.warnings.append(&mut loader.warnings);
    Ok(settings)
}

struct Loader<'a> {
    source: &'a Source,
    credentials: Credentials,
    report: Report,
    /// The value of each key (or `…_file` form) that was given.
    given: BTreeMap<String, Node>,
    /// What is allowed but probably not meant.
    warnings: Vec<String>,
}

impl<'a> Loader<'a> {
    fn new(source: &'a Source) -> Loader<'a> {
        let directory = source.environment.get("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let credentials = Credentials::new(directory);
        let (report, given) = (Report::default(), BTreeMap::new());
        Loader { source, credentials, report, given, warnings: Vec::new() }
    }

    /// Takes the keys of the file; `None` when it is broken as a whole.
    fn read_file(&mut self) -> Option<()> {
        let root = document::parse(&self.source.text, &Place::Line, &mut self.report)?;
        if !matches!(root.body, Body::Map(_) | Body::Null) {
            self.report.wrong(&root.place, "", "the file is not a configuration; start from etc/worker.yaml");
            return None;
        }
        self.walk("", root);
        Some(())
    }

    /// Takes the keys of one section, and of the sections in it.
    fn walk(&mut self, section: &str, node: Node) {
        let entries = match node.body {
            Body::Map(entries) => entries,
            Body::Null | Body::Refused => return,
            _ => {
                let text = format!("expected a section of keys, found {}; see etc/*.yaml", node.describe());
                return self.report.wrong(&node.place, section, text);
            }
        };
        for entry in entries {
            let dot = if section.is_empty() { "" } else { "." };
            let path = format!("{section}{dot}{}", shown_key(&entry.key));
            if entry.key.contains('.') {
                let text =
                    "unknown key; write nested keys on lines of their own, indented below their section";
                self.report.wrong(&entry.place, &path, text);
                continue;
            }
            self.report.stands(&path, &entry.place);
            let section = keys::below(&path).next().is_some();
            // One name is both: `webrtc.iceservers` is a list, or a section of two lists.
            if section && (keys::find(&path).is_none() || matches!(entry.value.body, Body::Map(_))) {
                self.walk(&path, entry.value);
            } else if keys::find(&path).is_some() || keys::find_secret_file(&path).is_some() {
                self.given.insert(path, entry.value);
            } else {
                self.unknown(&entry.place, &path, "unknown key");
            }
        }
    }

    fn unknown(&mut self, place: &Place, path: &str, what: &str) {
        let advice = match keys::suggest(path) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "remove it, or see etc/*.yaml for the keys there are".to_owned(),
        };
        self.report.wrong(place, path, format!("{what}; {advice}"));
    }

    /// Lays environment variables over the file. An override of a secret replaces both of its forms.
    fn read_overrides(&mut self) {
        let mut overridden: BTreeMap<String, Node> = BTreeMap::new();
        for (name, value) in self.source.environment.overrides() {
            let (place, path) = (Place::Variable(name.to_owned()), source::path_of(name));
            if keys::find(&path).is_none() && keys::find_secret_file(&path).is_none() {
                if !source::is_service_link(name, value) {
                    self.unknown(&place, &shown_key(&path), "unknown variable");
                }
                continue;
            }
            self.report.stands(&path, &place);
            let node = override_node(&path, value, place, &mut self.report);
            overridden.insert(path, node);
        }
        for path in overridden.keys() {
            let secret =
                keys::find_secret_file(path).or_else(|| keys::find(path).filter(|key| key.traits.secret));
            if let Some(key) = secret {
                self.given.remove(key.path);
                self.given.remove(&format!("{}{FILE_SUFFIX}", key.path));
            }
        }
        self.given.append(&mut overridden);
    }

    /// Checks `mode:` against the verb. Returns the role that the file was probably written for.
    fn check_mode(&mut self, role: Role) -> Role {
        let declared = match self.given.get("mode").map(|node| &node.body) {
            Some(Body::Scalar { text, .. }) => ROLES.find(text),
            _ => None,
        };
        match declared {
            Some(declared) if declared != role => {
                let (says, verb) = (declared.name(), role.name());
                self.report.wrong_key(
                    "mode",
                    format!("says {says}, but the verb is `{verb}`; run `hydraneckwebrtc {says}`, or name the {verb}'s file with --config"),
                );
                declared
            }
            _ => role,
        }
    }

    /// Keys of the other role are refused: once for a whole section, else key by key.
    fn check_roles(&mut self, role: Role) {
        let foreign = |key: &Key| key.traits.role.filter(|owner| *owner != role);
        let mut blamed = Vec::new();
        for path in self.given.keys() {
            let Some(key) = keys::find(path).or_else(|| keys::find_secret_file(path)) else { continue };
            let Some(owner) = foreign(key) else { continue };
            let section = path.split('.').next().unwrap_or(path);
            let whole = keys::below(section).all(|key| foreign(key).is_some());
            let subject = if whole { section } else { path.as_str() };
            if !blamed.iter().any(|(each, _)| each == subject) {
                blamed.push((subject.to_owned(), owner));
            }
        }
        for (subject, owner) in blamed {
            let (theirs, ours) = (owner.name(), role.name());
            let text = format!("belongs into a {theirs}'s configuration, this is a {ours}'s; move it there");
            self.report.wrong_key(&subject, text);
        }
    }

    /// Looks up the secrets that were not given otherwise.
    fn read_credentials(&mut self, role: Role) {
        for key in
            KEYS.iter().filter(|key| key.traits.secret && key.traits.role.is_none_or(|owner| owner == role))
        {
            let file_form = format!("{}{FILE_SUFFIX}", key.path);
            match (self.given.contains_key(key.path), self.given.remove(&file_form)) {
                (true, Some(_)) => {
                    let text = format!("is given as well as {}; keep one of them", key.path);
                    self.report.wrong_key(&file_form, text);
                }
                (false, Some(node)) => self.secret_from_key(key, &file_form, node),
                (false, None) => self.secret_from_directory(key),
                (true, None) => {}
            }
        }
    }

    fn secret_from_key(&mut self, key: &Key, file_form: &str, node: Node) {
        let place = node.place.clone();
        self.report.stands(key.path, &place);
        let mut scope = scope(&mut self.report, file_form.to_owned(), self.source, &self.credentials);
        let Some(path) = FilePath.read(&node, &mut scope) else { return };
        match secret_file::find(&path, Readers::Owner) {
            Ok(found) => self.take_secret(key, place, found),
            Err(text) => self.report.wrong(&place, file_form, text),
        }
    }

    fn take_secret(&mut self, key: &Key, place: Place, found: Found) {
        if found.marked {
            let text =
                "its file begins with a byte order mark, which was left out; save it as UTF-8 without one";
            self.warnings.push(format!("{}: {text}", key.path));
        }
        self.given.insert(key.path.to_owned(), secret_node(key, place, &found.secret));
    }

    /// What YAML or a template made of a value, where it is probably not what was meant.
    fn check_slips(&mut self) {
        let lines: Vec<&str> = self.source.text.lines().collect();
        for slip in slips::find(&self.given, &lines) {
            match slip.is_error && !self.report.blamed(&slip.key) {
                true => self.report.wrong(&slip.place, &slip.key, slip.text),
                false if !slip.is_error => self.warnings.push(format!("{} {}", slip.shown_key(), slip.text)),
                false => {}
            }
        }
    }

    fn secret_from_directory(&mut self, key: &Key) {
        let Some(path) = self.credentials.find(key.path) else { return };
        let place = Place::Credential(path.clone());
        self.report.stands(key.path, &place);
        match secret_file::find(&path, Readers::OwnerAndGroup) {
            Ok(found) => self.take_secret(key, place, found),
            Err(text) => self.report.wrong(&place, key.path, text),
        }
    }

    /// Reads every given value over the defaults.
    fn settings(&mut self, role: Role) -> Settings {
        let mut settings = Settings::defaults(role);
        for key in KEYS {
            if let Some(node) = self.given.get(key.path) {
                let mut scope = scope(&mut self.report, key.path.to_owned(), self.source, &self.credentials);
                (key.read)(&mut settings, node, &mut scope);
            }
        }
        settings.role = role;
        let written = if self.report.given("webrtc.udpmux") { Written::Yes } else { Written::No };
        transport::settle(&mut settings, written);
        if !self.given.contains_key("server.state_dir") {
            match source::default_state_dir(&self.source.environment, &settings.server.state_dir) {
                Some(directory) => settings.server.state_dir = directory,
                None => self.report.wrong_key(
                    "server.state_dir",
                    "has no default, because neither $STATE_DIRECTORY nor $HOME names a directory; set it",
                ),
            }
        }
        settings
    }

    /// Checks what must be there and what must hold between keys.
    fn check(&mut self, settings: &Settings, role: Role) {
        self.check_address();
        self.require_together("server.tls.cert", CHAIN, "server.tls.key", KEY);
        self.require(
            "server.admin_token",
            "set it to a long random text, like the output of `openssl rand -hex 32`",
        );
        if role == Role::Worker {
            self.check_controllers(settings);
            self.require_together("nps.url", URL, "nps.token", TOKEN);
            self.require_together("experience_library.url", URL, "experience_library.token", TOKEN);
            self.require_together("turn.secret", TURN_SECRET, "turn.urls", TURN_URLS);
        }
        if role == Role::Controller && self.given.keys().any(|path| path.starts_with("lease.")) {
            self.require("lease.etcd", "the URLs of etcd's members are needed here");
        }
        self.check_tls_files(settings);
        for Contradiction { key, other, text } in check::contradictions(settings) {
            if self.report.blamed(key) || self.report.blamed(other) {
                continue;
            }
            // The key that was written is the one to show, even where the rule is about the other one's default.
            match self.report.given(key) || !self.report.given(other) {
                true => self.report.wrong_key(key, text),
                false => self.report.wrong_key(other, format!("does not fit: {key} {text}")),
            }
        }
    }

    /// Exactly one of `url` and `urls`, and a token with it.
    fn check_controllers(&mut self, settings: &Settings) {
        match (self.report.given("controller.url"), self.report.given("controller.urls")) {
            (true, true) => {
                let text = "is given as well as controller.url; name every controller here, and remove that";
                self.report.wrong_key("controller.urls", text);
            }
            (false, true) => {
                let is_empty = settings.controller.as_ref().is_some_and(|link| link.all().next().is_none());
                if is_empty && !self.report.blamed("controller.urls") {
                    self.report.wrong_key("controller.urls", "names no controller; name each of them");
                }
                self.require("controller.token", TOKEN);
            }
            (_, false) => self.require_together("controller.url", URL, "controller.token", TOKEN),
        }
    }

    /// Exactly one of `listen` and `domain`; `domain` is an outside address by itself.
    fn check_address(&mut self) {
        match (self.report.given("server.listen"), self.report.given("server.domain")) {
            (false, false) => {
                let text = "missing; set it to an address like \":47990\", or set server.domain";
                self.report.wrong_key("server.listen", text);
            }
            (true, true) => {
                let text = "is given as well as server.listen; keep `domain` for HTTPS with an automatic certificate, or `listen` for plain HTTP or a certificate of your own";
                self.report.wrong_key("server.domain", text);
            }
            (false, true) if self.report.given("server.public_url") => {
                let text =
                    "is given as well as server.domain, which is the outside address already; remove it";
                self.report.wrong_key("server.public_url", text);
            }
            _ => {}
        }
        let of_domain = |path: &&String| {
            path.starts_with("server.acme.")
                || matches!(path.as_str(), "server.https_listen" | "server.http_listen")
        };
        let of_domain = self.given.keys().find(of_domain);
        if let Some(path) = of_domain.cloned().filter(|_| !self.report.given("server.domain")) {
            let text = "belongs to server.domain, which is not set; set that, or remove this";
            self.report.wrong_key(&path, text);
        }
    }

    /// Certificates must be there and usable now, so that nobody finds out at the first connection.
    fn check_tls_files(&mut self, settings: &Settings) {
        let blamed = |report: &Report| report.blamed("server.tls.cert") || report.blamed("server.tls.key");
        if let Some(files) = settings.tls.as_ref().filter(|_| !blamed(&self.report)) {
            if self.report.given("server.domain") {
                let text =
                    "is given as well as server.domain, which gets its certificate by itself; remove one";
                self.report.wrong_key("server.tls.cert", text);
            } else if let Err(error) = tls_files::read_pair(files) {
                self.report.wrong_key(error.key, error.text);
            }
        }
        if let Some(Err(error)) = settings.lease.as_ref().map(tls_files::read_client_pair)
            && !self.report.blamed("lease.cert")
            && !self.report.blamed("lease.key")
        {
            self.report.wrong_key(error.key, error.text);
        }
        let link = settings.controller.as_ref().and_then(|link| link.ca_file.as_deref());
        for (key, path) in [
            ("controller.ca_file", link),
            ("workers.ca_file", settings.workers.ca_file.as_deref()),
            ("lease.ca_file", settings.lease.as_ref().and_then(|lease| lease.ca_file.as_deref())),
            ("server.acme.ca_file", settings.server.acme.ca_file.as_deref()),
        ] {
            if let Some(Err(text)) = path.map(tls_files::read_authorities) {
                self.report.wrong_key(key, text);
            }
        }
    }

    /// A file that everybody on this host can read holds no secret any more, like a `…_file` that others can read.
    fn check_readers(&mut self) {
        if !self.source.world_readable {
            return;
        }
        let holds = |given: &(&String, &Node)| inline_secret(*given) || inline_credential(*given);
        let Some((path, node)) = self.given.iter().filter(holds).min_by_key(|(_, node)| node.place.clone())
        else {
            return;
        };
        let (path, place, file) = (path.clone(), node.place.clone(), self.source.path.display());
        let text = format!(
            "is a secret in a file that everybody on this host can read; run `chmod o= {file}` (and where the service \
             has a user of its own, `chgrp` the file to that user's group), then change the secret"
        );
        self.report.wrong(&place, &path, text);
    }

    fn require(&mut self, key: &str, advice: &str) {
        if !self.report.given(key) && !self.report.blamed(key) {
            self.report.wrong_key(key, format!("missing; {advice}"));
        }
    }

    /// A section with any key needs both of these.
    fn require_together(&mut self, first: &str, first_advice: &str, second: &str, second_advice: &str) {
        let section = first.rsplit_once('.').map_or(first, |(section, _)| section);
        let any = self
            .given
            .keys()
            .any(|path| path.starts_with(section) && path.as_bytes().get(section.len()) == Some(&b'.'));
        if any || self.report.given(section) {
            self.require(first, first_advice);
            self.require(second, second_advice);
        }
    }
}

fn scope<'s>(
    report: &'s mut Report,
    key: String,
    source: &'s Source,
    credentials: &'s Credentials,
) -> Scope<'s> {
    Scope { report, key, home: source.environment.get("HOME"), credentials }
}

/// Whether a given value is a secret that stands in the file itself, not in a file or variable of its own.
fn inline_secret((path, node): (&String, &Node)) -> bool {
    let is_empty = matches!(&node.body, Body::List(items) if items.is_empty());
    !is_empty && matches!(node.place, Place::Line(_)) && keys::find(path).is_some_and(|key| key.traits.secret)
}

/// Whether a given list of ICE servers or webhooks has a secret that stands in the file itself.
fn inline_credential((path, node): (&String, &Node)) -> bool {
    let name = match path.as_str() {
        "webhooks" => "secret",
        path if path == "ice_servers" || path.starts_with("webrtc.iceservers") => "credential",
        _ => return false,
    };
    let has_credential = |item: &Node| match &item.body {
        Body::Map(entries) => entries.iter().any(|entry| entry.key == name),
        _ => false,
    };
    let items = match &node.body {
        Body::List(items) => items.as_slice(),
        _ => &[],
    };
    matches!(node.place, Place::Line(_)) && items.iter().any(has_credential)
}

/// The value of a secret that stands in a file of its own: one, or one on each line where there may be several.
fn secret_node(key: &Key, place: Place, text: &str) -> Node {
    if !key.is_collection() {
        return Node::plain(place, text);
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let items = lines.map(|line| Node::plain(place.clone(), line.trim_end_matches('\r')));
    Node { place: place.clone(), body: Body::List(items.collect()) }
}

/// The value of a variable: YAML flow text for lists and maps, the bare text for everything else.
fn override_node(path: &str, value: &str, place: Place, report: &mut Report) -> Node {
    let is_collection = keys::find(path).is_some_and(|key| key.is_collection());
    if !is_collection {
        return Node::plain(place, value);
    }
    let parsed = document::parse(value, &|_| place.clone(), report);
    parsed.unwrap_or(Node { place, body: Body::Refused })
}
