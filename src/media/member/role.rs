//! A member's role: what its client offers and answers, what it sends, what it is sent.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaAdded, MediaKind as Kind, Mid, Rid};
use str0m::rtp::RtpPacket;
use str0m::{Rtc, RtcConfig};

use crate::core::rooms::frame::{Code, Rejected};
use crate::core::rooms::negotiation::{Act, Heard, Negotiation, Rules, Sections, answered_way, offered_way};
use crate::core::rooms::registry::{MediaEvent, MediaOrder};
use crate::core::rooms::tracks::{MediaKind, TrackId};
use crate::core::time::Moment;
use crate::media::audience::Followers;
use crate::media::egress::{Feedback, Wish};
use crate::media::foreign;
use crate::media::member::channels::{Channels, MAX_BUFFERED, Said};
use crate::media::member::inbound::Inbound;
use crate::media::member::outbound::Outbound;
use crate::media::member::rooms::Pass;
use crate::media::member::sources::Sources;
use crate::media::member::track::Track;
use crate::media::member::{Events, MemberLimits, MemberSetup};
use crate::media::offer;
use crate::media::publisher;
use crate::media::role::{Changes, Context, Description, Gone, OfferRefused, Role, RoleEvent, RoleKind};
use crate::media::rtp::forwarder::StreamPacket;
use crate::media::rtp::gop_cache::Replay;
use crate::media::rtp::packet::SenderReport;
use crate::media::rtp::routes::Routes;
use crate::media::rtp::timeline::WallClock;
use crate::media::sdp::Offer;
use crate::media::sdp::member::{self, Carried, OF_A_MEMBER};
use crate::media::shared::Shared;
use crate::media::simulcast::layers::MAX_LAYERS;
use crate::media::source::Source;
use crate::media::stream::StreamId;
use crate::media::subscriber;

/// Sections of ours: the client's own, and data channels, are within the same bound of 256.
const MAX_SENT: usize = 240;

/// Sender reports of sound this often: with the usual five seconds lip sync takes ten to settle.
const REPORT: Duration = Duration::from_secs(1);

/// Between two times that somebody is told of what goes on and on.
const TOO_MUCH: Duration = Duration::from_secs(1);
const NOT_RELAYED: Duration = Duration::from_secs(10);

/// What a member is told that tries to come without a relay.
const BY_RELAY: &str = "media of this room come by its relays only: use the servers of turn-credentials, and iceTransportPolicy relay";

/// An offer of ours that waits for its answer.
struct Pending {
    offer: SdpPendingOffer,
    /// Which of our sections it adds.
    adds: Vec<(usize, Mid)>,
    text: String,
}

/// One member.
pub struct RoomMember {
    name: String,
    pass: Pass,
    events: Events,
    limits: MemberLimits,
    shared: Arc<Shared>,
    negotiation: Negotiation<Option<Offer>, Mid>,
    pending: Option<Pending>,
    /// The WebRTC state has ways of sections that its client did not agree to.
    is_disputed: bool,
    /// What it is sent; of each section what was sent so far.
    sections: Sections<Mid, Track>,
    outs: Vec<Outbound>,
    /// Where what it follows goes.
    places: HashMap<StreamId, usize>,
    paused: HashSet<TrackId>,
    /// Sections that begin with pictures of a moment ago.
    joining: Vec<usize>,
    /// Its media may flow. What is sent before is lost.
    is_connected: bool,
    /// The sections of its client, and the names of layers there.
    theirs: Vec<Mid>,
    rids: HashMap<Mid, Vec<Rid>>,
    sources: Sources,
    /// What it sends.
    ins: Vec<Inbound>,
    /// Tracks that it began to send: of sound, of pictures.
    begun: [u32; 2],
    wall: WallClock,
    channels: Channels,
    told_too_much: Option<Moment>,
    told_not_relayed: Option<Moment>,
    changes: Changes,
    has_changes: bool,
}

impl fmt::Debug for RoomMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomMember({} tracks in, {} sections out)", self.ins.len(), self.outs.len())
    }
}

impl RoomMember {
    /// One that joins.
    pub fn new(setup: MemberSetup, pass: Pass, shared: &Arc<Shared>) -> RoomMember {
        let now = shared.moment(std::time::Instant::now());
        RoomMember {
            name: setup.peer.expose(),
            pass,
            events: setup.events,
            limits: setup.limits,
            shared: shared.clone(),
            negotiation: Negotiation::new(Rules::HERE, now),
            pending: None,
            is_disputed: false,
            sections: Sections::new(MAX_SENT),
            outs: Vec::new(),
            places: HashMap::new(),
            paused: HashSet::new(),
            joining: Vec::new(),
            is_connected: false,
            theirs: Vec::new(),
            rids: HashMap::new(),
            sources: Sources::default(),
            ins: Vec::new(),
            begun: [0; 2],
            wall: WallClock::default(),
            channels: Channels::default(),
            told_too_much: None,
            told_not_relayed: None,
            changes: Changes::default(),
            has_changes: false,
        }
    }

    fn say(&self, event: MediaEvent) {
        (self.events)(event);
    }

    fn refuse(&self, code: Code, words: impl Into<String>) {
        self.say(MediaEvent::Refused(Rejected::new(code, words)));
    }

    fn changes(&mut self) -> &mut Changes {
        self.has_changes = true;
        &mut self.changes
    }

    fn order(&mut self, order: MediaOrder, context: &mut Context<'_>) {
        match order {
            MediaOrder::Offer(text) => self.offered(&text, context),
            MediaOrder::Answer(text) => self.answered(&text, context),
            MediaOrder::Follow(track) => self.follow(&track, context.moment),
            MediaOrder::Unfollow(track) => self.unfollow(&track),
            MediaOrder::Pause(track, is_paused) => self.pause(track, is_paused, context.moment),
            MediaOrder::Data { label, data } => {
                self.channels.say(label, data, self.pass.room(), context.rtc);
            }
            MediaOrder::Away(is_away) => self.negotiation.away(context.moment, is_away),
            // We are ICE-lite: its client is found by its checks, and those come from a relay, whatever the client says.
            MediaOrder::Candidate(_) | MediaOrder::Leave => {}
        }
        self.step(context);
    }

    /// Does what negotiation is due.
    fn step(&mut self, context: &mut Context<'_>) {
        while let Some(act) = self.negotiation.tick(context.moment) {
            match act {
                Act::Answer(offer) => self.answer(offer, context),
                Act::Offer => self.offer(context),
                Act::Repeat => {
                    self.pending.iter().for_each(|ours| self.say(MediaEvent::Offer(ours.text.clone())));
                }
            }
        }
    }

    /// Its client offers.
    fn offered(&mut self, text: &str, context: &mut Context<'_>) {
        match Offer::read_of_member(text) {
            Err(error) => self.refuse(Code::InvalidOffer, error.to_string()),
            Ok(offer) => {
                if let Some(offer) = self.negotiation.offered(context.moment, offer) {
                    self.answer(offer, context);
                }
            }
        }
    }

    fn answer(&mut self, offer: Option<Offer>, context: &mut Context<'_>) {
        // Whatever comes of it, what the WebRTC state has of ours is rolled back.
        self.is_disputed |= self.pending.take().is_some();
        let answer = match offer {
            None => Ok(member::answer_to_nothing()),
            Some(offer) => self.accept(offer, context),
        };
        match answer {
            Ok(answer) => self.say(MediaEvent::Answer(answer)),
            Err(words) => self.refuse(Code::OfferFailed, words),
        }
        self.negotiation.replied(context.moment);
        let rtc = &*context.rtc;
        if self.sections.lacks(|mid| sends(rtc, *mid)) {
            self.negotiation.has_news();
        }
    }

    fn accept(&mut self, mut offer: Offer, context: &mut Context<'_>) -> Result<String, String> {
        if offer.is_lite() {
            return Err("both sides are ICE-lite, so nobody would check: leave out a=ice-lite".into());
        }
        let is_ours = |mid: &str| self.sections.has(&Mid::from(mid));
        offer
            .agree_with_member(|mid, sends, receives| answered_way(is_ours(mid), sends, receives))
            .map_err(|error| error.to_string())?;
        let plain = SdpOffer::from_sdp_string(&offer.plain_of_member());
        let plain = plain.map_err(|error| foreign::unreadable(&error))?;
        let rtc = &mut *context.rtc;
        self.outs.iter_mut().for_each(|out| out.declare(rtc));
        let answer = rtc.sdp_api().accept_offer(plain);
        self.outs.iter_mut().for_each(|out| out.hush(rtc));
        self.named(&offer, rtc);
        let answer = answer.map_err(|error| foreign::unanswerable(&error))?.to_sdp_string();
        self.is_disputed = false;
        for section in offer.sections().iter().filter(|section| section.is_taken()) {
            let mid = Mid::from(section.mid.as_str());
            if !self.sections.has(&mid) && !self.theirs.contains(&mid) {
                self.theirs.push(mid);
            }
        }
        self.agreed(&offer, &answer, context);
        self.told(&answer, &[])
    }

    /// The WebRTC state has the SSRCs of a description from now on, whatever comes of it, and not of all that came before.
    fn named(&mut self, description: &Offer, rtc: &mut Rtc) {
        let forgotten = self.sources.named(&description.sources(), OF_A_MEMBER.ssrcs);
        let mut api = rtc.direct_api();
        for ssrc in forgotten {
            api.remove_stream_rx(ssrc.into());
        }
    }

    /// Both sides have one description.
    fn agreed(&mut self, offer: &Offer, answer: &str, context: &mut Context<'_>) {
        if offer.has_data_channels() {
            self.channels.agreed();
        }
        let (routes, theirs) = (Routes::of(answer), offer.ice());
        self.changes().agreed = Some(Description { routes, theirs });
        self.settle(context.rtc, context.moment);
        self.end_tracks(|mid| !receives(context.rtc, mid));
    }

    fn told(&self, text: &str, adds: &[(usize, Mid)]) -> Result<String, String> {
        let text = offer::told(&self.shared.config, text.to_owned());
        let mut carried = HashMap::new();
        for (index, section) in self.sections.all().iter().enumerate() {
            let added = adds.iter().find(|(place, _)| *place == index).map(|(_, mid)| *mid);
            if let (Some(mid), Some(track)) = (section.mid.or(added), &section.carries) {
                carried.insert(mid.to_string(), carried_as(track));
            }
        }
        member::told_to_member(&text, &carried, self.limits.picture_bits)
            .ok_or_else(|| foreign::unanswerable(&"what it says cannot be read"))
    }

    /// Makes an offer of all that is wished.
    fn offer(&mut self, context: &mut Context<'_>) {
        let is_again = std::mem::take(&mut self.is_disputed);
        let rtc = &mut *context.rtc;
        if !is_again && !self.has_something_to_offer(rtc) {
            return self.negotiation.nothing_to_offer();
        }
        self.outs.iter_mut().for_each(|out| out.declare(rtc));
        let ways = self.ways(rtc);
        let (mut api, mut adds) = (rtc.sdp_api(), Vec::new());
        for (mid, way) in &ways {
            api.set_direction(*mid, *way);
        }
        for (index, section) in self.sections.all().iter().enumerate() {
            if let (None, Some(track)) = (section.mid, &section.carries) {
                let Carried { stream, track: name } = carried_as(track);
                let kind = kind_of(section.kind);
                let mid = api.add_media(kind, Direction::SendRecv, Some(stream), Some(name), None);
                adds.push((index, mid));
            }
        }
        if let Some((mid, way)) = ways.first().filter(|_| !api.has_changes()) {
            // It is said again as it was said before, for which there is no word but a change.
            api.set_direction(*mid, Direction::Inactive);
            api.set_direction(*mid, *way);
        }
        let made = api.apply();
        self.outs.iter_mut().for_each(|out| out.hush(rtc));
        let Some((offer, pending)) = made else { return self.negotiation.nothing_to_offer() };
        match self.told(&offer.to_sdp_string(), &adds) {
            Ok(text) => {
                self.negotiation.said(member::section_names(&text).map(Mid::from).collect());
                self.say(MediaEvent::Offer(text.clone()));
                self.pending = Some(Pending { offer: pending, adds, text });
            }
            Err(_) => self.negotiation.nothing_to_offer(),
        }
    }

    /// The way of every section in an offer of ours.
    fn ways(&self, rtc: &Rtc) -> Vec<(Mid, Direction)> {
        let way = |(sends, _)| if sends { Direction::SendRecv } else { Direction::RecvOnly };
        let ours = self
            .sections
            .all()
            .iter()
            .filter_map(|section| Some((section.mid?, way(offered_way(section.carries.is_some())))));
        let theirs = self.theirs.iter().map(|mid| (*mid, way(offered_way(false))));
        let is_there = |mid: Mid| rtc.media(mid).is_some_and(|media| !media.stopped());
        ours.chain(theirs).filter(|(mid, _)| is_there(*mid)).collect()
    }

    fn has_something_to_offer(&self, rtc: &Rtc) -> bool {
        let is_news = |section: &crate::core::rooms::negotiation::Section<Mid, Track>| match section.mid {
            None => section.carries.is_some(),
            Some(mid) => section.carries.is_some() != sends(rtc, mid),
        };
        self.sections.all().iter().any(is_news)
    }

    /// Its client answers.
    fn answered(&mut self, text: &str, context: &mut Context<'_>) {
        let answer = match Offer::read_of_member(text) {
            Ok(Some(answer)) => answer,
            Ok(None) => return self.refuse(Code::InvalidAnswer, "there is no m= line"),
            Err(error) => return self.refuse(Code::InvalidAnswer, error.to_string()),
        };
        // Only an offer leaves open who begins (RFC 8842, 5.2): a busy page that applies two offers at once says so what it has in return.
        if self.pending.is_none() && text.contains("a=setup:actpass") {
            return self.offered(text, context);
        }
        let names: Vec<Mid> =
            answer.sections().iter().map(|section| Mid::from(section.mid.as_str())).collect();
        let mut heard = self.negotiation.answered(context.moment, &names);
        match heard {
            Heard::Late => {}
            Heard::Nothing => self.refuse(Code::InvalidAnswer, "no offer waits for an answer"),
            Heard::Hopeless | Heard::Crossed => {}
            Heard::Ours => {
                if let Err(words) = self.apply(answer, context) {
                    self.refuse(Code::InvalidAnswer, words);
                    (heard, self.is_disputed) = (self.negotiation.failed(), true);
                }
            }
        }
        if heard.is_the_end() {
            self.changes().over = Some(Gone::OutOfStep);
        }
    }

    fn apply(&mut self, mut answer: Offer, context: &mut Context<'_>) -> Result<(), String> {
        let Pending { offer, adds, .. } = self.pending.take().ok_or("no offer waits for an answer")?;
        answer
            .agree_with_member(|_, sends, receives| (sends, receives))
            .map_err(|error| error.to_string())?;
        let text = answer.plain_of_member();
        let plain = SdpAnswer::from_sdp_string(&text).map_err(|error| foreign::unreadable_answer(&error))?;
        let rtc = &mut *context.rtc;
        self.outs.iter_mut().for_each(|out| out.declare(rtc));
        let applied = rtc.sdp_api().accept_answer(offer, plain);
        self.outs.iter_mut().for_each(|out| out.hush(rtc));
        self.named(&answer, rtc);
        applied.map_err(|error| foreign::unusable_answer(&error))?;
        for (index, mid) in adds {
            if let Some(section) = self.sections.get_mut(index) {
                section.mid = Some(mid);
            }
        }
        self.agreed(&answer, &text, context);
        Ok(())
    }

    /// What is sent where, after something was agreed on.
    fn settle(&mut self, rtc: &mut Rtc, now: Moment) {
        for index in 0..self.outs.len() {
            let Some(section) = self.sections.get_mut(index) else { continue };
            let (mid, track) = (section.mid, section.carries.clone());
            let Some(out) = self.outs.get_mut(index) else { continue };
            if let Some(mid) = mid {
                out.agreed(mid, rtc);
            }
            match (mid, track) {
                (Some(mid), Some(track)) if sends(rtc, mid) => {
                    if self.places.insert(track.id(), index).is_none() {
                        let (name, mid) = (track.name().clone(), mid.to_string());
                        self.say(MediaEvent::Placed { track: name, mid });
                        self.begin(index, &track, now);
                    }
                }
                _ => out.shut(),
            }
        }
    }

    /// A section sends a track from now on, unless that is paused.
    fn begin(&mut self, index: usize, track: &Track, now: Moment) {
        if self.paused.contains(track.name()) {
            return;
        }
        if let Some(out) = self.outs.get_mut(index) {
            out.open();
            if self.is_connected {
                out.may_begin(track, now);
            }
            self.changes().follows.push(Source::Track(track.clone()));
        }
    }

    fn follow(&mut self, name: &TrackId, now: Moment) {
        // One that ended meanwhile has no end to be told of.
        let Some(track) = self.pass.room().track(name) else { return };
        let Some(index) = self.sections.want(track.kind(), track.clone()) else { return };
        // Until that is negotiated the picture is there.
        track.will_be_followed(now);
        while self.outs.len() <= index {
            self.outs.push(Outbound::default());
        }
        self.negotiation.has_news();
    }

    fn unfollow(&mut self, name: &TrackId) {
        self.paused.remove(name);
        let track = self.sections.all().iter().filter_map(|section| section.carries.clone());
        let Some(track) = track.into_iter().find(|track| track.name() == name) else { return };
        if let Some(out) = self.sections.leave(&track).and_then(|index| self.outs.get_mut(index)) {
            out.shut();
        }
        self.places.remove(&track.id());
        self.changes().leaves.push(track.id());
        self.negotiation.has_news();
    }

    fn pause(&mut self, name: TrackId, is_paused: bool, now: Moment) {
        let is_change = if is_paused { self.paused.insert(name.clone()) } else { self.paused.remove(&name) };
        let track = self.sections.all().iter().filter_map(|section| section.carries.as_ref());
        let Some(track) = track.into_iter().find(|track| *track.name() == name).cloned() else {
            // Nobody follows that: it is not remembered.
            self.paused.remove(&name);
            return;
        };
        let Some(index) = self.places.get(&track.id()).copied().filter(|_| is_change) else { return };
        if !is_paused {
            return self.begin(index, &track, now);
        }
        self.outs.iter_mut().skip(index).take(1).for_each(Outbound::shut);
        self.changes().leaves.push(track.id());
    }

    /// A packet of the member's.
    fn packet(&mut self, packet: &RtpPacket, context: &mut Context<'_>) {
        context.view.note_packet(context.moment, None);
        let Some(mid) = context.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid())
        else {
            return;
        };
        let index = match self.ins.iter().position(|track| track.mid == mid) {
            Some(index) => index,
            None => match self.start(mid, context.rtc) {
                Some(index) => index,
                None => return,
            },
        };
        let Some(track) = self.ins.get_mut(index) else { return };
        track.packet(packet, context);
        if track.track.kind() == MediaKind::Audio
            && let Some(level) = track.loudness(packet, context.moment)
        {
            let track = track.track.name().clone();
            self.say(MediaEvent::Level(track, level));
        }
    }

    /// A track begins with its first packet: clients agree to send what they never do.
    fn start(&mut self, mid: Mid, rtc: &Rtc) -> Option<usize> {
        // What was under way when its client stopped is no beginning.
        if self.ins.len() >= self.limits.tracks || !receives(rtc, mid) {
            return None;
        }
        let kind = match rtc.media(mid)?.kind() {
            Kind::Audio => MediaKind::Audio,
            Kind::Video => MediaKind::Video,
        };
        let number = self.begun.get_mut(usize::from(kind == MediaKind::Video))?;
        *number += 1;
        let name = TrackId::new(kind, &self.name, *number);
        let track = Track::new(self.shared.streams.next_id(), name.clone(), kind);
        self.pass.room().add(&track);
        let rids = self.rids.get(&mid).cloned().unwrap_or_default();
        self.ins.push(Inbound::new(mid, track, rids));
        self.say(MediaEvent::TrackStarted(name, kind));
        Some(self.ins.len() - 1)
    }

    fn end_tracks(&mut self, is_over: impl Fn(Mid) -> bool) {
        let (over, on) = std::mem::take(&mut self.ins).into_iter().partition(|track| is_over(track.mid));
        self.ins = on;
        let over: Vec<Inbound> = over;
        for ended in over {
            self.pass.room().remove(&ended.track);
            self.say(MediaEvent::TrackEnded(ended.track.name().clone()));
        }
    }

    fn media(&mut self, media: &MediaAdded) {
        let layers = media.simulcast.iter().flat_map(|simulcast| &simulcast.recv);
        self.rids.insert(media.mid, layers.map(|layer| layer.rid).take(MAX_LAYERS).collect());
    }

    /// The clock of what comes in a section.
    fn clock(&mut self, mid: Mid, report: &SenderReport, now: Moment) {
        let of = self.ins.iter_mut().filter(|track| track.mid == mid);
        of.for_each(|track| track.report(report, &mut self.wall, now));
    }

    fn connected(&mut self, now: Moment) {
        self.is_connected = true;
        for (section, out) in self.sections.all().iter().zip(&self.outs) {
            section.carries.iter().for_each(|track| out.may_begin(track, now));
        }
        self.say(MediaEvent::Connected);
    }

    /// More of what one section carries; nothing: what it began with goes on.
    fn write(
        &mut self,
        index: usize,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        let track = self.sections.all().get(index).and_then(|section| section.carries.as_ref());
        let (Some(track), Some(out)) = (track, self.outs.get_mut(index)) else { return };
        out.write(track, followers, batch, context);
        if out.is_joining() && !self.joining.contains(&index) {
            self.joining.push(index);
        }
    }

    fn wants_picture(&self, ssrc: Option<u32>) {
        for (section, out) in self.sections.all().iter().zip(&self.outs) {
            if let Some(track) = section.carries.as_ref().filter(|_| ssrc.is_none_or(|ssrc| out.is(ssrc))) {
                out.wants_picture(track);
            }
        }
    }

    fn channel_said(&mut self, said: Said, now: Moment) {
        match said {
            Said::Message(label, data) => self.say(MediaEvent::Data { label, data }),
            Said::TooMuch(words) if is_time(&mut self.told_too_much, now, TOO_MUCH) => {
                self.refuse(Code::RateLimited, words);
            }
            Said::TooMuch(_) | Said::Nothing => {}
        }
    }

    fn gone(&mut self, why: Gone) {
        self.end_tracks(|_| true);
        self.say(match why {
            Gone::OutOfStep => MediaEvent::OutOfStep(why.to_string()),
            why => MediaEvent::Gone(why.to_string()),
        });
    }
}

impl Role for RoomMember {
    fn kind(&self) -> RoleKind {
        RoleKind::Member
    }

    fn prepare(&self, _: Offer) -> Result<Offer, OfferRefused> {
        Err(OfferRefused::unusable("a member offers in its room"))
    }

    /// Members have a token.
    fn may_be_served(&self) -> bool {
        true
    }

    fn configure(&self, config: RtcConfig) -> RtcConfig {
        // The usual header extensions stay: browsers send more than a trickle only with feedback on their numbers, and loudness is one.
        let mut config = config
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .set_rtcp_report_interval_audio(REPORT)
            .set_sctp_max_buffered_amount(2 * MAX_BUFFERED);
        subscriber::enable(&mut config, super::outbound::CODECS.video);
        config
    }

    fn on(&mut self, event: RoleEvent, context: &mut Context<'_>) {
        match event {
            RoleEvent::Packet(packet) => self.packet(&packet, context),
            RoleEvent::Order(order) => self.order(order, context),
            RoleEvent::Awake => self.step(context),
            RoleEvent::Media(media) => self.media(&media),
            RoleEvent::SenderReport(report) => {
                self.clock(report.mid, &publisher::sender_report(&report), context.moment);
            }
            RoleEvent::Clock(report) => {
                let mut api = context.rtc.direct_api();
                let mid = api.stream_rx(&report.ssrc.into()).map(|stream| stream.mid());
                mid.into_iter().for_each(|mid| self.clock(mid, &report, context.moment));
            }
            RoleEvent::KeyframeWanted(ssrc) => self.wants_picture(ssrc),
            RoleEvent::ChannelOpen(id, label) => {
                let said = self.channels.opened(id, &label, self.pass.room(), context.rtc);
                self.channel_said(said, context.moment);
            }
            RoleEvent::ChannelData(data) => {
                let said = self.channels.said(data, context.moment);
                self.channel_said(said, context.moment);
            }
            RoleEvent::ChannelClose(id) => self.channels.closed(id),
            RoleEvent::Connected => self.connected(context.moment),
            RoleEvent::Recovered => self.say(MediaEvent::Connected),
            RoleEvent::Trouble => self.say(MediaEvent::Trouble),
            RoleEvent::NotRelayed => {
                if is_time(&mut self.told_not_relayed, context.moment, NOT_RELAYED) {
                    self.refuse(Code::NotRelayed, BY_RELAY);
                }
            }
            RoleEvent::Handshake(_) | RoleEvent::Estimate(_) => {}
            RoleEvent::Gone(why) => self.gone(why),
        }
    }

    fn follows(&self) -> Vec<Source> {
        let of = |index: &usize| self.sections.all().get(*index)?.carries.clone().map(Source::Track);
        self.places.values().filter_map(of).collect()
    }

    fn take_changes(&mut self) -> Option<Box<Changes>> {
        std::mem::take(&mut self.has_changes).then(|| Box::new(std::mem::take(&mut self.changes)))
    }

    fn sending(&self) -> Wish {
        Wish::Own
    }

    fn feedback(&mut self, feedback: &Feedback, followers: &Followers, context: &mut Context<'_>) {
        if let Some(round_trip) = feedback.round_trip {
            self.outs.iter_mut().for_each(|out| out.measured(round_trip));
        }
        for (ssrc, number) in &feedback.lost {
            let Some(index) = self.outs.iter().position(|out| out.is(*ssrc)) else { continue };
            let track = self.sections.all().get(index).and_then(|section| section.carries.as_ref());
            let kept = track.and_then(|track| followers.kept(track.id()));
            if let (Some(kept), Some(out)) = (kept, self.outs.get_mut(index)) {
                out.resend(*number, kept, context);
            }
        }
    }

    fn stream(
        &mut self,
        source: Option<StreamId>,
        followers: &Followers,
        batch: &[StreamPacket],
        context: &mut Context<'_>,
    ) {
        if !self.is_connected {
            return;
        }
        let Some(source) = source else {
            let joining = std::mem::take(&mut self.joining);
            return joining.into_iter().for_each(|index| self.write(index, followers, &[], context));
        };
        if let Some(index) = self.places.get(&source).copied() {
            self.write(index, followers, batch, context);
        }
    }

    fn due(&self) -> Option<Duration> {
        (!self.joining.is_empty()).then_some(Replay::STEP)
    }

    fn wakes(&self) -> Option<Moment> {
        self.negotiation.due()
    }
}

/// Names under which clients get a track: its member's, and its own.
fn carried_as(track: &Track) -> Carried {
    let name = track.name().as_str();
    let member = name.split('-').nth(1).unwrap_or(name);
    Carried { stream: member.to_owned(), track: name.to_owned() }
}

fn kind_of(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
    }
}

fn sends(rtc: &Rtc, mid: Mid) -> bool {
    rtc.media(mid).is_some_and(|media| media.direction().is_sending())
}

fn receives(rtc: &Rtc, mid: Mid) -> bool {
    rtc.media(mid).is_some_and(|media| media.direction().is_receiving())
}

/// Whether something is to be said again.
fn is_time(last: &mut Option<Moment>, now: Moment, pause: Duration) -> bool {
    let is_time = last.is_none_or(|last| now.since(last) >= pause);
    if is_time {
        *last = Some(now);
    }
    is_time
}
