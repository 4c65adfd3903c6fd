//! What went wrong, in words with what to do, and what that means for the next try.

use crate::acme::protocol::says::{Problem, Reply};
use crate::core::wall_time::{WallTime, retry_after};

/// Longest part of an authority's own words that is repeated.
const MAX_DETAIL: usize = 400;

/// What kind of trouble it is: it decides how long the next try waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The authority could not be reached, or is broken. No limit of its was touched.
    Unreachable,
    /// It says that we ask too often.
    Limited,
    /// It could not see our answer to its challenge.
    Unproved,
    /// It does not want to do what we ask for.
    Refused,
    /// Something here is in the way: the disk, the clock, a key.
    Local,
}

/// Why there is no certificate, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind.
    pub kind: Kind,
    /// For people.
    pub text: String,
    /// Seconds that the authority wants us to wait.
    pub retry_after: Option<u64>,
}

impl Trouble {
    /// Trouble without a word of the authority's.
    pub fn new(kind: Kind, text: impl Into<String>) -> Trouble {
        Trouble { kind, text: text.into(), retry_after: None }
    }

    /// A reply that is not what it should be.
    pub fn nonsense(what: &str) -> Trouble {
        let text = format!(
            "the certificate authority's {what} makes no sense to us: check server.acme.directory, which must be an ACME \
             directory (RFC 8555)"
        );
        Trouble::new(Kind::Unreachable, text)
    }
}

/// The refusal of a request, which has nothing to do with what is served for a name.
const NOT_OURS: &str = "the authority does not let our account do this: it may be closed there, or server.acme.eab_kid and eab_key are not \
                        right; correct them, or move acme/account.json in the role's state directory away and reload: a new account is made";

/// The trouble that a reply with an error status is.
pub fn of_reply(reply: &Reply, problem: &Problem, now: WallTime) -> Trouble {
    let retry_after = reply.retry_after.as_deref().and_then(|value| retry_after(value, now));
    let (kind, words) = match problem.name() {
        "" if matches!(reply.status, 429) => by_name("rateLimited"),
        "" => of_status(reply.status),
        "unauthorized" => (Kind::Refused, NOT_OURS.to_owned()),
        name => by_name(name),
    };
    Trouble { kind, text: with_detail(&words, problem), retry_after }
}

/// The trouble that a failed order or challenge is.
pub fn of_problem(problem: &Problem, whom: &str) -> Trouble {
    let (kind, words) = by_name(problem.name());
    let whom = if whom.is_empty() { String::new() } else { format!("{}: ", clean(whom)) };
    // What an authority tells of a challenge is about what it saw, whatever the name of the problem.
    let kind = if kind == Kind::Refused && !whom.is_empty() { Kind::Unproved } else { kind };
    Trouble::new(kind, format!("{whom}{}", with_detail(&words, problem)))
}

fn of_status(status: u16) -> (Kind, String) {
    let words = match status {
        404 | 405 | 410 => {
            "the certificate authority knows nothing there: check server.acme.directory".to_owned()
        }
        500..600 => format!(
            "the certificate authority has trouble of its own (HTTP {status}); nothing is to be done here, it is tried again"
        ),
        _ => format!(
            "the certificate authority answers HTTP {status} without saying why; check server.acme.directory"
        ),
    };
    (Kind::Unreachable, words)
}

/// Kind and words of a problem's name (RFC 8555, 6.7; RFC 9773, 5; the profiles draft).
fn by_name(name: &str) -> (Kind, String) {
    let words = unproved(name).map(|words| (Kind::Unproved, words)).unwrap_or_else(|| of_request(name));
    (words.0, words.1.to_owned())
}

/// What an authority tells of a name whose challenge it looked at.
fn unproved(name: &str) -> Option<&'static str> {
    Some(match name {
        "caa" => {
            "the domain's CAA records in DNS forbid this authority to issue certificates; add it there, or use another \
             server.acme.directory"
        }
        "connection" | "timeout" => {
            "the authority could not reach us there; open ports 80 and 443 from everywhere, and see that the name's A and AAAA \
             records lead here (an AAAA record is tried first)"
        }
        "dns" => {
            "the authority finds no address for the name; add an A or AAAA record that leads here, and wait until it is known"
        }
        "incorrectResponse" | "unauthorized" => {
            "something else answers for the name than we: see where its A and AAAA records lead, and that a proxy in front passes \
             /.well-known/acme-challenge/ on"
        }
        "tls" => {
            "the authority's TLS handshake with us failed; a proxy that terminates TLS in front of us must leave acme-tls/1 to us, \
             or let plain HTTP on port 80 through"
        }
        _ => return None,
    })
}

/// What an authority tells of a request.
fn of_request(name: &str) -> (Kind, &'static str) {
    let refused = match name {
        "accountDoesNotExist" => "the authority does not know our account any more; a new one is made",
        "alreadyReplaced" => "the certificate was renewed already; it is ordered again without naming it",
        "badCSR" => {
            "the authority refuses our request for the certificate; update hydraneckwebrtc, and report it"
        }
        "badPublicKey" | "badSignatureAlgorithm" => {
            "the authority does not take keys of our kind (P-256); use another server.acme.directory"
        }
        "externalAccountRequired" => {
            "the authority wants an account that it gave beforehand; get one there, and set server.acme.eab_kid and eab_key"
        }
        "invalidContact" | "unsupportedContact" => {
            "the authority does not take server.acme.email; correct or remove it"
        }
        "invalidProfile" => {
            "the authority has no such kind of certificate; correct or remove server.acme.profile"
        }
        "malformed" => {
            "the authority does not understand a request of ours; update hydraneckwebrtc, and report it"
        }
        "rejectedIdentifier" => {
            "the authority does not issue certificates for this name; correct server.domain, or use another \
             server.acme.directory"
        }
        "unsupportedIdentifier" => {
            "the authority does not issue certificates for addresses, or not with this server.acme.profile (Let's Encrypt: \
             shortlived); correct server.domain"
        }
        "userActionRequired" => {
            "the authority wants something done by a person, as a rule new terms agreed to; see its words"
        }
        _ => return untouched(name),
    };
    (Kind::Refused, refused)
}

/// What is no refusal of what we want.
fn untouched(name: &str) -> (Kind, &'static str) {
    match name {
        "badNonce" => {
            (Kind::Unreachable, "the authority refuses every nonce that it gives us; it is tried again")
        }
        "orderNotReady" => (Kind::Unreachable, "the order is not ready yet; it is tried again"),
        "rateLimited" => (
            Kind::Limited,
            "the authority's limit is reached; nothing is asked for until it allows it again. For trying things out use its \
             staging directory",
        ),
        "serverInternal" => (
            Kind::Unreachable,
            "the authority has trouble of its own; nothing is to be done here, it is tried again",
        ),
        _ => (Kind::Refused, "the authority refuses; see its words"),
    }
}

fn with_detail(words: &str, problem: &Problem) -> String {
    let mut text = words.to_owned();
    let details = problem.subproblems.iter().map(|part| {
        let name = part.identifier.as_ref().map(|name| format!("{}: ", name.value)).unwrap_or_default();
        format!("{name}{}", part.detail)
    });
    let whole: Vec<String> = std::iter::once(problem.detail.clone()).chain(details).collect();
    let said = clean(&whole.join("; "));
    if !said.trim_matches([';', ' ']).is_empty() {
        text.push_str(&format!(" (it says: {said})"));
    }
    text
}

/// What an authority says, fit for a line of a log.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str) -> Problem {
        Problem {
            kind: format!("urn:ietf:params:acme:error:{name}"),
            detail: "line one\nline two".into(),
            ..Problem::default()
        }
    }

    // SPEC 2: Every documented problem of an authority has words with what to do; an authority that
    // is away or not believed is told in health, and the process goes on
    // Also: `an_authority_that_is_away_or_not_believed_is_told`,
    // `whatever_an_authority_says_is_told_and_the_next_try_succeeds`
    #[test]
    fn every_documented_problem_has_words_with_what_to_do() {
        let documented = [
            "accountDoesNotExist",
            "alreadyReplaced",
            "badCSR",
            "badNonce",
            "badPublicKey",
            "badSignatureAlgorithm",
            "caa",
            "connection",
            "dns",
            "externalAccountRequired",
            "incorrectResponse",
            "invalidContact",
            "invalidProfile",
            "malformed",
            "orderNotReady",
            "rateLimited",
            "rejectedIdentifier",
            "serverInternal",
            "tls",
            "unauthorized",
            "unsupportedContact",
            "unsupportedIdentifier",
            "userActionRequired",
            "timeout",
        ];
        let (_, fallback) = by_name("somethingNew");
        for name in documented {
            let text = of_problem(&problem(name), "a.example").text;
            assert!(!text.contains(&fallback), "{name} has no words of its own");
            assert!(text.starts_with("a.example: ") && text.contains("line one line two"), "{text}");
        }
    }

    #[test]
    fn a_limit_carries_the_time_that_the_authority_names() {
        let at = |value: &str| {
            let reply = Reply { status: 429, retry_after: Some(value.into()), ..Reply::default() };
            of_reply(&reply, &problem("rateLimited"), WallTime(784_111_777))
        };
        for value in ["3600", "Sun, 06 Nov 1994 09:49:37 GMT"] {
            let trouble = at(value);
            assert_eq!((trouble.kind, trouble.retry_after), (Kind::Limited, Some(3600)), "{value}");
        }
        let bare = of_reply(&Reply { status: 429, ..Reply::default() }, &Problem::default(), WallTime(0));
        assert_eq!(bare.kind, Kind::Limited);
        let broken = of_reply(&Reply { status: 502, ..Reply::default() }, &Problem::default(), WallTime(0));
        assert_eq!(broken.kind, Kind::Unreachable);
    }
}
