//! The consent of a peer's addresses (RFC 7675): our own checks to them, and the answers to theirs until they have proved themselves.
//!
//! str0m with ICE-lite believes whoever has its password, and with full ICE numbers its checks with a generator that can be computed
//! backwards. So it hears of an address only once a check of ours, with a number of the kernel's, was answered from there. What may be
//! sent meanwhile is [`media::transport::address_proof`](crate::media::transport::address_proof)'s.

use std::collections::VecDeque;
use std::net::SocketAddr;

use str0m::Candidate;
use str0m::net::Protocol;

use crate::core::time::Moment;
use crate::core::turn::stun_binding::{self, Check, IceRole, Transaction};
use crate::host::entropy;
use crate::media::transport::address_proof::{ANNOUNCED, Held, Number, Proofs, Standing};
use crate::media::transport::datagram;

/// The names and passwords of both sides.
#[derive(Clone)]
pub struct Credentials {
    /// Our user name fragment, as both sides' checks have it.
    pub our_ufrag: String,
    /// Our password, for what we answer.
    pub our_pwd: String,
    /// The browser's user name fragment.
    pub their_ufrag: String,
    /// The browser's password, for what we ask.
    pub their_pwd: String,
}

/// One peer's.
pub struct Consent {
    proofs: Proofs,
    credentials: Credentials,
    /// The receiver's part of the name first.
    name: String,
    role: (IceRole, u64),
}

impl Consent {
    /// Of a peer whose addresses are not known yet.
    pub fn new(credentials: Credentials) -> Consent {
        let role = (IceRole::Controlled, entropy::number());
        let name = name(&credentials);
        Consent { proofs: Proofs::default(), credentials, name, role }
    }

    /// Both sides have others now. Addresses stay what they are.
    pub fn restart(&mut self, credentials: Credentials) {
        self.name = name(&credentials);
        self.credentials = credentials;
    }

    /// How an address stands.
    pub fn standing(&self, now: Moment, address: SocketAddr) -> Standing {
        self.proofs.standing(now, address)
    }

    /// Whether everything may be sent there.
    pub fn is_proved(&self, now: Moment, address: SocketAddr) -> bool {
        self.proofs.is_proved(now, address)
    }

    /// Until when everything may be sent there, at least; `None`: it may not.
    pub fn proved_until(&self, address: SocketAddr) -> Option<Moment> {
        self.proofs.proved_until(address)
    }

    /// Whether checks of ours are out and not one address of the peer has proved itself.
    pub fn asks_in_vain(&self) -> bool {
        self.proofs.asks_in_vain()
    }

    /// The browser named these addresses, and we check first.
    pub fn announced<'a>(&mut self, now: Moment, candidates: impl IntoIterator<Item = &'a Candidate>) {
        for candidate in candidates.into_iter().filter(|candidate| candidate.proto() == Protocol::Udp) {
            self.proofs.heard(now, candidate.addr(), ANNOUNCED);
        }
    }

    /// A genuine check, or the answer to one of str0m's, from an address that is not proved: it is kept. False: there is no room.
    pub fn hold(&mut self, now: Moment, address: SocketAddr, bytes: &[u8]) -> bool {
        let has_room = self.proofs.heard(now, address, bytes.len());
        self.proofs.hold(address, bytes);
        has_room
    }

    /// What was kept.
    pub fn take_held(&mut self, address: SocketAddr) -> VecDeque<Held> {
        self.proofs.take_held(address)
    }

    /// A check of ours for this address, if one is to go there now; with its number when that is a new one.
    pub fn ask(&mut self, now: Moment, address: SocketAddr) -> Option<(Vec<u8>, Option<Transaction>)> {
        let length = stun_binding::check_length(self.name.len());
        let number = self.proofs.ask(now, address, length, entropy::bytes)?;
        let (transaction, fresh) = match number {
            Number::Fresh(transaction) => (transaction, Some(transaction)),
            Number::Again(transaction) => (transaction, None),
        };
        let check = Check { transaction, name: &self.name, role: self.role };
        Some((check.message(&self.credentials.their_pwd), fresh))
    }

    /// Our answer to a genuine check from an address that is not proved, so that its browser loses no time. None to one that nominates:
    /// its browser would believe that we send there now, so it is answered when we do.
    pub fn answer(&mut self, now: Moment, address: SocketAddr, check: &[u8]) -> Option<Vec<u8>> {
        let transaction = datagram::request_transaction(check).filter(|_| !stun_binding::nominates(check))?;
        let answer = stun_binding::answer(transaction, address, &self.credentials.our_pwd);
        let fits = self.proofs.may_send(now, address, answer.len());
        if fits {
            self.proofs.note_answer(address, check);
        }
        fits.then_some(answer)
    }

    /// Whether this is the answer to a check of ours. Its address has then proved itself.
    pub fn is_proof(&mut self, now: Moment, address: SocketAddr, bytes: &[u8]) -> bool {
        let is_proof = datagram::is_stun_success(bytes)
            && self.proofs.awaited(address).is_some_and(|transaction| {
                stun_binding::is_answer(bytes, transaction, &self.credentials.their_pwd)
            });
        if is_proof {
            self.proofs.answered(now, address);
        }
        is_proof
    }

    /// Whether str0m may send this there.
    pub fn may_send(&mut self, now: Moment, address: SocketAddr, bytes: &[u8]) -> bool {
        self.proofs.may_send(now, address, bytes.len())
    }

    /// A check of str0m's: ours claim the same side.
    pub fn note_role(&mut self, check: &[u8]) {
        self.role = stun_binding::role(check).unwrap_or(self.role);
    }
}

fn name(credentials: &Credentials) -> String {
    format!("{}:{}", credentials.their_ufrag, credentials.our_ufrag)
}

#[cfg(test)]
mod tests {
    use str0m::ice::StunMessage;

    use super::*;

    const NOW: Moment = Moment(7);
    const THERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

    fn consent() -> Consent {
        let [our_ufrag, our_pwd, their_ufrag, their_pwd] =
            ["ours", "our password", "theirs", "theirs!"].map(String::from);
        Consent::new(Credentials { our_ufrag, our_pwd, their_ufrag, their_pwd })
    }

    fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
        str0m::crypto::from_feature_flags().sha1_hmac_provider.sha1_hmac(key, parts)
    }

    fn theirs(nominates: bool) -> Vec<u8> {
        let id = str0m::ice::TransId::new();
        let message = StunMessage::binding_request("ours:theirs", id, true, 1, 1, nominates);
        let mut bytes = vec![0; 500];
        let length = message.to_bytes(Some(b"our password"), &mut bytes, hmac).expect("a message");
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn what_we_send_is_what_str0m_understands() {
        let mut consent = consent();
        assert!(consent.hold(NOW, THERE, &theirs(false)));
        let (check, fresh) = consent.ask(NOW, THERE).expect("a check");
        let message = StunMessage::parse(&check).expect("a message");
        assert!(message.is_binding_request() && message.verify(b"theirs!", hmac));
        assert_eq!(message.split_username(), Some(("theirs", "ours")));
        assert!(message.ice_controlled().is_some() && message.ice_controlling().is_none());
        assert!(fresh.is_some());
        let answer = consent.answer(NOW, THERE, &theirs(false)).expect("an answer");
        let message = StunMessage::parse(&answer).expect("a message");
        assert!(message.is_successful_binding_response() && message.verify(b"our password", hmac));
        assert_eq!(message.mapped_address(), Some(THERE));
    }

    // SPEC consent: Only the answer to a number of ours, with the peer's password, from the address
    // that was asked, proves; it lasts 30 s and is renewed after 5 s
    // Also: `an_answer_needs_its_number_and_its_password`,
    // `an_answer_that_was_not_asked_for_proves_nothing`,
    // `an_answer_proves_for_thirty_seconds_and_is_asked_for_again_after_five`,
    // `a_check_keeps_its_number_while_its_answer_may_come`,
    // `with_full_ice_we_claim_what_str0m_claims`, `what_we_send_is_what_str0m_understands`
    #[test]
    fn the_answer_of_who_has_the_password_is_the_proof() {
        let mut consent = consent();
        consent.hold(NOW, THERE, &theirs(true));
        assert_eq!(consent.answer(NOW, THERE, &theirs(true)), None, "it nominates");
        let (check, _) = consent.ask(NOW, THERE).expect("a check");
        let number = datagram::request_transaction(&check).expect("its number");
        let answered = |number, password| stun_binding::answer(number, THERE, password);
        assert!(!consent.is_proof(NOW, THERE, &answered(number, "a server's that answers everybody")));
        assert!(!consent.is_proof(NOW, THERE, &answered([0; 12], "theirs!")));
        let elsewhere = SocketAddr::new(THERE.ip(), 10);
        assert!(!consent.is_proof(NOW, elsewhere, &answered(number, "theirs!")));
        assert!(!consent.is_proved(NOW, THERE) && !consent.is_proved(NOW, elsewhere));
        assert!(consent.asks_in_vain());
        assert!(consent.is_proof(NOW, THERE, &answered(number, "theirs!")) && consent.is_proved(NOW, THERE));
        assert_eq!(consent.take_held(THERE).len(), 1);
        assert!(!consent.is_proof(NOW, THERE, &answered(number, "theirs!")), "once");
    }

    #[test]
    fn with_full_ice_we_claim_what_str0m_claims() {
        let mut consent = consent();
        consent.note_role(&theirs(false));
        consent.hold(NOW, THERE, &theirs(false));
        let (check, _) = consent.ask(NOW, THERE).expect("a check");
        assert_eq!(stun_binding::role(&check), Some((IceRole::Controlling, 1)));
    }
}
