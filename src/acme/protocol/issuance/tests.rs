//! One try against an authority that is a table: what it is asked, what is kept before that, and what comes of its moods.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::acme::protocol::jws::AccountJwk;

const BASE: &str = "https://ca.example";
const NOW: WallTime = WallTime(1_800_000_000);

struct Key;

impl Signer for Key {
    fn jwk(&self) -> AccountJwk {
        AccountJwk { x: [1; 32], y: [2; 32] }
    }

    fn thumbprint(&self) -> String {
        "thumb".into()
    }

    fn sign(&self, _: &[u8]) -> Option<Vec<u8>> {
        Some(vec![0; 64])
    }

    fn bind(&self, _: &[u8]) -> Vec<u8> {
        vec![0; 32]
    }
}

/// An authority with one order, and replies that are said instead of its own.
struct Authority {
    order: &'static str,
    authorization: &'static str,
    directory: Value,
    /// Path, how often, status, problem or body.
    instead: Vec<(&'static str, u32, u16, Value)>,
    retry_after: Option<&'static str>,
    bad_nonces: u32,
    listed: bool,
    /// Paths of the calls, and payloads of the signed ones.
    calls: Vec<(String, Value)>,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority {
            order: "pending",
            authorization: "pending",
            directory: json!({
                "newNonce": format!("{BASE}/nonce"), "newAccount": format!("{BASE}/account"), "newOrder": format!("{BASE}/new-order"),
                "renewalInfo": format!("{BASE}/info"), "meta": {"profiles": {"classic": "", "shortlived": ""}},
            }),
            instead: Vec::new(),
            retry_after: None,
            bad_nonces: 0,
            listed: false,
            calls: Vec::new(),
        }
    }
}

fn problem(name: &str) -> Value {
    json!({"type": format!("urn:ietf:params:acme:error:{name}"), "detail": "its words"})
}

impl Authority {
    fn reply(&mut self, call: &Call) -> Reply {
        let (url, payload) = match call {
            Call::Get(url) | Call::Head(url) => (url, Value::Null),
            Call::Post { url, body } => (url, payload_of(body)),
        };
        let path = url.strip_prefix(BASE).expect("a URL of the authority").to_owned();
        self.calls.push((path.clone(), payload));
        let reply = |status: u16, body: Value| Reply {
            status,
            nonce: Some("n0nce".into()),
            location: Some(format!("{BASE}{}", if path == "/account" { "/me" } else { "/order" })),
            retry_after: self.retry_after.map(str::to_owned),
            body: body.to_string().into_bytes(),
        };
        if matches!(call, Call::Post { .. }) && self.bad_nonces > 0 {
            self.bad_nonces -= 1;
            return reply(400, problem("badNonce"));
        }
        if let Some((_, count, status, body)) =
            self.instead.iter_mut().find(|(at, count, ..)| *at == path && *count > 0)
        {
            *count -= 1;
            return reply(*status, body.clone());
        }
        let answer = match path.as_str() {
            "/dir" => self.directory.clone(),
            "/nonce" => Value::Null,
            "/account" => json!({"status": "valid"}),
            "/me" if self.listed => json!({"status": "valid", "orders": format!("{BASE}/list")}),
            "/me" => json!({"status": "valid"}),
            "/list" => json!({"orders": [format!("{BASE}/old"), format!("{BASE}/order")]}),
            "/authorization" => self.authorization(),
            "/challenge" => {
                self.authorization = "valid";
                self.order = "ready";
                json!({})
            }
            "/finalize" => {
                self.order = "valid";
                self.order()
            }
            "/certificate" => return Reply { body: b"chain".to_vec(), ..reply(200, Value::Null) },
            _ => self.order(),
        };
        reply(200, answer)
    }

    fn order(&self) -> Value {
        json!({
            "status": self.order, "identifiers": [{"type": "dns", "value": "a.example"}],
            "authorizations": [format!("{BASE}/authorization")], "finalize": format!("{BASE}/finalize"),
            "certificate": format!("{BASE}/certificate"),
        })
    }

    fn authorization(&self) -> Value {
        json!({
            "status": self.authorization, "identifier": {"type": "dns", "value": "a.example"},
            "challenges": [
                {"type": "dns-01", "url": format!("{BASE}/x"), "status": "pending", "token": "t"},
                {"type": "tls-alpn-01", "url": format!("{BASE}/challenge"), "status": "pending", "token": "alpn"},
                {"type": "http-01", "url": format!("{BASE}/challenge"), "status": self.authorization, "token": "http",
                 "error": problem("connection")},
            ],
        })
    }

    fn asked(&self, path: &str) -> usize {
        self.calls.iter().filter(|(at, _)| at == path).count()
    }
}

fn payload_of(body: &str) -> Value {
    let body: Value = serde_json::from_str(body).expect("a JWS");
    let text = URL_SAFE_NO_PAD.decode(body["payload"].as_str().expect("a payload")).expect("base64url");
    if text.is_empty() { Value::Null } else { serde_json::from_slice(&text).expect("JSON") }
}

fn wish() -> Wish {
    Wish { directory: format!("{BASE}/dir"), names: vec!["a.example".into()], ..Wish::default() }
}

/// What happened in a try.
#[derive(Debug, Default)]
struct Course {
    kept: Vec<Keep>,
    answers: Vec<Answer>,
    waited: u64,
    end: Option<Result<Vec<u8>, Trouble>>,
}

impl Course {
    fn is_issued(&self) -> bool {
        matches!(&self.end, Some(Ok(chain)) if chain == b"chain")
    }

    fn trouble(&self) -> &Trouble {
        match &self.end {
            Some(Err(trouble)) => trouble,
            other => panic!("no trouble: {other:?}"),
        }
    }

    fn last_begun(&self) -> Option<&Begun> {
        self.kept.iter().rev().find_map(|keep| match keep {
            Keep::Begun(begun) => Some(begun),
            Keep::Account(_) => None,
        })
    }
}

fn run(wish: Wish, authority: &mut Authority) -> Course {
    let (mut issuance, mut course, mut input) = (Issuance::new(wish), Course::default(), Input::Done);
    for _ in 0..10_000 {
        input = match issuance.step(input, NOW, &Key) {
            Step::Call(call) => Input::Reply(authority.reply(&call)),
            Step::Keep(keep) => {
                course.kept.push(keep);
                Input::Done
            }
            Step::Answer(answers) => {
                course.answers = answers;
                Input::Done
            }
            Step::Request => Input::Request(vec![1, 2, 3]),
            Step::Wait(seconds) => {
                course.waited += seconds;
                Input::Done
            }
            Step::Issued(chain) => {
                course.end = Some(Ok(chain));
                return course;
            }
            Step::Failed(trouble) => {
                course.end = Some(Err(trouble));
                return course;
            }
        };
    }
    panic!("no end: {course:?}");
}

// SPEC 2: A try keeps each thing before the next call; an order that is left over, or whose answer
// was lost, is gone on with; one that expired, an account that is gone and a replacement that is
// refused are mended in the same try
// Also: `an_order_that_is_left_over_is_gone_on_with_and_none_is_made`,
// `an_order_whose_answer_was_lost_is_found_in_the_list`,
// `an_order_that_expired_meanwhile_is_replaced_in_the_same_try`,
// `an_account_that_is_gone_is_made_again_in_the_same_try`,
// `a_replacement_that_is_refused_becomes_an_order_like_any_other`
#[test]
fn a_first_order_keeps_each_thing_before_the_next_call() {
    let mut authority = Authority::default();
    let course = run(wish(), &mut authority);
    assert!(course.is_issued(), "{course:?}");
    let order = Begun::Order(format!("{BASE}/order"));
    let account = Keep::Account(Some(format!("{BASE}/me")));
    assert_eq!(course.kept, [account, Keep::Begun(Begun::Asked), Keep::Begun(order)]);
    assert_eq!(course.answers.len(), 1);
    let answer = &course.answers[0];
    assert_eq!((answer.way, answer.key_authorization.as_str()), (Way::Http, "http.thumb"));
    assert!(authority.calls.len() <= 12, "{:?}", authority.calls);
    let other = run(Wish { way: Way::Alpn, ..wish() }, &mut Authority::default());
    assert_eq!(other.answers[0].key_authorization, "alpn.thumb");
}

// SPEC 2: Refused nonces cost calls and no order; names that are proved already are not proved
// again; trouble of the authority's (500, 429) keeps the order; a refused one leaves nothing
// Also: `a_name_that_is_proved_already_is_not_proved_again`,
// `trouble_of_the_authoritys_keeps_the_order_for_a_later_try`,
// `a_refused_order_leaves_nothing_begun`, `a_name_that_cannot_be_proved_ends_its_order_with_words`,
// `an_authority_that_takes_long_is_left_alone_and_gone_on_with_later`
#[test]
fn refused_nonces_cost_calls_and_no_order() {
    let mut authority = Authority { bad_nonces: 10, ..Authority::default() };
    assert!(run(wish(), &mut authority).is_issued());
    let mut authority = Authority { bad_nonces: 1000, ..Authority::default() };
    let course = run(wish(), &mut authority);
    assert!(course.trouble().text.contains("every nonce"), "{course:?}");
}

#[test]
fn a_name_that_is_proved_already_is_not_proved_again() {
    let mut authority = Authority { order: "ready", ..Authority::default() };
    let course = run(wish(), &mut authority);
    assert!(course.is_issued() && course.answers.is_empty(), "{course:?}");
    assert_eq!(authority.asked("/authorization") + authority.asked("/challenge"), 0);
}

#[test]
fn an_account_that_is_gone_is_made_again_in_the_same_try() {
    let gone = ("/new-order", 1, 400, problem("accountDoesNotExist"));
    let mut authority = Authority { instead: vec![gone], ..Authority::default() };
    let course = run(Wish { account: Some(format!("{BASE}/me")), ..wish() }, &mut authority);
    assert!(course.is_issued(), "{course:?}");
    assert!(course.kept.contains(&Keep::Account(None)), "{course:?}");
    assert_eq!(authority.asked("/account"), 1);
}

#[test]
fn a_replacement_that_is_refused_becomes_an_order_like_any_other() {
    for (status, name) in [(409, "alreadyReplaced"), (400, "malformed"), (404, "malformed")] {
        let mut authority =
            Authority { instead: vec![("/new-order", 1, status, problem(name))], ..Authority::default() };
        let course = run(Wish { replaces: Some("aki.serial".into()), ..wish() }, &mut authority);
        assert!(course.is_issued(), "{name}: {course:?}");
        let orders: Vec<&Value> =
            authority.calls.iter().filter(|(at, _)| at == "/new-order").map(|(_, payload)| payload).collect();
        assert_eq!(orders.len(), 2);
        assert!(orders[0]["replaces"] == "aki.serial" && orders[1]["replaces"].is_null(), "{orders:?}");
    }
}

fn left_over() -> Wish {
    let account = Some(format!("{BASE}/me"));
    Wish { account, begun: Begun::Order(format!("{BASE}/order")), ..wish() }
}

#[test]
fn an_order_that_is_left_over_is_gone_on_with_and_none_is_made() {
    for order in ["pending", "ready", "valid"] {
        let mut authority = Authority { order, ..Authority::default() };
        let course = run(left_over(), &mut authority);
        assert!(course.is_issued(), "{order}: {course:?}");
        assert_eq!(authority.asked("/new-order"), 0, "{order}");
    }
}

#[test]
fn an_order_that_expired_meanwhile_is_replaced_in_the_same_try() {
    let dead = json!({"status": "invalid", "finalize": format!("{BASE}/finalize")});
    for (status, body) in [(200, dead), (404, problem("malformed")), (403, problem("unauthorized"))] {
        let mut authority = Authority { instead: vec![("/order", 1, status, body)], ..Authority::default() };
        let course = run(left_over(), &mut authority);
        assert!(course.is_issued(), "{status}: {course:?}");
        assert_eq!(authority.asked("/new-order"), 1, "{status}");
    }
}

#[test]
fn an_order_whose_answer_was_lost_is_found_in_the_list() {
    let asked = || Wish { account: Some(format!("{BASE}/me")), begun: Begun::Asked, ..wish() };
    let old = json!({"status": "valid", "finalize": format!("{BASE}/f"), "identifiers": [{"type": "dns", "value": "a.example"}]});
    let mut authority =
        Authority { listed: true, instead: vec![("/old", 9, 200, old)], ..Authority::default() };
    let course = run(asked(), &mut authority);
    assert!(course.is_issued(), "{course:?}");
    assert_eq!(authority.asked("/new-order"), 0);
    // Without a list there is no way to know, and another is made.
    let mut authority = Authority::default();
    assert!(run(asked(), &mut authority).is_issued());
    assert_eq!(authority.asked("/new-order"), 1);
}

#[test]
fn trouble_of_the_authoritys_keeps_the_order_for_a_later_try() {
    for (status, name, kind) in
        [(500, "serverInternal", Kind::Unreachable), (429, "rateLimited", Kind::Limited)]
    {
        let mut authority = Authority {
            retry_after: Some("Fri, 15 Jan 2027 09:00:00 GMT"),
            instead: vec![("/finalize", 9, status, problem(name))],
            ..Authority::default()
        };
        let course = run(wish(), &mut authority);
        let trouble = course.trouble();
        assert_eq!((trouble.kind, trouble.retry_after), (kind, Some(3600)), "{trouble:?}");
        assert!(matches!(course.last_begun(), Some(Begun::Order(_))), "{course:?}");
    }
}

#[test]
fn a_name_that_cannot_be_proved_ends_its_order_with_words() {
    let mut authority =
        Authority { instead: vec![("/challenge", 1, 200, json!({}))], ..Authority::default() };
    authority.instead.push(("/authorization", 0, 0, Value::Null));
    // It looks, and fails.
    let failed = Authority { authorization: "invalid", ..Authority::default() }.authorization();
    let pending = authority.authorization();
    authority.instead[1] = ("/authorization", 1, 200, pending);
    authority.instead.push(("/authorization", 1, 200, failed));
    let course = run(wish(), &mut authority);
    let trouble = course.trouble();
    assert!(trouble.kind == Kind::Unproved && trouble.text.starts_with("a.example: "), "{trouble:?}");
    assert!(trouble.text.contains("open ports 80 and 443"), "{trouble:?}");
    assert_eq!(course.last_begun(), Some(&Begun::Nothing));
}

#[test]
fn a_refused_order_leaves_nothing_begun() {
    for name in ["rejectedIdentifier", "unsupportedIdentifier", "userActionRequired", "somethingNew"] {
        let mut authority =
            Authority { instead: vec![("/new-order", 1, 400, problem(name))], ..Authority::default() };
        let course = run(wish(), &mut authority);
        assert_eq!(course.trouble().kind, Kind::Refused, "{name}");
        assert_eq!(course.last_begun(), Some(&Begun::Nothing), "{name}");
    }
}

#[test]
fn what_the_authority_does_not_have_is_told_before_an_account_is_made() {
    let mut authority = Authority::default();
    let course = run(Wish { profile: Some("fancy".into()), ..wish() }, &mut authority);
    assert!(course.trouble().text.contains("no profile fancy, it has classic, shortlived"), "{course:?}");
    authority.directory["meta"]["externalAccountRequired"] = true.into();
    let course = run(wish(), &mut authority);
    assert!(course.trouble().text.contains("set server.acme.eab_kid"), "{course:?}");
    assert_eq!(authority.asked("/account"), 0);
    let course = run(Wish { eab_kid: Some("kid".into()), ..wish() }, &mut authority);
    assert!(course.is_issued(), "{course:?}");
    let (_, account) = authority.calls.iter().find(|(at, _)| at == "/account").expect("an account");
    assert!(account["externalAccountBinding"]["signature"].is_string(), "{account}");
}

#[test]
fn an_address_asks_for_what_authorities_have_for_addresses() {
    let mut authority = Authority::default();
    run(Wish { names: vec!["192.0.2.7".into(), "2001:db8::1".into()], ..wish() }, &mut authority);
    let (_, order) = authority.calls.iter().find(|(at, _)| at == "/new-order").expect("an order");
    assert_eq!(order["profile"], "shortlived");
    assert_eq!(order["identifiers"][1], json!({"type": "ip", "value": "2001:db8::1"}));
}

#[test]
fn an_authority_that_takes_long_is_left_alone_and_gone_on_with_later() {
    let processing = Authority { order: "processing", ..Authority::default() }.order();
    for retry_after in [None, Some("1"), Some("7200")] {
        let instead =
            vec![("/finalize", 9, 200, processing.clone()), ("/order", 999, 200, processing.clone())];
        let mut authority = Authority { retry_after, instead, ..Authority::default() };
        let course = run(wish(), &mut authority);
        assert!(course.trouble().text.contains("still at work"), "{course:?}");
        assert!(course.waited <= 301 && matches!(course.last_begun(), Some(Begun::Order(_))), "{course:?}");
    }
}

// SPEC 2: Whatever an authority says, a try ends, without a panic (fuzz target `acme`)
// Also: `every_input_of_the_corpus_is_taken_without_a_finding`
#[test]
fn nonsense_is_trouble_and_never_a_panic_or_a_loop() {
    let paths = ["/dir", "/account", "/new-order", "/authorization", "/order", "/finalize"];
    for path in paths {
        for body in [json!(null), json!([]), json!({"status": 7}), json!("x"), json!({"status": "novel"})] {
            let mut authority =
                Authority { instead: vec![(path, 99, 200, body.clone())], ..Authority::default() };
            let course = run(wish(), &mut authority);
            assert!(course.end.is_some() && authority.calls.len() < 50, "{path} {body}: {course:?}");
        }
    }
}
