//! What a role tells of the certificate that it serves, wherever it comes from: in health, to Prometheus, and to webhooks.

use std::sync::Arc;

use serde_json::Value;

use crate::acme::status::Status;
use crate::core::wall_time::{DAY, WallTime, in_words};
use crate::host::clock::wall_time;
use crate::metrics::exposition::Exposition;
use crate::metrics::table as t;
use crate::server::certificates::{FileFacts, FileTold};

/// A certificate from files is worth a word when less than this is left of it.
const FILE_SOON: u64 = 30 * DAY;

/// Or less than this share of its life, if that is shorter: it lives for days only.
const FILE_SHARE: u64 = 4;

/// Both are empty for a role that speaks no TLS.
#[derive(Clone, Debug, Default)]
pub struct CertificateView {
    /// That of `server.domain`.
    pub automatic: Option<Arc<Status>>,
    /// That of `server.tls`.
    pub files: Option<Arc<FileFacts>>,
}

impl CertificateView {
    /// What is wrong, in words; `None`: nothing that anybody must know.
    pub fn problem(&self) -> Option<String> {
        let automatic = self.automatic.as_ref().and_then(|status| status.problem());
        automatic.or_else(|| self.files.as_ref().and_then(|facts| file_problem(&facts.get(), wall_time())))
    }

    /// The same without times that go on, so that it changes only when something happens.
    pub fn trouble(&self) -> Option<String> {
        let automatic = self.automatic.as_ref().and_then(|status| status.facts().trouble);
        automatic.or_else(|| self.files.as_ref().and_then(|facts| file_problem(&facts.get(), wall_time())))
    }

    /// For health: all of the automatic one.
    pub fn report(&self) -> Option<Value> {
        self.automatic.as_ref().map(|status| status.report())
    }

    /// For webhooks: its names, where they are ours to know, and until when it is good.
    pub fn names_and_end(&self) -> (Vec<String>, Option<WallTime>) {
        let facts = self.automatic.as_ref().map(|status| status.facts()).unwrap_or_default();
        let of_files = self.files.as_ref().and_then(|facts| facts.get().validity);
        (facts.names, facts.validity.or(of_files).map(|(_, end)| end))
    }

    /// For Prometheus. A role without a certificate to be has no series.
    pub fn write(&self, page: &mut Exposition) {
        let automatic = self.automatic.as_ref().map(|status| (status, status.facts()));
        let of_files = self.files.as_ref().map(|facts| facts.get().validity);
        let each = || {
            let automatic = automatic.iter().map(|(_, facts)| ("domain", facts.validity));
            automatic.chain(of_files.map(|validity| ("files", validity)))
        };
        let (now, seconds) = (wall_time(), |at: WallTime| at.0 as f64);
        let is_good = |(from, to): (WallTime, WallTime)| (from..to).contains(&now);
        page.values(&t::CERTIFICATE_GOOD, each().map(|(source, it)| ([source], it.is_some_and(is_good))));
        let begins = each().filter_map(|(source, it)| Some(([source], seconds(it?.0))));
        page.values(&t::CERTIFICATE_NOT_BEFORE, begins);
        let ends = each().filter_map(|(source, it)| Some(([source], seconds(it?.1))));
        page.values(&t::CERTIFICATE_NOT_AFTER, ends);
        let facts = automatic.as_ref().map(|(_, facts)| facts);
        page.values(&t::CERTIFICATE_FAILED_TRIES, facts.map(|facts| ([], facts.failures)));
        page.values(&t::CERTIFICATE_NEXT_TRY, facts.map(|facts| ([], seconds(facts.next_try))));
        let tries = automatic.iter().flat_map(|(status, _)| status.tries.iter());
        page.values(&t::CERTIFICATE_TRIES, tries.map(|(result, count)| ([result], count)));
    }
}

/// What is wrong with a certificate from files. Paths are for operators: none is named.
fn file_problem(told: &FileTold, now: WallTime) -> Option<String> {
    let (from, to) = told.validity?;
    let soon = FILE_SOON.min(to.since(from) / FILE_SHARE);
    if now >= to {
        Some(format!("the certificate in server.tls.cert has ended ({}): put a new one there", to.rfc3339()))
    } else if now + DAY < from {
        Some(format!("the certificate in server.tls.cert begins {} only: set the clock", from.rfc3339()))
    } else if to.since(now) < soon {
        // In days: the words are the same for a while.
        let left = in_words((to.since(now) / DAY).max(1) * DAY);
        Some(format!("the certificate in server.tls.cert ends within {left}: put a new one there"))
    } else {
        let key = told.refused?;
        Some(format!("the new {key} is refused and the old certificate stays in use: see [edge] in the log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SPEC 9: A certificate from files is told of before it ends, in health too
    // Also: `a_certificate_from_files_is_measured_and_a_refused_one_is_told_once`
    #[test]
    fn a_certificate_from_files_is_told_of_before_it_ends() {
        let told = |from: u64, to: u64| FileTold {
            validity: Some((WallTime(from * DAY), WallTime(to * DAY))),
            refused: None,
        };
        let said = |told: &FileTold, day: u64| file_problem(told, WallTime(day * DAY)).unwrap_or_default();
        let year = told(1_000, 1_365);
        assert_eq!(said(&year, 1_334), "");
        assert!(said(&year, 1_336).contains("ends within 29 days"), "{}", said(&year, 1_336));
        assert!(said(&year, 1_365).contains("has ended"));
        assert!(said(&year, 998).contains("set the clock"));
        let week = told(1_000, 1_008);
        assert_eq!(said(&week, 1_005), "");
        assert!(said(&week, 1_007).contains("ends within"));
        let refused = FileTold { refused: Some("server.tls.key"), ..year };
        assert!(said(&refused, 1_100).starts_with("the new server.tls.key is refused"));
    }
}
