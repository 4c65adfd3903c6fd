//! A peer's owner who writes a victim's address on what it sends: it has all keys, and reads nothing of what comes back.
//!
//! On loopback anybody may send from 127.0.0.0/8, so the victim is a socket of ours that never answers, and counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};

/// Who has an address that others write on what they send.
pub struct Victim {
    socket: UdpSocket,
    /// Bytes that were sent in its name, and bytes that it got for that.
    pub named: usize,
    pub got: usize,
    /// The largest datagram that it got, and how many.
    pub largest: usize,
    pub datagrams: usize,
}

impl Victim {
    /// Somebody at 127.0.66.`number`.
    pub fn new(number: u8) -> Victim {
        Victim::at(Ipv4Addr::new(127, 0, 66, number).into())
    }

    /// Somebody at this address of ours.
    pub fn at(address: IpAddr) -> Victim {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("nonblocking");
        Victim { socket, named: 0, got: 0, largest: 0, datagrams: 0 }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("its address")
    }

    /// Sends in its name.
    pub fn name(&mut self, datagram: &[u8], to: SocketAddr) {
        self.named += self.socket.send_to(datagram, to).expect("sent");
    }

    /// Counts what it gets within a moment.
    pub fn listen(&mut self, moment: Duration) {
        let end = Instant::now() + moment;
        self.socket.set_nonblocking(false).expect("blocking");
        while let Some(rest) = end.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
            self.socket.set_read_timeout(Some(rest)).expect("a time-out");
            if let Ok(length) = self.socket.recv(&mut [0; 2_048]) {
                self.add(length);
            }
        }
        self.socket.set_nonblocking(true).expect("nonblocking");
    }

    fn add(&mut self, length: usize) {
        self.got += length;
        self.datagrams += 1;
        self.largest = self.largest.max(length);
    }

    /// Counts what it got.
    pub fn count(&mut self) {
        let mut room = [0; 2_048];
        while let Ok(length) = self.socket.recv(&mut room) {
            self.add(length);
        }
    }

    /// Says what was measured, and that it is no more than three times.
    pub fn judge(&self, what: &str) {
        let ratio = self.got as f64 / self.named.max(1) as f64;
        println!(
            "{what}: {} bytes in its name, {} bytes in {} datagrams to it, factor {ratio:.2}, the largest {}",
            self.named, self.got, self.datagrams, self.largest
        );
        assert!(self.named > 0 && self.got <= 3 * self.named, "{what}: factor {ratio:.2}");
        assert!(self.largest < 200, "{what}: {} bytes at once: that is more than a check", self.largest);
    }
}

/// What the spoofer knows of both sides.
pub struct Keys {
    /// Of the server's answer.
    pub server: SocketAddr,
    pub ufrag: String,
    pub pwd: String,
    /// Of its own offer.
    pub own_ufrag: String,
}

impl Keys {
    /// Out of an answer and the own user name fragment.
    pub fn of(answer: &str, own_ufrag: String) -> Keys {
        let value = |name: &str| {
            answer.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned()
        };
        let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
        let words: Vec<&str> = candidates
            .map(|line| line.split(' ').collect())
            .find(|words: &Vec<&str>| words[2] == "udp")
            .expect("UDP");
        let server = format!("{}:{}", words[4], words[5]).parse().expect("an address");
        Keys { server, ufrag: value("a=ice-ufrag:"), pwd: value("a=ice-pwd:"), own_ufrag }
    }

    /// A genuine check with the highest priority there is.
    pub fn check(&self, nominates: bool) -> Vec<u8> {
        let name = format!("{}:{}", self.ufrag, self.own_ufrag);
        let message = StunMessage::binding_request(&name, TransId::new(), true, 7, 0x7fff_ffff, nominates);
        let mut bytes = vec![0; 500];
        let length = message.to_bytes(Some(self.pwd.as_bytes()), &mut bytes, hmac).expect("a message");
        bytes.truncate(length);
        bytes
    }

    /// The shortest genuine check that there is: no role, no fingerprint.
    pub fn short_check(&self) -> Vec<u8> {
        let name = format!("{}:{}", self.ufrag, self.own_ufrag);
        let mut attributes = vec![0, 6];
        attributes.extend(u16::try_from(name.len()).expect("short").to_be_bytes());
        attributes.extend(name.as_bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        attributes.extend([0, 0x24, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
        let mut message = vec![0, 1];
        message.extend(u16::try_from(attributes.len() + 24).expect("short").to_be_bytes());
        message.extend([0x21, 0x12, 0xa4, 0x42]);
        // Any number will do: nobody waits for the answer.
        message.extend([7; 12]);
        message.extend(attributes);
        let integrity = hmac(self.pwd.as_bytes(), &[&message]);
        message.extend([0, 8, 0, 20]);
        message.extend(integrity);
        message
    }

    /// A round of an attack: checks of both kinds and, in the victim's name, what the own client sent of everything else.
    pub fn attack(&self, victim: &mut Victim, also: &[Vec<u8>]) {
        victim.name(&self.check(true), self.server);
        victim.name(&self.check(false), self.server);
        also.iter().for_each(|datagram| victim.name(datagram, self.server));
        victim.count();
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    str0m::crypto::from_feature_flags().sha1_hmac_provider.sha1_hmac(key, parts)
}
