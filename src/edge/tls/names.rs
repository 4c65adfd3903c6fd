//! What the edge serves by the name that a client asks for, and what answers an authority's challenges (RFC 8555).
//!
//! | the client asks for | and offers | it gets |
//! |---|---|---|
//! | a name of ours | HTTP, or nothing | the served certificate |
//! | a name under challenge | `acme-tls/1` alone | the challenge's certificate (RFC 8737) |
//! | any name | `acme-tls/1` alone | the alert no_application_protocol |
//! | another name, or none | HTTP, or nothing | the alert unrecognized_name |
//!
//! Whoever connects by address names nothing (RFC 6066, 3): that is a name of ours where an address is among our names.
//!
//! Changes are made in memory and hold for handshakes from then on. No connection that stands is touched.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The protocol of an authority that validates a name by a handshake (RFC 8737, 6.2). It carries nothing else.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

thread_local! {
    /// Why the handshake that this thread processes is refused. rustls has one alert for all reasons, and asks for the
    /// certificate on the thread that processes the connection: so that one knows the reason right after.
    static REFUSAL: Cell<Option<Refusal>> = const { Cell::new(None) };
}

/// Why a client gets no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asks for a name that is not ours, or for none where we have names only.
    Name,
    /// It validates a name for which no challenge is under way.
    Challenge,
}

impl Refusal {
    /// The alert's number (RFC 8446, 6).
    pub fn alert(self) -> u8 {
        match self {
            Refusal::Name => 112,
            Refusal::Challenge => 120,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Name => "it asks for a name that is not in server.domain, or for none",
            Refusal::Challenge => "it asks for the answer to a challenge that is not under way",
        })
    }
}

/// The reason of the refusal that this thread just met.
pub(super) fn take_refusal() -> Option<Refusal> {
    REFUSAL.take()
}

/// The certificate in use, the names it is for, and the answers to challenges. Shared by the loops and by whatever obtains
/// certificates.
pub struct ServedCertificates(RwLock<Arc<Served>>);

/// One state of it, never changed.
#[derive(Clone)]
struct Served {
    /// Names as certificates have them; empty: any name, and none, is ours.
    names: Vec<String>,
    pair: Arc<CertifiedKey>,
    /// What is waited for while the pair is a stand-in.
    waiting: Option<Arc<str>>,
    /// By the name that the authority asks for.
    alpn: BTreeMap<String, Arc<CertifiedKey>>,
    /// Key authorizations by token.
    http: BTreeMap<String, Arc<str>>,
}

impl ServedCertificates {
    /// Serves this pair to everybody, whatever name is asked for.
    pub fn for_any_name(pair: CertifiedKey) -> ServedCertificates {
        ServedCertificates::begin(Vec::new(), pair, None)
    }

    /// Without a certificate for these names yet: until [`ServedCertificates::serve`] a self-signed one, made here and kept in
    /// memory only, lets clients read what is waited for.
    pub fn waiting(names: &[String]) -> Result<ServedCertificates, String> {
        let pair = self_signed(names)?;
        Ok(ServedCertificates::begin(names.to_vec(), pair, Some("a certificate".into())))
    }

    fn begin(names: Vec<String>, pair: CertifiedKey, waiting: Option<Arc<str>>) -> ServedCertificates {
        let (pair, alpn, http) = (Arc::new(pair), BTreeMap::new(), BTreeMap::new());
        ServedCertificates(RwLock::new(Arc::new(Served { names, pair, waiting, alpn, http })))
    }

    /// Replaces the served pair, for handshakes from now on. Without names it is served to everybody.
    pub fn serve(&self, names: &[String], pair: Arc<CertifiedKey>) {
        self.change(|served| {
            served.names = names.to_vec();
            served.pair = pair;
            served.waiting = None;
        });
    }

    /// Replaces the pair and keeps the names.
    pub fn renew(&self, pair: CertifiedKey) {
        self.change(|served| served.pair = Arc::new(pair));
    }

    /// Answers `acme-tls/1` for this name, which may be an address, until it is forgotten.
    pub fn answer_alpn_challenge(&self, name: &str, pair: Arc<CertifiedKey>) {
        self.change(|served| {
            served.alpn.insert(asked_as(name), pair);
        });
    }

    /// The challenge is over.
    pub fn forget_alpn_challenge(&self, name: &str) {
        self.change(|served| {
            served.alpn.remove(&asked_as(name));
        });
    }

    /// Answers `/.well-known/acme-challenge/TOKEN` on the port of plain HTTP until it is forgotten.
    pub fn answer_http_challenge(&self, token: &str, key_authorization: &str) {
        self.change(|served| {
            served.http.insert(token.to_owned(), key_authorization.into());
        });
    }

    /// The challenge is over.
    pub fn forget_http_challenge(&self, token: &str) {
        self.change(|served| {
            served.http.remove(token);
        });
    }

    /// What clients are told while there is no certificate. Once there is one it says nothing.
    pub fn waiting_for(&self, words: &str) {
        self.change(|served| {
            if served.waiting.is_some() {
                served.waiting = Some(words.into());
            }
        });
    }

    /// What is waited for; `None`: a certificate is served.
    pub fn waits_for(&self) -> Option<Arc<str>> {
        self.now().waiting.clone()
    }

    /// The answer to an HTTP challenge.
    pub fn http_challenge(&self, token: &str) -> Option<Arc<str>> {
        self.now().http.get(token).cloned()
    }

    fn now(&self) -> Arc<Served> {
        // Held for as long as a reference is counted, never for the work with what it leads to.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Served)) {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // A handshake that began keeps the state that it took.
        change(Arc::make_mut(&mut shared));
    }
}

impl Served {
    fn choose(&self, name: Option<&str>, offers: Offers) -> Result<&Arc<CertifiedKey>, Refusal> {
        if offers == Offers::Challenge {
            let challenged = name.and_then(|name| self.alpn.get(&name.to_ascii_lowercase()));
            return challenged.ok_or(Refusal::Challenge);
        }
        let ours = match name {
            _ if self.names.is_empty() => true,
            Some(name) => self.names.iter().any(|ours| ours.eq_ignore_ascii_case(name)),
            None => self.names.iter().any(|ours| ours.parse::<IpAddr>().is_ok()),
        };
        if ours { Ok(&self.pair) } else { Err(Refusal::Name) }
    }
}

/// What a client wants to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offers {
    /// It validates a name: this protocol and no other (RFC 8737, 3).
    Challenge,
    /// Anything else. Whether we speak it is for the negotiation to find out.
    Other,
}

impl Offers {
    fn of(hello: &ClientHello<'_>) -> Offers {
        let mut protocols = hello.alpn().into_iter().flatten();
        match (protocols.next(), protocols.next()) {
            (Some(ACME_TLS), None) => Offers::Challenge,
            _ => Offers::Other,
        }
    }
}

/// The name by which an authority asks for this one: of an address, its name in the reverse tree (RFC 8738, 6).
fn asked_as(name: &str) -> String {
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(ip)) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
        Err(_) => name.to_ascii_lowercase(),
    }
}

/// A pair that no client has a reason to believe.
fn self_signed(names: &[String]) -> Result<CertifiedKey, String> {
    let cannot = |error: rcgen::Error| format!("cannot make a self-signed certificate: {error}");
    let key = KeyPair::generate().map_err(cannot)?;
    let params = CertificateParams::new(names).map_err(cannot)?;
    let certificate = params.self_signed(&key).map_err(cannot)?;
    let key = PrivateKeyDer::from(key);
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &aws_lc_rs::default_provider())
        .map_err(|error| format!("cannot use a self-signed certificate: {error}"))
}

impl fmt::Debug for ServedCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServedCertificates")
    }
}

impl ResolvesServerCert for ServedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now();
        match now.choose(hello.server_name(), Offers::of(&hello)) {
            Ok(pair) => Some(pair.clone()),
            Err(refusal) => {
                REFUSAL.set(Some(refusal));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(names: &[&str]) -> ServedCertificates {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        ServedCertificates::waiting(&names).expect("a certificate")
    }

    /// Which certificate it is, or why there is none.
    fn chosen(served: &ServedCertificates, name: Option<&str>, offers: Offers) -> Result<Vec<u8>, Refusal> {
        served.now().choose(name, offers).map(|pair| pair.cert[0].to_vec())
    }

    fn pair() -> (Arc<CertifiedKey>, Vec<u8>) {
        let pair = Arc::new(self_signed(&["x.example".to_owned()]).expect("a certificate"));
        let der = pair.cert[0].to_vec();
        (pair, der)
    }

    // SPEC edge: With `server.domain` clients get the certificate of the name they ask for, and a
    // new one without a connection dropped; other names, no name and challenges that are not under
    // way get alerts and leave nothing
    // Also: `an_address_is_asked_for_without_a_name`,
    // `a_new_certificate_is_served_by_name_and_drops_no_connection`,
    // `a_thousand_refused_handshakes_leave_nothing`, `files_are_for_any_name`
    #[test]
    fn a_name_of_ours_gets_the_pair() {
        let served = served(&["a.example", "b.example"]);
        for name in ["a.example", "B.example"] {
            assert!(chosen(&served, Some(name), Offers::Other).is_ok(), "{name}");
        }
        for name in [Some("c.example"), Some("x.a.example"), Some(""), None] {
            assert_eq!(chosen(&served, name, Offers::Other), Err(Refusal::Name), "{name:?}");
        }
    }

    #[test]
    fn an_address_is_asked_for_without_a_name() {
        let served = served(&["a.example", "192.0.2.7"]);
        assert!(chosen(&served, None, Offers::Other).is_ok());
        assert_eq!(chosen(&served, Some("b.example"), Offers::Other), Err(Refusal::Name));
    }

    // SPEC edge: An authority's challenge is answered by handshake (`acme-tls/1`, which carries
    // nothing) and on plain HTTP, where everything else leads to HTTPS at a name of ours
    // Also: `a_challenge_is_a_handshake_and_nothing_more`,
    // `an_address_is_challenged_by_its_reverse_name`,
    // `http_challenges_are_answered_until_forgotten`,
    // `a_challenge_is_answered_on_plain_http_and_never_redirected`,
    // `plain_http_leads_to_a_name_of_ours_only`, `plain_http_is_spoken_beside_tls`
    #[test]
    fn a_challenge_is_answered_to_acme_tls_alone() {
        let (served, (challenge, der)) = (served(&["a.example"]), pair());
        assert_eq!(chosen(&served, Some("a.example"), Offers::Challenge), Err(Refusal::Challenge));
        served.answer_alpn_challenge("A.example", challenge);
        assert_eq!(chosen(&served, Some("a.example"), Offers::Challenge), Ok(der.clone()));
        assert_ne!(chosen(&served, Some("a.example"), Offers::Other), Ok(der));
        for name in [Some("b.example"), None] {
            assert_eq!(chosen(&served, name, Offers::Challenge), Err(Refusal::Challenge), "{name:?}");
        }
        served.forget_alpn_challenge("a.example");
        assert_eq!(chosen(&served, Some("a.example"), Offers::Challenge), Err(Refusal::Challenge));
    }

    #[test]
    fn an_address_is_challenged_by_its_reverse_name() {
        assert_eq!(asked_as("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(asked_as("2001:db8::1"), v6);
        let (served, (challenge, der)) = (served(&["192.0.2.7"]), pair());
        served.answer_alpn_challenge("192.0.2.7", challenge);
        assert_eq!(chosen(&served, Some("7.2.0.192.in-addr.arpa"), Offers::Challenge), Ok(der));
    }

    #[test]
    fn words_are_said_until_there_is_a_certificate() {
        let (served, (real, der)) = (served(&["a.example"]), pair());
        served.waiting_for("the authority");
        assert_eq!(served.waits_for().as_deref(), Some("the authority"));
        served.serve(&["a.example".to_owned()], real);
        assert_eq!(chosen(&served, Some("a.example"), Offers::Other), Ok(der));
        served.waiting_for("a renewal");
        assert_eq!(served.waits_for(), None, "a renewal is nobody's business");
    }

    #[test]
    fn files_are_for_any_name() {
        let (pair, der) = pair();
        let served = ServedCertificates::for_any_name((*pair).clone());
        for name in [Some("a.example"), None] {
            assert_eq!(chosen(&served, name, Offers::Other), Ok(der.clone()), "{name:?}");
        }
    }

    #[test]
    fn http_challenges_are_answered_until_forgotten() {
        let served = served(&["a.example"]);
        served.answer_http_challenge("token", "token.thumbprint");
        assert_eq!(served.http_challenge("token").as_deref(), Some("token.thumbprint"));
        served.forget_http_challenge("token");
        assert_eq!(served.http_challenge("token"), None);
    }
}
