//! Calls to workers, and the one question that decides whether a create may go elsewhere: did it begin?

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Body, RequestBuilder};

use crate::config::live::Live;
use crate::config::secret::Secret;
use crate::controller::lease::{Leadership, NotLeading};
use crate::controller::messages::{Create, RoomWish};
use crate::controller::snapshot::{Published, Reach};
use crate::core::fleet::bodies::BodyEntry;
use crate::core::fleet::parcel::Parcel;
use crate::core::fleet::turns::Fault;
use crate::core::fleet::wire::{
    BASE_URL_FIELD, END_REASON_FIELD, FAULT_FIELD, LEASE_FIELD, SESSION_ID_FIELD, STAMP_FIELD, Stamp,
    TIME_LEFT_FIELD,
};
use crate::core::ids::{SessionId, WorkerId};
use crate::core::namespaces::RoomId;
use crate::core::namespaces::wire::RoomsReply;
use crate::core::session::reason::EndReason;
use crate::edge::router::Upstream;
use crate::host::clock::Clock;
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;

/// Connecting to a worker of the same network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest reply that is read.
const REPLY_LIMIT: u64 = 1 << 20;

/// Speaks to workers, to each with the token that was made for it: what one of them hears is good for nothing elsewhere.
/// No connection is kept: one that went stale would leave open whether a create had begun.
#[derive(Clone, Debug)]
pub struct WorkerClient {
    agent: ureq::Agent,
    live: Arc<Live>,
    published: Arc<Published>,
    leadership: Leadership,
    clock: Clock,
    is_over: Arc<AtomicBool>,
}

/// Dials what was judged when the worker's heartbeat was taken, and looks up no name again.
#[derive(Debug)]
struct JudgedAddresses(Arc<Published>);

impl Resolver for JudgedAddresses {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let asked = uri.authority().map_or("", |authority| authority.as_str());
        let mut addresses = self.empty();
        match self.0.upstream_of(asked) {
            Some(Upstream::Tcp(address) | Upstream::Tls(address, _)) => addresses.push(address),
            Some(Upstream::Unix(_)) | None => return Err(ureq::Error::HostNotFound),
        }
        Ok(addresses)
    }
}

/// An answer to a beat is with its worker by then.
const TOKEN_ARRIVES: Duration = Duration::from_secs(1);

/// Between two calls to a worker that does not know its token yet. Each is a wrong token to it, so they are few.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// A worker's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Its place in the worker's history; only answers about a session that began, or a room, have one.
    pub stamp: Option<Stamp>,
    /// Whose fault a failure is, where the worker says so.
    pub fault: Option<Fault>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// The document; null when there is none.
    pub body: Value,
}

impl Reply {
    /// The error in the worker's words.
    pub fn error_text(&self) -> String {
        let text = |key: &str| self.body.get(key).and_then(Value::as_str);
        match (text("error"), text("detail")) {
            (Some(error), Some(detail)) => format!("{error}: {detail}"),
            (Some(words), None) | (None, Some(words)) => words.to_owned(),
            (None, None) => format!("it answers {} and does not say why", self.status),
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Nothing was delivered.
    NotReached(String),
    /// It may have been delivered.
    Lost(String),
    /// Nothing was delivered, or the worker says that it did nothing: this controller does not lead.
    NotLeading(NotLeading),
}

impl WorkerClient {
    /// A client that reaches workers as they are published, and believes these authorities.
    pub fn new(
        live: Arc<Live>,
        published: Arc<Published>,
        roots: TlsConfig,
        (leadership, clock): (Leadership, Clock),
    ) -> WorkerClient {
        let config = ureq::Agent::config_builder()
            .middleware(http_client::Traced("worker"))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .http_status_as_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .tls_config(roots)
            .max_redirects(0)
            .build();
        let resolver = JudgedAddresses(published.clone());
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), resolver);
        WorkerClient { agent, live, published, leadership, clock, is_over: Arc::default() }
    }

    /// Ends the calls that are under way, and makes no more: this controller is going down.
    pub fn interrupt(&self) {
        self.is_over.store(true, Ordering::Release);
        self.agent.clone().shutdown();
    }

    /// Whether no more calls are made.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Has it written down that a worker may have a session of a body, where the next leader reads it: before the worker is asked.
    pub fn list(&self, entry: &BodyEntry) -> Result<(), CallError> {
        self.leadership.list(entry).map_err(CallError::NotLeading)
    }

    /// Starts the session that `create` asks for. The worker has `left` for it, its answer `limit`.
    pub fn create(
        &self,
        worker: &WorkerId,
        create: &Create,
        left: Duration,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        until_token_is_known(&reach, || {
            let call = self.agent.post(format!("{}/api/v1/sessions", reach.url));
            let call =
                call.header(SESSION_ID_FIELD, create.id.expose()).header(BASE_URL_FIELD, &create.base_url);
            let call = call.header(TIME_LEFT_FIELD, left.as_millis().to_string());
            let call = self.show(call, &reach)?;
            self.obeyed(call.config().timeout_global(Some(limit)).build().send_json(create.request.to_json()))
        })
    }

    /// Ends a session.
    pub fn delete(
        &self,
        worker: &WorkerId,
        id: &SessionId,
        reason: EndReason,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        until_token_is_known(&reach, || {
            let call = self.agent.delete(format!("{}/api/v1/sessions/{}", reach.url, id.expose()));
            let call = self.show(call.header(END_REASON_FIELD, reason.code()), &reach)?;
            self.obeyed(call.config().timeout_global(Some(limit)).build().call())
        })
    }

    /// Has a worker let a session go, which answers with its parcel.
    pub fn let_go(&self, worker: &WorkerId, id: &SessionId, limit: Duration) -> Result<Reply, CallError> {
        self.delete(worker, id, EndReason::Moved, limit)
    }

    /// Has a worker go on with a session. It has `left` for it, its answer `limit`.
    pub fn take(
        &self,
        worker: &WorkerId,
        (id, parcel): (&SessionId, &Parcel),
        (left, limit): (Duration, Duration),
    ) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        until_token_is_known(&reach, || {
            let call = self.agent.put(format!("{}/api/v1/sessions/{}/request", reach.url, id.expose()));
            let call = call.header(TIME_LEFT_FIELD, left.as_millis().to_string());
            let call = self.show(call, &reach)?;
            read(call.config().timeout_global(Some(limit)).build().send_json(parcel))
        })
    }

    /// The parcel of a session, from the worker that has it or let it go. Who asks need not lead.
    pub fn parcel(&self, worker: &WorkerId, id: &SessionId, limit: Duration) -> Option<Parcel> {
        let reach = self.reach(worker).ok()?;
        let url = format!("{}/api/v1/sessions/{}/request", reach.url, id.expose());
        let call = self.agent.get(url).header("Authorization", self.bearer(&reach));
        let reply = read(call.config().timeout_global(Some(limit)).build().call()).ok()?;
        serde_json::from_value(reply.body).ok().filter(|_| reply.status == 200)
    }

    /// Looks at a session.
    pub fn inspect(&self, worker: &WorkerId, id: &SessionId, limit: Duration) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        until_token_is_known(&reach, || {
            let url = format!("{}/api/v1/sessions/{}", reach.url, id.expose());
            // Who looks need not lead.
            let call = match self.show(self.agent.get(&url), &reach) {
                Ok(call) => call,
                Err(_) => self.agent.get(&url).header("Authorization", self.bearer(&reach)),
            };
            read(call.config().timeout_global(Some(limit)).build().call())
        })
    }

    /// Brings copies of namespaces to a worker. They hold secrets, so it must have proved who it is.
    pub fn copies(
        &self,
        worker: &WorkerId,
        parcel: &RoomsReply,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        if reach.call_token.is_none() {
            return Err(CallError::NotReached("it has not proved who it is".to_owned()));
        }
        until_token_is_known(&reach, || {
            let call = self.agent.post(format!("{}/api/v1/namespaces/copies", reach.url));
            let call = self.show(call, &reach)?;
            self.obeyed(call.config().timeout_global(Some(limit)).build().send_json(parcel))
        })
    }

    /// Has a worker make a room or close it, with the token of whoever asks: the worker judges it once more.
    pub fn room(
        &self,
        worker: &WorkerId,
        wish: RoomWish,
        room: &RoomId,
        token: &Secret,
        limit: Duration,
    ) -> Result<Reply, CallError> {
        let reach = self.reach(worker)?;
        let (url, bearer) = (format!("{}/v1/webrtc/rooms", reach.url), format!("Bearer {}", token.expose()));
        read(match wish {
            RoomWish::Make => {
                let call = self.agent.post(url).header("Authorization", bearer);
                let call = call.config().timeout_global(Some(limit)).build();
                call.send_json(serde_json::json!({"room_id": room}))
            }
            RoomWish::Close => {
                let call =
                    self.agent.delete(url).query("room_id", room.as_str()).header("Authorization", bearer);
                call.config().timeout_global(Some(limit)).build().call()
            }
        })
    }

    fn reach(&self, worker: &WorkerId) -> Result<Arc<Reach>, CallError> {
        let found = self.published.reach(worker);
        found.ok_or_else(|| CallError::NotReached(format!("worker {worker} is not known any more")))
    }

    /// Who we are, and our lease.
    fn show<B>(&self, call: RequestBuilder<B>, reach: &Reach) -> Result<RequestBuilder<B>, CallError> {
        let proof = self.leadership.proof(self.clock.now(), reach.generation, reach.time);
        let call = match proof.map_err(CallError::NotLeading)? {
            Some(proof) => call.header(LEASE_FIELD, proof.to_string()),
            None => call,
        };
        Ok(call.header("Authorization", self.bearer(reach)))
    }

    /// The answer to a call that shows our lease. One that names a number is of a worker that does nothing for ours.
    fn obeyed(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Reply, CallError> {
        let number = |response: &Response<Body>| field(response, LEASE_FIELD)?.parse().ok();
        match sent.as_ref().ok().and_then(number) {
            Some(number) => {
                self.leadership.heard(number);
                Err(CallError::NotLeading(NotLeading(None)))
            }
            None => read(sent),
        }
    }

    fn bearer(&self, reach: &Reach) -> String {
        format!("Bearer {}", reach.token(&self.live.get()))
    }
}

/// A worker learns its token with the answer to its first beat, and may be called the moment before: then it is asked again.
/// What answers 401 has done nothing.
fn until_token_is_known(
    reach: &Reach,
    call: impl Fn() -> Result<Reply, CallError>,
) -> Result<Reply, CallError> {
    loop {
        let sent = call();
        let is_refused = sent.as_ref().is_ok_and(|reply| reply.status == 401);
        let is_on_its_way = reach.call_token.is_some() && reach.since.elapsed() < TOKEN_ARRIVES;
        if !is_refused || !is_on_its_way {
            return sent;
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

fn field(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn read(sent: Result<Response<Body>, ureq::Error>) -> Result<Reply, CallError> {
    let mut response = sent.map_err(classify)?;
    let field = |name: &str| field(&response, name);
    let (stamp, retry_after, fault) = (field(STAMP_FIELD), field("Retry-After"), field(FAULT_FIELD));
    let status = response.status().as_u16();
    let mut read = || response.body_mut().with_config().limit(REPLY_LIMIT).read_json();
    let body = match status {
        204 => Value::Null,
        // A refusal is one in whatever words, also in those of something else that answers in the worker's place.
        300..=599 => read().unwrap_or(Value::Null),
        _ => read().map_err(|error| CallError::Lost(error.to_string()))?,
    };
    let stamp = stamp.and_then(|text| text.parse().ok());
    Ok(Reply { status, stamp, fault: fault.and_then(|text| text.parse().ok()), retry_after, body })
}

/// Only what certainly failed before the first byte went out counts as not reached.
fn classify(error: ureq::Error) -> CallError {
    if let Some(why) = crypto::refused_certificate(&error) {
        let advice = "check workers.ca_file and the worker's server.tls.cert";
        return CallError::NotReached(format!("its certificate is refused ({why}); {advice}"));
    }
    let text = error.to_string();
    let not_reached = match &error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(io) => matches!(
            io.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkDown
        ),
        _ => false,
    };
    if not_reached { CallError::NotReached(text) } else { CallError::Lost(text) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;
    use crate::config::settings::{Role, Settings};
    use crate::controller::snapshot::tests::publish_worker;
    use crate::core::fleet::wire::{CallToken, Generation};

    const LIMIT: Duration = Duration::from_secs(10);

    fn client(url: String, upstream: Upstream) -> (WorkerClient, WorkerId) {
        let id: WorkerId = "a".parse().unwrap();
        let call_token = Some(CallToken::new("for-a-only".to_owned()));
        let (proof, generation, since) = (Arc::default(), Generation::default(), Instant::now());
        let time = None;
        let reach = Reach { url, upstream, call_token, proof, generation, since, time };
        let published = Arc::new(Published::default());
        publish_worker(&published, &id, Arc::new(reach));
        let live = Arc::new(Live::new(Settings::defaults(Role::Controller)));
        crypto::install();
        let alone = (Leadership::alone(), Clock::start());
        (WorkerClient::new(live, published, crypto::client_roots(None).unwrap(), alone), id)
    }

    // SPEC 4: A worker that is called before it has learned its token is asked again, and nobody
    // hears of it
    #[test]
    fn a_worker_that_does_not_know_its_token_yet_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = std::thread::spawn(move || {
            for status in ["401 Unauthorized", "401 Unauthorized", "200 OK"] {
                let (mut call, _) = listener.accept().unwrap();
                let _ = call.read(&mut [0; 4096]).unwrap();
                let reply =
                    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
                call.write_all(reply.as_bytes()).unwrap();
            }
        });
        let (client, id) = client(format!("http://{address}"), Upstream::Tcp(address));
        let reply = client.inspect(&id, &SessionId::from_entropy([1; 16]), LIMIT);
        assert!(matches!(&reply, Ok(reply) if reply.status == 200), "{reply:?}");
        worker.join().unwrap();
    }

    /// Answers one call with this head.
    fn answers_once(head: &'static str) -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = std::thread::spawn(move || {
            let (mut call, _) = listener.accept().unwrap();
            let _ = call.read(&mut [0; 4096]).unwrap();
            let reply = format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            call.write_all(reply.as_bytes()).unwrap();
        });
        (address, worker)
    }

    #[test]
    fn a_worker_that_has_heard_of_a_later_lease_says_that_we_do_not_lead() {
        let session = SessionId::from_entropy([1; 16]);
        type Ask<'a> = &'a dyn Fn(&WorkerClient, &WorkerId) -> Result<Reply, CallError>;
        let delete: Ask = &|client, id| client.delete(id, &session, EndReason::Deleted, LIMIT);
        let copies: Ask = &|client, id| client.copies(id, &RoomsReply::default(), LIMIT);
        for ask in [delete, copies] {
            let sent = |head| {
                let (address, worker) = answers_once(head);
                let (client, id) = client(format!("http://{address}"), Upstream::Tcp(address));
                let sent = ask(&client, &id);
                worker.join().unwrap();
                sent
            };
            let refused = sent("409 Conflict\r\nNeck-Lease: 7");
            assert_eq!(refused.unwrap_err(), CallError::NotLeading(NotLeading(None)));
            let other = sent("409 Conflict");
            assert!(matches!(&other, Ok(reply) if reply.status == 409), "{other:?}");
        }
    }

    #[test]
    fn a_call_goes_to_the_judged_address_and_no_name_is_looked_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let worker = std::thread::spawn(move || {
            let (mut call, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = call.read(&mut request).unwrap();
            call.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        // Nobody resolves a name below `.invalid` (RFC 6761).
        let (client, id) =
            client(format!("http://worker.invalid:{}", address.port()), Upstream::Tcp(address));
        let session = SessionId::from_entropy([1; 16]);
        let reply = client.inspect(&id, &session, LIMIT);
        assert!(matches!(&reply, Ok(reply) if reply.status == 200), "{reply:?}");
        let request = worker.join().unwrap().to_lowercase();
        assert!(request.contains("authorization: bearer for-a-only"), "{request}");
        assert!(request.contains("host: worker.invalid"), "{request}");
        let unknown = client.inspect(&"b".parse().unwrap(), &session, LIMIT);
        assert!(matches!(unknown, Err(CallError::NotReached(_))), "{unknown:?}");
    }
}
