//! Heartbeats of outsiders: a line with the proof field, then the body. Whatever they hold, a worker that has proved itself
//! keeps its name, its address and its place, and only a signed and fresh beat of its key changes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hydraneckwebrtc::config::settings::MovePolicy;
use hydraneckwebrtc::core::fleet::disputes::Disputes;
use hydraneckwebrtc::core::fleet::failures::BackOff;
use hydraneckwebrtc::core::fleet::identity::{BeatProof, BeatSource, Identities, PublicKey};
use hydraneckwebrtc::core::fleet::wire::Heartbeat;
use hydraneckwebrtc::core::fleet::{BeatOutcome, Fleet, FleetSettings};
use hydraneckwebrtc::core::time::Moment;
use hydraneckwebrtc::host::identity_key::holds;

const CHALLENGE: &str = "challenge";

fn fleet(known: &Heartbeat) -> Fleet {
    let settings = FleetSettings {
        max_workers: 1_000,
        heartbeat_interval: Duration::from_secs(10),
        heartbeat_timeout: Duration::from_secs(60),
        create_timeout: Duration::from_secs(45),
        wireguard_networks: Vec::new(),
        back_off: BackOff { first: Duration::from_secs(2), longest: Duration::from_secs(50) },
        moves: MovePolicy::Drain,
        move_limit: 3,
        drain_timeout: Duration::from_secs(60),
    };
    // Whoever is named belongs to a key that nobody here has.
    let keys = BTreeMap::from([(known.worker_id.clone(), PublicKey::from([1; 32]))]);
    Fleet::with_identities(Moment(0), settings, Identities::new(keys, CHALLENGE.to_owned()))
}

/// Judges one input.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (field, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let proof = String::from_utf8_lossy(field).parse::<BeatProof>().ok();
    if let Some(proof) = &proof {
        assert_eq!(proof.to_string().parse(), Ok(*proof));
    }
    let key = proof.filter(|proof| holds(proof, body)).map(|proof| proof.key);
    let Ok(beat) = serde_json::from_slice::<Heartbeat>(body) else { return };
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let source = BeatSource { address, key };
    let (mut fleet, mut disputes) = (fleet(&beat), Disputes::default());
    let before = format!("{fleet:?}");
    let outcome = fleet.heartbeat(Moment(1), &beat, source);
    assert!(!matches!(outcome, BeatOutcome::Accepted(..)), "{source:?} has taken {}", beat.worker_id);
    assert_eq!(before, format!("{fleet:?}"));
    disputes.note(Moment(1), &beat, &source, &outcome, Some(address));
    let begun = disputes.tick(Moment(1), Duration::from_secs(60), |_| true);
    assert!(begun.iter().all(|dispute| !dispute.to_string().is_empty()));
    // Under a name that is nobody's it is taken, or refused with words.
    let mut free = fleet;
    let _ = free.forget(Moment(2), &beat.worker_id);
    if let Err(refusal) = free.heartbeat(Moment(2), &beat, source).reply() {
        assert!(!refusal.to_string().is_empty());
    }
}
