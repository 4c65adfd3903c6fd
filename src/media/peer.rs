//! One peer on its media thread: feeds its WebRTC state, carries out what that asks for, tells its role.

mod reports;

use std::collections::VecDeque;
use std::fmt;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::media::Rid;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{RawPacket, Ssrc};
use str0m::{Candidate, Event, Input, Output, Reason, Rtc};

use crate::core::ids::SessionId;
use crate::core::rooms::registry::MediaOrder;
use crate::media::audience::Followers;
use crate::media::burden::Burden;
use crate::media::consent::{Consent, Credentials};
use crate::media::egress::{self, Clocks, Egress, Withheld};
use crate::media::ids::PeerId;
use crate::media::local_candidates::{LocalCandidates, Transport};
use crate::media::offer;
use crate::media::outbox::{Via, Way};
use crate::media::peer_life::{self, CONNECT_LIMIT, Change, Life, Limits, SILENCE};
use crate::media::peer_registry::Owner;
use crate::media::pending_peer::PendingPeer;
use crate::media::role::{Changes, Context, Description, Gone, Role, RoleEvent, RoleKind};
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::routes::Routes;
use crate::media::sdp::offer::MAX_CANDIDATES;
use crate::media::sdp::{Agreement, IceParameters};
use crate::media::shared::{RestartRefused, Restarted};
use crate::media::sockets::{Datagram, Remote, Sockets};
use crate::media::stream::StreamId;
use crate::media::transport::address_proof::Standing as Proof;
use crate::media::transport::arrival_numbers::ArrivalNumbers;
use crate::media::transport::datagram;
use crate::media::transport::handshake_trouble::Trouble;
use crate::media::view::{PeerView, Standing};

/// As good as for ever: a hundred years.
const NO_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Addresses a peer may come from in its life. A phone that changes networks all day has fewer; str0m keeps each.
const MAX_REMOTES: usize = 64;

/// Checks of ours that may be open at once.
const MAX_CHECKS: usize = 64;

/// Times a peer is asked again within one turn when its next deadline is already over.
const MAX_AGAIN: usize = 4;

/// The least a deadline lies ahead: str0m names times that have passed.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// How much later than it asks for the WebRTC state may look for what is missing and report what came: the next packet, which is there by then as
/// a rule, has it do so without waking anybody.
const REPORT_SLACK: Duration = Duration::from_millis(20);

/// The WebRTC state of a viewer whose media we send has reports and checks to make, of a second's pace: they wait so long for a batch to go along with.
const SLACK: Duration = Duration::from_millis(50);

/// A peer.
pub struct Peer {
    id: PeerId,
    session: SessionId,
    /// Apart from the rest, which each batch needs: it takes several pages.
    rtc: Box<Rtc>,
    role: Box<dyn Role>,
    view: Arc<PeerView>,
    agreement: Option<Agreement>,
    /// Both sides agreed on something.
    is_described: bool,
    /// Of a room: it has a port of its own kind, and comes by a relay.
    is_member: bool,
    routes: Routes,
    arrivals: ArrivalNumbers,
    ufrag: String,
    locals: LocalCandidates,
    life: Life,
    /// Which addresses read what we send.
    consent: Consent,
    remotes: Vec<Remote>,
    checks: VecDeque<[u8; 12]>,
    trickled: usize,
    /// The entry in the heap of deadlines that counts.
    timer_at: Option<Instant>,
    wants: Instant,
    /// When the WebRTC state wants to be asked again.
    rtc_wants: Instant,
    /// The time that it was told with the last media.
    rtc_now: Option<Instant>,
    /// It was given media and has not been asked since what that comes to.
    is_unsettled: bool,
    /// What we send ourselves.
    egress: Egress,
    /// Which clocks of what it sends the WebRTC state knows.
    clocks: Clocks,
    /// Seen since the last datagram was fed: media, an answer to a check.
    took_media: bool,
    answered: bool,
    /// What is being fed is a check that has its answer already.
    answers_again: bool,
    /// What its handshake said of its end, before it was connected.
    trouble: Option<Trouble>,
    /// What reading its datagrams takes.
    pub(super) burden: Burden,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}, {})", self.id, self.role.kind())
    }
}

/// A source that is expected because of a packet that came from it.
struct Routed {
    ssrc: Ssrc,
    /// The one that its section had.
    before: Option<Ssrc>,
}

/// Bytes of a datagram. What comes by a network has some 1,500; one of 64 KiB could hold reports of which each takes 30 KiB to read.
const LONGEST: usize = 2_048;

/// Whether a peer goes on.
pub type Verdict = Result<(), Gone>;

/// How far the WebRTC state is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// It has given the packet that it was given.
    Media,
    /// It has nothing more to say.
    Done,
}

/// What becomes of a datagram that claims to be a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    /// The WebRTC state gets it.
    Yes,
    /// It is kept until its address has proved itself.
    Held,
    /// It is not the peer's.
    No,
}

impl Peer {
    /// Takes over a peer that was offered.
    pub fn adopt(mut seed: Box<PendingPeer>, io: &mut Sockets) -> std::io::Result<Peer> {
        if let Some(pair) = seed.own.take() {
            io.give_port(seed.id, pair)?;
        }
        for source in seed.role.follows() {
            io.followers.add(io.index, &source, seed.id);
        }
        let is_member = seed.role.kind() == RoleKind::Member;
        // A member may have nobody to speak with yet, and nothing to say.
        let connect = if is_member { NO_LIMIT } else { CONNECT_LIMIT };
        let limits = Limits { connect, silence: SILENCE, grace: io.shared.config.ice_grace };
        let life = Life::new(limits, io.shared.moment(seed.since));
        let ours = seed.rtc.direct_api().local_ice_credentials();
        let mut peer = Peer {
            id: seed.id,
            session: seed.session,
            rtc: Box::new(seed.rtc),
            role: seed.role,
            view: seed.view,
            agreement: seed.agreement,
            is_described: !is_member,
            is_member,
            routes: seed.routes,
            arrivals: ArrivalNumbers::default(),
            ufrag: seed.ufrag,
            locals: seed.locals,
            life,
            consent: Consent::new(Credentials {
                our_ufrag: ours.ufrag,
                our_pwd: ours.pass,
                their_ufrag: seed.their_ufrag,
                their_pwd: seed.their_pwd,
            }),
            remotes: Vec::new(),
            checks: VecDeque::new(),
            trickled: 0,
            timer_at: None,
            wants: seed.since,
            rtc_wants: seed.since,
            rtc_now: None,
            is_unsettled: false,
            egress: seed.egress,
            clocks: Clocks::default(),
            took_media: false,
            answered: false,
            answers_again: false,
            trouble: None,
            burden: Burden::default(),
        };
        peer.announced(&seed.their_candidates, peer.wants, io);
        Ok(peer)
    }

    /// Its name.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Our user name fragment, which its checks name.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Takes a datagram that is, or claims to be, the peer's.
    pub fn receive(&mut self, arrival: &Datagram<'_>, io: &mut Sockets) -> Verdict {
        let shared = io.shared.clone();
        let is_too_long = arrival.remote.transport == Transport::Udp && arrival.bytes.len() > LONGEST;
        if is_too_long || !self.is_member && is_unwanted(arrival.bytes) {
            shared.counters.bad.one();
            return Ok(());
        }
        if !self.may_come(arrival, io) {
            shared.counters.unknown.one();
            return Ok(());
        }
        let Some(destination) = self.locals.offered(arrival.remote.transport, arrival.local) else {
            shared.counters.unknown.one();
            return Ok(());
        };
        let (now, address) = (shared.moment(arrival.at), arrival.remote.address);
        // Before anybody else reads it: FFmpeg's answers have no address, which the WebRTC state does not take for STUN.
        if arrival.remote.transport == Transport::Udp && self.consent.is_proof(now, address, arrival.bytes) {
            // An address that another peer has still is asked for again with what comes next.
            return if self.learn(arrival, io) { self.feed_held(arrival, destination, io) } else { Ok(()) };
        }
        let proto = arrival.remote.transport.into();
        let Ok(receive) = Receive::new(proto, arrival.remote.address, destination, arrival.bytes) else {
            shared.counters.bad.one();
            return Ok(());
        };
        let input = Input::Receive(arrival.at, receive);
        match self.admit(&input, arrival, io) {
            Admitted::Yes => self.feed(input, arrival, io),
            Admitted::Held => Ok(()),
            Admitted::No => {
                shared.counters.spoofed.one();
                Ok(())
            }
        }
    }

    /// Whether it can be the peer's at all. Members come to their own port, by a relay where that is enforced, and once their client has told its
    /// password; others never come there.
    fn may_come(&mut self, arrival: &Datagram<'_>, io: &mut Sockets) -> bool {
        if self.is_member != (arrival.via == Via::Rooms) {
            return false;
        }
        let rooms = io.shared.config.rooms.as_ref().filter(|_| self.is_member);
        if rooms.is_none_or(|rooms| rooms.takes(arrival.remote.address.ip())) {
            return !self.is_member || self.is_described;
        }
        self.tell(RoleEvent::NotRelayed, arrival.at, io);
        false
    }

    fn feed(&mut self, input: Input<'_>, arrival: &Datagram<'_>, io: &mut Sockets) -> Verdict {
        let shared = io.shared.clone();
        (self.took_media, self.answered) = (false, false);
        self.look_for_trouble(arrival, io);
        if let Some(verdict) = self.take_reports(arrival, io) {
            return verdict;
        }
        if !self.is_countable(arrival.bytes) {
            shared.counters.bad.one();
            return Ok(());
        }
        let routed = self.route(arrival.bytes);
        let is_media = self.is_connected() && datagram::kind(arrival.bytes) == Some(datagram::Kind::Rtp);
        let input = if is_media { self.in_its_time(input)? } else { input };
        if self.rtc.handle_input(input).is_err() {
            shared.counters.bad.one();
        }
        if datagram::request_transaction(arrival.bytes).is_some() {
            self.egress.note_check(arrival.remote.address);
        }
        let verdict = if is_media { self.take_packet(arrival.at, io) } else { self.turn(arrival.at, io) };
        if let Some(routed) = routed {
            self.settle_route(routed);
        }
        if self.was_genuine(arrival, io) {
            self.note_heard(arrival.at, io)?;
        }
        verdict
    }

    fn is_connected(&self) -> bool {
        self.life.state() != peer_life::State::Connecting
    }

    /// Media that came in one turn are of one time, and the WebRTC state's timers run once for all of them: it lets them run with whatever it is
    /// given, unless that is from before its time. So it is told the time, and is given media as if they had come a nanosecond before.
    fn in_its_time<'d>(&mut self, input: Input<'d>) -> Result<Input<'d>, Gone> {
        let Input::Receive(at, receive) = input else { return Ok(input) };
        if self.rtc_now != Some(at) {
            self.rtc_now = Some(at);
            self.rtc.handle_input(Input::Timeout(at)).map_err(|_| Gone::Failed)?;
        }
        Ok(Input::Receive(at.checked_sub(Duration::from_nanos(1)).unwrap_or(at), receive))
    }

    /// Takes the packet that the WebRTC state was just given: it holds one at a time. What else that comes to it is asked in [`Peer::settle`].
    fn take_packet(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        if !std::mem::replace(&mut self.is_unsettled, true) {
            io.unsettled.push(self.id);
        }
        self.drain(Until::Media, now, io).map(|_| ())
    }

    /// Ends a turn in which media came.
    pub fn settle(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        if self.is_unsettled { self.turn(now, io) } else { Ok(()) }
    }

    fn note_heard(&mut self, at: Instant, io: &mut Sockets) -> Verdict {
        let now = io.shared.moment(at);
        self.view.note_heard(now);
        let change = self.life.input(now, peer_life::Event::Heard);
        self.changed(change, at, io)
    }

    /// Whether the WebRTC state can count a packet's transport-wide number.
    fn is_countable(&mut self, datagram: &[u8]) -> bool {
        self.arrivals.is_beyond()
            || self.routes.transport_numbers(datagram).all(|number| self.arrivals.admits(number))
    }

    /// A source that the WebRTC state does not know, of a packet that names no section: it is expected in the section that has the
    /// packet's payload type.
    fn route(&mut self, datagram: &[u8]) -> Option<Routed> {
        if !self.is_connected() || datagram::kind(datagram) != Some(datagram::Kind::Rtp) {
            return None;
        }
        let route = self.routes.find(datagram)?;
        let (ssrc, mid, rid) =
            (Ssrc::from(route.ssrc), route.mid.into(), route.rid.as_deref().map(Rid::from));
        let mut api = self.rtc.direct_api();
        if route.ssrc == 0 || api.stream_rx(&ssrc).is_some() {
            return None;
        }
        let before = api.stream_rx_by_mid(mid, rid).map(|stream| stream.ssrc());
        api.expect_stream_rx(ssrc, None, mid, rid);
        Some(Routed { ssrc, before })
    }

    /// Only who has the keys has a source: it takes the place of the section's last one, or nothing is left of it.
    fn settle_route(&mut self, routed: Routed) {
        let over = if self.took_media { routed.before } else { Some(routed.ssrc) };
        over.into_iter().for_each(|ssrc| {
            self.rtc.direct_api().remove_stream_rx(ssrc);
        });
    }

    /// A handshake that will not come to its end says why in the clear: that is for the log and for the session's owner.
    fn look_for_trouble(&mut self, arrival: &Datagram<'_>, io: &mut Sockets) {
        if self.is_connected() || datagram::kind(arrival.bytes) != Some(datagram::Kind::Dtls) {
            return;
        }
        let Some(trouble) = Trouble::of(arrival.bytes).filter(|trouble| self.trouble < Some(*trouble)) else {
            return;
        };
        self.trouble = Some(trouble);
        self.log(&format!("its handshake will not end: {trouble}"), arrival.at, io);
        self.tell(RoleEvent::Handshake(trouble), arrival.at, io);
    }

    /// What an address sent before it proved itself.
    fn feed_held(&mut self, proof: &Datagram<'_>, destination: SocketAddr, io: &mut Sockets) -> Verdict {
        for held in self.consent.take_held(proof.remote.address) {
            let arrival = Datagram { bytes: &held.datagram, ..*proof };
            if let Ok(receive) = Receive::new(Protocol::Udp, proof.remote.address, destination, arrival.bytes)
            {
                self.answers_again = held.is_answered;
                let verdict = self.feed(Input::Receive(proof.at, receive), &arrival, io);
                self.answers_again = false;
                verdict?;
            }
        }
        Ok(())
    }

    /// Whether the WebRTC state hears of a datagram: only once its address has proved that it reads what we send. The handshake of TCP
    /// has done so already.
    fn admit(&mut self, input: &Input<'_>, arrival: &Datagram<'_>, io: &mut Sockets) -> Admitted {
        let (now, address) = (io.shared.moment(arrival.at), arrival.remote.address);
        let is_known = self.is_known(arrival, io);
        if arrival.remote.transport == Transport::Tcp {
            return if is_known || self.recognise(input, arrival, io) { Admitted::Yes } else { Admitted::No };
        }
        let standing = self.consent.standing(now, address);
        if standing == Proof::Due && is_known {
            self.ask(arrival.at, answering(arrival), io);
        }
        match standing {
            Proof::Proved | Proof::Due if is_known || self.recognise(input, arrival, io) => Admitted::Yes,
            Proof::Proved | Proof::Due => Admitted::No,
            Proof::Unproved => self.hold(input, arrival, io),
        }
    }

    /// Something from an address that has not proved itself, or not lately: it is asked to.
    fn hold(&mut self, input: &Input<'_>, arrival: &Datagram<'_>, io: &mut Sockets) -> Admitted {
        let (now, address) = (io.shared.moment(arrival.at), arrival.remote.address);
        let is_stun = datagram::kind(arrival.bytes) == Some(datagram::Kind::Stun);
        if !is_stun || !self.rtc.accepts(input) || !self.consent.hold(now, address, arrival.bytes) {
            return Admitted::No;
        }
        // Our check first: whoever answers it before taking our answer loses nothing of what follows.
        self.ask(arrival.at, answering(arrival), io);
        if let Some(answer) = self.consent.answer(now, address, arrival.bytes) {
            io.outbox.push(answering(arrival), &answer, &io.shared.counters);
        }
        Admitted::Held
    }

    /// Sends a check of our own, unless one went there a moment ago.
    fn ask(&mut self, now: Instant, way: Way, io: &mut Sockets) {
        let Some((check, fresh)) = self.consent.ask(io.shared.moment(now), way.to) else { return };
        if let Some(transaction) = fresh {
            self.note_check(transaction, io);
        }
        io.outbox.push(way, &check, &io.shared.counters);
    }

    /// With full ICE we check first, wherever the browser says that it may be.
    fn announced(&mut self, candidates: &[String], now: Instant, io: &Sockets) {
        if !io.shared.config.ice_lite && !self.is_member {
            let parsed: Vec<Candidate> =
                candidates.iter().filter_map(|text| offer::candidate(text)).collect();
            self.consent.announced(io.shared.moment(now), &parsed);
        }
    }

    fn is_known(&self, arrival: &Datagram<'_>, io: &mut Sockets) -> bool {
        match io.paths.get_mut(&arrival.remote) {
            Some(path) if path.peer == self.id => {
                (path.heard, path.local, path.via) = (arrival.at, arrival.local.ip(), arrival.via);
                true
            }
            _ => false,
        }
    }

    /// Whether a datagram from an address that is not known as the peer's is the peer's. Its address is then known.
    fn recognise(&mut self, input: &Input<'_>, arrival: &Datagram<'_>, io: &mut Sockets) -> bool {
        self.rtc.accepts(input) && self.learn(arrival, io)
    }

    fn learn(&mut self, arrival: &Datagram<'_>, io: &mut Sockets) -> bool {
        let is_new = !self.remotes.contains(&arrival.remote);
        let learned = (!is_new || self.remotes.len() < MAX_REMOTES) && io.learn(arrival, self.id);
        if learned && is_new {
            self.remotes.push(arrival.remote);
        }
        learned
    }

    /// Whether the datagram that was just fed had the peer's keys, as far as can be seen.
    fn was_genuine(&self, arrival: &Datagram<'_>, io: &Sockets) -> bool {
        let counters = &io.shared.counters;
        match datagram::kind(arrival.bytes) {
            Some(datagram::Kind::Stun) if datagram::request_transaction(arrival.bytes).is_some() => {
                if !self.answered {
                    counters.spoofed.one();
                }
                self.answered
            }
            Some(datagram::Kind::Rtp) => {
                if !self.took_media {
                    counters.refused.one();
                }
                self.took_media
            }
            _ => true,
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        if self.view.end_is_wanted() {
            return Err(Gone::Closed);
        }
        let change = self.life.input(io.shared.moment(now), peer_life::Event::Tick);
        self.changed(change, now, io)?;
        let wakes = self.role.wakes().is_some_and(|at| io.shared.moment(now).reached(at));
        if self.role.due().is_some() {
            self.stream(None, &[], now, io)?;
            if !wakes {
                return Ok(());
            }
        }
        if wakes {
            self.tell(RoleEvent::Awake, now, io);
            self.change(now, io)?;
        }
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            return Err(Gone::Failed);
        }
        self.turn(now, io)
    }

    /// Looks at what the next batch will need, with no result. Memory that is asked for of several peers in a row comes at once; each peer's own work
    /// would wait for it piece by piece.
    pub fn fetch(&self) {
        self.egress.fetch();
        self.role.fetch();
        black_box((self.rtc_wants, self.timer_at, self.life.next_deadline()));
    }

    /// Takes more of the stream that it follows, and sends what that comes to in one go: before the next peer's turn, because what was
    /// just encrypted is still near the processor then.
    pub fn stream(
        &mut self,
        source: Option<StreamId>,
        batch: &[StreamPacket],
        now: Instant,
        io: &mut Sockets,
    ) -> Verdict {
        self.streams(std::iter::once((source, batch)), now, io)
    }

    /// The same of several streams: what fits goes out in one train.
    pub fn streams<'p>(
        &mut self,
        batches: impl Iterator<Item = (Option<StreamId>, &'p [StreamPacket])>,
        now: Instant,
        io: &mut Sockets,
    ) -> Verdict {
        self.writing(now, io, |role, followers, context| {
            batches.for_each(|(source, batch)| role.stream(source, followers, batch, context));
        });
        let verdict = self.settle_turn(now, io);
        io.send_out();
        verdict
    }

    /// Has the role work with what there is of what it follows, which it may write.
    fn writing(
        &mut self,
        now: Instant,
        io: &mut Sockets,
        work: impl FnOnce(&mut dyn Role, &Followers, &mut Context<'_>),
    ) {
        let moment = io.shared.moment(now);
        self.egress.open(moment, |address| self.consent.proved_until(address));
        self.egress.expect_turn(now >= self.rtc_wants);
        let mut context = Context {
            rtc: &mut self.rtc,
            bodies: &mut io.bodies,
            egress: &mut self.egress,
            outbox: &mut io.outbox,
            news: &mut io.news,
            counters: &io.shared.counters,
            view: &self.view,
            name: (&self.session, &self.id),
            now,
            moment,
        };
        work(&mut *self.role, &io.followers, &mut context);
        if let Some((to, frames)) = self.egress.take_frames() {
            frames.iter().for_each(|frame| io.send_frame(to, frame));
        }
    }

    /// After its role wrote media. Where we send ourselves the WebRTC state has nothing to do with that, and is left alone until it wants to be
    /// asked: that is what makes a viewer cheap.
    fn settle_turn(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        let is_touched = self.egress.take_touch();
        if self.egress.is_own() && !is_touched && now < self.rtc_wants {
            self.plan(now, io);
            return Ok(());
        }
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            return Err(Gone::Failed);
        }
        self.turn(now, io)
    }

    /// Whether its entry in the heap is the one that counts, and due. Takes it.
    pub fn is_due(&mut self, at: Instant, now: Instant, io: &mut Sockets) -> bool {
        if self.timer_at != Some(at) {
            return false;
        }
        self.timer_at = None;
        if self.wants <= now {
            return true;
        }
        self.schedule(io);
        false
    }

    /// Whether its entry in the heap for this time is one that nobody has to wake up for: it does not count any more, or the peer wants to be looked
    /// at later by now.
    pub fn is_moved(&self, at: Instant) -> bool {
        self.timer_at != Some(at) || self.wants > at
    }

    /// Carries out everything that the WebRTC state asks for, and notes when it wants to be asked again.
    pub fn turn(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        self.is_unsettled = false;
        let mut wants = self.drain(Until::Done, now, io)?;
        for _ in 0..MAX_AGAIN {
            if wants > now {
                break;
            }
            if self.rtc.handle_input(Input::Timeout(now)).is_err() {
                return Err(Gone::Failed);
            }
            wants = self.drain(Until::Done, now, io)?;
        }
        self.rtc_wants = wants + self.slack();
        self.plan(now, io);
        Ok(())
    }

    fn slack(&self) -> Duration {
        match self.rtc.last_timeout_reason() {
            Reason::Nack | Reason::Twcc => REPORT_SLACK,
            _ => Duration::ZERO,
        }
    }

    /// Notes when it wants to be looked at again. What a viewer's WebRTC state wants to do can wait for the next batch, which makes one turn of two.
    fn plan(&mut self, now: Instant, io: &mut Sockets) {
        let own = io.shared.instant(self.life.next_deadline());
        let own = self.role.due().map_or(own, |pause| own.min(now + pause));
        let own = self.role.wakes().map_or(own, |at| own.min(io.shared.instant(at)));
        let slack = if self.egress.is_own() && !self.is_member { SLACK } else { Duration::ZERO };
        self.wants = (self.rtc_wants + slack).min(own).max(now + LEAST_PAUSE);
        self.schedule(io);
    }

    fn schedule(&mut self, io: &mut Sockets) {
        if self.timer_at.is_none_or(|timer| self.wants < timer) {
            self.timer_at = Some(self.wants);
            io.deadlines.push(self.wants, self.id);
        }
    }

    /// Carries out what the WebRTC state asks for. When it wants to be asked again; having more to say, now.
    fn drain(&mut self, until: Until, now: Instant, io: &mut Sockets) -> Result<Instant, Gone> {
        // Most of what goes out in a row goes the same way: it is looked up once.
        let mut last = None;
        loop {
            if until == Until::Media && self.took_media {
                return Ok(now);
            }
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) if self.rtc.is_alive() => return Ok(at),
                Ok(Output::Timeout(_)) => return Err(Gone::ClosedByPeer),
                Ok(Output::Transmit(transmit)) => self.transmit(&transmit, &mut last, now, io),
                Ok(Output::Event(event)) => self.event(event, now, io)?,
                Err(error) => {
                    self.log(&format!("its WebRTC state failed: {error}"), now, io);
                    return Err(Gone::Failed);
                }
            }
        }
    }

    fn transmit(
        &mut self,
        transmit: &Transmit,
        last: &mut Option<(SocketAddr, Way)>,
        now: Instant,
        io: &mut Sockets,
    ) {
        let is_answer = datagram::is_stun_success(&transmit.contents);
        self.answered |= is_answer;
        if is_answer && self.answers_again {
            return;
        }
        if self.egress.is_shown_path(transmit) {
            let way = (transmit.proto == Protocol::Udp).then(|| self.way(transmit, io));
            self.egress.set_path(transmit, way);
        }
        match self.egress.withholds(&transmit.contents) {
            Some(Withheld::Media) => return io.shared.counters.withheld.one(),
            Some(Withheld::Report) => return,
            None => {}
        }
        if let Some(transaction) = datagram::request_transaction(&transmit.contents) {
            self.note_check(transaction, io);
        }
        match transmit.proto {
            Protocol::Udp => {
                let same =
                    last.filter(|(source, way)| (*source, way.to) == (transmit.source, transmit.destination));
                if let Some((_, way)) = same {
                    return io.outbox.push(way, &transmit.contents, &io.shared.counters);
                }
                let way = self.way(transmit, io);
                let proved = self.consent.is_proved(io.shared.moment(now), way.to);
                *last = proved.then_some((transmit.source, way));
                if proved || self.is_little(transmit, way, now, io) {
                    io.outbox.push(way, &transmit.contents, &io.shared.counters);
                }
            }
            Protocol::Tcp => io.send_frame(transmit.destination, &transmit.contents),
            Protocol::SslTcp | Protocol::Tls => {}
        }
    }

    /// Whether this may go to an address that has not proved itself. Before a check of str0m's goes one of ours, so that both are
    /// answered at once.
    fn is_little(&mut self, transmit: &Transmit, way: Way, now: Instant, io: &mut Sockets) -> bool {
        if datagram::request_transaction(&transmit.contents).is_some() {
            self.consent.note_role(&transmit.contents);
            self.ask(now, way, io);
        }
        let fits = self.consent.may_send(io.shared.moment(now), way.to, &transmit.contents);
        if !fits {
            io.shared.counters.unproved.one();
        }
        fits
    }

    /// By which socket and from which address a datagram goes.
    fn way(&self, transmit: &Transmit, io: &Sockets) -> Way {
        let remote = Remote { transport: Transport::Udp, address: transmit.destination };
        let path = io.paths.get(&remote).filter(|path| path.peer == self.id);
        let via = match path {
            Some(path) => path.via,
            None if self.is_member => Via::Rooms,
            None if io.own.contains_key(&self.id) => Via::Own(self.id),
            None => Via::Mux,
        };
        let from = path.map(|path| path.local).or_else(|| self.locals.source(transmit.source));
        Way { via, from, to: transmit.destination }
    }

    fn note_check(&mut self, transaction: [u8; 12], io: &Sockets) {
        let oldest = if self.checks.len() >= MAX_CHECKS { self.checks.pop_front() } else { None };
        self.checks.push_back(transaction);
        io.shared.directory.note_check(transaction, Owner { thread: io.index, peer: self.id }, oldest);
    }

    fn event(&mut self, event: Event, now: Instant, io: &mut Sockets) -> Verdict {
        let (step, told) = match event {
            Event::Connected => (Some(peer_life::Event::Connected), None),
            Event::IceConnectionStateChange(state) if state.is_connected() => {
                (Some(peer_life::Event::IceUp), None)
            }
            Event::IceConnectionStateChange(state) if state.is_disconnected() => {
                (Some(peer_life::Event::IceDown), None)
            }
            Event::Closed => return Err(Gone::ClosedByPeer),
            Event::RtpPacket(packet) => {
                self.took_media = true;
                packet
                    .header
                    .ext_vals
                    .transport_cc
                    .into_iter()
                    .for_each(|number| self.arrivals.prove(number));
                (None, Some(RoleEvent::Packet(packet)))
            }
            Event::MediaAdded(media) => (None, Some(RoleEvent::Media(media))),
            Event::KeyframeRequest(request) => (None, self.picture_wanted(&request, io)),
            Event::RawPacket(packet) => {
                if let RawPacket::RtcpRx(rtcp) = *packet {
                    self.feedback(&rtcp, now, io);
                }
                (None, None)
            }
            Event::ChannelOpen(id, label) => (None, Some(RoleEvent::ChannelOpen(id, label))),
            Event::ChannelData(data) => (None, Some(RoleEvent::ChannelData(data))),
            Event::ChannelClose(id) => (None, Some(RoleEvent::ChannelClose(id))),
            Event::SenderFeedback(report) => (None, Some(RoleEvent::SenderReport(report))),
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                (None, Some(RoleEvent::Estimate(estimate.as_u64())))
            }
            _ => (None, None),
        };
        if let Some(step) = step {
            let change = self.life.input(io.shared.moment(now), step);
            self.changed(change, now, io)?;
        }
        if let Some(told) = told {
            self.tell(told, now, io);
        }
        Ok(())
    }

    fn changed(&mut self, change: Option<Change>, now: Instant, io: &mut Sockets) -> Verdict {
        let (standing, event, word) = match change {
            None => return Ok(()),
            Some(Change::Live) => {
                io.shared.counters.peers_connected.one();
                (Standing::Live, RoleEvent::Connected, "connected")
            }
            Some(Change::Trouble) => (Standing::Trouble, RoleEvent::Trouble, "nothing arrives any more"),
            Some(Change::Recovered) => (Standing::Live, RoleEvent::Recovered, "is back"),
            Some(Change::NeverConnected) => return Err(Gone::NeverConnected),
            Some(Change::Lost) => return Err(Gone::Lost),
        };
        self.view.stand(standing);
        if let Some(sending) = self.egress.decide(self.role.sending()) {
            self.view.set_sending(sending);
            egress::count(sending, &io.shared.counters);
        }
        self.log(word, now, io);
        self.tell(event, now, io);
        Ok(())
    }

    fn log(&self, what: &str, now: Instant, io: &mut Sockets) {
        if let Some(left_out) = io.may_log(now) {
            self.role.kind().log(&self.session, &self.id, &format!("{what}{left_out}"));
        }
    }

    fn tell(&mut self, event: RoleEvent, now: Instant, io: &mut Sockets) {
        let moment = io.shared.moment(now);
        let mut context = Context {
            rtc: &mut self.rtc,
            bodies: &mut io.bodies,
            egress: &mut self.egress,
            outbox: &mut io.outbox,
            news: &mut io.news,
            counters: &io.shared.counters,
            view: &self.view,
            name: (&self.session, &self.id),
            now,
            moment,
        };
        self.role.on(event, &mut context);
    }

    /// Does what a member's room says.
    pub fn obey(&mut self, order: MediaOrder, now: Instant, io: &mut Sockets) -> Verdict {
        self.tell(RoleEvent::Order(order), now, io);
        self.change(now, io)?;
        self.turn(now, io)
    }

    /// Carries out what changed of the peer by what its role was told.
    fn change(&mut self, now: Instant, io: &mut Sockets) -> Verdict {
        let Some(changes) = self.role.take_changes() else { return Ok(()) };
        let Changes { follows, leaves, agreed, over } = *changes;
        leaves.into_iter().for_each(|source| io.followers.remove(io.index, source, &self.id));
        follows.iter().for_each(|source| io.followers.add(io.index, source, self.id));
        if let Some(description) = agreed {
            self.describe(description, now, io);
        }
        over.map_or(Ok(()), Err)
    }

    /// Both sides agreed on a session description, the first one or another.
    fn describe(&mut self, description: Description, now: Instant, io: &mut Sockets) {
        let Description { routes, theirs } = description;
        self.routes = routes;
        if !self.is_described {
            let grace = io.shared.config.ice_grace;
            let limits = Limits { connect: CONNECT_LIMIT, silence: SILENCE, grace };
            self.life = Life::new(limits, io.shared.moment(now));
            self.is_described = true;
        }
        let ours = self.rtc.direct_api().local_ice_credentials();
        self.ufrag.clone_from(&ours.ufrag);
        io.shared.directory.rename(&self.id, &ours.ufrag, &theirs.ufrag);
        self.consent.restart(Credentials {
            our_ufrag: ours.ufrag,
            our_pwd: ours.pass,
            their_ufrag: theirs.ufrag,
            their_pwd: theirs.pwd,
        });
    }

    /// Candidates of the browser.
    pub fn trickle(&mut self, candidates: Vec<Candidate>, now: Instant, io: &mut Sockets) -> Verdict {
        let room = MAX_CANDIDATES.saturating_sub(self.trickled);
        for candidate in candidates.into_iter().take(room) {
            self.trickled += 1;
            if !io.shared.config.ice_lite {
                self.consent.announced(io.shared.moment(now), [&candidate]);
            }
            self.rtc.add_remote_candidate(candidate);
        }
        self.turn(now, io)
    }

    /// Restarts ICE with the browser's new parameters. What fails leaves the peer as it was.
    pub fn restart(
        &mut self,
        ice: &IceParameters,
        now: Instant,
        io: &Sockets,
    ) -> Result<Restarted, RestartRefused> {
        let agreement = self.agreement.as_ref().ok_or(RestartRefused::NoPeer)?;
        let restarted = offer::restart(&mut self.rtc, &mut *self.role, agreement, ice)?;
        self.ufrag.clone_from(&restarted.ice.ufrag);
        self.trickled = 0;
        self.consent.restart(Credentials {
            our_ufrag: restarted.ice.ufrag.clone(),
            our_pwd: restarted.ice.pwd.clone(),
            their_ufrag: ice.ufrag.clone(),
            their_pwd: ice.pwd.clone(),
        });
        self.announced(&ice.candidates, now, io);
        io.shared.directory.rename(&self.id, &self.ufrag, &ice.ufrag);
        Ok(restarted)
    }

    /// Says good-bye to the browser where it can hear, and tells the role.
    pub fn say_good_bye(&mut self, why: Gone, now: Instant, io: &mut Sockets) {
        if why != Gone::ClosedByPeer && self.rtc.close().is_ok() {
            // Errors are of no interest any more.
            let _ = self.drain(Until::Done, now, io);
        }
        self.tell_end(why, now, io);
    }

    /// Tells the role that it is over. The WebRTC state is not asked.
    pub fn tell_end(&mut self, why: Gone, now: Instant, io: &mut Sockets) {
        self.view.stand(Standing::Gone);
        let why = self.trouble.filter(|_| !self.is_connected()).map_or(why, Gone::Handshake);
        let mute = why == Gone::NeverConnected && self.consent.asks_in_vain();
        let hint = if mute { "; its address answered none of our checks" } else { "" };
        self.log(&format!("over: {why}{hint}"), now, io);
        self.tell(RoleEvent::Gone(why), now, io);
    }

    /// Takes away every trace of it outside. What is returned is only to be dropped.
    pub fn leave(self: Box<Peer>, io: &mut Sockets) -> Box<Peer> {
        self.view.stand(Standing::Gone);
        // What was just said goes out before the socket goes.
        io.flush();
        io.take_port(&self.id);
        for remote in &self.remotes {
            let connection = io.tcp.token_of(&remote.address).filter(|_| remote.transport == Transport::Tcp);
            connection.into_iter().for_each(|token| io.close_connection(token));
            io.forget(remote, self.id);
        }
        for source in self.role.follows() {
            io.followers.remove(io.index, source.id(), &self.id);
        }
        io.shared.directory.forget_checks(self.checks.iter());
        io.shared.directory.remove(&self.id);
        self
    }
}

/// Data channels are never agreed on, so nothing of one gets to str0m: its SCTP takes what comes, agreed or not.
fn is_unwanted(datagram: &[u8]) -> bool {
    datagram::kind(datagram) == Some(datagram::Kind::Dtls) && datagram::has_application_data(datagram)
}

/// The way back to where something came from.
fn answering(arrival: &Datagram<'_>) -> Way {
    Way { via: arrival.via, from: Some(arrival.local.ip()), to: arrival.remote.address }
}
