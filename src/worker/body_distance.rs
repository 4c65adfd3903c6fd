//! How far away a body is, by the time a TCP connect takes, and how patient ICE must be with it (SPEC 5).

use std::time::Duration;

/// Below this a body is near.
const NEAR: Duration = Duration::from_millis(80);

/// Above this a body is far.
const FAR: Duration = Duration::from_millis(200);

/// The ICE disconnect time-out of a session's stream process: 10 s below 80 ms, 15 s up to 200 ms, 25 s beyond.
pub fn ice_disconnected_timeout(connect_time: Duration) -> Duration {
    let seconds = match connect_time {
        near if near < NEAR => 10,
        middling if middling <= FAR => 15,
        _ => 25,
    };
    Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 5 bodies: The connect time decides the child's ICE disconnect time-out: 10, 15 or 25 s
    // Also: `a_slow_link_makes_ice_patient`
    #[test]
    fn the_further_the_body_the_more_patient_ice_is() {
        let of = |millis| ice_disconnected_timeout(Duration::from_millis(millis)).as_secs();
        assert_eq!([0, 79, 80, 200, 201, 1900].map(of), [10, 10, 15, 15, 25, 25]);
    }
}
