//! Asks a TURN server for relays and sends a packet from one to another, as a stream needs it: its process and its browser may both have
//! nothing but relays. The protocol is `core::turn::client`.

mod link;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::core::turn::client::{self, Ask, Client, Heard, Reach, Refusal, Relay, ServerUrl, Trouble};
use crate::core::turn::credentials::Credentials;
use crate::host::names;
use crate::host::turn::link::Link;
use crate::host::uninterrupted::left;

/// A server of ours refuses each of these: what nobody has (RFC 5737), what a cloud tells a machine about itself, and a public one, for
/// servers that refuse only what is special. They are asked for permission alone; nothing is sent to them.
const FORBIDDEN: [Ipv4Addr; 3] =
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(8, 8, 8, 8)];

/// First wait for an answer over UDP; each further one is twice as long, up to a second (RFC 8489, 6.2.1, for a network that loses little).
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Between two packets from relay to relay: one that is lost on the way is no reason to say that none passes.
const BETWEEN_PACKETS: Duration = Duration::from_millis(100);

/// How long a released relay is waited for: the server forgets it by itself anyway, after ten minutes.
const RELEASE_PATIENCE: Duration = Duration::from_millis(300);

/// How a server is asked.
#[derive(Clone)]
pub struct Plan {
    /// Whom to believe behind `turns:`.
    pub tls: Arc<ClientConfig>,
    /// How long the whole of it may take.
    pub patience: Duration,
}

/// Allocates two relays, sends a packet from one to the other, asks for a peer that must be refused, and gives both back.
pub fn relay_check(url: &str, credentials: &Credentials, plan: &Plan) -> Result<Relay, Trouble> {
    let until = Instant::now() + plan.patience;
    let mut one = Allocation::make(url, credentials, plan, until)?;
    let passed = Allocation::make(url, credentials, plan, until).and_then(|mut two| {
        let passed = pass(&mut one, &mut two, until);
        two.release();
        passed
    });
    let reach = if passed.is_ok() { one.reach(until) } else { Reach::Unknown };
    let relay = Relay { reach, ..one.relay() };
    one.release();
    passed.map(|()| relay)
}

/// Allocates one relay and gives it back: whether the server is up and takes the credentials.
pub fn allocate_check(url: &str, credentials: &Credentials, plan: &Plan) -> Result<Relay, Trouble> {
    let one = Allocation::make(url, credentials, plan, Instant::now() + plan.patience)?;
    let relay = one.relay();
    one.release();
    Ok(relay)
}

/// Those of `peers` that a relay of the server would reach. Nothing is sent to them.
pub fn granted(
    url: &str,
    credentials: &Credentials,
    peers: &[IpAddr],
    plan: &Plan,
) -> Result<Vec<IpAddr>, Trouble> {
    let until = Instant::now() + plan.patience;
    let mut one = Allocation::make(url, credentials, plan, until)?;
    let mut found = Vec::new();
    for peer in peers {
        if one.is_permitted(*peer, until)? {
            found.push(*peer);
        }
    }
    one.release();
    Ok(found)
}

/// A packet from one relay to the other.
fn pass(one: &mut Allocation, two: &mut Allocation, until: Instant) -> Result<(), Trouble> {
    one.permit(two.relayed.ip(), until)?;
    two.permit(one.relayed.ip(), until)?;
    let proof: [u8; 16] = crate::host::entropy::bytes();
    let packet = client::send(crate::host::entropy::bytes(), two.relayed, &proof);
    while Instant::now() < until {
        one.link.send(&packet)?;
        let next = until.min(Instant::now() + BETWEEN_PACKETS);
        while let Some(message) = two.link.receive(next)? {
            if client::data(&message).is_some_and(|(_, data)| data == proof) {
                return Ok(());
            }
        }
    }
    Err(Trouble::Lost(one.relayed, two.relayed))
}

/// A relay that was given to us.
struct Allocation {
    link: Link,
    client: Client,
    relayed: SocketAddr,
    mapped: Option<SocketAddr>,
}

impl Allocation {
    /// Tries each address of the server's name.
    fn make(
        url: &str,
        credentials: &Credentials,
        plan: &Plan,
        until: Instant,
    ) -> Result<Allocation, Trouble> {
        let url = ServerUrl::parse(url).ok_or(Trouble::Url)?;
        let found = names::look_up(&url.host, url.port, left(until));
        let servers = found.map_err(|error| Trouble::Unresolved(error.to_string()))?;
        let mut last = Trouble::Unresolved("it has no address".into());
        for server in servers {
            match Link::open(&url, server, &plan.tls, until)
                .and_then(|link| allocate(link, credentials, until))
            {
                Ok(allocation) => return Ok(allocation),
                Err(trouble) => last = trouble,
            }
        }
        Err(last)
    }

    fn relay(&self) -> Relay {
        Relay {
            server: self.link.server(),
            relayed: self.relayed,
            mapped: self.mapped,
            is_unguarded: !self.client.was_challenged(),
            reach: Reach::Unknown,
            certificate: self.link.certificate(),
        }
    }

    fn permit(&mut self, peer: IpAddr, until: Instant) -> Result<(), Trouble> {
        match ask(&mut self.link, &mut self.client, Ask::Permit(peer), until)? {
            Answer::Granted { .. } => Ok(()),
            Answer::Refused(refusal) => Err(Trouble::Permission(peer, refusal)),
        }
    }

    /// Of a relay with an IPv6 address nothing is asked: no address is known there that coturn takes for a peer and nobody has.
    fn reach(&mut self, until: Instant) -> Reach {
        if !self.relayed.is_ipv4() {
            return Reach::Unknown;
        }
        for peer in FORBIDDEN.map(IpAddr::V4) {
            match self.is_permitted(peer, until) {
                Ok(true) => return Reach::Open(peer),
                Ok(false) => {}
                Err(_) => return Reach::Unknown,
            }
        }
        Reach::Guarded
    }

    fn is_permitted(&mut self, peer: IpAddr, until: Instant) -> Result<bool, Trouble> {
        let answer = ask(&mut self.link, &mut self.client, Ask::Permit(peer), until)?;
        Ok(matches!(answer, Answer::Granted { .. }))
    }

    fn release(mut self) {
        // Nothing depends on it.
        let _ = ask(&mut self.link, &mut self.client, Ask::Release, Instant::now() + RELEASE_PATIENCE);
    }
}

fn allocate(mut link: Link, credentials: &Credentials, until: Instant) -> Result<Allocation, Trouble> {
    let mut client = Client::new(credentials.clone());
    match ask(&mut link, &mut client, Ask::Allocate, until)? {
        Answer::Granted { relayed: Some(relayed), mapped } => {
            Ok(Allocation { link, client, relayed, mapped })
        }
        Answer::Granted { relayed: None, .. } => {
            Err(Trouble::Strange("it grants a relay without saying where that is".into()))
        }
        Answer::Refused(refusal) => Err(Trouble::Allocation(refusal)),
    }
}

/// The end of an exchange.
enum Answer {
    Granted { relayed: Option<SocketAddr>, mapped: Option<SocketAddr> },
    Refused(Refusal),
}

/// Asks until the server has said yes or no.
fn ask(link: &mut Link, client: &mut Client, ask: Ask, until: Instant) -> Result<Answer, Trouble> {
    loop {
        match exchange(link, client, ask, until)? {
            Heard::Again => {}
            Heard::Granted { relayed, mapped } => return Ok(Answer::Granted { relayed, mapped }),
            Heard::Refused(refusal) => return Ok(Answer::Refused(refusal)),
        }
    }
}

/// One request and what is said to it. Over UDP it is sent again.
fn exchange(link: &mut Link, client: &mut Client, ask: Ask, until: Instant) -> Result<Heard, Trouble> {
    let transaction = crate::host::entropy::bytes();
    let request = client.request(transaction, ask);
    let mut wait = FIRST_WAIT;
    while Instant::now() < until {
        link.send(&request)?;
        let pause_ends = if link.is_lossy() { until.min(Instant::now() + wait) } else { until };
        while let Some(message) = link.receive(pause_ends)? {
            if let Some(heard) = client.heard(transaction, ask, &message) {
                return Ok(heard);
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    Err(match link.is_lossy() {
        true => Trouble::Silent(link.server()),
        false => Trouble::Strange("what is there takes the connection, and says nothing".into()),
    })
}

#[cfg(test)]
mod tests;
