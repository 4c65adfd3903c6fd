//! The thread `acme`: looks at the plan, makes one try after the other, and sleeps in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustls::sign::CertifiedKey;

use crate::acme::certificate::{self, Pair};
use crate::acme::client::Client;
use crate::acme::keys::{self, AccountKey};
use crate::acme::outside;
use crate::acme::protocol::issuance::{Answer, Begun, Call, Input, Issuance, Keep, Step, Way, Wish};
use crate::acme::protocol::plan::{Due, Held, Verdict, Wanted};
use crate::acme::protocol::says;
use crate::acme::protocol::trouble::{Kind, Trouble};
use crate::acme::status::Status;
use crate::acme::store::{Der, KeptAccount, KeptCertificate, KeptPlan, Store};
use crate::config::settings::Acme;
use crate::core::wall_time::{DAY, HOUR, WallTime, in_words, retry_after};
use crate::edge::tls::names::ServedCertificates;
use crate::host::clock::wall_time;
use crate::host::{aside, entropy};

/// Stack of the thread in bytes: JSON, an HTTP client, and the C library's resolver.
pub(super) const STACK: usize = 512 * 1024;

/// What a call under way may still take when the process is to end. One that an order is made by should: an order whose address nobody has
/// heard is made once more.
const GRACE: Duration = Duration::from_millis(1500);

/// What is wanted, as the settings have it.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) names: Vec<String>,
    pub(super) acme: Acme,
}

/// Longest sleep: the clock may be set, and the watchdog wants to hear of us.
const LOOK: Duration = Duration::from_secs(60);

/// Between two lines that say the same.
const SAY_AGAIN: u64 = HOUR;

/// From others to the thread. When the channel closes, it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Somebody asks for a try now.
    Hurry,
}

/// How a try ended.
enum End {
    Issued,
    Failed(Trouble),
    /// We are going down; what is begun is kept.
    Stopped,
}

/// What the thread owns.
pub struct Worker {
    wishes: Wishes,
    store: Store,
    client: Arc<Client>,
    served: Arc<ServedCertificates>,
    status: Arc<Status>,
    inbox: Receiver<Message>,
    beat: Box<dyn Fn() + Send>,
    kept: KeptPlan,
    held: Option<Held>,
    /// The certificate that is served and could not be kept, and why.
    unkept: Option<(KeptCertificate, String)>,
    /// Somebody asked for a try while another, or a call, was under way.
    hurried: bool,
    said: (String, WallTime),
    alerted: WallTime,
}

impl Worker {
    /// Reads what is kept and serves a stored certificate.
    pub fn new(
        wishes: Wishes,
        (store, client): (Store, Client),
        (served, status): (Arc<ServedCertificates>, Arc<Status>),
        inbox: Receiver<Message>,
    ) -> Worker {
        let kept = store.plan();
        let said = (String::new(), WallTime(0));
        let mut worker = Worker {
            wishes,
            store,
            client: Arc::new(client),
            served,
            status,
            inbox,
            beat: Box::new(|| ()),
            kept,
            held: None,
            unkept: None,
            hurried: false,
            said,
            alerted: WallTime(0),
        };
        worker.adopt();
        worker.load();
        worker.tell();
        worker
    }

    fn adopt(&mut self) {
        let Wishes { names, acme } = &self.wishes;
        let before = self.kept.plan.clone();
        self.kept.plan.adopt(Wanted { names, directory: &acme.directory });
        if self.kept.plan != before {
            // What was begun for other names is of no use.
            self.kept.key = None;
        }
    }

    /// Serves the stored certificate, whatever names it is for and whatever the clock says: better than none.
    fn load(&mut self) {
        let Some((kept, Pair { key, held })) = self.store.certificate() else { return };
        if self.kept.key.as_ref() == Some(&kept.key) {
            // The order is done: it was kept right before we ended.
            self.kept.plan.begin(wall_time(), Begun::Nothing);
            self.kept.key = None;
        }
        let (names, end) = (held.names.join(", "), held.not_after.rfc3339());
        match held.is_good(wall_time()) {
            true => log::info!("[acme] serves the stored certificate for {names} until {end}"),
            // As a process that went on running would: it may be our clock that is wrong.
            false => log::error!(
                "[acme] ALERT serves the stored certificate for {names} although it ended {end} by this host's clock, until there is another"
            ),
        }
        self.serve(key, &held);
        self.held = Some(held);
    }

    fn serve(&self, key: CertifiedKey, held: &Held) {
        self.served.serve(&held.names, Arc::new(key));
    }

    /// Runs until the channel closes.
    pub fn run(mut self, beat: Box<dyn Fn() + Send>) {
        self.beat = beat;
        while self.look() {}
    }

    /// Does what is due and sleeps; whether to go on.
    fn look(&mut self) -> bool {
        (self.beat)();
        self.keep_again();
        let now = wall_time();
        let wait = match self.kept.plan.due(now, self.held.as_ref()) {
            Due::Nothing(until) => Duration::from_secs(until.since(now).max(1)),
            Due::RenewalInfo(id) => {
                if !self.ask_renewal_info(id) {
                    return false;
                }
                Duration::ZERO
            }
            Due::Certificate(replaces) => {
                if !self.try_now(now, replaces) {
                    return false;
                }
                Duration::ZERO
            }
        };
        if std::mem::take(&mut self.hurried) {
            self.kept.plan.hurry(wall_time());
        }
        self.tell();
        self.alert();
        self.sleep(wait.min(LOOK))
    }

    /// Does what others may hold up for long. `None`: we are going down, and it is not done.
    fn aside<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<std::io::Result<T>> {
        let found = match aside::start("acme-call", STACK, work) {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        aside::wait(&found, &self.inbox, GRACE, |Message::Hurry| self.hurried = true).map(Ok)
    }

    /// Calls the authority. `None`: we are going down, and it has not answered.
    fn call(&mut self, call: Call) -> Option<Input> {
        let client = self.client.clone();
        let called = self.aside(move || client.call(&call))?;
        Some(called.unwrap_or_else(|error| {
            let text = format!("no thread to call the certificate authority on: {error}");
            Input::Unreached(Trouble::new(Kind::Local, text))
        }))
    }

    /// Looks at ourselves from outside. `None`: we are going down.
    fn look_outside(&mut self) -> Option<Result<(), String>> {
        let (served, names) = (self.served.clone(), self.wishes.names.clone());
        let seen = self.aside(move || outside::look(&served, &names))?;
        Some(seen.unwrap_or_else(|error| Err(format!("there is no thread to look at ourselves on: {error}"))))
    }

    /// Whether to go on.
    fn sleep(&mut self, wait: Duration) -> bool {
        match self.inbox.recv_timeout(wait) {
            Ok(Message::Hurry) => {
                self.kept.plan.hurry(wall_time());
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        }
    }

    fn tell(&self) {
        let (plan, held) = (&self.kept.plan, self.held.as_ref());
        self.status.tell(plan, held, self.unkept.as_ref().map(|(_, why)| why.as_str()));
        if let Some(words) = plan.problem.as_deref() {
            self.served.waiting_for(words);
        }
    }

    /// Says once a day that somebody must look.
    fn alert(&mut self) {
        let (now, plan) = (wall_time(), &self.kept.plan);
        let held = self.held.as_ref();
        let late = held.is_some_and(|held| plan.is_late(now, held) || !held.is_good(now));
        if late && is_past(now, self.alerted, DAY) {
            self.alerted = now;
            log::error!("[acme] ALERT {}", plan.complaint(now, held).unwrap_or_default());
        }
    }

    /// Says what is wrong, but not each minute the same.
    fn say(&mut self, text: String) {
        let now = wall_time();
        if self.said.0 != text || is_past(now, self.said.1, SAY_AGAIN) {
            log::warn!("[acme] {text}");
            self.said = (text, now);
        }
    }

    /// Whether to go on.
    fn try_now(&mut self, now: WallTime, replaces: Option<String>) -> bool {
        // What is proved already, or was asked for, needs no look at ourselves.
        let begun = self.kept.plan.open_order(now);
        let seen = match begun {
            Begun::Order(_) => Some(Ok(())),
            _ => self.look_outside(),
        };
        let Some(seen) = seen else { return false };
        let words = seen.as_ref().err().cloned();
        match self.kept.plan.looked(now, seen) {
            Verdict::Not => {
                self.say(format!("no certificate is ordered yet: {}", words.unwrap_or_default()));
                true
            }
            Verdict::Order(way) => {
                if let Some(words) = words {
                    self.say(format!("ordering a certificate although {words}"));
                }
                self.order(now, replaces, way)
            }
        }
    }

    /// One try; whether to go on.
    fn order(&mut self, begun: WallTime, replaces: Option<String>, way: Way) -> bool {
        let trouble = match self.issue(begun, replaces, way) {
            End::Issued => return true,
            End::Stopped => return false,
            End::Failed(trouble) => trouble,
        };
        self.status.tries.note("failed");
        // The second that is under way is over: times are cut to seconds, and no wait may be shorter for it.
        let now = wall_time() + 1;
        self.kept.plan.failed(now, self.held.as_ref(), (&trouble, way), entropy::number());
        if std::mem::take(&mut self.hurried) {
            // What was mended meanwhile may have come too late for this one.
            self.kept.plan.hurry(now);
        }
        let next = in_words(self.kept.plan.next(now, self.held.as_ref()).since(now));
        // Kept before anybody can know of it: whoever is restarted for what the log says waits as long all the same.
        let kept = self.store.keep_plan(&self.kept);
        self.say(format!("no certificate: {}; next try in {next}", trouble.text));
        if let Err(trouble) = kept {
            self.say(trouble.text);
        }
        true
    }

    fn issue(&mut self, begun: WallTime, replaces: Option<String>, way: Way) -> End {
        let account = match self.account() {
            Ok(account) => account,
            Err(trouble) => return End::Failed(trouble),
        };
        let (mut kept, key) = account;
        let Wishes { names, acme } = &self.wishes;
        let wish = Wish {
            directory: acme.directory.clone(),
            names: names.clone(),
            profile: acme.profile.clone(),
            email: acme.email.clone(),
            eab_kid: acme.eab_kid.clone(),
            way,
            replaces,
            account: kept.url.clone(),
            begun: self.kept.plan.open_order(begun),
        };
        let mut issuance = Issuance::new(wish);
        let mut answers = Vec::new();
        let end = self.drive(&mut issuance, (&mut kept, &key), &mut answers);
        answers.iter().for_each(|answer| self.forget(answer));
        end
    }

    fn drive(
        &mut self,
        issuance: &mut Issuance,
        (account, key): (&mut KeptAccount, &AccountKey),
        answers: &mut Vec<Answer>,
    ) -> End {
        let mut input = Input::Done;
        loop {
            (self.beat)();
            let done = match issuance.step(input, wall_time(), key) {
                Step::Call(call) => match self.hear(Duration::ZERO).then(|| self.call(call)).flatten() {
                    Some(called) => {
                        input = called;
                        continue;
                    }
                    None => return End::Stopped,
                },
                Step::Keep(keep) => self.keep(keep, account),
                Step::Answer(list) => {
                    answers.clone_from(&list);
                    list.iter().try_for_each(|answer| self.answer(answer))
                }
                Step::Request => match self.request() {
                    Ok(der) => {
                        input = Input::Request(der);
                        continue;
                    }
                    Err(trouble) => Err(trouble),
                },
                Step::Wait(seconds) => {
                    if !self.pause(seconds) {
                        return End::Stopped;
                    }
                    Ok(())
                }
                Step::Issued(chain) => return self.install(&chain, issuance.proved_by()),
                Step::Failed(trouble) => return End::Failed(trouble),
            };
            match done {
                Ok(()) => input = Input::Done,
                Err(trouble) => return End::Failed(trouble),
            }
            if !self.hear(Duration::ZERO) {
                return End::Stopped;
            }
        }
    }

    /// Listens for so long within a try; whether to go on with it.
    fn hear(&mut self, wait: Duration) -> bool {
        match self.inbox.recv_timeout(wait) {
            Ok(Message::Hurry) => self.hurried = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Waits within a try; whether to go on with it.
    fn pause(&mut self, seconds: u64) -> bool {
        let until = Instant::now() + Duration::from_secs(seconds);
        loop {
            (self.beat)();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            if !self.hear(left.min(LOOK)) {
                return false;
            }
        }
    }

    /// The account's key, made and kept before anything is asked with it.
    fn account(&self) -> Result<(KeptAccount, AccountKey), Trouble> {
        let acme = &self.wishes.acme;
        let failed = || Trouble::new(Kind::Local, "no key could be made for the account");
        if let Some(kept) = self.store.account(&acme.directory) {
            match AccountKey::from_pkcs8(&kept.key.0, &acme.eab_key) {
                Some(key) => return Ok((kept, key)),
                None => log::error!(
                    "[acme] ALERT the key in {} is broken; a new account is made",
                    self.store.path("account.json").display()
                ),
            }
        }
        let key = AccountKey::generate(&acme.eab_key).ok_or_else(failed)?;
        let der = Der(key.to_pkcs8().ok_or_else(failed)?);
        let kept = KeptAccount { directory: acme.directory.clone(), url: None, key: der };
        self.store.keep_account(&kept)?;
        Ok((kept, key))
    }

    fn keep(&mut self, keep: Keep, account: &mut KeptAccount) -> Result<(), Trouble> {
        match keep {
            Keep::Account(url) => {
                if url.is_none() {
                    log::warn!("[acme] the authority does not know our account any more; a new one is made");
                    self.kept.plan.begin(wall_time(), Begun::Nothing);
                }
                account.url = url;
                self.store.keep_account(account)
            }
            Keep::Begun(begun) => {
                if begun != Begun::Nothing && self.kept.key.is_none() {
                    let failed = || Trouble::new(Kind::Local, "no key could be made for the certificate");
                    self.kept.key = Some(Der(keys::new_certificate_key().ok_or_else(failed)?));
                }
                if begun == Begun::Nothing {
                    self.kept.key = None;
                }
                self.kept.plan.begin(wall_time(), begun);
                self.store.keep_plan(&self.kept)
            }
        }
    }

    fn answer(&self, answer: &Answer) -> Result<(), Trouble> {
        match answer.way {
            Way::Http => self.served.answer_http_challenge(&answer.token, &answer.key_authorization),
            Way::Alpn => {
                let pair = keys::challenge_pair(answer).ok_or_else(|| {
                    Trouble::new(Kind::Local, "no certificate could be made for the challenge")
                })?;
                self.served.answer_alpn_challenge(&answer.name, pair);
            }
        }
        Ok(())
    }

    fn forget(&self, answer: &Answer) {
        match answer.way {
            Way::Http => self.served.forget_http_challenge(&answer.token),
            Way::Alpn => self.served.forget_alpn_challenge(&answer.name),
        }
    }

    fn request(&self) -> Result<Vec<u8>, Trouble> {
        let key = self.kept.key.as_ref().map(|key| key.0.as_slice()).unwrap_or_default();
        keys::request(&self.wishes.names, key)
            .ok_or_else(|| Trouble::new(Kind::Local, "no request could be made for the certificate"))
    }

    /// Keeps and serves what was issued. Where it cannot be kept it is served all the same, and fetched again after a restart.
    fn install(&mut self, chain: &[u8], proved: Option<Way>) -> End {
        let directory = self.wishes.acme.directory.clone();
        let key = self.kept.key.clone().unwrap_or_default();
        let Pair { key: pair, held } = match self.judge(chain, &key.0, &directory) {
            Ok(pair) => pair,
            Err(why) => {
                self.kept.plan.begin(wall_time(), Begun::Nothing);
                self.kept.key = None;
                let text = format!(
                    "the authority issued a certificate that cannot be used: {why}; another one is ordered"
                );
                return End::Failed(Trouble::new(Kind::Refused, text));
            }
        };
        let chain = String::from_utf8_lossy(chain).into_owned();
        let certificate = KeptCertificate { directory, chain, key };
        let kept = self.store.keep_certificate(&certificate);
        self.serve(pair, &held);
        log::info!(
            "[acme] got a certificate for {} from {}, good until {}",
            held.names.join(", "),
            held.issuer,
            held.not_after.rfc3339()
        );
        self.status.tries.note("issued");
        let begun = self.kept.plan.begun.clone();
        self.kept.plan.succeeded(wall_time(), proved);
        self.held = Some(held);
        match kept {
            Ok(()) => {
                self.kept.key = None;
                self.unkept = None;
            }
            Err(trouble) => {
                // The order stays, so that a restart fetches the same certificate again.
                self.kept.plan.begin(wall_time(), begun);
                log::error!("[acme] ALERT the certificate is served, but not kept: {}", trouble.text);
                self.unkept = Some((certificate, trouble.text));
            }
        }
        self.hurried = false;
        if let Err(trouble) = self.store.keep_plan(&self.kept) {
            self.say(trouble.text);
        }
        End::Issued
    }

    /// Keeps what could not be kept when it came.
    fn keep_again(&mut self) {
        let Some((certificate, why)) = &mut self.unkept else { return };
        if let Err(trouble) = self.store.keep_certificate(certificate) {
            *why = trouble.text;
            return;
        }
        log::info!("[acme] the certificate that could not be kept is kept now");
        self.unkept = None;
        self.kept.key = None;
        self.kept.plan.begin(wall_time(), Begun::Nothing);
        if let Err(trouble) = self.store.keep_plan(&self.kept) {
            self.say(trouble.text);
        }
    }

    fn judge(&self, chain: &[u8], key: &[u8], directory: &str) -> Result<Pair, String> {
        let pair = certificate::read(chain, key, directory)?;
        let missing = self.wishes.names.iter().find(|name| !pair.held.names.contains(name));
        match missing {
            Some(name) => Err(format!("it is not for {name}")),
            None if !pair.held.is_good(wall_time()) => {
                Err(format!("it ended {} by this host's clock; set the clock", pair.held.not_after.rfc3339()))
            }
            None => Ok(pair),
        }
    }

    /// Asks when the authority wants the certificate renewed. That it does not say is no trouble: our own rule holds. Whether to go on.
    fn ask_renewal_info(&mut self, id: String) -> bool {
        let (client, directory, asked) =
            (self.client.clone(), self.wishes.acme.directory.clone(), id.clone());
        let found = self.aside(move || renewal_info(&client, directory, &asked));
        let Some(found) = found else { return false };
        let (info, after) = match found.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(found) => found,
            Err(words) => {
                log::debug!("[acme] no renewal information: {words}");
                (None, None)
            }
        };
        self.kept.plan.informed(wall_time(), (&id, info), after, entropy::number());
        if let Err(trouble) = self.store.keep_plan(&self.kept) {
            self.say(trouble.text);
        }
        true
    }
}

/// The window of a certificate, and in how many seconds to ask again.
fn renewal_info(
    client: &Client,
    directory: String,
    id: &str,
) -> Result<(Option<says::RenewalInfo>, Option<u64>), String> {
    let get = |url: String| match client.call(&Call::Get(url)) {
        Input::Reply(reply) if reply.status == 200 => Ok(reply),
        Input::Reply(reply) => Err(format!("HTTP {}", reply.status)),
        Input::Unreached(trouble) => Err(trouble.text),
        Input::Done | Input::Request(_) => Err(String::new()),
    };
    let directory = get(directory)?;
    let base = says::directory(&directory.body).and_then(|directory| directory.renewal_info);
    let Some(base) = base else { return Ok((None, None)) };
    let reply = get(format!("{}/{id}", base.as_str().trim_end_matches('/')))?;
    let after = reply.retry_after.as_deref().and_then(|value| retry_after(value, wall_time()));
    Ok((says::renewal_info(&reply.body), after))
}

/// Whether so many seconds are over. A clock that was set back must not make it last for longer.
fn is_past(now: WallTime, since: WallTime, seconds: u64) -> bool {
    now < since || now.since(since) >= seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Acme;
    use crate::host::private_dir::PrivateDir;

    // SPEC 2: A stored certificate is served whatever the clock says, until there is another; a
    // clock that is wrong is told
    // Also: `a_clock_that_is_wrong_is_told`
    #[test]
    fn a_stored_certificate_that_has_ended_is_served_until_there_is_another() {
        crate::host::crypto::install();
        let base = std::env::temp_dir().join(format!("neck-acme-{:016x}", entropy::number()));
        let store = Store::open(&PrivateDir::open(&base).expect("a directory")).expect("a store");
        let names = vec!["a.example".to_owned()];
        let key = keys::new_certificate_key().expect("a key");
        let mut params = rcgen::CertificateParams::new(names.clone()).expect("names");
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 4, 1);
        let pair = rcgen::KeyPair::try_from(key.as_slice()).expect("a key");
        let der = params.self_signed(&pair).expect("a certificate").der().to_vec();
        let text = String::from(Der(der));
        let chain = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let directory = "https://ca.example/dir".to_owned();
        let acme = Acme { directory: directory.clone(), ..Acme::default() };
        store.keep_certificate(&KeptCertificate { directory, chain, key: Der(key) }).expect("kept");
        let served = Arc::new(ServedCertificates::waiting(&names).expect("a stand-in"));
        let (_sender, inbox) = crossbeam_channel::bounded(1);
        let client = Client::new(None).expect("a client");
        let status = Arc::new(Status::default());
        let worker =
            Worker::new(Wishes { names, acme }, (store, client), (served.clone(), status.clone()), inbox);
        assert!(served.waits_for().is_none(), "words stand for a certificate that is there");
        assert_eq!(worker.kept.plan.due(wall_time(), worker.held.as_ref()), Due::Certificate(None));
        assert!(
            status.problem().is_some_and(|words| words.contains("has expired")),
            "{:?}",
            status.problem()
        );
        let _ = std::fs::remove_dir_all(base);
    }
}
