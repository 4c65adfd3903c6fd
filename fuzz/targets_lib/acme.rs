//! What an authority says: whatever its replies and certificates are, a try ends, calls only `https://` URLs, and answers only with
//! tokens that stay within a path.

use hydraneckwebrtc::acme::certificate;
use hydraneckwebrtc::acme::protocol::issuance::{Begun, Call, Input, Issuance, Step, Wish};
use hydraneckwebrtc::acme::protocol::jws::{AccountJwk, Signer};
use hydraneckwebrtc::acme::protocol::says::{self, Reply};
use hydraneckwebrtc::core::wall_time::{WallTime, retry_after};

/// Between two replies; the first byte of each is its status, the first line its `Location`, `Retry-After` and nonce with tabs in between;
/// what is missing is the one before, and a good nonce.
const NEXT: &str = "\n%%\n";

/// Calls of a try that has no end: more than it may make.
const MOST: usize = 5_000;

/// A key that no certificate of an input is for.
const KEY: &[u8] = b"\x30\x00";

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

fn reply(text: &str) -> Reply {
    let (status, rest) = text.split_at_checked(1).unwrap_or_default();
    let status = match status {
        "4" => 400,
        "5" => 500,
        "9" => 429,
        _ => 200,
    };
    let (fields, body) = rest.split_once('\n').unwrap_or_default();
    let mut fields = fields.split('\t').map(str::to_owned);
    let location = fields.next();
    let retry_after = fields.next().or_else(|| location.clone());
    Reply {
        status,
        nonce: fields.next().or_else(|| Some("nonce".into())),
        location,
        retry_after,
        body: body.as_bytes().to_vec(),
    }
}

fn judge_call(call: &Call) {
    let url = match call {
        Call::Get(url) | Call::Head(url) | Call::Post { url, .. } => url,
    };
    assert!(url.starts_with("https://") && url.bytes().all(|byte| byte.is_ascii_graphic()), "calls {url:?}");
}

fn attempt(replies: &[&str], begun: Begun) {
    let wish = Wish {
        directory: "https://ca.example/dir".into(),
        names: vec!["a.example".into()],
        replaces: Some("a.b".into()),
        begun,
        ..Wish::default()
    };
    let (mut issuance, mut input) = (Issuance::new(wish), Input::Done);
    let mut replies = replies.iter().cycle();
    for _ in 0..MOST {
        input = match issuance.step(input, NOW, &Key) {
            Step::Call(call) => {
                judge_call(&call);
                Input::Reply(reply(replies.next().copied().unwrap_or_default()))
            }
            Step::Answer(answers) => {
                for answer in answers {
                    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                    assert!(!answer.token.is_empty() && answer.token.bytes().all(fits), "{:?}", answer.token);
                }
                Input::Done
            }
            Step::Keep(_) | Step::Wait(_) => Input::Done,
            Step::Request => Input::Request(vec![0x30, 0]),
            Step::Issued(_) | Step::Failed(_) => return,
        };
    }
    panic!("a try without an end");
}

/// Judges one input: replies, or a certificate.
pub fn run(data: &[u8]) {
    // Its own words for what it is; neither may panic.
    let _ = certificate::facts(data, "d");
    let _ = certificate::validity(data);
    let _ = certificate::read(data, KEY, "d");
    let _ = says::renewal_info(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = retry_after(text, NOW);
    if let Some(at) = WallTime::from_rfc3339(text) {
        assert_eq!(WallTime::from_rfc3339(&at.rfc3339()), Some(at), "{text:?}");
    }
    let replies: Vec<&str> = text.split(NEXT).collect();
    attempt(&replies, Begun::Nothing);
    attempt(&replies, Begun::Order("https://ca.example/order".into()));
}
