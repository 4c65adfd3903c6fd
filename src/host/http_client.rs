//! Agents for calls to other services. `ureq` looks every host up on a thread of its own, addresses too, and ends the
//! process where that thread cannot be had. Here an address needs no thread, and a name without one is an error.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::middleware::{Middleware, MiddlewareNext};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, SendBody};

use crate::core::ids;
use crate::host::crypto;
use crate::host::names::{self, NotFound};

/// Addresses that are tried of one name.
const MOST_ADDRESSES: usize = 16;

/// An agent with this configuration.
pub fn agent(config: Config) -> Agent {
    agent_to(config, None)
}

/// An agent that finds every host at this address, if there is one, whatever its name leads to elsewhere.
pub fn agent_to(config: Config, host: Option<IpAddr>) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Names(host))
}

/// Tells of each call of an agent at the debug level: whom it asked for what, and what came of it. Nothing secret is in what is told:
/// no field, no query, no body, no whole id.
#[derive(Clone, Copy, Debug)]
pub struct Traced(pub &'static str);

impl Middleware for Traced {
    fn handle(
        &self,
        request: Request<SendBody>,
        next: MiddlewareNext,
    ) -> Result<Response<Body>, ureq::Error> {
        if !log::log_enabled!(log::Level::Debug) {
            return next.handle(request);
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let peer = uri.authority().map_or("", |authority| authority.as_str());
        let peer = peer.rsplit('@').next().unwrap_or_default();
        let (path, whom, begun) = (ids::shown_path(uri.path()), self.0, Instant::now());
        let answered = next.handle(request);
        let ms = begun.elapsed().as_millis();
        match &answered {
            Ok(response) => {
                let status = response.status().as_u16();
                log::debug!(peer, method:%, path:%, status, ms; "[call] {whom} {method} {peer}{path}: {status} in {ms} ms");
            }
            Err(error) => {
                log::debug!(peer, method:%, path:%, reason:% = error, ms; "[call] {whom} {method} {peer}{path}: {error} after {ms} ms");
            }
        }
        answered
    }
}

/// Why a call of `url` was not answered, in words that tell a wrong scheme from everything else.
pub fn in_words(error: &ureq::Error, url: &str) -> String {
    let https = url.starts_with("https://");
    let plain_at_https = matches!(crypto::tls_error(error), Some(rustls::Error::InvalidMessage(_)));
    let hint = match error {
        _ if https && plain_at_https => {
            "what answers there speaks plain HTTP: write http://, or the port that it has for HTTPS"
        }
        ureq::Error::Protocol(_) if !https => {
            "what answers there speaks no plain HTTP: write https:// if it is a port for HTTPS"
        }
        ureq::Error::Io(io) if !https && closes_at_once(io.kind()) => {
            "it closes the connection without an answer: write https:// if it is a port for HTTPS"
        }
        _ if is_unknown_host(error) => {
            "its name cannot be looked up: check the name, and the name servers in /etc/resolv.conf"
        }
        _ => return error.to_string(),
    };
    format!("{hint} ({error})")
}

/// Whether a name could not be looked up.
pub fn is_unknown_host(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        // What getaddrinfo(3) says has no kind of its own.
        ureq::Error::Io(error) => error.raw_os_error().is_none() && error.to_string().contains("lookup"),
        _ => false,
    }
}

fn closes_at_once(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What a redirection or the refusal of plain HTTP at a port for HTTPS says about the URL that was called. `None`: nothing.
pub fn advice_of(reply: &Response<Body>, url: &str) -> Option<String> {
    let location = reply.headers().get("Location").and_then(|value| value.to_str().ok());
    match (reply.status().as_u16(), location) {
        (300..400, Some(to)) => {
            let to: String = to.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect();
            Some(format!("it leads on to {to}: write the URL that it really has"))
        }
        (400, _) if url.starts_with("http://") => {
            Some("write https:// if that is a port for HTTPS".to_owned())
        }
        _ => None,
    }
}

/// Longest part of a `Location` that is shown.
const MAX_SHOWN: usize = 200;

/// Looks hosts up; `.0`: where they all are.
#[derive(Debug)]
struct Names(Option<IpAddr>);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or_else(|| ureq::Error::BadUri("it names no host".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let found = match self.0 {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            None => look_up(host, port, timeout)?,
        };
        let family = config.ip_family();
        let wanted = family.keep_wanted(found.into_iter());
        let mut addresses = self.empty();
        wanted.take(MOST_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn look_up(host: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
    names::look_up(host, port, *timeout.after).map_err(|error| match error {
        // Nothing was sent to anybody: as with a connection that is refused, another try is safe.
        NotFound::NoThread(_) => {
            ureq::Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, error.to_string()))
        }
        NotFound::Late => ureq::Error::Timeout(timeout.reason),
        NotFound::Unknown(error) => ureq::Error::Io(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(uri: &str) -> Result<Vec<SocketAddr>, ureq::Error> {
        let uri: Uri = uri.parse().expect("a URI");
        let timeout = NextTimeout {
            after: ureq::unversioned::transport::time::Duration::from_secs(10),
            ..NextTimeout::default()
        };
        Names(None).resolve(&uri, &Config::default(), timeout).map(|found| found.to_vec())
    }

    #[test]
    fn addresses_and_names_are_found_with_the_port_of_the_scheme() {
        let v4 = |port| vec![SocketAddr::from(([127, 0, 0, 9], port))];
        assert_eq!(resolved("http://127.0.0.9/x").expect("found"), v4(80));
        assert_eq!(resolved("https://127.0.0.9").expect("found"), v4(443));
        assert_eq!(resolved("http://127.0.0.9:81").expect("found"), v4(81));
        assert_eq!(resolved("http://[::1]:82/").expect("found"), ["[::1]:82".parse().expect("an address")]);
        let named = resolved("http://localhost:83/").expect("found");
        assert!(named.iter().all(|found| found.ip().is_loopback() && found.port() == 83), "{named:?}");
    }

    /// What a call of a server says that answers with these bytes, whatever it is sent.
    fn said(scheme: &str, answer: &'static [u8]) -> String {
        use std::io::{Read, Write};
        crypto::install();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("{scheme}://{}/", listener.local_addr().expect("its address"));
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a connection");
            let _ = peer.read(&mut [0; 4096]);
            let _ = peer.write_all(answer);
        });
        let client = agent(Agent::config_builder().http_status_as_error(false).max_redirects(0).build());
        let called = client.get(&url).call();
        server.join().expect("its end");
        match called {
            Err(error) => in_words(&error, &url),
            Ok(reply) => advice_of(&reply, &url).unwrap_or_default(),
        }
    }

    // SPEC 5: An `https` URL of a plain port, and an `http` URL of a TLS port, say so
    #[test]
    fn a_scheme_that_does_not_fit_the_port_is_told() {
        let plain = said("https", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        assert!(plain.contains("write http://"), "{plain}");
        for answer in [&b"\x15\x03\x01\x00\x02\x02\x46"[..], b""] {
            let tls = said("http", answer);
            assert!(tls.contains("write https://"), "{answer:?}: {tls}");
        }
        let nginx = said("http", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        assert!(nginx.contains("write https://"), "{nginx}");
        let moved = said(
            "http",
            b"HTTP/1.1 301 Moved\r\nLocation: https://neck.example.com/\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(moved.contains("leads on to https://neck.example.com/"), "{moved}");
        assert_eq!(said("http", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "");
    }

    #[test]
    fn a_name_that_nobody_has_is_an_error() {
        assert!(resolved("http://nobody.invalid/").is_err());
    }
}
