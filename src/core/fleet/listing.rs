//! Pages of a long list, and what is left out of it: the query of `GET /api/v1/sessions` and `/workers`.
//!
//! Lists are in the order of ids, and a page goes on behind the id that the one before ended with. So nothing that stays is left
//! out or told twice, whatever comes and goes meanwhile.

use crate::core::ids::{BodyAddr, SESSION_ID_BYTES, SESSION_ID_SHOWN, WorkerId};
use crate::core::session::status::SessionStatus;

/// Most entries of one page: some 400 KiB of sessions.
pub const MAX_LIMIT: usize = 1_000;

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sessions.
    Sessions,
    /// Workers.
    Workers,
}

/// The words for a worker in lists.
const WORKER_STATES: [&str; 4] = ["up", "late", "down", "unreachable"];

/// What is asked of a list. Without anything it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Entries at most.
    pub limit: Option<usize>,
    /// Those behind this id. Of a session its first characters are enough, as they are shown to those who may not have the rest.
    pub after: Option<String>,
    /// Of this worker.
    pub worker: Option<WorkerId>,
    /// In this state.
    pub state: Option<String>,
    /// On this body.
    pub body: Option<BodyAddr>,
}

/// A page: the entries, and what the next one begins behind; `None`: there are no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// By key.
    pub entries: Vec<T>,
    /// For [`Wanted::after`].
    pub next: Option<String>,
}

impl Wanted {
    /// Reads a query. Names that mean nothing here are left alone. The error says in words what is wrong.
    pub fn read(query: &str, kind: Kind) -> Result<Wanted, String> {
        let mut wanted = Wanted::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !["limit", "after", "worker", "state", "body"].contains(&name) {
                continue;
            }
            let value = plain(value)
                .ok_or_else(|| format!("{name}: %XX must be two hexadecimal digits of plain text"))?;
            wanted.set(name, value, kind)?;
        }
        Ok(wanted)
    }

    fn set(&mut self, name: &str, value: String, kind: Kind) -> Result<(), String> {
        match (name, kind) {
            ("limit", _) => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                let wrong = || format!("limit: must be a number from 1 to {MAX_LIMIT}");
                set_once(&mut self.limit, name, limit.ok_or_else(wrong)?)
            }
            ("after", Kind::Sessions) if !is_session_prefix(&value) => {
                Err("after: must be what `next` of the page before says: characters of a session's id"
                    .to_owned())
            }
            ("after", Kind::Workers) if value.parse::<WorkerId>().is_err() => {
                Err("after: must be what `next` of the page before says: a worker's id".to_owned())
            }
            ("after", Kind::Sessions) => set_once(&mut self.after, name, behind_prefix(&value)),
            ("after", Kind::Workers) => set_once(&mut self.after, name, value),
            ("worker", _) => {
                let worker = value.parse().map_err(|error| format!("worker: {error}"))?;
                set_once(&mut self.worker, name, worker)
            }
            ("state", _) => {
                let known = states(kind);
                if !known.contains(&value.as_str()) {
                    return Err(format!("state: must be one of {}", known.join(", ")));
                }
                set_once(&mut self.state, name, value)
            }
            ("body", Kind::Sessions) => {
                let body = value.parse().map_err(|error| format!("body: {error}"))?;
                set_once(&mut self.body, name, body)
            }
            _ => Err(format!("{name}: is asked of sessions only")),
        }
    }

    /// A page of these entries. `key` is what they are ordered by and told apart: entries of one key stay together, even beyond the
    /// limit.
    pub fn page<T>(&self, entries: impl Iterator<Item = T>, key: impl Fn(&T) -> &str) -> Page<T> {
        let mut found: Vec<T> = entries.filter(|entry| self.is_behind(key(entry))).collect();
        let Some(limit) = self.limit.filter(|limit| *limit < found.len()) else {
            found.sort_unstable_by(|one, other| key(one).cmp(key(other)));
            return Page { entries: found, next: None };
        };
        // Only the page is put in order, not the whole list for each page of it.
        let by_key = |one: &T, other: &T| key(one).cmp(key(other));
        let (_, last, _) = found.select_nth_unstable_by(limit - 1, by_key);
        let last = key(last).to_owned();
        let before = found.len();
        found.retain(|entry| key(entry) <= last.as_str());
        found.sort_unstable_by(by_key);
        let is_more = found.len() < before;
        Page { entries: found, next: is_more.then_some(last) }
    }

    fn is_behind(&self, key: &str) -> bool {
        self.after.as_deref().is_none_or(|after| key > after)
    }
}

/// Behind all ids that begin so, and before all others that follow.
fn behind_prefix(after: &str) -> String {
    format!("{after:g<width$}", width = 2 * SESSION_ID_BYTES)
}

fn set_once<T>(field: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match field.replace(value) {
        Some(_) => Err(format!("{name}: is given twice")),
        None => Ok(()),
    }
}

fn is_session_prefix(text: &str) -> bool {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_hex && (SESSION_ID_SHOWN..=2 * SESSION_ID_BYTES).contains(&text.len())
}

fn states(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Workers => WORKER_STATES.to_vec(),
        Kind::Sessions => {
            let more = [SessionStatus::Ended, SessionStatus::Down, SessionStatus::Moving];
            SessionStatus::OF_WORKERS.into_iter().chain(more).map(SessionStatus::name).collect()
        }
    }
}

/// A value of a query without escapes; `None`: it is none.
fn plain(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let escaped = byte == b'%';
        bytes.push(if escaped { 16 * digit(rest.next()?)? + digit(rest.next()?)? } else { byte });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn digit(byte: u8) -> Option<u8> {
    u8::try_from(char::from(byte).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_in_plain_words_and_bad_ones_are_refused_with_words() {
        let read = |query| Wanted::read(query, Kind::Sessions);
        assert_eq!(read(""), Ok(Wanted::default()));
        assert_eq!(read("cache=7&limited"), Ok(Wanted::default()), "names that mean nothing here");
        let all = read("limit=20&after=5a5a5a5a&worker=w-1&state=streaming&body=fd00%3A%3a1").unwrap();
        assert_eq!((all.limit, all.after), (Some(20), Some(behind_prefix("5a5a5a5a"))));
        assert_eq!(all.worker.map(|worker| worker.to_string()).as_deref(), Some("w-1"));
        assert_eq!((all.state.as_deref(), all.body), (Some("streaming"), "fd00::1".parse().ok()));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit",
            "limit=-1",
            "limit=1e3",
            "limit=1&limit=1",
            "after=5a5a5a",
            "after=5A5A5A5A",
            "after=",
            "after=../../etc",
            "worker=",
            "worker=a/b",
            "state=up",
            "state=",
            "state=Streaming",
            "body=",
            "body=10.0.0",
            "body=10.0.0.1:80",
            "body=%3",
            "body=%zz",
            "worker=%00",
            "worker=%ff",
        ] {
            let why = read(bad).expect_err(bad);
            let name = bad.split('=').next().unwrap_or_default();
            assert!(why.starts_with(&format!("{name}: ")) && why.len() > name.len() + 8, "{bad}: {why}");
        }
        let workers = |query| Wanted::read(query, Kind::Workers);
        assert!(workers("state=unreachable&after=w1&limit=1000").is_ok());
        for bad in ["state=streaming", "after=a%20b", "body=10.0.0.1"] {
            assert!(workers(bad).is_err(), "{bad}");
        }
        assert!(workers("state=asleep").unwrap_err().contains("up, late, down, unreachable"));
    }

    #[test]
    fn pages_hold_everything_once_and_in_order() {
        let ids: Vec<String> = (0..57u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        for limit in [1, 2, 10, 56, 57, 58] {
            let (mut told, mut after) = (Vec::new(), None);
            loop {
                let wanted = Wanted { limit: Some(limit), after, ..Wanted::default() };
                let page = wanted.page(ids.iter(), |id| id.as_str());
                assert!(page.entries.len() <= limit && !page.entries.is_empty(), "{limit}: {page:?}");
                told.extend(page.entries.into_iter().cloned());
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(told, sorted, "{limit} each");
        }
        assert_eq!(Wanted::default().page(ids.iter(), |id| id.as_str()).entries.len(), 57);
    }

    #[test]
    fn those_of_one_key_are_never_parted() {
        let ids = ["aa1", "ab1", "ab2", "ab3", "ac1"];
        fn short<'a>(id: &'a &'static str) -> &'a str {
            &id[..2]
        }
        let first = Wanted { limit: Some(2), ..Wanted::default() }.page(ids.into_iter(), short);
        assert_eq!((first.entries.len(), first.next.as_deref()), (4, Some("ab")));
        let next = Wanted { limit: Some(2), after: first.next, ..Wanted::default() };
        assert_eq!(next.page(ids.into_iter(), short), Page { entries: vec!["ac1"], next: None });
    }

    #[test]
    fn behind_the_first_characters_is_behind_all_that_begin_so() {
        let behind = behind_prefix("5a5a5a5a");
        let of = |rest: char| format!("5a5a5a5a{}", rest.to_string().repeat(24));
        assert!(of('0') < behind && of('f') < behind);
        assert!(format!("5a5a5a5b{}", "0".repeat(24)) > behind);
        assert_eq!(behind_prefix(&of('f')), of('f'));
    }
}
