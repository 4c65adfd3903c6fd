//! Our public address: asked of a web service, and kept where others look it up.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::Agent;

use crate::core::ice::is_global;
use crate::host::crypto::TlsConfig;
use crate::host::http_client;

/// From the request to the whole answer.
const LIMIT: Duration = Duration::from_secs(3);

/// An address as text has at most 45 characters; more is a page, not an address.
const MOST_BYTES: u64 = 256;

/// The address as it was last learned. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PublicAddress(Arc<(Mutex<Known>, Condvar)>);

#[derive(Debug, Default)]
struct Known {
    address: Option<IpAddr>,
    /// A first question is under way.
    pending: bool,
}

impl PublicAddress {
    /// What is known now.
    pub fn get(&self) -> Option<IpAddr> {
        self.lock().address
    }

    /// Replaces it; returns what was known before.
    pub fn set(&self, address: Option<IpAddr>) -> Option<IpAddr> {
        std::mem::replace(&mut self.lock().address, address)
    }

    /// Somebody is about to ask for the first time.
    pub fn announce(&self) {
        self.lock().pending = true;
    }

    /// The first question was answered, or was not.
    pub fn settle(&self) {
        self.lock().pending = false;
        self.0.1.notify_all();
    }

    /// What is known when the first question is over, at most this much later.
    pub fn get_settled(&self, patience: Duration) -> Option<IpAddr> {
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, |known| known.pending);
        waited.unwrap_or_else(PoisonError::into_inner).0.address
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One GET, three seconds, 2xx only; the body must be one address that the whole internet can reach. The error says what came
/// instead, without repeating it.
pub fn ask(url: &str, tls: &TlsConfig) -> Result<IpAddr, String> {
    let config = Agent::config_builder().timeout_global(Some(LIMIT)).tls_config(tls.clone()).max_redirects(3);
    let agent = http_client::agent(config.build());
    let mut reply = agent.get(url).call().map_err(|error| error.to_string())?;
    let body = reply.body_mut().with_config().limit(MOST_BYTES).read_to_string();
    let body = body.map_err(|error| error.to_string())?;
    let address: IpAddr = body.trim().parse().map_err(|_| "its answer is not an IP address".to_owned())?;
    if !is_global(address) {
        return Err("its answer is not a public address".to_owned());
    }
    Ok(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::crypto;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    /// Asks a server on loopback that answers one request with `reply`.
    fn answered(reply: &'static str) -> Result<IpAddr, String> {
        crypto::install();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/ip", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(reply.as_bytes());
            if reply.is_empty() {
                // Until the client gives up.
                let _ = stream.read(&mut [0; 1]);
            }
        });
        let answer = ask(&url, &crypto::client_roots(None).expect("the public authorities"));
        server.join().expect("the server");
        answer
    }

    #[test]
    fn an_address_with_white_space_around_it_is_understood() {
        let answer = answered("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n 8.8.4.4\n");
        assert_eq!(answer, Ok(IpAddr::from([8, 8, 4, 4])));
    }

    #[test]
    fn everything_else_is_refused() {
        for reply in [
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n10.0.0.1\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n127.0.0.1\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nContent-Length: 7\r\n\r\n8.8.4.4",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n8.8.4.4",
            "HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n8.8.4.4",
            "nonsense",
        ] {
            let answer = answered(reply);
            println!("{reply:?}: {answer:?}");
            assert!(answer.is_err(), "{reply:?}: {answer:?}");
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up_within_the_limit() {
        let begun = Instant::now();
        assert!(answered("").is_err());
        let took = begun.elapsed();
        assert!(took >= LIMIT && took < LIMIT * 2, "{took:?}");
    }

    #[test]
    fn who_needs_every_candidate_waits_for_the_first_answer_and_not_for_ever() {
        let learned = PublicAddress::default();
        assert_eq!(learned.get_settled(LIMIT), None, "nobody asks: nothing to wait for");
        learned.announce();
        assert_eq!(learned.get_settled(Duration::from_millis(20)), None);
        let theirs = learned.clone();
        let waiting = std::thread::spawn(move || theirs.get_settled(Duration::from_secs(60)));
        learned.set(Some(IpAddr::from([8, 8, 4, 4])));
        learned.settle();
        assert_eq!(waiting.join().expect("it waited"), Some(IpAddr::from([8, 8, 4, 4])));
    }

    #[test]
    fn who_holds_a_clone_sees_what_was_learned() {
        let (ours, theirs) = (PublicAddress::default(), PublicAddress::default());
        let clone = ours.clone();
        assert_eq!(ours.set(Some(IpAddr::from([8, 8, 4, 4]))), None);
        assert_eq!((clone.get(), theirs.get()), (Some(IpAddr::from([8, 8, 4, 4])), None));
    }
}
