//! When something is tried: the first certificate, renewals, and what follows a failure. Kept on disk, so that a process that
//! is started again and again asks no authority more often than one that runs.
//!
//! | what happened | the next try |
//! |---|---|
//! | a certificate is there | at the time the authority suggests (RFC 9773), else when a third of its life is left (half, if that is shorter than ten days) |
//! | a try failed | after 1, 10, 100 minutes, then a day; where no limit was touched after an hour at most; never before `Retry-After` |
//! | our own answer cannot be fetched through the domain | no order is made; each minute again, and after ten minutes one order an hour |
//! | somebody asks for it | now, but for a limit that the authority named |

use serde::{Deserialize, Serialize};

use crate::acme::protocol::issuance::{Begun, Way};
use crate::acme::protocol::says::RenewalInfo;
use crate::acme::protocol::trouble::{Kind, Trouble};
use crate::core::wall_time::{DAY, HOUR, MINUTE, WallTime, in_words};

/// Waits after the first failures in a row, in seconds, and after all further ones: what Let's Encrypt advises. Five failed
/// validations an hour are its limit.
const BACKOFF: [u64; 4] = [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY];

/// Longest wait where no limit of the authority's was touched, and when a certificate is about to end.
const BACKOFF_UNTOUCHED: u64 = HOUR;

/// While a certificate is served, no wait takes more than this share of what is left of its life: some eighty tries lie between the
/// renewal of a six-day certificate and its end.
const HASTE: u64 = 24;

/// A wait is this share longer at random at most, so that what went down together does not come back together.
const SCATTER: u64 = 10;

/// Certificates that live shorter are renewed at half of their life.
const SHORT_LIFE: u64 = 10 * DAY;

/// Bounds of what the authority says of when to ask for renewal information again (RFC 9773, 4.3.2).
const INFO_AGAIN: (u64, u64) = (HOUR, DAY);
const INFO_DEFAULT: u64 = 6 * HOUR;

/// A certificate that was just got is not renewed for so long, nor for a quarter of its life: else an authority that wants each one renewed
/// at once would have its wish without end.
const REST_BY_AUTHORITY: u64 = HOUR;

/// The same by our own rule: a clock that is months ahead finds each one old.
const REST: u64 = DAY;

/// A check of our own answer that failed is repeated.
const CHECK_AGAIN: u64 = MINUTE;

/// From when on an order is made although it fails: behind some routers nobody reaches his own outside address.
const CHECK_PATIENCE: u64 = 10 * MINUTE;

/// Between two such orders.
const BLIND_ORDER: u64 = HOUR;

/// A wait longer than any that is kept: the clock was set back meanwhile.
const LONGEST_WAIT: u64 = 8 * DAY;

/// An order is good for so long: Let's Encrypt's live a week.
const ORDER_LIFE: u64 = 6 * DAY;

/// What is left of a certificate's life when renewals that fail are worth an alert: the fourth part. Renewal begins at a third.
const ALERT_SHARE: u64 = 4;

/// Failures in a row that are worth a word in health while the certificate is good for long.
const MANY_FAILURES: u32 = 3;

/// What is known of the certificate in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The names it is for.
    pub names: Vec<String>,
    /// The authority's name, as it stands in the certificate.
    pub issuer: String,
    /// Its serial number.
    pub serial: String,
    /// From when on it is good.
    pub not_before: WallTime,
    /// Until when.
    pub not_after: WallTime,
    /// How renewal information names it (RFC 9773, 4.1), where it has what that needs.
    pub renewal_id: Option<String>,
    /// Whose directory it came from.
    pub directory: String,
}

impl Held {
    fn life(&self) -> u64 {
        self.not_after.since(self.not_before)
    }

    /// Whether it may be served at this time.
    pub fn is_good(&self, now: WallTime) -> bool {
        now < self.not_after
    }

    /// When it is renewed unless the authority says otherwise.
    fn renewal(&self) -> WallTime {
        let life = self.life();
        let left = if life < SHORT_LIFE { life / 2 } else { life / 3 };
        WallTime(self.not_after.0.saturating_sub(left))
    }

    /// When it is renewed whatever the authority says.
    fn last_renewal(&self) -> WallTime {
        WallTime(self.not_after.0.saturating_sub(self.life() / 8))
    }
}

/// When the authority wants the certificate renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggested {
    /// For which certificate.
    pub id: String,
    /// A time in the window, taken at random once.
    pub at: WallTime,
    /// The window, to see whether it changed.
    pub window: (WallTime, WallTime),
    /// Where people read why.
    #[serde(default)]
    pub explanation: Option<String>,
}

/// What is wanted, as the settings have it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The names.
    pub names: &'a [String],
    /// The authority's directory.
    pub directory: &'a str,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time.
    Nothing(WallTime),
    /// The authority is to be asked when it wants this certificate renewed.
    RenewalInfo(String),
    /// A certificate is to be got, in place of this one (RFC 9773, 5).
    Certificate(Option<String>),
}

/// Whether an order is made after a look at ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Names are proved in this way.
    Order(Way),
    /// Not now.
    Not,
}

/// The plan. What it holds is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// Whose directory it is about.
    pub directory: String,
    /// The names it is about.
    pub names: Vec<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is ordered before.
    pub next_try: WallTime,
    /// The same by word of the authority: nobody may ask for it sooner.
    pub not_before: WallTime,
    /// What went wrong last, while it is not mended.
    pub problem: Option<String>,
    /// How the last order proved its names; what worked is used again.
    pub way: Way,
    /// Whether that worked.
    pub way_is_proved: bool,
    /// The order under way, or whether one was asked for.
    pub begun: Begun,
    /// When that was.
    pub begun_at: WallTime,
    /// When the authority wants the certificate renewed.
    pub suggested: Option<Suggested>,
    /// When that is asked for again.
    pub info_at: WallTime,
    /// When the certificate was got.
    pub got_at: WallTime,
    /// Since when our own answer cannot be fetched through the domain.
    pub unseen_since: Option<WallTime>,
    /// When an order was last made although that is so.
    pub blind_order: Option<WallTime>,
}

impl Plan {
    /// Fits the plan to what is wanted now: what was planned for other names, or another authority, is dropped.
    pub fn adopt(&mut self, wanted: Wanted<'_>) {
        if self.directory != wanted.directory || self.names != wanted.names {
            let (directory, names) = (wanted.directory.to_owned(), wanted.names.to_vec());
            *self = Plan { directory, names, ..Plan::default() };
        }
    }

    /// What is due at this time.
    pub fn due(&self, now: WallTime, held: Option<&Held>) -> Due {
        let ours = held.filter(|held| self.fits(held));
        let Some(held) = ours else {
            return self.certificate_at(self.earliest(now), now, None);
        };
        let renewal = self.renewal(held).max(self.rest(now, held));
        if now >= renewal {
            return self.certificate_at(self.earliest(now), now, held.renewal_id.clone());
        }
        match &held.renewal_id {
            Some(id) if now >= self.info_at || self.info_at.since(now) > LONGEST_WAIT => {
                Due::RenewalInfo(id.clone())
            }
            Some(_) => Due::Nothing(renewal.min(self.info_at)),
            None => Due::Nothing(renewal),
        }
    }

    /// Whether a certificate is for what is wanted.
    pub fn fits(&self, held: &Held) -> bool {
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names
        };
        held.directory == self.directory && sorted(&held.names) == sorted(&self.names)
    }

    fn certificate_at(&self, at: WallTime, now: WallTime, replaces: Option<String>) -> Due {
        if now >= at { Due::Certificate(replaces) } else { Due::Nothing(at) }
    }

    /// When the next order may be made. A time that lies farther off than any wait was kept before the clock was set back.
    fn earliest(&self, now: WallTime) -> WallTime {
        let at = self.next_try.max(self.not_before);
        if at.since(now) > LONGEST_WAIT { now } else { at }
    }

    /// When the certificate is renewed.
    pub fn renewal(&self, held: &Held) -> WallTime {
        self.suggested(held).map_or(held.renewal(), |suggested| suggested.at.min(held.last_renewal()))
    }

    /// What the authority said of this certificate.
    fn suggested(&self, held: &Held) -> Option<&Suggested> {
        self.suggested.as_ref().filter(|suggested| Some(&suggested.id) == held.renewal_id.as_ref())
    }

    /// Before this time it is not renewed, because it was just got.
    fn rest(&self, now: WallTime, held: &Held) -> WallTime {
        let rest = if self.suggested(held).is_some() { REST_BY_AUTHORITY } else { REST };
        match self.got_at <= now {
            true => (self.got_at + rest.min(held.life() / 4)).min(held.not_after),
            // The clock was set back.
            false => now,
        }
    }

    /// Somebody asks for a try now.
    pub fn hurry(&mut self, now: WallTime) {
        self.next_try = now;
        self.info_at = now;
        self.got_at = WallTime(0);
        self.blind_order = None;
    }

    /// The authority said when it wants the certificate `id` renewed, or did not say. `random` chooses the time in the window.
    pub fn informed(
        &mut self,
        now: WallTime,
        (id, info): (&str, Option<RenewalInfo>),
        retry_after: Option<u64>,
        random: u64,
    ) {
        let (least, most) = INFO_AGAIN;
        self.info_at = now + retry_after.unwrap_or(INFO_DEFAULT).clamp(least, most);
        let Some(RenewalInfo { start, end, explanation }) = info else { return };
        let known = self.suggested.as_ref().filter(|known| known.id == id && known.window == (start, end));
        if known.is_none() {
            let at = start + random % end.since(start).max(1);
            self.suggested = Some(Suggested { id: id.to_owned(), at, window: (start, end), explanation });
        }
    }

    /// Our own answer could be fetched through the domain, or could not, for this reason. Decides whether an order is made.
    pub fn looked(&mut self, now: WallTime, seen: Result<(), String>) -> Verdict {
        let Err(why) = seen else {
            self.unseen_since = None;
            self.blind_order = None;
            return Verdict::Order(self.way);
        };
        let since = *self.unseen_since.get_or_insert(now);
        let last = self.blind_order.filter(|last| *last <= now);
        // What was proved by a handshake needs no port 80.
        let proved = self.way == Way::Alpn && self.way_is_proved;
        let patient = now.since(since) < CHECK_PATIENCE;
        if !proved && (patient || last.is_some_and(|last| now.since(last) < BLIND_ORDER)) {
            self.next_try = now + CHECK_AGAIN;
            self.problem = Some(why);
            return Verdict::Not;
        }
        self.blind_order = Some(now);
        Verdict::Order(if proved { Way::Alpn } else { self.way })
    }

    /// A try with names proved in this way failed. `held` is what is served meanwhile; `random` scatters the next try.
    pub fn failed(
        &mut self,
        now: WallTime,
        held: Option<&Held>,
        (trouble, way): (&Trouble, Way),
        random: u64,
    ) {
        self.failures = self.failures.saturating_add(1);
        let step = usize::try_from(self.failures - 1).unwrap_or(usize::MAX).min(BACKOFF.len() - 1);
        let wait = BACKOFF.get(step).copied().unwrap_or(DAY);
        let left = held.map_or(u64::MAX, |held| held.not_after.since(now));
        let most = match trouble.kind {
            Kind::Unreachable | Kind::Local => BACKOFF_UNTOUCHED,
            // Still below every limit.
            _ => (left / HASTE).max(BACKOFF_UNTOUCHED),
        };
        let wait = wait.min(most);
        self.next_try = now + wait + random % (wait / SCATTER).max(1);
        self.not_before = trouble.retry_after.map_or(WallTime(0), |wait| now + wait.min(LONGEST_WAIT));
        self.problem = Some(trouble.text.clone());
        if trouble.kind == Kind::Unproved {
            self.way = way.other();
            self.way_is_proved = false;
        }
    }

    /// A certificate was got, its names proved in this way unless the authority knew them already.
    pub fn succeeded(&mut self, now: WallTime, proved: Option<Way>) {
        let (way, way_is_proved) = proved.map_or((self.way, self.way_is_proved), |way| (way, true));
        let (directory, names) = (std::mem::take(&mut self.directory), std::mem::take(&mut self.names));
        *self = Plan { directory, names, way, way_is_proved, info_at: now, got_at: now, ..Plan::default() };
    }

    /// How far the order is.
    pub fn begin(&mut self, now: WallTime, begun: Begun) {
        if self.begun == Begun::Nothing {
            self.begun_at = now;
        }
        self.begun = begun;
    }

    /// The order that is gone on with, if it is not too old.
    pub fn open_order(&self, now: WallTime) -> Begun {
        let is_old = now.since(self.begun_at) > ORDER_LIFE;
        if is_old { Begun::Nothing } else { self.begun.clone() }
    }

    /// When the next try is; `None`: when the certificate is due for it.
    pub fn next(&self, now: WallTime, held: Option<&Held>) -> WallTime {
        let earliest = self.earliest(now);
        match held.filter(|held| self.fits(held)) {
            Some(held) => self.renewal(held).max(self.rest(now, held)).max(earliest),
            None => earliest.max(now),
        }
    }

    /// What is wrong, for health; `None`: nothing that anybody must know.
    pub fn complaint(&self, now: WallTime, held: Option<&Held>) -> Option<String> {
        let names = self.names.join(", ");
        let why = self.problem.as_deref().unwrap_or("the first try is under way");
        let wait = self.next(now, held).since(now);
        let next = if wait == 0 { "now".to_owned() } else { format!("in {}", in_words(wait)) };
        let text = match held {
            None => format!("no certificate for {names}: {why}; next try {next}"),
            Some(held) if !held.is_good(now) => {
                format!("the certificate for {names} has expired: {why}; next try {next}")
            }
            Some(held) if now + DAY < held.not_before => format!(
                "the clock says {}, before the certificate for {names} begins ({}): set the clock",
                now.rfc3339(),
                held.not_before.rfc3339()
            ),
            Some(held) if !self.fits(held) => {
                format!(
                    "the certificate in use is for {}, not yet for {names}: {why}; next try {next}",
                    held.names.join(", ")
                )
            }
            Some(held) if self.is_late(now, held) => {
                let left = in_words(held.not_after.since(now));
                format!(
                    "the certificate for {names} ends in {left} and could not be renewed: {why}; next try {next}"
                )
            }
            Some(_) if self.failures >= MANY_FAILURES => {
                format!("the certificate for {names} could not be renewed: {why}; next try {next}")
            }
            Some(_) => return None,
        };
        Some(text)
    }

    /// Whether so little of its life is left that somebody must look.
    pub fn is_late(&self, now: WallTime, held: &Held) -> bool {
        self.problem.is_some() && held.not_after.since(now) < held.life() / ALERT_SHARE
    }
}

#[cfg(test)]
mod tests;
