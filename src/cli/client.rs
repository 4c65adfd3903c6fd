//! A client of the API, for people (tables) and scripts (`--json`, exit statuses). It asks this host's own role by its
//! configuration, or any other by `--url` and `--token-file`.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Exit, namespaces, tables};
use crate::cli::actions::{Action, Flags};
use crate::cli::outcome::{Failed, say};
use crate::config::local::Local;
use crate::config::secret::Secret;
use crate::config::settings::Settings;
use crate::config::{self, Environment};
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;
use crate::logging;
use crate::update::policy::people::People;

/// Who does not take a connection by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is looked up is answered at once; an end waits for the stream process (`sessions.stop_grace`, at most 1m, and some).
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// `sessions.create_timeout` is at most 10m.
const CREATE_TIMEOUT: Duration = Duration::from_secs(660);

/// Largest reply that is read: an older service's list of some ten thousand sessions.
const REPLY_LIMIT: u64 = 16 << 20;

/// Entries of a list that are asked for at once: as many as a service gives.
const PAGE: usize = 1_000;

/// Fewer characters of an id are typed by accident.
const LEAST_PREFIX: usize = 4;

/// Characters of a whole session id.
const ID_LENGTH: usize = 32;

/// The part of a query that asks for what follows.
fn behind(next: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    format!("&after={}", next.chars().filter(is_plain).collect::<String>())
}

/// Whom to ask.
struct Target {
    url: String,
    token: Secret,
    agent: ureq::Agent,
}

/// An answer of the service.
struct Reply {
    status: u16,
    body: Value,
}

/// Asks, and prints what is answered. `local` reads this host's configuration.
pub fn run(
    (action, operand): (Action, &str),
    flags: &Flags,
    local: impl FnOnce() -> Result<Settings, Failed>,
    stdout: &mut dyn Write,
) -> Result<(), Failed> {
    let target = Target::of(flags, local)?;
    let id = match action {
        Action::Show | Action::End => target.whole_id(operand)?,
        _ => operand.to_owned(),
    };
    let reply = target.ask(action, &id, flags)?;
    if reply.status >= 400 {
        if flags.json {
            say(stdout, &format!("{}\n", reply.body))?;
        }
        return Err(refused(&reply, action));
    }
    // Scripts ask for no more than this.
    let is_busy = action == Action::Idle && reply.body["idle"] != true;
    match flags.json {
        true => say(stdout, &format!("{}\n", document(reply.body))),
        false => say(stdout, &tables::of(action, (&id, flags), &reply.body)),
    }?;
    if is_busy { Err(Failed { exit: Exit::Later, text: String::new() }) } else { Ok(()) }
}

/// Scripts get a document also where the service has nothing to say.
fn document(body: Value) -> Value {
    if body.is_null() { json!({}) } else { body }
}

impl Target {
    fn of(flags: &Flags, local: impl FnOnce() -> Result<Settings, Failed>) -> Result<Target, Failed> {
        crypto::install();
        let url = flags.url.as_deref().map(checked_url).transpose()?;
        let token = flags.token_file.as_deref().map(read_secret).transpose()?;
        let roots = crypto::client_roots(flags.ca_file.as_deref());
        let roots = roots.map_err(|error| Failed::config(format!("--ca-file: {error}")))?;
        let mut own_host = None;
        let (url, token, roots) = match (url, token) {
            (Some(url), Some(token)) => (url, token, roots),
            (Some(_), None) => {
                return Err(Failed::usage("--url needs --token-file FILE, which holds the admin token"));
            }
            (None, token) => {
                let settings = local()?;
                let local = Local::of(&settings).ok_or_else(|| {
                    Failed::config(
                        "server.listen leaves the port to the system; say it with --url and --token-file",
                    )
                })?;
                let Local { url, host, is_own } = local;
                own_host = host;
                // Nothing leaves this host, and its certificate is for another name, or not there yet.
                let roots = if is_own { unverified() } else { roots };
                (url, token.unwrap_or(settings.server.admin_token), roots)
            }
        };
        let config = ureq::Agent::config_builder()
            .tls_config(roots)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        Ok(Target { url, token, agent: http_client::agent_to(config, own_host) })
    }

    fn ask(&self, action: Action, id: &str, flags: &Flags) -> Result<Reply, Failed> {
        match action {
            Action::Sessions => self.list("sessions"),
            Action::Workers => self.list("workers"),
            Action::Start => self.call("POST", "sessions", Some(create(flags)?)),
            Action::Show => self.call("GET", &format!("sessions/{id}"), None),
            Action::End => self.call("DELETE", &format!("sessions/{id}"), None),
            Action::Drain => self.call("POST", &format!("workers/{id}/drain"), Some(json!({}))),
            Action::Undrain => self.call("DELETE", &format!("workers/{id}/drain"), None),
            Action::Certificate => self.certificate(),
            Action::Idle => self.idle(),
            Action::Namespace(action) => {
                let call = namespaces::call(action, id, flags)?;
                self.call(call.method, &call.path, call.body)
            }
        }
    }

    /// What health tells of the certificate.
    fn certificate(&self) -> Result<Reply, Failed> {
        let Reply { status, mut body } = self.call("GET", "health", None)?;
        let told = body["extra"]["certificate"].take();
        if status == 200 && told.is_null() {
            let text = "this service has no certificate of its own making: server.domain is not set";
            return Err(Failed::new(Exit::NotFound, text));
        }
        Ok(Reply { status, body: if status == 200 { told } else { body } })
    }

    /// Whom a restart would disturb, by what health tells.
    fn idle(&self) -> Result<Reply, Failed> {
        let Reply { status, body } = self.call("GET", "health", None)?;
        if status != 200 {
            return Ok(Reply { status, body });
        }
        let people = People::of(&body).ok_or_else(|| {
            let text =
                format!("what answers at {} is no worker: only a worker's restart is waited for", self.url);
            Failed::new(Exit::NotFound, text)
        })?;
        let People { sessions, members } = people;
        let body = json!({"idle": people.count() == 0, "sessions": sessions, "room_members": members});
        Ok(Reply { status, body })
    }

    /// A whole list, page after page. A service of an older version gives all of it at once.
    fn list(&self, name: &str) -> Result<Reply, Failed> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let mut reply = self.call("GET", &format!("{name}?limit={PAGE}{after}"), None)?;
            let Some(entries) = reply.body[name].as_array_mut().filter(|_| reply.status == 200) else {
                return Ok(reply);
            };
            all.append(entries);
            match reply.body["next"].as_str() {
                // A service that repeats itself is not asked for ever.
                Some(next) if after != behind(next) => after = behind(next),
                _ => return Ok(Reply { status: 200, body: json!({ name: all }) }),
            }
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Reply, Failed> {
        let limit = if (method, path) == ("POST", "sessions") { CREATE_TIMEOUT } else { CALL_TIMEOUT };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token.expose()))
            .header("Content-Type", "application/json")
            .body(body.map(|body| body.to_string()).unwrap_or_default());
        let request = request.map_err(|error| Failed::usage(format!("this cannot be asked for: {error}")))?;
        let request = self.agent.configure_request(request).timeout_global(Some(limit)).build();
        let mut response = self.agent.run(request).map_err(|error| self.unreached(&error))?;
        let status = response.status().as_u16();
        let advice = http_client::advice_of(&response, &self.url);
        if let Some(advice) = advice.as_ref().filter(|_| status < 400) {
            return Err(self.elsewhere(&format!("{status}; {advice}")));
        }
        if status == 204 {
            return Ok(Reply { status, body: Value::Null });
        }
        let body = response.body_mut().with_config().limit(REPLY_LIMIT).read_json();
        match body {
            Ok(body) => Ok(Reply { status, body }),
            Err(_) => {
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                Err(self.elsewhere(&format!("{status}, and no JSON{advice}")))
            }
        }
    }

    /// The whole id for one that may be a stream's URL, or the first characters as the log shows them.
    fn whole_id(&self, given: &str) -> Result<String, Failed> {
        let path = given.split_once("/session/").map_or(given, |(_, rest)| rest);
        let id = path.split(['/', '?', '#']).next().unwrap_or_default();
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex(id) || id.len() < LEAST_PREFIX {
            let text = format!(
                "an id is {LEAST_PREFIX} to {ID_LENGTH} characters of 0-9 a-f, as `sessions` shows them"
            );
            return Err(Failed::usage(text));
        }
        if id.len() >= ID_LENGTH {
            return Ok(id.to_owned());
        }
        let reply = self.list("sessions")?;
        if reply.status >= 400 {
            return Err(refused(&reply, Action::Sessions));
        }
        let ids = reply.body["sessions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|session| session["id"].as_str());
        let found: Vec<&str> = ids.filter(|whole| whole.starts_with(id)).collect();
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(Failed::new(
                Exit::NotFound,
                format!("no session's id begins with {id}; `sessions` lists them"),
            )),
            _ => Err(Failed::new(
                Exit::NotFound,
                format!("{} sessions' ids begin with {id}; give more of it", found.len()),
            )),
        }
    }

    fn unreached(&self, error: &ureq::Error) -> Failed {
        let why = match crypto::refused_certificate(error) {
            Some(why) => format!(
                "its certificate is refused ({why}); give the authority that signed it with --ca-file"
            ),
            None => http_client::in_words(error, &self.url),
        };
        Failed::new(Exit::Unreached, format!("{} is not reached: {why}", self.url))
    }

    fn elsewhere(&self, what: &str) -> Failed {
        let text =
            format!("what answers at {} is not this service, or a proxy in front of it: {what}", self.url);
        Failed::new(Exit::Unreached, logging::clean(&text))
    }
}

/// The create request that the flags ask for.
fn create(flags: &Flags) -> Result<Value, Failed> {
    let mut request = flags.create.clone();
    if !request.contains_key("body_ip") {
        return Err(Failed::usage("`session start` needs --body-ip ADDRESS"));
    }
    if !flags.parameters.is_empty() {
        request.insert("parameters".into(), Value::Object(flags.parameters.clone()));
    }
    if let Some(path) = &flags.sunshine_pass_file {
        request.insert("sunshine_pass".into(), read_secret(path)?.expose().into());
    }
    Ok(Value::Object(request))
}

/// Why the service refused, for people; the exit status is for scripts.
fn refused(reply: &Reply, action: Action) -> Failed {
    let field = |name: &str| reply.body[name].as_str().unwrap_or_default();
    let exit = match reply.status {
        401 => Exit::Forbidden,
        403 if field("error").contains("token") => Exit::Forbidden,
        404 => Exit::NotFound,
        429 | 503 | 504 => Exit::Later,
        _ => Exit::Failure,
    };
    let of_controller =
        matches!(action, Action::Workers | Action::Drain | Action::Undrain | Action::Namespace(_));
    let advice = match (reply.status, of_controller) {
        (404, true) if field("error") == "not found" => "; that is a worker: ask its controller, with --url",
        _ => "",
    };
    let text = format!("{}: {} (HTTP {}){advice}", field("error"), field("detail"), reply.status);
    Failed::new(exit, logging::clean(&text))
}

/// A secret out of a file, or of stdin for `-`: never of an argument, which everybody on this host can read.
fn read_secret(path: &Path) -> Result<Secret, Failed> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|error| Failed::config(format!("cannot read stdin: {error}")))?;
        text.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        config::read_secret(path).map_err(|text| Failed::config(format!("{}: {text}", path.display())))?
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(Failed::config(format!(
            "{} holds no token: one line of ASCII is expected",
            path.display()
        )));
    }
    Ok(Secret::new(text))
}

fn checked_url(url: &str) -> Result<String, Failed> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let fits = |rest: &str| !rest.is_empty() && !rest.contains([' ', '?', '#', '@']);
    match rest {
        Some(rest) if fits(rest) => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(Failed::usage("--url is a URL like https://neck.example.com or http://127.0.0.1:47990")),
    }
}

fn unverified() -> TlsConfig {
    TlsConfig::builder().disable_verification(true).build()
}

/// Reads this host's configuration: as the verbs that have no role of their own do.
pub fn local_settings(
    flag: Option<&Path>,
    role: Option<config::settings::Role>,
    environment: Environment,
) -> Result<Settings, Failed> {
    let with_advice = |failed: Failed| Failed {
        text: format!("{}\nWithout this host's configuration: --url URL --token-file FILE", failed.text),
        ..failed
    };
    super::checked(flag, role, environment).map(|(_, settings)| settings).map_err(with_advice)
}
