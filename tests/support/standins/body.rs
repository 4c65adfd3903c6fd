//! A simulated body ([`crate::sunshine`]) where every client counts as paired from the start.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::sunshine::{Body, BodyFaults, BodyOptions, BodyPorts};

/// Name and id of each app of a fresh body. The first id is the one Sunshine gives `Desktop`.
pub const APPS: &[(&str, u32)] = &[("Desktop", 881_448_767), ("Demo", 303_580_669)];

/// The running body. Dropping it ends its threads.
pub struct SimulatedBody {
    body: Body,
}

impl SimulatedBody {
    /// Starts on 127.0.0.1 at a port that the kernel chooses.
    pub fn start() -> io::Result<SimulatedBody> {
        SimulatedBody::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts on an address of the caller's, for tests that need several bodies. The port is GameStream's; the others are
    /// of the kernel's choice.
    pub fn start_on(address: SocketAddr) -> io::Result<SimulatedBody> {
        let mut options = BodyOptions::on(address.ip());
        options.ports.http = address.port();
        options.faults = BodyFaults { already_paired: true, ..BodyFaults::default() };
        Ok(SimulatedBody { body: Body::start(&options)? })
    }

    /// Where it listens: the address for `body_ip`, the port for `bodies.http_port`.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.body.ip(), self.body.ports().http)
    }

    /// All its ports.
    pub fn ports(&self) -> BodyPorts {
        self.body.ports()
    }

    /// Stops listening and waits for the threads.
    pub fn stop(self) {
        self.body.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    fn get(body: &SimulatedBody, path: &str) -> String {
        let mut client = TcpStream::connect(body.address()).expect("connects");
        write!(client, "GET {path} HTTP/1.1\r\nHost: body\r\nConnection: close\r\n\r\n").expect("sends");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("reads");
        reply
    }

    #[test]
    fn the_body_tells_that_it_is_free_and_what_it_runs() {
        let body = SimulatedBody::start().expect("starts");
        let info = get(&body, "/serverinfo?uniqueid=1");
        assert!(info.contains("<state>SUNSHINE_SERVER_FREE</state>"), "{info}");
        let apps = get(&body, "/applist");
        assert!(apps.contains("<AppTitle>Desktop</AppTitle><ID>881448767</ID>"), "{apps}");
    }

    #[test]
    fn a_stopped_body_does_not_answer() {
        let body = SimulatedBody::start().expect("starts");
        let address = body.address();
        body.stop();
        assert!(TcpStream::connect(address).is_err());
    }
}
