//! Who uses a token: the last few addresses, in bounded memory, so that a reload that drops it can name them.

use std::net::IpAddr;
use std::time::Duration;

use crate::core::limits::fair_share::network_of;
use crate::core::time::Moment;

/// Addresses remembered of one token; the one that was not heard of for longest is forgotten. A fleet's monitoring, deployments and
/// a few operators are fewer; a list that is longer than a line helps nobody.
const CAPACITY: usize = 16;

/// Who has not used a token for so long does not use it any more.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// The uses of one token.
#[derive(Clone, Debug, Default)]
pub struct TokenUses {
    /// By address (IPv6: by /64).
    by: Vec<Use>,
    /// Addresses that were forgotten to make room.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    network: IpAddr,
    address: IpAddr,
    last: Moment,
}

impl TokenUses {
    /// Notes a use.
    pub fn note(&mut self, address: IpAddr, now: Moment) {
        let address = address.to_canonical();
        let network = network_of(address);
        if let Some(known) = self.by.iter_mut().find(|known| known.network == network) {
            (known.address, known.last) = (address, now);
            return;
        }
        if self.by.len() >= CAPACITY
            && let Some(oldest) = (0..self.by.len()).min_by_key(|at| self.by[*at].last)
        {
            self.by.swap_remove(oldest);
            self.forgotten += 1;
        }
        self.by.push(Use { network, address, last: now });
    }

    /// Who used it within the last day, the latest first, in words. `None`: nobody.
    pub fn in_words(&self, now: Moment) -> Option<String> {
        let mut recent: Vec<&Use> = self.by.iter().filter(|one| now.since(one.last) <= RECENT).collect();
        recent.sort_by_key(|one| std::cmp::Reverse(one.last));
        let each =
            recent.iter().map(|one| format!("{} ({} s ago)", one.address, now.since(one.last).as_secs()));
        let mut words: Vec<String> = each.collect();
        if self.forgotten > 0 {
            words.push("others before".to_owned());
        }
        (!recent.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_users_of_a_token_are_told_and_their_number_is_bounded() {
        let mut uses = TokenUses::default();
        assert_eq!(uses.in_words(Moment(0)), None);
        uses.note([192, 0, 2, 1].into(), Moment(0));
        uses.note([192, 0, 2, 2].into(), Moment(5_000));
        uses.note("::ffff:192.0.2.1".parse().expect("an address"), Moment(8_000));
        assert_eq!(uses.in_words(Moment(9_500)).as_deref(), Some("192.0.2.1 (1 s ago), 192.0.2.2 (4 s ago)"));
        let a_day_later = Moment(8_000) + RECENT;
        assert_eq!(uses.in_words(a_day_later).as_deref(), Some("192.0.2.1 (86400 s ago)"));
        for number in 0..10_000_u32 {
            uses.note(IpAddr::from(number.to_be_bytes()), Moment(10_000 + u64::from(number)));
            assert!(uses.by.len() <= CAPACITY);
        }
        let told = uses.in_words(Moment(20_000)).expect("some");
        assert!(told.starts_with("0.0.39.15 ") && told.ends_with("others before"), "{told}");
        for host in 0..100 {
            uses.note(format!("2001:db8::{host:x}").parse().expect("an address"), Moment(30_000));
        }
        assert_eq!(uses.in_words(Moment(30_000)).expect("some").matches("2001:db8").count(), 1);
    }
}
