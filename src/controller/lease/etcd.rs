//! The lease's store: etcd's version 3 API as JSON over HTTP (its gRPC gateway), which needs no client library.
//!
//! Below `lease.prefix` there are `leader`, whose value is the leader's URL, bound to the leader's term, and `drains/WORKER`. Keys and values are base64 there, and
//! 64-bit numbers are text. A read is linearizable: etcd answers it only with a majority.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::settings::LeaseConfig;
use crate::core::ids::WorkerId;
use crate::core::lease::{Finding, Holder, Query, Term};
use crate::host::crypto::{self, TlsConfig};
use crate::host::http_client;

/// Calls in one lease: so many may be without an answer before it ends, as each goes to the next member.
const CALLS_PER_TERM: u32 = 6;

/// Bounds of one call's time-out. Below, a busy member would count as dead; above, nobody waits.
const CALL_TIMEOUT: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// Largest answer that is read: ten thousand drained workers have a tenth of it.
const ANSWER_LIMIT: u64 = 16 << 20;

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
}

/// What one question brought.
pub struct Found {
    /// For the lease.
    pub finding: Finding,
    /// The workers that are to be drained, where it told them.
    pub drains: Option<BTreeSet<WorkerId>>,
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
        Etcd { agent: http_client::agent(agent), config, own_url, member: 0, token: None }
    }

    /// Asks one question. A member that does not answer is left for the next one.
    pub fn ask(&mut self, query: Query) -> Found {
        let asked = match query {
            Query::Look => self.look().map(|(holder, drains)| (Finding::Held(holder), Some(drains))),
            Query::Grant => self.grant().map(|finding| (finding, None)),
            Query::Claim(term) => {
                self.claim(term).map(|(holder, drains)| (Finding::Held(holder), Some(drains)))
            }
            Query::Renew(term) => self.renew(term),
            Query::Revoke(term) => self.revoke(term).map(|()| (Finding::Revoked, None)),
        };
        let (finding, drains) = match asked {
            Ok(found) => found,
            Err(Failure::Missing) => (Finding::Ended, None),
            Err(Failure::Words(why)) => (Finding::Trouble(why), None),
        };
        Found { finding, drains }
    }

    /// Notes that a worker is to be drained, or not any more, as long as this leadership lasts; false: it does not.
    pub fn drain(&mut self, number: u64, worker: &WorkerId, on: bool) -> Result<bool, String> {
        let (key, created) = (text(&self.drain_key(worker)), number.saturating_sub(self.config.floor));
        let change = match on {
            true => json!({"request_put": {"key": key, "value": text("drain")}}),
            false => json!({"request_delete_range": {"key": key}}),
        };
        let leads = json!({"key": text(&self.leader_key()), "target": "CREATE", "result": "EQUAL", "create_revision": created.to_string()});
        match self.call("kv/txn", &json!({"compare": [leads], "success": [change]})) {
            Ok(answer) => Ok(answer["succeeded"] == true),
            Err(Failure::Missing) => Err("it answers 404: is that etcd's address?".to_owned()),
            Err(Failure::Words(why)) => Err(why),
        }
    }

    fn leader_key(&self) -> String {
        format!("{}leader", self.config.prefix)
    }

    fn drain_key(&self, worker: &WorkerId) -> String {
        format!("{}drains/{worker}", self.config.prefix)
    }

    /// Who leads, and which workers are drained.
    fn ranges(&self) -> Value {
        let drains = format!("{}drains", self.config.prefix);
        json!([
            {"request_range": {"key": text(&self.leader_key())}},
            // From `/`, up to and without the next character.
            {"request_range": {"key": text(&format!("{drains}/")), "range_end": text(&format!("{drains}0"))}},
        ])
    }

    fn look(&mut self) -> Result<(Option<Holder>, BTreeSet<WorkerId>), Failure> {
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

    fn claim(&mut self, term: Term) -> Result<(Option<Holder>, BTreeSet<WorkerId>), Failure> {
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
    fn renew(&mut self, term: Term) -> Result<(Finding, Option<BTreeSet<WorkerId>>), Failure> {
        let answer = self.call("lease/keepalive", &json!({"ID": term.0.to_string()}))?;
        // A term that has ended has no length.
        let Some(ttl) = number(&answer["result"]["TTL"]).filter(|ttl| *ttl > 0) else {
            return match answer["result"].is_object() {
                true => Ok((Finding::Ended, None)),
                false => Err(nonsense("lease/keepalive")),
            };
        };
        let (holder, drains) = self.look()?;
        Ok((Finding::Renewed(seconds_of(ttl), holder), Some(drains)))
    }

    fn revoke(&mut self, term: Term) -> Result<(), Failure> {
        match self.call("lease/revoke", &json!({"ID": term.0.to_string()})) {
            Ok(_) | Err(Failure::Missing) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// What a transaction read.
    fn told(&self, answer: &Value) -> Result<(Option<Holder>, BTreeSet<WorkerId>), Failure> {
        if !answer["header"].is_object() {
            return Err(nonsense("kv/txn"));
        }
        let responses = answer["responses"].as_array().into_iter().flatten();
        let documents =
            responses.flat_map(|one| one["response_range"]["kvs"].as_array().into_iter().flatten());
        let entries: Option<Vec<Entry>> = documents.map(entry).collect();
        let entries = entries.ok_or_else(|| nonsense("kv/txn"))?;
        let (leader, drains) = (self.leader_key(), format!("{}drains/", self.config.prefix));
        let holder = entries.iter().find(|entry| entry.key == leader).map(|entry| Holder {
            term: entry.term,
            number: entry.created.saturating_add(self.config.floor),
            url: entry.value.clone(),
        });
        let drained = entries.iter().filter_map(|entry| entry.key.strip_prefix(&drains)?.parse().ok());
        Ok((holder, drained.collect()))
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
    fn a_transaction_tells_who_leads_and_who_is_drained() {
        let told = json!({"header": {"revision": "9"}, "succeeded": true, "responses": [
            {"response_put": {"header": {"revision": "9"}}},
            {"response_range": {"count": "1", "kvs": [
                {"key": text("/hydraneckwebrtc/leader"), "create_revision": "9", "mod_revision": "9", "value": text("https://b"), "lease": "7587899233881180935"},
            ]}},
            {"response_range": {"count": "2", "kvs": [
                {"key": text("/hydraneckwebrtc/drains/one"), "create_revision": "3", "value": text("drain")},
                {"key": text("/hydraneckwebrtc/drains/no worker's name"), "create_revision": "4"},
            ]}},
        ]});
        let (holder, drains) = etcd().told(&told).unwrap();
        let expected =
            Holder { term: Term(7_587_899_233_881_180_935), number: 1_009, url: "https://b".into() };
        assert_eq!(holder, Some(expected), "a floor is added to every number");
        assert_eq!(drains.iter().map(WorkerId::as_str).collect::<Vec<_>>(), ["one"]);
        let (nobody, none) = etcd().told(&json!({"header": {"revision": "1"}})).unwrap();
        assert!(nobody.is_none() && none.is_empty());
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
