//! What a worker tells Prometheus: of what health looks at, and of what its parts count.

use std::path::Path;

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::config::settings::Role;
use crate::core::session::status::SessionStatus;
use crate::host::disk;
use crate::metrics::exposition::Exposition;
use crate::metrics::table as t;
use crate::server::{self, metrics::RoleFacts};
use crate::worker::health::Health;

/// The answer to a scrape.
pub fn answer(health: &Health, call: &Call) -> Answer {
    let wireguard = health.wireguard.is_there();
    let hindrances = health.checks.hindrances();
    let facts = RoleFacts {
        role: Role::Worker,
        ready: health.flags.takes_sessions(),
        problems: health.all_problems(wireguard, &hindrances, true).len(),
        wrong_tokens: health.tokens.count(),
    };
    let hindered = hindrances.iter().filter(|hindrance| !hindrance.meant).count();
    health.metrics.answer(call, facts, |page| {
        write_sessions(page, health);
        write_host(page, health, (wireguard, hindered));
        write_media(page, health);
        write_rooms(page, health);
        server::metrics::write_outbox(page, &health.outbox);
        page.value(&t::RECORDS_OWED, health.store.owing());
    })
}

fn write_sessions(page: &mut Exposition, health: &Health) {
    let live = health.registry.live();
    let states: Vec<SessionStatus> =
        live.iter().map(|handle| handle.read(|view| view.status.into())).collect();
    let of = |status: &SessionStatus| states.iter().filter(|state| *state == status).count();
    page.values(&t::SESSIONS, SessionStatus::OF_WORKERS.iter().map(|status| ([status.name()], of(status))));
    page.value(&t::SESSIONS_MAX, health.live.get().sessions.max);
    let counters = &health.store.counters;
    page.tally(&t::SESSIONS_CREATED, &counters.created);
    page.tally(&t::SESSIONS_ENDED, &counters.ended);
    page.value(&t::SESSION_RESTARTS, counters.restarts.get());
    page.histogram(&t::PAIRING_DURATION, &counters.pairing);
    page.value(&t::INTERRUPTIONS, counters.interruptions.get());
    page.tally(&t::PATHS, &counters.paths);
    page.tally(&t::RATINGS, &counters.ratings);
}

fn write_rooms(page: &mut Exposition, health: &Health) {
    let counts = health.rooms.counts();
    page.value(&t::ROOMS, counts.rooms);
    page.value(&t::ROOM_MEMBERS, counts.members);
    page.value(&t::ROOM_CONNECTIONS, counts.connections);
    page.value(&t::ROOM_MEMBERS_DETACHED, counts.detached);
}

fn write_host(page: &mut Exposition, health: &Health, (wireguard, hindered): (bool, usize)) {
    let settings = health.live.get();
    page.value(&t::DRAINING, !health.flags.takes_sessions());
    page.value(&t::HINDRANCES, hindered);
    page.value(&t::WIREGUARD_UP, wireguard);
    page.value(&t::WIREGUARD_NEEDED, !settings.bodies.wireguard_networks.is_empty());
    let directories: [(&str, &Path); 2] =
        [("state", &health.state_dir), ("data", existing(&settings.sessions.data_dir))];
    let free = directories.iter().filter_map(|(name, path)| Some(([*name], disk::free(path)?)));
    page.values(&t::DISK_FREE, free);
    page.values(&t::DISK_FULL, directories.iter().map(|(name, path)| ([*name], disk::is_full(path))));
    page.tally(&t::HEARTBEATS, health.standing.beats());
}

/// The path, or what there is of it.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

fn write_media(page: &mut Exposition, health: &Health) {
    let (media, counters) = (&health.media, health.media.counters());
    page.values(&t::MEDIA_PEERS, media.peers_by_kind().map(|(kind, count)| ([kind.name()], count)));
    page.value(&t::MEDIA_PEERS_MAX, media.max_peers());
    page.value(&t::MEDIA_PENDING, media.snapshot().pending);
    page.value(&t::MEDIA_ACCEPTED, counters.peers_accepted.get());
    page.value(&t::MEDIA_CONNECTED, counters.peers_connected.get());
    let both = |inward: u64, outward: u64| [(["in"], inward), (["out"], outward)];
    page.values(&t::MEDIA_PACKETS, both(counters.datagrams_in.get(), counters.datagrams_out.get()));
    page.values(&t::MEDIA_BYTES, both(counters.bytes_in.get(), counters.bytes_out.get()));
    page.value(&t::MEDIA_BATCHES, counters.batches_out.get());
    let dropped = [
        (["unknown"], counters.unknown.get()),
        (["bad"], counters.bad.get()),
        (["spoofed"], counters.spoofed.get()),
        (["refused"], counters.refused.get()),
        (["unproved"], counters.unproved.get()),
        (["queue"], counters.dropped.get()),
        (["send"], counters.send_errors.get()),
        (["nonce"], counters.nonces_refused.get()),
    ];
    page.values(&t::MEDIA_DROPPED, dropped);
    page.value(&t::MEDIA_FOREIGN, counters.foreign.get());
    page.histogram(&t::MEDIA_LAG, &counters.lag);
    page.value(&t::MEDIA_PICTURES, counters.key_frame_requests.get());
    let viewers = [
        (["own"], counters.viewers_own.get()),
        (["measured"], counters.viewers_measured.get()),
        (["other_profile"], counters.viewers_other_profile.get()),
        (["no_keys"], counters.viewers_no_keys.get()),
    ];
    page.values(&t::MEDIA_VIEWERS, viewers);
    page.value(&t::MEDIA_RESENT, counters.resent.get());
    let tcp = [(["accepted"], counters.tcp_accepted.get()), (["refused"], counters.tcp_refused.get())];
    page.values(&t::MEDIA_TCP, tcp);
    page.value(&t::MIC_PACKETS, counters.to_bodies.get());
    page.value(&t::MIC_UNREACHABLE, counters.bodies_unreachable.get());
}
