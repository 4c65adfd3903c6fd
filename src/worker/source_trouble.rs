//! What keeps viewers from a session's picture or sound, in words and by names.

use crate::media::rtp::forwarder::Feeder;
use crate::media::rtp::playable::Trouble;

/// What keeps viewers from what somebody sends.
pub type SourceTrouble = (Feeder, Trouble);

/// The same in words.
pub fn words_of((feeder, trouble): &SourceTrouble) -> String {
    match feeder {
        Feeder::Process => format!("the stream process: {trouble}"),
        Feeder::Publisher => format!("the publisher: {trouble}"),
    }
}

/// The stable names of troubles, for pages.
pub fn names_of(troubles: &[SourceTrouble]) -> Vec<&'static str> {
    troubles.iter().map(|(_, trouble)| trouble.name()).collect()
}
