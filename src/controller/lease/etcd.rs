//! The lease's store: etcd's version 3 API as JSON over HTTP (its gRPC gateway), which needs no client library.
//!
//! Below `lease.prefix` there are `leader`, whose value is the leader's URL, bound to the leader's term, `drains/WORKER`, `namespaces/NAME`, and
//! `bodies/WORKER/BODY/SESSION.COPY[.left]` ([`crate::core::fleet::bodies`]). Keys and values are base64 there, and
//! 64-bit numbers are text. A read is linearizable: etcd answers it only with a majority.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::settings::LeaseConfig;
use crate::controller::lease::policy::{Finding, Holder, Query, Term};
use crate::core::fleet::bodies::BodyEntry;
use crate::core::ids::WorkerId;
use crate::core::namespaces::NamespaceName;
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;

/// Calls in one lease: so many may be without an answer before it ends, as each goes to the next member.
const CALLS_PER_TERM: u32 = 6;

/// Bounds of one call's time-out. Below, a busy member would count as dead; above, nobody waits.
const CALL_TIMEOUT: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// Largest answer that is read: ten thousand drained workers have a tenth of it.
const ANSWER_LIMIT: u64 = 16 << 20;

/// Namespaces of one answer: with as many tokens as they may have they take 3 MiB, which etcd's gateway takes from its server at least.
const PAGE: u64 = 8;

/// Below the prefix: a key for each worker that is to be drained.
const DRAINS: &str = "drains";

/// Below the prefix: a key for each namespace.
const NAMESPACES: &str = "namespaces";

/// Below the prefix: a key for each entry of the table of bodies.
const BODIES: &str = "bodies";

/// Entries of one answer: with the longest names of workers they take 2 MiB.
const BODIES_PAGE: u64 = 8_000;

/// etcd, as one controller sees it.
pub struct Etcd {
    agent: ureq::Agent,
    config: LeaseConfig,
    /// Where this controller is reached.
    own_url: String,
    /// The member that is asked.
    member: usize,
    /// Of a user; empty before the first log-in.
    token: Option<String>,
    read: Read,
}

/// How far namespaces were read.
#[derive(Default)]
struct Read {
    /// The highest revision of a key that was read.
    until: u64,
    /// The keys there are, also those that name no namespace.
    keys: BTreeSet<String>,
}

/// What has changed of namespaces since they were read last.
#[derive(Debug, Default)]
pub struct News {
    /// These are all that there are.
    pub is_whole: bool,
    /// What is new.
    pub entries: Vec<KeptNamespace>,
}

/// A namespace as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptNamespace {
    /// Which.
    pub name: NamespaceName,
    /// The revision of its key.
    pub modified: u64,
    /// What is kept.
    pub value: String,
}

/// What becomes of a wish to keep a namespace.
#[derive(Debug)]
pub enum Kept {
    /// It is kept, with this revision.
    Yes(u64),
    /// This leadership does not last any more; who leads, if that is known.
    NotLeading(Option<String>),
    /// It was changed since it was read.
    Changed,
}

/// What becomes of a wish to change the table of bodies.
#[derive(Debug)]
pub enum Listed {
    /// It is done.
    Yes,
    /// This leadership does not last any more; who leads, if that is known.
    NotLeading(Option<String>),
}

/// A part of the table of bodies.
#[derive(Debug)]
pub struct PageOfBodies {
    /// What it has. What makes no sense is left out.
    pub entries: Vec<BodyEntry>,
    /// Where to read on; `None`: that was all.
    pub next: Option<String>,
}

/// What a transaction read.
struct Told {
    holder: Option<Holder>,
    drains: BTreeSet<WorkerId>,
    namespaces: News,
}

/// What one question brought.
pub struct Found {
    /// For the lease.
    pub finding: Finding,
    /// The workers that are to be drained, where it told them.
    pub drains: Option<BTreeSet<WorkerId>>,
    /// What has changed of namespaces.
    pub namespaces: News,
}

/// Why there is no useful answer.
#[derive(Debug)]
enum Failure {
    /// 404: what was named is not there.
    Missing,
    /// In words.
    Words(String),
}

/// A kept document of one key.
struct Entry {
    key: String,
    value: String,
    created: u64,
    modified: u64,
    term: Term,
}

impl Etcd {
    /// Nothing is asked yet.
    pub fn new(config: LeaseConfig, own_url: String, tls: TlsConfig) -> Etcd {
        let (least, most) = CALL_TIMEOUT;
        let agent = ureq::Agent::config_builder()
            .middleware(http_client::Traced("etcd"))
            .tls_config(tls)
            .timeout_global(Some((config.ttl / CALLS_PER_TERM).clamp(least, most)))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        Etcd {
            agent: http_client::agent(agent),
            config,
            own_url,
            member: 0,
            token: None,
            read: Read::default(),
        }
    }

    /// Asks one question. A member that does not answer is left for the next one.
    pub fn ask(&mut self, query: Query) -> Found {
        let held = |told: Told| (Finding::Held(told.holder.clone()), Some(told));
        let asked = match query {
            Query::Look => self.look().map(held),
            Query::Grant => self.grant().map(|finding| (finding, None)),
            Query::Claim(term) => self.claim(term).map(held),
            Query::Renew(term) => self.renew(term),
            Query::Revoke(term) => self.revoke(term).map(|()| (Finding::Revoked, None)),
        };
        let (finding, told) = match asked {
            Ok(found) => found,
            Err(Failure::Missing) => (Finding::Ended, None),
            Err(Failure::Words(why)) => (Finding::Trouble(why), None),
        };
        let (drains, namespaces) = told.map(|told| (told.drains, told.namespaces)).unzip();
        Found { finding, drains, namespaces: namespaces.unwrap_or_default() }
    }

    /// Notes that a worker is to be drained, or not any more, as long as this leadership lasts; false: it does not.
    pub fn drain(&mut self, number: u64, worker: &WorkerId, on: bool) -> Result<bool, String> {
        let key = text(&format!("{}{worker}", self.below(DRAINS)));
        let change = match on {
            true => json!({"request_put": {"key": key, "value": text("drain")}}),
            false => json!({"request_delete_range": {"key": key}}),
        };
        let answer = self.call("kv/txn", &json!({"compare": [self.leads(number)], "success": [change]}));
        answer.map(|answer| answer["succeeded"] == true).map_err(in_words)
    }

    /// Keeps a namespace instead of what has this revision (0: nothing has), as long as this leadership lasts; with what was read where it
    /// does not, or somebody was faster. After an error nobody knows whether it is kept.
    pub fn keep(
        &mut self,
        number: u64,
        name: &NamespaceName,
        (instead_of, value): (u64, &str),
    ) -> Result<(Kept, News), String> {
        let key = text(&format!("{}{name}", self.below(NAMESPACES)));
        let is_as_read =
            json!({"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": instead_of.to_string()});
        let document = json!({
            "compare": [self.leads(number), is_as_read],
            "success": [{"request_put": {"key": key, "value": text(value)}}],
            "failure": self.ranges(),
        });
        let answer = self.call("kv/txn", &document).map_err(in_words)?;
        if answer["succeeded"] == true {
            let modified = revision(&answer).ok_or_else(|| in_words(nonsense("kv/txn")))?;
            return Ok((Kept::Yes(modified), News::default()));
        }
        let Told { holder, namespaces, .. } = self.told(&answer).map_err(in_words)?;
        match holder {
            Some(holder) if holder.number == number => Ok((Kept::Changed, namespaces)),
            holder => Ok((Kept::NotLeading(holder.map(|holder| holder.url)), namespaces)),
        }
    }

    /// Writes entries of the table of bodies (true), or removes them, as long as this leadership lasts. After an error nobody knows.
    pub fn list(&mut self, number: u64, changes: &[(BodyEntry, bool)]) -> Result<Listed, String> {
        let document = self.change_of_bodies(number, changes);
        let answer = self.call("kv/txn", &document).map_err(in_words)?;
        if answer["succeeded"] == true {
            return Ok(Listed::Yes);
        }
        let (holder, _) = self.led_and_drained(&answer).map_err(in_words)?;
        Ok(Listed::NotLeading(holder.map(|holder| holder.url)))
    }

    fn change_of_bodies(&self, number: u64, changes: &[(BodyEntry, bool)]) -> Value {
        let below = self.below(BODIES);
        let change = |(entry, on): &(BodyEntry, bool)| {
            let key = text(&format!("{below}{entry}"));
            match on {
                true => json!({"request_put": {"key": key}}),
                false => json!({"request_delete_range": {"key": key}}),
            }
        };
        let changes: Vec<Value> = changes.iter().map(change).collect();
        let leader = json!([{"request_range": {"key": text(&self.leader_key())}}]);
        json!({"compare": [self.leads(number)], "success": changes, "failure": leader})
    }

    /// Reads the table of bodies from its beginning, or after this key.
    pub fn bodies(&mut self, after: Option<&str>) -> Result<PageOfBodies, String> {
        let mut range = self.range_of(BODIES);
        if let Some(after) = after {
            range["key"] = json!(text(&format!("{after}\0")));
        }
        (range["limit"], range["keys_only"]) = (json!(BODIES_PAGE.to_string()), json!(true));
        let document = json!({"success": [{"request_range": range}]});
        let answer = self.call("kv/txn", &document).map_err(in_words)?;
        self.page_of_bodies(&answer)
    }

    fn page_of_bodies(&self, answer: &Value) -> Result<PageOfBodies, String> {
        let below = self.below(BODIES);
        let keys: Vec<String> =
            entries_of(answer).map_err(in_words)?.into_iter().map(|one| one.key).collect();
        let next = keys.last().filter(|_| answer["responses"][0]["response_range"]["more"] == true).cloned();
        let entries = keys.iter().filter_map(|key| key.strip_prefix(&below)?.parse().ok()).collect();
        Ok(PageOfBodies { entries, next })
    }

    /// That this leadership lasts, as a comparison: with it in one step is done what only a leader may do.
    fn leads(&self, number: u64) -> Value {
        let created = number.saturating_sub(self.config.floor).to_string();
        json!({"key": text(&self.leader_key()), "target": "CREATE", "result": "EQUAL", "create_revision": created})
    }

    fn leader_key(&self) -> String {
        format!("{}leader", self.config.prefix)
    }

    /// What keys of this kind begin with.
    fn below(&self, kind: &str) -> String {
        format!("{}{kind}/", self.config.prefix)
    }

    /// All keys of this kind: from `/`, up to and without the next character.
    fn range_of(&self, kind: &str) -> Value {
        let end = format!("{}{kind}0", self.config.prefix);
        json!({"key": text(&self.below(kind)), "range_end": text(&end)})
    }

    /// The namespaces that have changed, the earliest first, as many as one answer may have.
    fn news_range(&self) -> Value {
        let mut range = self.range_of(NAMESPACES);
        range["min_mod_revision"] = json!(self.read.until.saturating_add(1).to_string());
        (range["sort_target"], range["sort_order"]) = (json!("MOD"), json!("ASCEND"));
        range["limit"] = json!(PAGE.to_string());
        json!({"request_range": range})
    }

    /// Who leads, which workers are drained, and which namespaces have changed.
    fn ranges(&self) -> Value {
        json!([
            {"request_range": {"key": text(&self.leader_key())}},
            {"request_range": self.range_of(DRAINS)},
            self.news_range(),
        ])
    }

    fn look(&mut self) -> Result<Told, Failure> {
        let document = json!({"success": self.ranges()});
        self.call("kv/txn", &document).and_then(|answer| self.told(&answer))
    }

    fn grant(&mut self) -> Result<Finding, Failure> {
        let seconds = self.config.ttl.as_secs().max(1).to_string();
        let answer = self.call("lease/grant", &json!({"TTL": seconds}))?;
        let term = number(&answer["ID"]).ok_or_else(|| nonsense("lease/grant"))?;
        let ttl = number(&answer["TTL"]).filter(|ttl| *ttl > 0).ok_or_else(|| nonsense("lease/grant"))?;
        Ok(Finding::Granted(Term(term), seconds_of(ttl)))
    }

    fn claim(&mut self, term: Term) -> Result<Told, Failure> {
        let key = text(&self.leader_key());
        let free = json!({"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"});
        let mut taken = vec![
            json!({"request_put": {"key": key, "value": text(&self.own_url), "lease": term.0.to_string()}}),
        ];
        let ranges = self.ranges();
        taken.extend(ranges.as_array().into_iter().flatten().cloned());
        let answer = self.call("kv/txn", &json!({"compare": [free], "success": taken, "failure": ranges}))?;
        self.told(&answer)
    }

    /// The look comes after: what is bound to a term may be taken away by hand, and the term lives.
    fn renew(&mut self, term: Term) -> Result<(Finding, Option<Told>), Failure> {
        let answer = self.call("lease/keepalive", &json!({"ID": term.0.to_string()}))?;
        // A term that has ended has no length.
        let Some(ttl) = number(&answer["result"]["TTL"]).filter(|ttl| *ttl > 0) else {
            return match answer["result"].is_object() {
                true => Ok((Finding::Ended, None)),
                false => Err(nonsense("lease/keepalive")),
            };
        };
        let told = self.look()?;
        Ok((Finding::Renewed(seconds_of(ttl), told.holder.clone()), Some(told)))
    }

    fn revoke(&mut self, term: Term) -> Result<(), Failure> {
        match self.call("lease/revoke", &json!({"ID": term.0.to_string()})) {
            Ok(_) | Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What a transaction read; what one answer has no room for is read at once.
    fn told(&mut self, answer: &Value) -> Result<Told, Failure> {
        let (holder, drains) = self.led_and_drained(answer)?;
        let namespaces = self.news(answer);
        if namespaces.is_err() {
            // Nobody has taken in what was read of it.
            self.read = Read::default();
        }
        Ok(Told { holder, drains, namespaces: namespaces? })
    }

    fn led_and_drained(&self, answer: &Value) -> Result<(Option<Holder>, BTreeSet<WorkerId>), Failure> {
        let entries = entries_of(answer)?;
        let (leader, drains) = (self.leader_key(), self.below(DRAINS));
        let holder = entries.iter().find(|entry| entry.key == leader).map(|entry| Holder {
            term: entry.term,
            number: entry.created.saturating_add(self.config.floor),
            url: entry.value.clone(),
        });
        let drained = entries.iter().filter_map(|entry| entry.key.strip_prefix(&drains)?.parse().ok());
        Ok((holder, drained.collect()))
    }

    /// The news of namespaces that this answer begins.
    fn news(&mut self, answer: &Value) -> Result<News, Failure> {
        let mut news = News::default();
        // Its count begins anew: it was set up anew.
        if revision(answer).is_some_and(|revision| revision < self.read.until) {
            return self.read_whole();
        }
        let mut is_complete = self.read_page(answer, &mut news)?;
        while is_complete.is_none() {
            let next = self.call("kv/txn", &json!({"success": [self.news_range()]}))?;
            is_complete = self.read_page(&next, &mut news)?;
        }
        // Something was taken away, by hand.
        if is_complete == Some(false) { self.read_whole() } else { Ok(news) }
    }

    fn read_whole(&mut self) -> Result<News, Failure> {
        self.read = Read::default();
        let mut news = News { is_whole: true, entries: Vec::new() };
        loop {
            let page = self.call("kv/txn", &json!({"success": [self.news_range()]}))?;
            if self.read_page(&page, &mut news)?.is_some() {
                return Ok(news);
            }
        }
    }

    /// Reads on. `None`: there is more; else whether there are as many keys as were read in all.
    fn read_page(&mut self, answer: &Value, news: &mut News) -> Result<Option<bool>, Failure> {
        let namespaces = self.below(NAMESPACES);
        for entry in entries_of(answer)? {
            let Some(name) = entry.key.strip_prefix(&namespaces) else { continue };
            self.read.until = self.read.until.max(entry.modified);
            if let Ok(name) = name.parse() {
                news.entries.push(KeptNamespace { name, modified: entry.modified, value: entry.value });
            }
            self.read.keys.insert(entry.key);
        }
        let last = answer["responses"].as_array().and_then(|all| all.last());
        let range = last.map_or(&Value::Null, |response| &response["response_range"]);
        if range["more"] == true {
            return Ok(None);
        }
        let count = number(&range["count"]).unwrap_or_default();
        Ok(Some(usize::try_from(count).is_ok_and(|count| count == self.read.keys.len())))
    }

    /// One call; as a user, where there is one.
    fn call(&mut self, path: &str, document: &Value) -> Result<Value, Failure> {
        if self.token.is_none() && !self.config.username.is_empty() {
            let password = self.config.password.expose();
            let answer =
                self.post("auth/authenticate", &json!({"name": self.config.username, "password": password}))?;
            let token = answer["token"].as_str().ok_or_else(|| nonsense("auth/authenticate"))?;
            self.token = Some(token.to_owned());
        }
        self.post(path, document)
    }

    fn post(&mut self, path: &str, document: &Value) -> Result<Value, Failure> {
        let sent = self.send(path, document);
        if let Err(Failure::Words(_)) = sent {
            // The next member, if there is one, and a log-in anew: etcd's tokens end after five minutes without use.
            self.member = (self.member + 1) % self.config.etcd.len().max(1);
            self.token = None;
        }
        sent
    }

    fn send(&self, path: &str, document: &Value) -> Result<Value, Failure> {
        let url = self.config.etcd.get(self.member).map(String::as_str).unwrap_or_default();
        let call = self.agent.post(format!("{url}/v3/{path}"));
        let call = match &self.token {
            Some(token) => call.header("Authorization", token),
            None => call,
        };
        let words = |why: &str| Failure::Words(format!("{url}: {why}"));
        let mut response =
            call.send_json(document).map_err(|error| match crypto::refused_certificate(&error) {
                Some(why) => words(&format!("its certificate is refused ({why}); check lease.ca_file")),
                None => words(&http_client::in_words(&error, url)),
            })?;
        let status = response.status().as_u16();
        let answer = response.body_mut().with_config().limit(ANSWER_LIMIT).read_json::<Value>();
        match (status, answer) {
            (200, Ok(answer)) => Ok(answer),
            (200, Err(error)) => Err(words(&format!("its answer makes no sense: {error}"))),
            (404, _) if path != "kv/txn" => Err(Failure::Missing),
            // A claim for a term that has ended.
            (404, Ok(answer)) if answer["message"].is_string() => Err(Failure::Missing),
            (_, Ok(answer)) => {
                let why = answer["message"].as_str().or(answer["error"].as_str()).unwrap_or("no reason");
                let why: String = why.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
                Err(words(&format!(
                    "it answers {status} to {path}: {why}; check lease.username and lease.password, and that it is etcd 3.4 or later"
                )))
            }
            (_, Err(_)) => {
                Err(words(&format!("it answers {status} to {path}; is that etcd's address, 3.4 or later?")))
            }
        }
    }
}

/// Longest reason of etcd's that is shown.
const MAX_REASON: usize = 200;

/// Everything that a transaction read.
fn entries_of(answer: &Value) -> Result<Vec<Entry>, Failure> {
    if !answer["header"].is_object() {
        return Err(nonsense("kv/txn"));
    }
    let responses = answer["responses"].as_array().into_iter().flatten();
    let documents = responses.flat_map(|one| one["response_range"]["kvs"].as_array().into_iter().flatten());
    let entries: Option<Vec<Entry>> = documents.map(entry).collect();
    entries.ok_or_else(|| nonsense("kv/txn"))
}

/// etcd's count of changes, as of an answer.
fn revision(answer: &Value) -> Option<u64> {
    number(&answer["header"]["revision"]).and_then(|revision| u64::try_from(revision).ok())
}

fn in_words(failure: Failure) -> String {
    match failure {
        Failure::Missing => "it answers 404: is that etcd's address?".to_owned(),
        Failure::Words(why) => why,
    }
}

fn nonsense(path: &str) -> Failure {
    Failure::Words(format!("its answer to {path} makes no sense: is that etcd, 3.4 or later?"))
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(ttl.unsigned_abs())
}

fn text(plain: &str) -> String {
    STANDARD.encode(plain)
}

fn plain(value: &Value) -> Option<String> {
    String::from_utf8(STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// A 64-bit number, which is text in etcd's JSON.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn entry(document: &Value) -> Option<Entry> {
    let value = if document["value"].is_null() { Some(String::new()) } else { plain(&document["value"]) };
    // What is zero is left out.
    let zero_if_missing = |value: &Value| if value.is_null() { Some(0) } else { number(value) };
    Some(Entry {
        key: plain(&document["key"])?,
        value: value?,
        created: u64::try_from(zero_if_missing(&document["create_revision"])?).ok()?,
        modified: u64::try_from(zero_if_missing(&document["mod_revision"])?).ok()?,
        term: Term(zero_if_missing(&document["lease"])?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd() -> Etcd {
        let config =
            LeaseConfig { etcd: vec!["http://127.0.0.1:9".into()], floor: 1_000, ..LeaseConfig::default() };
        Etcd::new(config, "https://a".into(), crypto::client_roots(None).unwrap())
    }

    #[test]
    fn a_transaction_tells_who_leads_who_is_drained_and_what_is_new_of_namespaces() {
        let told = json!({"header": {"revision": "9"}, "succeeded": true, "responses": [
            {"response_put": {"header": {"revision": "9"}}},
            {"response_range": {"count": "1", "kvs": [
                {"key": text("/hydraneckwebrtc/leader"), "create_revision": "9", "mod_revision": "9", "value": text("https://b"), "lease": "7587899233881180935"},
            ]}},
            {"response_range": {"count": "2", "kvs": [
                {"key": text("/hydraneckwebrtc/drains/one"), "create_revision": "3", "value": text("drain")},
                {"key": text("/hydraneckwebrtc/drains/no worker's name"), "create_revision": "4"},
            ]}},
            {"response_range": {"count": "2", "kvs": [
                {"key": text("/hydraneckwebrtc/namespaces/a"), "create_revision": "5", "mod_revision": "7", "value": text("kept")},
                {"key": text("/hydraneckwebrtc/namespaces/No Name"), "create_revision": "6", "mod_revision": "6"},
            ]}},
        ]});
        let mut etcd = etcd();
        let Told { holder, drains, namespaces } = etcd.told(&told).unwrap();
        let kept = KeptNamespace { name: "a".parse().unwrap(), modified: 7, value: "kept".into() };
        assert_eq!((namespaces.is_whole, namespaces.entries), (false, vec![kept]));
        assert_eq!((etcd.read.until, etcd.read.keys.len()), (7, 2), "it goes on from there");
        let expected =
            Holder { term: Term(7_587_899_233_881_180_935), number: 1_009, url: "https://b".into() };
        assert_eq!(holder, Some(expected), "a floor is added to every number");
        assert_eq!(drains.iter().map(WorkerId::as_str).collect::<Vec<_>>(), ["one"]);
        let nobody = self::etcd().told(&json!({"header": {"revision": "1"}})).unwrap();
        assert!(nobody.holder.is_none() && nobody.drains.is_empty() && nobody.namespaces.entries.is_empty());
    }

    #[test]
    fn an_entry_of_the_table_of_bodies_is_written_while_this_leadership_lasts_only() {
        let changes = [("a/10.0.0.7/0000000a.0", true), ("b/fd00::7/0000000b.2", false)];
        let changes = changes.map(|(entry, on)| (entry.parse().unwrap(), on));
        let document = etcd().change_of_bodies(1_009, &changes);
        let leader = text("/hydraneckwebrtc/leader");
        let expected = json!({
            "compare": [{"key": leader, "target": "CREATE", "result": "EQUAL", "create_revision": "9"}],
            "success": [
                {"request_put": {"key": text("/hydraneckwebrtc/bodies/a/10.0.0.7/0000000a.0")}},
                {"request_delete_range": {"key": text("/hydraneckwebrtc/bodies/b/fd00::7/0000000b.2")}},
            ],
            "failure": [{"request_range": {"key": leader}}],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn the_table_of_bodies_is_read_in_pages_and_what_is_no_entry_is_left_out() {
        let etcd = etcd();
        let answer = |more: bool, keys: &[&str]| {
            let keys: Vec<Value> = keys
                .iter()
                .map(|key| json!({"key": text(&format!("/hydraneckwebrtc/bodies/{key}"))}))
                .collect();
            json!({"header": {"revision": "9"}, "responses": [{"response_range": {"more": more, "kvs": keys}}]})
        };
        let page = etcd.page_of_bodies(&answer(true, &["a/10.0.0.7/0000000a.0", "b/no entry"])).unwrap();
        assert_eq!(page.entries, ["a/10.0.0.7/0000000a.0".parse().unwrap()]);
        assert_eq!(page.next.as_deref(), Some("/hydraneckwebrtc/bodies/b/no entry"));
        let page = etcd.page_of_bodies(&answer(false, &[])).unwrap();
        assert!(page.entries.is_empty() && page.next.is_none());
        assert!(etcd.page_of_bodies(&json!({})).is_err(), "what makes no sense is no empty table");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_trouble_and_never_a_free_lease() {
        for bad in [
            json!({}),
            json!([]),
            json!({"header": {}, "responses": [{"response_range": {"kvs": [{"key": "%%"}]}}]}),
            json!({"header": {}, "responses": [{"response_range": {"kvs": [{"key": text("x"), "create_revision": "y"}]}}]}),
        ] {
            assert!(matches!(etcd().told(&bad), Err(Failure::Words(_))), "{bad}");
        }
    }

    #[test]
    fn a_member_that_does_not_answer_is_left_for_the_next() {
        let mut etcd = etcd();
        etcd.config.etcd.push("http://127.0.0.1:9".into());
        for expected in [1, 0] {
            let found = etcd.ask(Query::Look);
            assert!(matches!(found.finding, Finding::Trouble(_)), "{:?}", found.finding);
            assert_eq!(etcd.member, expected);
        }
    }
}
