//! How a controller proves to a worker that it forwards a request: the field `Neck-Forwarded`.
//!
//! ```text
//!  Neck-Forwarded: for=192.0.2.9;proof=HEX        proof = HMAC-SHA256(shared token, label, worker id)
//! ```
//!
//! The proof is good for nothing else: the token that it is made of cannot be computed from it. A worker that is shown a good
//! one believes what the request says of its client: `for` is the address that limits and logs go by. Edges never pass the
//! field on; a controller's edge writes it anew for a worker.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::core::ids::WorkerId;

/// The field's name.
pub const FORWARDED_FIELD: &str = "Neck-Forwarded";

/// Bound into each proof, so that no other use of the token makes the same bytes.
const LABEL: &[u8] = b"hydraneckwebrtc forwarding proof v1\0";

/// Proves that requests come from whoever shares a token with a worker.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardingProof(Arc<str>);

impl ForwardingProof {
    /// The proof for requests to this worker.
    pub fn derive(shared: &[u8], worker: &WorkerId) -> ForwardingProof {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, shared));
        context.update(LABEL);
        context.update(worker.as_str().as_bytes());
        let tag = context.sign();
        ForwardingProof(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// The field's value for a request of this client.
    pub fn field(&self, client: IpAddr) -> String {
        format!("for={client};proof={}", self.0)
    }

    /// Compares in time that depends on the lengths only.
    pub fn matches(&self, presented: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), presented.as_bytes()).is_ok()
    }
}

impl fmt::Debug for ForwardingProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardingProof(***)")
    }
}

/// What a field claims, before its proof was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The client, in canonical form.
    pub client: IpAddr,
    /// The proof.
    pub proof: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads a field's value; `None` when it has another form.
    pub fn parse(value: &'a [u8]) -> Option<Claim<'a>> {
        let text = std::str::from_utf8(value).ok()?;
        let (client, proof) = text.strip_prefix("for=")?.split_once(";proof=")?;
        Some(Claim { client: client.parse::<IpAddr>().ok()?.to_canonical(), proof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str) -> WorkerId {
        name.parse().unwrap()
    }

    /// `printf 'hydraneckwebrtc forwarding proof v1\0one' | openssl dgst -sha256 -hmac token`
    #[test]
    fn a_proof_is_an_hmac_over_label_and_worker() {
        let proof = ForwardingProof::derive(b"token", &worker("one"));
        let expected = "5df9a8ba2a446eb20e26a11fd2a0eb0c1aa510db0522859b6bc1621f3ca1c425";
        assert!(proof.matches(expected), "{}", proof.0);
        assert_eq!(proof.field([192, 0, 2, 9].into()), format!("for=192.0.2.9;proof={expected}"));
    }

    #[test]
    fn a_proof_is_for_one_worker_and_one_token() {
        let proof = ForwardingProof::derive(b"token", &worker("one"));
        for other in [
            ForwardingProof::derive(b"token", &worker("two")),
            ForwardingProof::derive(b"tokem", &worker("one")),
        ] {
            assert!(!proof.matches(&other.0));
        }
        assert!(!proof.matches("") && !proof.matches("token") && !proof.matches(&proof.0[1..]));
    }

    #[test]
    fn a_field_is_read_as_it_was_written_and_nothing_else_is() {
        let proof = ForwardingProof::derive(b"token", &worker("one"));
        for client in ["192.0.2.9", "2001:db8::9"] {
            let field = proof.field(client.parse().unwrap());
            let claim = Claim::parse(field.as_bytes()).unwrap();
            assert_eq!((claim.client, proof.matches(claim.proof)), (client.parse().unwrap(), true));
        }
        for bad in
            [&b""[..], b"for=1.2.3.4", b"proof=ab", b"for=x;proof=ab", b"for=1.2.3.4:80;proof=ab", b"\xff"]
        {
            assert_eq!(Claim::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_proof_prints_masked() {
        let proof = ForwardingProof::derive(b"token", &worker("one"));
        assert_eq!(format!("{proof:?}"), "ForwardingProof(***)");
    }
}
