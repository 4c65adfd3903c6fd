//! Calls of the authority: bounded in time and size, believing only whom `server.acme.ca_file` or the public list says.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::CertificateError::{
    BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer,
};
use ureq::http::{HeaderMap, Request, Response};
use ureq::{Agent, Body};

use crate::acme::protocol::issuance::{Call, Input};
use crate::acme::protocol::says::{MAX_REPLY_BYTES, Reply};
use crate::acme::protocol::trouble::{Kind, Trouble};
use crate::host::clock::wall_time;
use crate::host::crypto;
use crate::host::http_client::{self, Traced, is_unknown_host};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For a whole call: an authority that signs may take seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Who we are (RFC 8555, 6.1).
const USER_AGENT: &str = concat!("hydraneckwebrtc/", env!("CARGO_PKG_VERSION"));

/// Calls one authority.
pub struct Client {
    agent: Agent,
    /// Whether `server.acme.ca_file` says whom to believe.
    has_ca_file: bool,
}

impl Client {
    /// The error says what is wrong with `server.acme.ca_file`.
    pub fn new(ca_file: Option<&Path>) -> Result<Client, String> {
        let config = Agent::config_builder()
            .tls_config(crypto::client_roots(ca_file)?)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(CALL_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .middleware(Traced("the certificate authority"))
            .build();
        Ok(Client { agent: http_client::agent(config), has_ca_file: ca_file.is_some() })
    }

    /// Makes a call.
    pub fn call(&self, call: &Call) -> Input {
        match self.reply(call) {
            Ok(reply) => Input::Reply(reply),
            Err(error) => Input::Unreached(self.unreached(&error, url_of(call))),
        }
    }

    fn reply(&self, call: &Call) -> Result<Reply, ureq::Error> {
        let builder = Request::builder().uri(url_of(call));
        let response = match call {
            Call::Get(_) => self.agent.run(builder.method("GET").body(())?)?,
            Call::Head(_) => self.agent.run(builder.method("HEAD").body(())?)?,
            Call::Post { body, .. } => {
                let request = builder.method("POST").header("Content-Type", "application/jose+json");
                self.agent.run(request.body(body.as_str())?)?
            }
        };
        read(response)
    }

    fn unreached(&self, error: &ureq::Error, url: &str) -> Trouble {
        let host = url.split('/').nth(2).unwrap_or_default();
        let certificate = match crypto::tls_error(error) {
            Some(rustls::Error::InvalidCertificate(why)) => Some(why),
            _ => None,
        };
        let (kind, advice) = match certificate {
            Some(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }) => {
                let now = wall_time().rfc3339();
                (
                    Kind::Local,
                    format!("its certificate is not valid at {now}, which is what this host's clock says: set the clock (`timedatectl`)"),
                )
            }
            Some(UnknownIssuer | BadSignature) if self.has_ca_file => (
                Kind::Local,
                "server.acme.ca_file does not hold the authority that its certificate comes from: correct or remove it".to_owned(),
            ),
            Some(UnknownIssuer | BadSignature) => (
                Kind::Local,
                "its certificate comes from nobody that is believed: check server.acme.directory, and for an authority of your own set \
                 server.acme.ca_file"
                    .to_owned(),
            ),
            _ if is_unknown_host(error) => (
                Kind::Unreachable,
                "its name cannot be looked up: check this host's DNS and server.acme.directory".to_owned(),
            ),
            _ => (Kind::Unreachable, "check that this host may call it; it is tried again".to_owned()),
        };
        Trouble::new(
            kind,
            format!("the certificate authority at {host} cannot be reached: {advice} ({error})"),
        )
    }
}

fn url_of(call: &Call) -> &str {
    match call {
        Call::Get(url) | Call::Head(url) | Call::Post { url, .. } => url,
    }
}

fn read(mut response: Response<Body>) -> Result<Reply, ureq::Error> {
    let field = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let (status, headers) = (response.status().as_u16(), response.headers());
    let (nonce, location) = (field(headers, "Replay-Nonce"), field(headers, "Location"));
    let retry_after = field(headers, "Retry-After");
    let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_vec();
    let body = body.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => ureq::Error::Io(io::Error::other("it answers without end")),
        error => error,
    })?;
    Ok(Reply { status, nonce, location, retry_after, body })
}
