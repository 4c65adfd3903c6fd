//! Forwarding proofs that were derived once: deriving one costs more than the rest of a small request's way.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::core::ids::WorkerId;
use crate::edge::forwarding_proof::ForwardingProof;

/// The proofs made from the tokens that were asked for last.
#[derive(Default)]
pub struct ProofMemo(RwLock<Kept>);

#[derive(Clone, Default)]
struct Kept {
    tokens: Vec<Arc<str>>,
    proofs: Arc<[ForwardingProof]>,
}

impl ProofMemo {
    /// The proofs for requests to this worker, in the order of the tokens. They are derived anew when the tokens are others than
    /// last time. The worker must be the same each time.
    pub fn of<'a>(
        &self,
        tokens: impl Iterator<Item = &'a str> + Clone,
        worker: &WorkerId,
    ) -> Arc<[ForwardingProof]> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if kept.tokens.iter().map(|token| &**token).eq(tokens.clone()) {
            return kept.proofs.clone();
        }
        drop(kept);
        let derive = |token: &str| ForwardingProof::derive(token.as_bytes(), worker);
        let proofs: Arc<[ForwardingProof]> = tokens.clone().map(derive).collect();
        let new = Kept { tokens: tokens.map(Arc::from).collect(), proofs: proofs.clone() };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        proofs
    }
}

impl fmt::Debug for ProofMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofMemo(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_those_of_the_tokens_that_are_asked_for() {
        let (memo, worker) = (ProofMemo::default(), "one".parse().unwrap());
        let fresh = |token: &str| ForwardingProof::derive(token.as_bytes(), &worker);
        for tokens in [&["a", "b"][..], &["a", "b"], &["b"], &[], &["a", "b", "c"]] {
            let expected: Vec<_> = tokens.iter().copied().map(fresh).collect();
            assert_eq!(memo.of(tokens.iter().copied(), &worker)[..], expected[..], "{tokens:?}");
        }
        let (first, again) = (memo.of(["a"].into_iter(), &worker), memo.of(["a"].into_iter(), &worker));
        assert!(Arc::ptr_eq(&first, &again), "derived once");
        assert_eq!(format!("{memo:?}"), "ProofMemo(***)");
    }
}
