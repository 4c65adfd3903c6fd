//! Who has how many peers: the shares of sessions and addresses in `webrtc.max_peers`, and in what may be unfinished.
//!
//! A peer is unfinished from its offer until it is connected: an offer costs whoever sends it nothing, and us 40 KiB and perhaps a
//! port. So there may be few of these, and one session or address has only a part of them. One that has waited longer than
//! browsers take gives way to a newer one of the same client: a person who reloads the page is not kept out by his own past.

use std::net::IpAddr;
use std::time::Duration;

use crate::core::ids::SessionId;
use crate::core::limits::fair_share::{FEW, FairShare, Refused, Share, Sizes};
use crate::media::role::PeerLimit;

/// Peers that are not connected yet. Browsers check within a second of the answer.
const UNFINISHED: Sizes = Sizes { capacity: 256, reserve: 64 };

/// Of one session.
const UNFINISHED_OF_SESSION: usize = 64;

/// Of one address in one session: forty people of one room who come at once, and some who reload.
const UNFINISHED_OF_ADDRESS_IN_SESSION: usize = 48;

/// Of one address in all sessions.
const UNFINISHED_OF_ADDRESS: usize = 64;

/// After so long without a check an unfinished peer may be displaced: an honest browser that takes longer is rare, and asks again.
const WAITED_IN_VAIN: Duration = Duration::from_secs(3);

/// Whose a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its session.
    pub session: SessionId,
    /// The network it was offered from; `None`: it counts for no address.
    pub network: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Session(SessionId),
    Address(IpAddr),
    AddressInSession(SessionId, IpAddr),
}

/// The counts.
#[derive(Debug)]
pub struct Places {
    max_peers: usize,
    max_viewers: usize,
    all: FairShare<Key>,
    unfinished: FairShare<Key>,
}

impl Client {
    /// The names that its places are taken in, with the shares in this order: the session's, the address', that of both.
    fn shares(&self, [session, address, both]: [usize; 3]) -> Vec<Share<Key>> {
        let mut shares = vec![Share { key: Key::Session(self.session.clone()), most: session }];
        if let Some(network) = self.network {
            let in_session = Key::AddressInSession(self.session.clone(), network);
            shares.push(Share { key: Key::Address(network), most: address });
            shares.push(Share { key: in_session, most: both });
        }
        shares
    }

    fn keys(&self) -> Vec<Key> {
        self.shares([0; 3]).into_iter().map(|share| share.key).collect()
    }
}

impl Places {
    /// At most so many peers, and so many viewers of one session.
    pub fn new(max_peers: usize, max_viewers: usize) -> Places {
        let (all, unfinished) = (FairShare::new(Sizes::of(max_peers)), FairShare::new(UNFINISHED));
        Places { max_peers, max_viewers, all, unfinished }
    }

    /// Takes a place for a peer that was just offered.
    pub fn take(&mut self, client: &Client) -> Result<(), PeerLimit> {
        self.ask_lasting(client, None)?;
        self.ask_unfinished(client)?;
        let refused = |_| PeerLimit::Peers;
        self.all.take(&self.lasting(client)).map_err(refused)?;
        self.unfinished.take(&unfinished(client)).map_err(refused)
    }

    /// Takes a place for a peer that may wait for as long as it likes: a member of a room, who has shown a token and has others' bounds.
    pub fn take_patient(&mut self, client: &Client) -> Result<(), PeerLimit> {
        self.all.take(&self.lasting(client)).map_err(|_| PeerLimit::Peers)
    }

    /// A peer is connected, or over.
    pub fn finish(&mut self, client: &Client) {
        self.unfinished.give_back(&client.keys());
    }

    /// A peer is gone.
    pub fn leave(&mut self, client: &Client, was_unfinished: bool) {
        self.all.give_back(&client.keys());
        if was_unfinished {
            self.finish(client);
        }
    }

    /// Whether there is a place among all peers. `viewers`: so many has the session that another one is for.
    pub fn ask_lasting(&self, client: &Client, viewers: Option<usize>) -> Result<(), PeerLimit> {
        if let Some(viewers) = viewers {
            self.ask_viewer(client, viewers)?;
        }
        self.all.ask(&self.lasting(client)).map_err(|refused| match refused {
            Refused::Share(_) => PeerLimit::PeersOfAddress,
            Refused::Full => PeerLimit::Peers,
        })
    }

    /// An eighth of a session's viewers is kept for addresses that have few of them.
    fn ask_viewer(&self, client: &Client, viewers: usize) -> Result<(), PeerLimit> {
        if viewers >= self.max_viewers {
            return Err(PeerLimit::Viewers);
        }
        let Some(network) = client.network else { return Ok(()) };
        let held = self.all.held_by(&Key::AddressInSession(client.session.clone(), network));
        let kept = Sizes::of(self.max_viewers).reserve;
        if held >= FEW && viewers + kept >= self.max_viewers {
            return Err(PeerLimit::PeersOfAddress);
        }
        Ok(())
    }

    /// Whether there is a place among the unfinished.
    pub fn ask_unfinished(&self, client: &Client) -> Result<(), PeerLimit> {
        self.unfinished.ask(&unfinished(client)).map_err(|refused| match refused {
            Refused::Share(0) => PeerLimit::UnfinishedOfSession,
            Refused::Share(_) => PeerLimit::UnfinishedOfAddress,
            Refused::Full => PeerLimit::Unfinished,
        })
    }

    /// Whether an unfinished peer of this age gives way to one of `client`: its place must help, and when it is the whole pool that
    /// is used up, its session must have more than few.
    pub fn may_displace(&self, client: &Client, other: &Client, limit: PeerLimit, age: Duration) -> bool {
        let has_many = || self.unfinished.held_by(&Key::Session(other.session.clone())) >= FEW;
        age >= WAITED_IN_VAIN
            && (limit != PeerLimit::Unfinished || has_many())
            && self.unfinished.ask_without(&other.keys(), &unfinished(client)).is_ok()
    }

    fn lasting(&self, client: &Client) -> Vec<Share<Key>> {
        client.shares([self.max_peers, self.max_peers.div_ceil(2), self.max_peers])
    }
}

fn unfinished(client: &Client) -> Vec<Share<Key>> {
    client.shares([UNFINISHED_OF_SESSION, UNFINISHED_OF_ADDRESS, UNFINISHED_OF_ADDRESS_IN_SESSION])
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    fn client(session: u8, host: u8) -> Client {
        let network = (host > 0).then(|| IpAddr::from([192, 0, 2, host]));
        Client { session: SessionId::from_entropy([session; 16]), network }
    }

    fn taken(places: &mut Places, client: &Client) -> usize {
        (0..1_000).take_while(|_| places.take(client).is_ok()).count()
    }

    #[test]
    fn a_session_and_an_address_have_a_part_of_what_may_be_unfinished() {
        let mut places = Places::new(1_000, 500);
        assert_eq!(taken(&mut places, &client(1, 1)), UNFINISHED_OF_ADDRESS_IN_SESSION);
        assert_eq!(places.ask_unfinished(&client(1, 1)), Err(PeerLimit::UnfinishedOfAddress));
        assert_eq!(taken(&mut places, &client(1, 2)), 16, "the rest of the session's");
        assert_eq!(places.ask_unfinished(&client(1, 3)), Err(PeerLimit::UnfinishedOfSession));
        assert_eq!(taken(&mut places, &client(2, 1)), 16, "the rest of the address'");
        assert_eq!(places.ask_unfinished(&client(2, 1)), Err(PeerLimit::UnfinishedOfAddress));
        places.finish(&client(1, 1));
        assert_eq!(places.take(&client(1, 1)), Ok(()), "one that connected makes room");
    }

    #[test]
    fn whoever_comes_new_gets_a_place_when_others_took_all_they_could() {
        let mut places = Places::new(10_000, 5_000);
        let taken: usize = (1..=9).map(|session| taken(&mut places, &client(session, 0))).sum();
        assert!(taken >= UNFINISHED.capacity - UNFINISHED.reserve, "{taken}");
        assert_eq!(places.take(&client(99, 1)), Ok(()));
    }

    #[test]
    fn what_waited_in_vain_gives_way_to_its_own_kind() {
        let mut places = Places::new(1_000, 500);
        taken(&mut places, &client(1, 1));
        let limit = PeerLimit::UnfinishedOfAddress;
        let displaces = |other: &Client, age| places.may_displace(&client(1, 1), other, limit, age);
        assert!(displaces(&client(1, 1), LONG));
        assert!(
            !displaces(&client(1, 1), Duration::from_secs(1)),
            "it may be a browser that is about to check"
        );
        assert!(!displaces(&client(1, 2), LONG), "another address would not make room");
        assert!(!displaces(&client(2, 1), LONG), "another session would not make room");
    }

    #[test]
    fn an_address_leaves_an_eighth_of_a_sessions_viewers_to_others() {
        let mut places = Places::new(1_000, 80);
        let mut viewers = 0;
        while places.ask_lasting(&client(1, 1), Some(viewers)).is_ok() {
            places.take(&client(1, 1)).unwrap();
            places.finish(&client(1, 1));
            viewers += 1;
        }
        assert_eq!((viewers, places.ask_lasting(&client(1, 2), Some(viewers))), (70, Ok(())));
        assert_eq!(places.ask_lasting(&client(1, 1), Some(viewers)), Err(PeerLimit::PeersOfAddress));
        assert_eq!(places.ask_lasting(&client(1, 2), Some(80)), Err(PeerLimit::Viewers));
        assert_eq!(places.ask_lasting(&client(2, 1), Some(0)), Ok(()));
    }

    #[test]
    fn a_worker_full_of_two_sessions_viewers_takes_a_microphone_of_a_third() {
        let mut places = Places::new(100, 50);
        for session in [1, 2] {
            for _ in 0..50 {
                if places.take(&client(session, 0)).is_ok() {
                    places.finish(&client(session, 0));
                }
            }
        }
        assert_eq!(places.ask_lasting(&client(1, 0), None), Err(PeerLimit::Peers));
        assert_eq!(places.take(&client(3, 0)), Ok(()));
    }
}
