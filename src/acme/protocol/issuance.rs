//! One try to get a certificate: asks what to call, answer, keep and wait for, and is told what came of it.
//!
//! ```text
//!  directory ─► account ─┬─ nothing begun ──────────────────► new order ─┐
//!                        ├─ an order was asked for, no answer ─► list ───┤   (the authority may have made it)
//!                        └─ an order is under way ──────────────────────►┤
//!        ┌───────────────────────── order ◄──────────────────────────────┘
//!        ├─ pending ─► authorizations ─► answers stand ─► challenges ─► poll ─► order
//!        ├─ ready ───► request (CSR) ─► finalize ─► order
//!        ├─ processing ─► wait ─► order
//!        └─ valid ───► certificate: issued
//! ```
//!
//! Nothing that was paid for is paid for twice: what is to be kept is kept before the next call, so that a process that is
//! killed goes on with the same order. A refused nonce is no failure, nor an account that is gone, nor a `replaces` too much.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;

use crate::acme::protocol::jws::{self, By, Signer, base64url};
use crate::acme::protocol::says::{
    self, Authorization, CallUrl, Directory, Identifier, Order, Problem, Reply, Status,
};
use crate::acme::protocol::trouble::{self, Kind, Trouble};
use crate::core::wall_time::{WallTime, retry_after};

/// Refused nonces in a row: with two of five refused, fifteen in a row are one in a million.
const MAX_BAD_NONCES: u32 = 15;

/// Between two looks at what the authority works on, in seconds, where it names no time.
const POLL: u64 = 2;

/// One wait longer than this, or all of them together, is left to a later try, which goes on with the same order.
const MAX_WAIT: u64 = 120;
const MAX_WAITS: u64 = 300;

/// Orders of the list that are looked at, the newest first: ours is the last one made.
const MAX_LISTED: usize = 10;

/// Calls of one try: four for each of a hundred names, refused nonces, and polls.
const MAX_CALLS: u32 = 2000;

/// The kind of certificate that Let's Encrypt issues for addresses.
const FOR_ADDRESSES: &str = "shortlived";

/// How we prove that a name is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// By an answer to plain HTTP on port 80 (RFC 8555, 8.3).
    #[default]
    Http,
    /// By a handshake on port 443 (RFC 8737).
    Alpn,
}

impl Way {
    /// The name of its challenge.
    pub fn challenge(self) -> &'static str {
        match self {
            Way::Http => "http-01",
            Way::Alpn => "tls-alpn-01",
        }
    }

    /// The other one.
    pub fn other(self) -> Way {
        match self {
            Way::Http => Way::Alpn,
            Way::Alpn => Way::Http,
        }
    }
}

/// What an earlier try left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Begun {
    /// Nothing.
    #[default]
    Nothing,
    /// An order was asked for; what was answered is not known.
    Asked,
    /// This order.
    Order(String),
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The authority's directory.
    pub directory: String,
    /// The names, as certificates have them.
    pub names: Vec<String>,
    /// `server.acme.profile`
    pub profile: Option<String>,
    /// `server.acme.email`
    pub email: Option<String>,
    /// `server.acme.eab_kid`
    pub eab_kid: Option<String>,
    /// How names are proved, where the authority lets us choose.
    pub way: Way,
    /// The certificate that is replaced (RFC 9773, 5).
    pub replaces: Option<String>,
    /// The URL of our account.
    pub account: Option<String>,
    /// What an earlier try left.
    pub begun: Begun,
}

/// What is to be done next. Then [`Issuance::step`] is told what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this call; answered by [`Input::Reply`] or [`Input::Unreached`].
    Call(Call),
    /// Keep this durably; then [`Input::Done`].
    Keep(Keep),
    /// Let these answers stand until the try is over; then [`Input::Done`].
    Answer(Vec<Answer>),
    /// A signed request for a certificate is needed: [`Input::Request`].
    Request,
    /// Wait for so many seconds; then [`Input::Done`].
    Wait(u64),
    /// The end: this is the chain, as PEM text.
    Issued(Vec<u8>),
    /// The end.
    Failed(Trouble),
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads what anybody may read.
    Get(String),
    /// For a nonce.
    Head(String),
    /// A signed request.
    Post {
        /// Where it goes.
        url: String,
        /// Its body, `application/jose+json`.
        body: String,
    },
}

/// What is kept durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The URL of our account; `None`: the authority does not know it.
    Account(Option<String>),
    /// How far the order is.
    Begun(Begun),
}

/// An answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which name it proves.
    pub name: String,
    /// How it is asked for.
    pub way: Way,
    /// The last part of the path that plain HTTP asks for.
    pub token: String,
    /// What is answered, or whose hash stands in the certificate.
    pub key_authorization: String,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub enum Input {
    /// It is done. Also the first input.
    Done,
    /// A reply.
    Reply(Reply),
    /// There was none, for this reason.
    Unreached(Trouble),
    /// The request for the certificate, as DER.
    Request(Vec<u8>),
}

/// Where a try stands: the call that is next, or under way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Directory,
    Account,
    /// The account, for the list of its orders.
    OwnAccount,
    List(CallUrl),
    /// Those of the list that are still to be looked at.
    Listed(Vec<CallUrl>),
    /// Before the first order: that one was asked for is kept first.
    Begin,
    NewOrder,
    Order,
    Authorization(usize),
    Answers,
    Challenge(usize),
    Poll(usize),
    Request,
    Finalize(Vec<u8>),
    Certificate(CallUrl),
    Over(Trouble),
}

/// An authorization that is proved in this try.
struct Proof {
    url: CallUrl,
    challenge: CallUrl,
    answer: Answer,
    /// The authority looks already.
    triggered: bool,
}

/// One try.
pub struct Issuance {
    wish: Wish,
    at: At,
    directory: Option<Directory>,
    nonce: Option<String>,
    fetches_nonce: bool,
    bad_nonces: u32,
    calls: u32,
    waited: u64,
    /// The order is of an earlier try, and was not looked at yet.
    is_left_over: bool,
    account_renewed: bool,
    order: Option<(String, Order)>,
    proofs: Vec<Proof>,
}

impl Issuance {
    /// Begins. The first input is [`Input::Done`].
    pub fn new(wish: Wish) -> Issuance {
        Issuance {
            wish,
            at: At::Directory,
            directory: None,
            nonce: None,
            fetches_nonce: false,
            bad_nonces: 0,
            calls: 0,
            waited: 0,
            is_left_over: false,
            account_renewed: false,
            order: None,
            proofs: Vec::new(),
        }
    }

    /// Whether the authority has renewal information, once that is known.
    pub fn has_renewal_info(&self) -> Option<bool> {
        self.directory.as_ref().map(|directory| directory.renewal_info.is_some())
    }

    /// How the names were proved; `None`: nothing was to be proved.
    pub fn proved_by(&self) -> Option<Way> {
        self.proofs.first().map(|proof| proof.answer.way)
    }

    /// Takes what came of the last step and says what is next.
    pub fn step(&mut self, input: Input, now: WallTime, signer: &dyn Signer) -> Step {
        match input {
            Input::Done => self.act(signer),
            Input::Unreached(trouble) => Step::Failed(trouble),
            Input::Request(der) => {
                self.at = At::Finalize(der);
                self.act(signer)
            }
            Input::Reply(reply) => {
                self.nonce = reply.nonce.clone().filter(|nonce| is_sound_nonce(nonce));
                if std::mem::take(&mut self.fetches_nonce) {
                    return match self.nonce {
                        Some(_) => self.act(signer),
                        None if reply.status >= 400 => self.fail(self.trouble(&reply, now)),
                        None => self.fail(Trouble::nonsense("nonce")),
                    };
                }
                let step = match reply.status {
                    200..300 => self.heard(&reply, now),
                    _ => self.refused(&reply, now),
                };
                step.unwrap_or_else(|| self.act(signer))
            }
        }
    }

    /// What is to be done where we stand.
    fn act(&mut self, signer: &dyn Signer) -> Step {
        let call = match &self.at {
            At::Over(trouble) => return Step::Failed(trouble.clone()),
            At::Directory => return self.call(Call::Get(self.wish.directory.clone())),
            At::Answers => {
                self.answers(signer);
                self.at = At::Challenge(0);
                return Step::Answer(self.proofs.iter().map(|proof| proof.answer.clone()).collect());
            }
            At::Request => return Step::Request,
            At::Begin => {
                self.at = At::NewOrder;
                return self.begun(Begun::Asked);
            }
            At::Challenge(at) => match self.proofs.get(*at) {
                Some(proof) if proof.triggered => {
                    self.at = At::Challenge(at + 1);
                    return self.act(signer);
                }
                Some(proof) => Some((proof.challenge.as_str().to_owned(), "{}".to_owned())),
                None => {
                    self.at = At::Poll(0);
                    return self.act(signer);
                }
            },
            At::Poll(at) if *at >= self.proofs.len() => {
                self.at = At::Order;
                return self.act(signer);
            }
            _ => self.post(signer),
        };
        match call {
            Some((url, payload)) => self.signed(signer, &url, &payload),
            None => self.fail(Trouble::nonsense("order")),
        }
    }

    /// Address and payload of the signed call that is next.
    fn post(&self, signer: &dyn Signer) -> Option<(String, String)> {
        let directory = self.directory.as_ref()?;
        let read = |url: &str| Some((url.to_owned(), String::new()));
        match &self.at {
            At::Account => {
                let url = directory.new_account.as_str();
                Some((url.to_owned(), self.new_account(signer, url).to_string()))
            }
            At::OwnAccount => read(self.wish.account.as_deref()?),
            At::List(url) | At::Certificate(url) => read(url.as_str()),
            At::Listed(left) => read(left.last()?.as_str()),
            At::NewOrder => Some((directory.new_order.as_str().to_owned(), self.new_order().to_string())),
            At::Order => match &self.wish.begun {
                Begun::Order(url) => read(url),
                _ => None,
            },
            At::Authorization(at) => read(self.order.as_ref()?.1.authorizations.get(*at)?.as_str()),
            At::Poll(at) => read(self.proofs.get(*at)?.url.as_str()),
            At::Finalize(der) => {
                let url = self.order.as_ref()?.1.finalize.as_str().to_owned();
                Some((url, json!({"csr": base64url(der)}).to_string()))
            }
            _ => None,
        }
    }

    fn new_account(&self, signer: &dyn Signer, url: &str) -> Value {
        let mut payload = json!({"termsOfServiceAgreed": true});
        if let Some(email) = &self.wish.email {
            payload["contact"] = json!([format!("mailto:{email}")]);
        }
        if let Some(kid) = &self.wish.eab_kid {
            payload["externalAccountBinding"] = jws::binding(signer, kid, url);
        }
        payload
    }

    fn new_order(&self) -> Value {
        let mut payload =
            json!({"identifiers": self.wish.names.iter().map(|name| identifier(name)).collect::<Vec<_>>()});
        if let Some(profile) = self.profile() {
            payload["profile"] = profile.into();
        }
        if let Some(replaced) = &self.wish.replaces {
            payload["replaces"] = replaced.as_str().into();
        }
        payload
    }

    /// The kind of certificate that is asked for.
    fn profile(&self) -> Option<&str> {
        let offered = &self.directory.as_ref()?.meta.profiles;
        let has_address = self.wish.names.iter().any(|name| name.parse::<IpAddr>().is_ok());
        let implied = (has_address && offered.contains_key(FOR_ADDRESSES)).then_some(FOR_ADDRESSES);
        self.wish.profile.as_deref().or(implied)
    }

    fn signed(&mut self, signer: &dyn Signer, url: &str, payload: &str) -> Step {
        let Some(nonce) = self.nonce.take() else {
            self.fetches_nonce = true;
            let from = self.directory.as_ref().map(|directory| directory.new_nonce.as_str().to_owned());
            return self.call(Call::Head(from.unwrap_or_default()));
        };
        let account = self.wish.account.as_deref().filter(|_| self.at != At::Account);
        let by = account.map_or(By::Key, By::Account);
        match jws::body(signer, by, (&nonce, url), payload) {
            Some(body) => self.call(Call::Post { url: url.to_owned(), body }),
            None => {
                self.fail(Trouble::new(Kind::Local, "the account's key cannot sign; move account.json away"))
            }
        }
    }

    fn call(&mut self, call: Call) -> Step {
        self.calls += 1;
        match self.calls > MAX_CALLS {
            true => self.fail(Trouble::nonsense("way of leading us on and on")),
            false => Step::Call(call),
        }
    }

    /// The end, unless the order is to be forgotten first.
    fn fail(&mut self, trouble: Trouble) -> Step {
        self.at = At::Over(trouble.clone());
        Step::Failed(trouble)
    }

    /// The end of this order.
    fn give_up(&mut self, trouble: Trouble) -> Step {
        self.at = At::Over(trouble);
        self.begun(Begun::Nothing)
    }

    fn begun(&mut self, begun: Begun) -> Step {
        self.wish.begun = begun.clone();
        Step::Keep(Keep::Begun(begun))
    }

    fn trouble(&self, reply: &Reply, now: WallTime) -> Trouble {
        trouble::of_reply(reply, &says::problem(&reply.body), now)
    }

    /// A reply with an error. `None`: what is next is in `at`.
    fn refused(&mut self, reply: &Reply, now: WallTime) -> Option<Step> {
        let problem = says::problem(&reply.body);
        let client_error = (400..500).contains(&reply.status) && reply.status != 429;
        match (problem.name(), &self.at) {
            ("badNonce", _) if self.bad_nonces < MAX_BAD_NONCES => {
                self.bad_nonces += 1;
                return None;
            }
            ("accountDoesNotExist", _) if self.wish.account.is_some() && !self.account_renewed => {
                return Some(self.forget_account());
            }
            (_, At::NewOrder) if self.wish.replaces.is_some() && client_error => {
                // Twice the same, or a certificate that it does not know: it is worth an order like any other.
                self.wish.replaces = None;
                return None;
            }
            (_, At::Order) if self.is_left_over && client_error => return Some(self.order_afresh()),
            (_, At::OwnAccount | At::List(_)) if client_error => {
                self.at = At::NewOrder;
                return None;
            }
            (_, At::Listed(left)) if client_error => {
                self.at = listed(left.clone());
                return None;
            }
            ("orderNotReady", At::Finalize(_)) => {
                self.at = At::Order;
                return Some(self.wait(POLL));
            }
            // It looks already, or has looked.
            (_, At::Challenge(at)) if client_error => {
                self.at = At::Challenge(at + 1);
                return None;
            }
            _ => {}
        }
        let trouble = trouble::of_reply(reply, &problem, now);
        let lost = client_error
            && matches!(self.at, At::NewOrder | At::Finalize(_) | At::Authorization(_) | At::Poll(_));
        Some(if lost { self.give_up(trouble) } else { self.fail(trouble) })
    }

    fn forget_account(&mut self) -> Step {
        self.account_renewed = true;
        self.wish.account = None;
        self.wish.begun = Begun::Nothing;
        self.at = At::Account;
        Step::Keep(Keep::Account(None))
    }

    /// The order of an earlier try is of no use any more.
    fn order_afresh(&mut self) -> Step {
        self.is_left_over = false;
        self.order = None;
        self.at = At::NewOrder;
        self.begun(Begun::Asked)
    }

    /// A reply that is none of trouble. `None`: what is next is in `at`.
    fn heard(&mut self, reply: &Reply, now: WallTime) -> Option<Step> {
        self.bad_nonces = 0;
        let pause = reply.retry_after.as_deref().and_then(|value| retry_after(value, now));
        match self.at.clone() {
            At::Directory => self.heard_directory(reply),
            At::Account => self.heard_account(reply),
            At::OwnAccount => {
                let list = says::account(&reply.body).and_then(|account| account.orders);
                self.at = list.map_or(At::NewOrder, At::List);
                None
            }
            At::List(_) => {
                let mut list = says::orders(&reply.body).unwrap_or_default().orders;
                let old = list.len().saturating_sub(MAX_LISTED);
                self.at = if list.is_empty() { At::NewOrder } else { At::Listed(list.split_off(old)) };
                None
            }
            At::Listed(left) => self.heard_listed(reply, left),
            At::NewOrder => self.heard_new_order(reply),
            At::Order | At::Finalize(_) => match (says::order(&reply.body), &self.wish.begun) {
                (Some(order), Begun::Order(url)) => {
                    let url = url.clone();
                    self.follow(url, order, pause)
                }
                _ => Some(self.fail(Trouble::nonsense("order"))),
            },
            At::Authorization(at) => self.heard_authorization(reply, at),
            At::Challenge(at) => {
                self.at = At::Challenge(at + 1);
                None
            }
            At::Poll(at) => self.heard_poll(reply, at, pause),
            At::Certificate(_) => Some(Step::Issued(reply.body.clone())),
            At::Begin | At::Answers | At::Request | At::Over(_) => {
                Some(self.fail(Trouble::nonsense("reply")))
            }
        }
    }

    fn heard_directory(&mut self, reply: &Reply) -> Option<Step> {
        let Some(directory) = says::directory(&reply.body) else {
            return Some(self.fail(Trouble::nonsense("directory")));
        };
        let refused = self.unfit(&directory);
        if directory.renewal_info.is_none() {
            self.wish.replaces = None;
        }
        self.directory = Some(directory);
        if let Some(trouble) = refused {
            return Some(self.fail(trouble));
        }
        match self.wish.account {
            Some(_) => self.with_account(),
            None => self.at = At::Account,
        }
        None
    }

    /// What of the settings this authority cannot do.
    fn unfit(&self, directory: &Directory) -> Option<Trouble> {
        let offered = &directory.meta.profiles;
        if let Some(profile) = self.wish.profile.as_ref().filter(|wanted| !offered.contains_key(*wanted)) {
            let names: Vec<&str> = offered.keys().map(String::as_str).collect();
            let there = if names.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has {}", names.join(", "))
            };
            let text = format!(
                "server.acme.profile: the authority has no profile {profile}, {there}; correct or remove it"
            );
            return Some(Trouble::new(Kind::Refused, trouble::clean(&text)));
        }
        let needs = directory.meta.external_account_required
            && self.wish.eab_kid.is_none()
            && self.wish.account.is_none();
        let problem = || Problem {
            kind: "urn:ietf:params:acme:error:externalAccountRequired".into(),
            ..Problem::default()
        };
        needs.then(|| trouble::of_problem(&problem(), ""))
    }

    fn heard_account(&mut self, reply: &Reply) -> Option<Step> {
        let account = says::account(&reply.body).unwrap_or_default();
        let Some(url) = reply.location.as_deref().and_then(CallUrl::new) else {
            return Some(self.fail(Trouble::nonsense("account")));
        };
        if !matches!(account.status.as_str(), "" | "valid") {
            let text = "the authority has closed our account; move account.json in the state directory's acme away, and reload: \
                        a new account is made";
            return Some(self.fail(Trouble::new(Kind::Refused, text)));
        }
        self.wish.account = Some(url.as_str().to_owned());
        self.with_account();
        Some(Step::Keep(Keep::Account(self.wish.account.clone())))
    }

    /// What is next once there is an account.
    fn with_account(&mut self) {
        self.is_left_over = matches!(self.wish.begun, Begun::Order(_));
        self.at = match self.wish.begun {
            Begun::Order(_) => At::Order,
            Begun::Asked => At::OwnAccount,
            Begun::Nothing => At::Begin,
        };
    }

    /// An order of the list: whether it is the one that we did not hear of.
    fn heard_listed(&mut self, reply: &Reply, mut left: Vec<CallUrl>) -> Option<Step> {
        let url = left.pop();
        let order = says::order(&reply.body).filter(|order| self.is_ours(order));
        match (url, order) {
            (Some(url), Some(order)) => {
                let url = url.as_str().to_owned();
                let _ = self.follow(url.clone(), order, None);
                Some(self.begun(Begun::Order(url)))
            }
            _ => {
                self.at = if left.is_empty() { At::NewOrder } else { At::Listed(left) };
                None
            }
        }
    }

    /// Whether an order can still be used, and is for exactly our names.
    fn is_ours(&self, order: &Order) -> bool {
        let mut theirs: Vec<String> =
            order.identifiers.iter().map(|name| name.value.to_ascii_lowercase()).collect();
        let mut ours = self.wish.names.clone();
        theirs.sort_unstable();
        ours.sort_unstable();
        matches!(order.status, Status::Pending | Status::Ready) && theirs == ours
    }

    fn heard_new_order(&mut self, reply: &Reply) -> Option<Step> {
        let url = reply.location.as_deref().and_then(CallUrl::new);
        let (Some(order), Some(url)) = (says::order(&reply.body), url) else {
            return Some(self.fail(Trouble::nonsense("order")));
        };
        let url = url.as_str().to_owned();
        // What comes after it is settled; keeping the order goes first.
        match self.follow(url.clone(), order, None) {
            Some(Step::Keep(keep)) => Some(Step::Keep(keep)),
            _ => Some(self.begun(Begun::Order(url))),
        }
    }

    /// What is next by the state of the order.
    fn follow(&mut self, url: String, order: Order, pause: Option<u64>) -> Option<Step> {
        let is_left_over = std::mem::take(&mut self.is_left_over);
        let (status, certificate, error) = (order.status, order.certificate.clone(), order.error.clone());
        let proved = !self.proofs.is_empty();
        self.order = Some((url, order));
        match status {
            Status::Pending if proved => {
                self.at = At::Order;
                Some(self.wait(pause.unwrap_or(POLL)))
            }
            Status::Pending => {
                self.at = At::Authorization(0);
                None
            }
            Status::Ready => {
                self.at = At::Request;
                None
            }
            Status::Processing => {
                self.at = At::Order;
                Some(self.wait(pause.unwrap_or(POLL)))
            }
            Status::Valid => match certificate {
                Some(url) => {
                    self.at = At::Certificate(url);
                    None
                }
                None => Some(self.give_up(Trouble::nonsense("order"))),
            },
            Status::Invalid | Status::Gone if is_left_over => Some(self.order_afresh()),
            Status::Invalid | Status::Gone => {
                let problem = error.unwrap_or_default();
                let trouble = match problem.name() {
                    "" => Trouble::new(
                        Kind::Refused,
                        "the order expired or failed at the authority; a new one is made",
                    ),
                    _ => trouble::of_problem(&problem, ""),
                };
                Some(self.give_up(trouble))
            }
        }
    }

    fn heard_authorization(&mut self, reply: &Reply, at: usize) -> Option<Step> {
        let found = says::authorization(&reply.body);
        let url = self.order.as_ref().and_then(|(_, order)| order.authorizations.get(at)).cloned();
        let (Some(found), Some(url)) = (found, url) else {
            return Some(self.fail(Trouble::nonsense("authorization")));
        };
        match found.status {
            // Proved in an earlier order, and still good.
            Status::Valid => {}
            Status::Pending | Status::Processing => match self.proof(&found, url) {
                Ok(proof) => self.proofs.push(proof),
                Err(trouble) => return Some(self.give_up(trouble)),
            },
            _ => return Some(self.give_up(of_authorization(&found))),
        }
        let count = self.order.as_ref().map_or(0, |(_, order)| order.authorizations.len());
        self.at = match (at + 1 < count, self.proofs.is_empty()) {
            (true, _) => At::Authorization(at + 1),
            (false, false) => At::Answers,
            (false, true) => At::Order,
        };
        match self.at {
            At::Order => Some(self.wait(POLL)),
            _ => None,
        }
    }

    /// How a name is proved: in our way, else in the other.
    fn proof(&self, authorization: &Authorization, url: CallUrl) -> Result<Proof, Trouble> {
        let name = authorization.identifier.value.clone();
        let offered = |way: Way| {
            let of_kind = |challenge: &&says::Challenge| {
                challenge.kind == way.challenge() && challenge.has_sound_token()
            };
            authorization.challenges.iter().find(of_kind).map(|challenge| (challenge, way))
        };
        let Some((challenge, way)) = offered(self.wish.way).or_else(|| offered(self.wish.way.other())) else {
            let text = format!(
                "{}: the authority offers neither http-01 nor tls-alpn-01 for it; use another server.acme.directory",
                trouble::clean(&name)
            );
            return Err(Trouble::new(Kind::Refused, text));
        };
        let answer = Answer { name, way, token: challenge.token.clone(), key_authorization: String::new() };
        let triggered = challenge.status == Status::Processing;
        Ok(Proof { url, challenge: challenge.url.clone(), answer, triggered })
    }

    fn heard_poll(&mut self, reply: &Reply, at: usize, pause: Option<u64>) -> Option<Step> {
        let Some(found) = says::authorization(&reply.body) else {
            return Some(self.fail(Trouble::nonsense("authorization")));
        };
        match found.status {
            Status::Valid => {
                self.at = At::Poll(at + 1);
                None
            }
            Status::Pending | Status::Processing => Some(self.wait(pause.unwrap_or(POLL))),
            _ => Some(self.give_up(of_authorization(&found))),
        }
    }

    /// Waits where we stand, unless that takes too long for one try.
    fn wait(&mut self, seconds: u64) -> Step {
        let seconds = seconds.max(1);
        self.waited = self.waited.saturating_add(seconds);
        if seconds <= MAX_WAIT && self.waited <= MAX_WAITS {
            return Step::Wait(seconds);
        }
        let text = "the authority is still at work; the same order is gone on with later";
        self.fail(Trouble { retry_after: Some(seconds), ..Trouble::new(Kind::Unreachable, text) })
    }

    /// Fills in what is answered: whose key it is comes from outside.
    fn answers(&mut self, signer: &dyn Signer) {
        for proof in &mut self.proofs {
            proof.answer.key_authorization = jws::key_authorization(signer, &proof.answer.token);
        }
    }
}

/// Those of a list that are left once its last was looked at.
fn listed(mut left: Vec<CallUrl>) -> At {
    left.pop();
    if left.is_empty() { At::NewOrder } else { At::Listed(left) }
}

/// A nonce (RFC 8555, 6.5.1), of a length that fits into a request.
fn is_sound_nonce(nonce: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=512).contains(&nonce.len()) && nonce.bytes().all(fits)
}

fn identifier(name: &str) -> Value {
    let kind = if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
    json!({"type": kind, "value": name})
}

/// Why a name could not be proved.
fn of_authorization(authorization: &Authorization) -> Trouble {
    let Identifier { value, .. } = &authorization.identifier;
    let error = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    match error {
        Some(problem) => trouble::of_problem(problem, value),
        None => Trouble::new(
            Kind::Unproved,
            format!("{}: the authority did not see our answer, and does not say why", trouble::clean(value)),
        ),
    }
}

#[cfg(test)]
mod tests;
