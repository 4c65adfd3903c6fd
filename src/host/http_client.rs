//! Agents for calls to other services. `ureq` looks every host up on a thread of its own, addresses too, and ends the
//! process where that thread cannot be had. Here an address needs no thread, and a name without one is an error.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crossbeam_channel::RecvTimeoutError;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Stack of a look-up's thread in bytes: the C library's resolver keeps its answers there.
const STACK: usize = 256 * 1024;

/// Addresses that are tried of one name.
const MOST_ADDRESSES: usize = 16;

/// An agent with this configuration.
pub fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Names)
}

#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or_else(|| ureq::Error::BadUri("it names no host".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => look_up(host, port, timeout)?,
        };
        let family = config.ip_family();
        let wanted = family.keep_wanted(found.into_iter());
        let mut addresses = self.empty();
        wanted.take(MOST_ADDRESSES).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn look_up(host: String, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, ureq::Error> {
    let (sender, found) = crossbeam_channel::bounded(1);
    let work = move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Who asked may have given up.
        let _ = sender.send(addresses);
    };
    let thread = std::thread::Builder::new().name("look-up".into()).stack_size(STACK);
    // Nothing was sent to anybody: as with a connection that is refused, another try is safe.
    thread.spawn(work).map_err(|error| {
        let why = format!("no thread to look the host up: {error}");
        ureq::Error::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why))
    })?;
    match found.recv_timeout(*timeout.after) {
        Ok(addresses) => Ok(addresses?),
        Err(RecvTimeoutError::Timeout) => Err(ureq::Error::Timeout(timeout.reason)),
        Err(RecvTimeoutError::Disconnected) => Err(ureq::Error::HostNotFound),
    }
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
        Names.resolve(&uri, &Config::default(), timeout).map(|found| found.to_vec())
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

    #[test]
    fn a_name_that_nobody_has_is_an_error() {
        assert!(resolved("http://nobody.invalid/").is_err());
    }
}
