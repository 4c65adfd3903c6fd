//! Fault switches of a simulated body: how a test makes it misbehave, also while it runs.

use serde::Deserialize;

/// What to do wrong. The default is nothing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct BodyFaults {
    /// No listener answers for this long after the start (really 10 to 30 s). Counts only at [`super::Body::start`].
    pub start_after_ms: u64,
    /// The management API has another certificate, as after a restart.
    pub other_certificate: bool,
    /// The management API answers 401 to everybody.
    pub wrong_password: bool,
    /// `/api/pin` answers `{"status":false}` always.
    pub pin_always_false: bool,
    /// PINs are taken only from this long after a pairing began, instead of 121 ms.
    pub pin_accepted_after_ms: Option<u64>,
    /// So many pairings from now on fail after their PIN was taken. For all of them: `u32::MAX`.
    pub fail_pairings: u32,
    /// The body dies (as its handle's `die`) when the next PIN would be taken.
    pub dies_in_pairing: bool,
    /// Every client counts as paired and none can pair, until it is unpaired.
    pub already_paired: bool,
    /// A client that leaves while it waits for its PIN is not noticed, as with the real one: its pairing goes on waiting,
    /// and takes a PIN as any other does.
    pub leftovers_wait: bool,
    /// Nobody has set a password yet: every call of the management API leads to the welcome page.
    pub fresh_install: bool,
    /// So many lists of applications from now on fail. For all of them: `u32::MAX`.
    pub fail_app_lists: u32,
    /// `/unpair` is not there, as with Sunshine itself; GeForce Experience has it.
    pub no_gamestream_unpair: bool,
    /// Pairings succeed and are not kept.
    pub forgets_pairings: bool,
    /// Setting it makes this app the running one, until it is closed.
    pub running_app: Option<u32>,
    /// `/api/apps/close` and `/cancel` change nothing.
    pub refuses_to_close: bool,
    /// Saving and deleting apps is answered with 400.
    pub refuses_app_saves: bool,
    /// Each call of the management API takes this much longer.
    pub slow_management_ms: u64,
    /// Each `/serverinfo` takes this much longer.
    pub slow_serverinfo_ms: u64,
    /// Each call of hydrabody takes this much longer.
    pub slow_hydrabody_ms: u64,
    /// The management API's port is closed.
    pub management_absent: bool,
    /// hydrabody's port is closed.
    pub hydrabody_absent: bool,
    /// GameStream's port is closed.
    pub gamestream_absent: bool,
    /// hydrabody answers every call with this status.
    pub hydrabody_status: Option<u16>,
    /// GameStream answers with nonsense.
    pub garbage_gamestream: bool,
    /// The management API answers with nonsense.
    pub garbage_management: bool,
    /// hydrabody answers with nonsense.
    pub garbage_hydrabody: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_switch_is_refused() {
        let parsed = serde_json::from_str::<BodyFaults>(r#"{"wrong_pasword": true}"#);
        assert!(parsed.is_err(), "{parsed:?}");
    }
}
