//! A certificate authority of our own for tests (RFC 8555, RFC 9773, profiles): it keeps to the protocol, checks that its client does,
//! and misbehaves where a test says so. It proves names by plain HTTP on port 80.

mod issuer;
mod jws;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hydraneckwebrtc::acme::protocol::jws::base64url;
use hydraneckwebrtc::host::{clock, entropy};
use serde_json::{Value, json};

pub use issuer::Issues;
use issuer::Issuing;
use jws::Signed;
use wire::{Reply, Request};

/// Its name, which leads to this host where it is used.
pub const HOST: &str = "ca.test";

/// What it answers instead of what it should.
#[derive(Clone, Debug)]
pub enum Instead {
    /// A problem: status, name, `Retry-After`.
    Problem(u16, &'static str, Option<String>),
    /// This text, with status 200.
    Text(&'static str),
    /// The end of the connection.
    Nothing,
}

/// How it differs from an authority at its best.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Answers that take the place of its own, by the first part of the path: `dir`, `new-nonce`, `new-account`, `account`, `orders`,
    /// `new-order`, `order`, `authz`, `challenge`, `finalize`, `certificate`, `renewal-info`.
    pub instead: BTreeMap<&'static str, Instead>,
    /// Good nonces of a hundred that it refuses.
    pub nonces_refused: u32,
    /// Names count as proved by an earlier order.
    pub has_proofs: bool,
    /// An order that is looked at has expired.
    pub orders_expire: bool,
    /// What it issues.
    pub issues: Issues,
    /// The kinds of certificates that it names.
    pub profiles: &'static [&'static str],
    /// When it wants certificates renewed, in seconds from now; `None`: it has no renewal information.
    pub window: Option<(i64, i64)>,
}

/// A call that came.
#[derive(Clone, Debug)]
pub struct Called {
    pub what: String,
    pub at: Instant,
}

/// One order.
#[derive(Clone, Debug)]
pub struct Order {
    account: usize,
    pub names: Vec<String>,
    pub profile: Option<String>,
    /// Which certificate it replaces.
    pub replaces: Option<String>,
    status: &'static str,
    proofs: Vec<Proof>,
    /// What was issued, PEM.
    pub chain: Option<String>,
}

#[derive(Clone, Debug)]
struct Proof {
    token: String,
    status: &'static str,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    nonces: HashSet<String>,
    refused: u32,
    /// The keys of its accounts; `None`: it is forgotten.
    accounts: Vec<Option<jws::Key>>,
    orders: Vec<Order>,
    calls: Vec<Called>,
    /// Renewals by the certificate that they replaced.
    replaced: HashSet<String>,
}

struct Shared {
    state: Mutex<State>,
    issuing: Issuing,
    base: String,
    ended: AtomicBool,
}

/// The authority while it runs.
pub struct FakeAuthority {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Whom to believe: its own HTTPS and what it issues come from this root.
    pub root: PathBuf,
}

impl FakeAuthority {
    /// Starts it, with its root in this directory.
    pub fn start(dir: &Path) -> FakeAuthority {
        FakeAuthority::start_at(dir, 0)
    }

    /// The same, for which it is so many seconds later: its own certificate is good from then on.
    pub fn start_at(dir: &Path, ahead: i64) -> FakeAuthority {
        hydraneckwebrtc::host::crypto::install();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let issuing = Issuing::new();
        let root = dir.join("fake-root.pem");
        std::fs::write(&root, issuing.root_pem()).expect("a file");
        let tls = issuing.server_config(HOST, ahead);
        let base = format!("https://{HOST}:{}", address.port());
        let state = Mutex::default();
        let shared = Arc::new(Shared { state, issuing, base, ended: AtomicBool::new(false) });
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (of_thread.clone(), tls.clone());
                std::thread::spawn(move || wire::serve(stream, tls, |request| shared.reply(request)));
            }
        });
        FakeAuthority { shared, address, root }
    }

    /// Lines under `server:` for a role of these names.
    pub fn settings(&self, domain: &str) -> String {
        format!(
            "  domain: {domain}\n  acme:\n    directory: {}/dir\n    ca_file: {}\n",
            self.shared.base,
            self.root.display()
        )
    }

    /// Changes how it behaves, from the next call on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.state().behaviour);
    }

    /// From the next call on it does what it should.
    pub fn behave_well(&self) {
        self.behave(|behaviour| *behaviour = Behaviour::default());
    }

    /// It knows none of its accounts any more.
    pub fn forget_accounts(&self) {
        self.shared.state().accounts.iter_mut().for_each(|account| *account = None);
    }

    /// Calls so far; those of one kind where it has a name.
    pub fn calls(&self, what: &str) -> Vec<Called> {
        let calls = self.shared.state().calls.clone();
        calls.into_iter().filter(|call| what.is_empty() || call.what == what).collect()
    }

    pub fn accounts(&self) -> usize {
        self.shared.state().accounts.len()
    }

    pub fn orders(&self) -> Vec<Order> {
        self.shared.state().orders.clone()
    }

    pub fn issued(&self) -> usize {
        self.orders().iter().filter(|order| order.chain.is_some()).count()
    }
}

impl Drop for FakeAuthority {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The thread sees it when the next one connects.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: the connection ends.
    fn reply(&self, request: &Request) -> Option<Reply> {
        let mut parts = request.path.trim_start_matches('/').split('/');
        let (what, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let instead = self.state().behaviour.instead.get(what).cloned();
        let reply = match instead {
            Some(Instead::Nothing) => {
                self.note(what);
                return None;
            }
            Some(Instead::Text(text)) => {
                self.note(what);
                Reply::new(200, text.as_bytes().to_vec())
            }
            Some(Instead::Problem(status, name, retry_after)) => {
                self.note(what);
                Reply { retry_after, ..problem(status, name) }
            }
            None => self.own_reply(request, (what, rest)),
        };
        let nonce = format!("{:016x}", entropy::number());
        self.state().nonces.insert(nonce.clone());
        Some(Reply { nonce: Some(nonce), ..reply })
    }

    fn note(&self, what: &str) {
        let call = Called { what: what.to_owned(), at: Instant::now() };
        self.state().calls.push(call);
    }

    fn own_reply(&self, request: &Request, (what, rest): (&str, &str)) -> Reply {
        if request.method != "POST" {
            self.note(what);
            return match what {
                "dir" => self.directory(),
                "new-nonce" => Reply::new(204, Vec::new()),
                "renewal-info" => self.renewal_info(rest),
                _ => problem(405, "malformed"),
            };
        }
        let signed = match self.signed(request) {
            Ok(signed) => signed,
            Err(reply) => return reply,
        };
        self.note(what);
        let number = rest.parse::<usize>().unwrap_or(usize::MAX);
        match (what, signed.account) {
            ("new-account", _) => self.new_account(&signed),
            (_, None) => problem(400, "malformed"),
            ("account", Some(_)) => {
                json_reply(200, &json!({"status": "valid", "orders": format!("{}/orders/{rest}", self.base)}))
            }
            ("orders", Some(account)) => self.list(account),
            ("new-order", Some(account)) => self.new_order(account, &signed.payload),
            ("order", Some(_)) => self.order(number),
            ("authz", Some(_)) => self.authorization(rest),
            ("challenge", Some(account)) => self.challenge(rest, account),
            ("finalize", Some(_)) => self.finalize(number, &signed.payload),
            ("certificate", Some(_)) => {
                let chain = self.state().orders.get(number).and_then(|order| order.chain.clone());
                chain.map_or(problem(404, "malformed"), |chain| Reply::new(200, chain.into_bytes()))
            }
            _ => problem(404, "malformed"),
        }
    }

    /// What was signed, by whom; all that RFC 8555 (6.2 to 6.5) demands of it is checked.
    fn signed(&self, request: &Request) -> Result<Signed, Reply> {
        let mut state = self.state();
        let url = format!("{}{}", self.base, request.path);
        let signed = jws::read(&request.body, &url, &state.accounts).map_err(|name| problem(400, name))?;
        let is_fresh = state.nonces.remove(&signed.nonce);
        state.refused += state.behaviour.nonces_refused;
        let is_refused = state.refused >= 100;
        if is_refused {
            state.refused -= 100;
        }
        if is_fresh && !is_refused { Ok(signed) } else { Err(problem(400, "badNonce")) }
    }

    fn directory(&self) -> Reply {
        let state = self.state();
        let at = |path: &str| format!("{}/{path}", self.base);
        let profiles: serde_json::Map<String, Value> =
            state.behaviour.profiles.iter().map(|name| ((*name).to_owned(), json!("of a test"))).collect();
        let mut directory = json!({
            "newNonce": at("new-nonce"), "newAccount": at("new-account"), "newOrder": at("new-order"),
            "meta": {"profiles": profiles},
        });
        if state.behaviour.window.is_some() {
            directory["renewalInfo"] = at("renewal-info").into();
        }
        json_reply(200, &directory)
    }

    fn renewal_info(&self, id: &str) -> Reply {
        let state = self.state();
        let known = state
            .orders
            .iter()
            .filter_map(|order| order.chain.as_deref())
            .any(|chain| issuer::renewal_id(chain).as_deref() == Some(id));
        let Some((start, end)) = state.behaviour.window.filter(|_| known) else {
            return problem(404, "malformed");
        };
        let at = |offset: i64| issuer::rfc3339(unix_now().saturating_add_signed(offset));
        let body = json!({"suggestedWindow": {"start": at(start), "end": at(end)}, "explanationURL": "https://ca.test/why"});
        Reply { retry_after: Some("21600".into()), ..json_reply(200, &body) }
    }

    fn new_account(&self, signed: &Signed) -> Reply {
        let mut state = self.state();
        let known = state.accounts.iter().position(|account| account.as_ref() == Some(&signed.key));
        let (number, status) = match known {
            Some(number) => (number, 200),
            None => {
                state.accounts.push(Some(signed.key.clone()));
                (state.accounts.len() - 1, 201)
            }
        };
        let location = format!("{}/account/{number}", self.base);
        let body = json!({"status": "valid", "orders": format!("{}/orders/{number}", self.base)});
        Reply { location: Some(location), ..json_reply(status, &body) }
    }

    fn list(&self, account: usize) -> Reply {
        let state = self.state();
        let ours = state.orders.iter().enumerate().filter(|(_, order)| order.account == account);
        let urls: Vec<String> = ours.map(|(number, _)| format!("{}/order/{number}", self.base)).collect();
        json_reply(200, &json!({"orders": urls}))
    }

    fn new_order(&self, account: usize, payload: &Value) -> Reply {
        let mut state = self.state();
        let text = |name: &str| payload[name].as_str().map(str::to_owned);
        let (profile, replaces) = (text("profile"), text("replaces"));
        let has_profile = |name: &String| state.behaviour.profiles.contains(&name.as_str());
        if profile.as_ref().is_some_and(|name| !has_profile(name)) {
            return problem(400, "invalidProfile");
        }
        if replaces.as_ref().is_some_and(|id| state.replaced.contains(id)) {
            return problem(409, "alreadyReplaced");
        }
        let names: Vec<String> = payload["identifiers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name["value"].as_str().map(str::to_owned))
            .collect();
        let has_proofs = state.behaviour.has_proofs;
        let (status, proved) = if has_proofs { ("ready", "valid") } else { ("pending", "pending") };
        let proof = |_: &String| Proof { token: base64url(&entropy::number().to_be_bytes()), status: proved };
        let proofs = names.iter().map(proof).collect();
        state.replaced.extend(replaces.clone());
        state.orders.push(Order { account, names, profile, replaces, status, proofs, chain: None });
        let number = state.orders.len() - 1;
        let location = format!("{}/order/{number}", self.base);
        Reply { location: Some(location), ..self.told(201, &state.orders[number], number) }
    }

    fn told(&self, status: u16, order: &Order, number: usize) -> Reply {
        let identifiers: Vec<Value> = order.names.iter().map(|name| identifier(name)).collect();
        let at = |part: usize| format!("{}/authz/{number}.{part}", self.base);
        let mut body = json!({
            "status": order.status, "identifiers": identifiers, "finalize": format!("{}/finalize/{number}", self.base),
            "authorizations": (0..order.names.len()).map(at).collect::<Vec<_>>(),
        });
        if order.chain.is_some() {
            body["certificate"] = format!("{}/certificate/{number}", self.base).into();
        }
        json_reply(status, &body)
    }

    fn order(&self, number: usize) -> Reply {
        let mut state = self.state();
        let expires = state.behaviour.orders_expire;
        let Some(order) = state.orders.get_mut(number) else { return problem(404, "malformed") };
        if expires {
            order.status = "invalid";
        }
        self.told(200, &order.clone(), number)
    }

    /// Which order, and which of its names.
    fn authorization(&self, rest: &str) -> Reply {
        let state = self.state();
        let found = parts(rest).and_then(|(number, part)| {
            let order = state.orders.get(number)?;
            Some((order.names.get(part)?, order.proofs.get(part)?))
        });
        let Some((name, proof)) = found else { return problem(404, "malformed") };
        let mut challenge = json!({
            "type": "http-01", "url": format!("{}/challenge/{rest}", self.base), "status": proof.status, "token": proof.token,
        });
        if proof.status == "invalid" {
            challenge["error"] = json!({"type": "urn:ietf:params:acme:error:connection", "detail": "nobody answers", "status": 400});
        }
        json_reply(
            200,
            &json!({"status": proof.status, "identifier": identifier(name), "challenges": [challenge]}),
        )
    }

    /// Looks at the answer, at once.
    fn challenge(&self, rest: &str, account: usize) -> Reply {
        let Some((number, part)) = parts(rest) else { return problem(404, "malformed") };
        let found = {
            let state = self.state();
            let order = state.orders.get(number).cloned();
            order.zip(state.accounts.get(account).cloned().flatten())
        };
        let Some((order, key)) = found else { return problem(404, "malformed") };
        let (name, token) = (&order.names[part], &order.proofs[part].token);
        let is_proved = wire::fetch(name, token).as_deref() == Some(&format!("{token}.{}", key.thumbprint()));
        let mut state = self.state();
        let order = &mut state.orders[number];
        order.proofs[part].status = if is_proved { "valid" } else { "invalid" };
        let all = |status: &str| order.proofs.iter().all(|proof| proof.status == status);
        if order.status == "pending" {
            order.status = match is_proved {
                false => "invalid",
                true if all("valid") => "ready",
                true => "pending",
            };
        }
        json_reply(
            200,
            &json!({"type": "http-01", "url": format!("{}/challenge/{rest}", self.base), "status": "processing"}),
        )
    }

    fn finalize(&self, number: usize, payload: &Value) -> Reply {
        let mut state = self.state();
        let issues = state.behaviour.issues;
        let Some(order) = state.orders.get_mut(number) else { return problem(404, "malformed") };
        if order.status != "ready" {
            return problem(403, "orderNotReady");
        }
        let request = payload["csr"].as_str().unwrap_or_default();
        match self.issuing.issue(request, order, issues) {
            Some(chain) => {
                order.chain = Some(chain);
                order.status = "valid";
                self.told(200, &order.clone(), number)
            }
            None => problem(400, "badCSR"),
        }
    }
}

fn parts(rest: &str) -> Option<(usize, usize)> {
    let (number, part) = rest.split_once('.')?;
    Some((number.parse().ok()?, part.parse().ok()?))
}

fn identifier(name: &str) -> Value {
    let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
    json!({"type": kind, "value": name})
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, body.to_string().into_bytes())
}

fn problem(status: u16, name: &str) -> Reply {
    let kind = format!("urn:ietf:params:acme:error:{name}");
    json_reply(status, &json!({"type": kind, "detail": format!("{name}, says a test"), "status": status}))
}

fn unix_now() -> u64 {
    clock::unix_millis() / 1000
}
