//! Who is admitted: a token is looked up among those of every namespace, and then the host and the namespace's state are judged.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::state::{NamespaceState, RoomLimits, TokenHash};
use super::{NamespaceName, RoomRole};

/// What a good token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Where.
    pub namespace: NamespaceName,
    /// What its bearer may do there.
    pub role: RoomRole,
    /// Whose token it is, where its maker said so.
    pub subject: Option<String>,
    /// Bounds of the namespace's rooms.
    pub limits: RoomLimits,
}

/// Why somebody is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No token, or none that is good.
    Unauthorized,
    /// The token is good for other things: it has no namespace.
    NoNamespace,
    /// The host that was asked belongs to another namespace.
    WrongHost,
    /// Rooms are not enabled for the namespace.
    NotEnabled,
}

impl Denied {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Denied::Unauthorized => 401,
            Denied::NoNamespace | Denied::WrongHost => 403,
            Denied::NotEnabled => 404,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denied::Unauthorized => {
                "send a token of the namespace: `Authorization: Bearer TOKEN`, or as subprotocols ['Bearer', TOKEN]; \
                 `hydraneckwebrtc namespace token` makes one"
            }
            Denied::NoNamespace => {
                "this token belongs to no namespace; `hydraneckwebrtc namespace token` makes one that does"
            }
            Denied::WrongHost => "this host is that of another namespace; ask at the host of your own",
            Denied::NotEnabled => {
                "rooms are not enabled for this namespace; `hydraneckwebrtc namespace enable webrtc` does it"
            }
        })
    }
}

impl std::error::Error for Denied {}

/// Every namespace that is known here, and whose each token is.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    states: BTreeMap<NamespaceName, NamespaceState>,
    owners: HashMap<TokenHash, NamespaceName>,
}

impl Namespaces {
    /// Takes a state in, instead of what was known of its namespace.
    pub fn put(&mut self, state: NamespaceState) {
        self.remove(&state.name.clone());
        for token in &state.tokens {
            self.owners.insert(token.hash, state.name.clone());
        }
        self.states.insert(state.name.clone(), state);
    }

    /// Rooms of every namespace have these bounds from now on; nothing else of them changes.
    pub fn set_limits(&mut self, limits: RoomLimits) {
        self.states.values_mut().for_each(|state| state.limits = limits);
    }

    /// Forgets a namespace.
    pub fn remove(&mut self, name: &NamespaceName) -> Option<NamespaceState> {
        let state = self.states.remove(name)?;
        // Nobody makes a token twice; should a copied file do so, it stays the other namespace's.
        for token in &state.tokens {
            if self.owners.get(&token.hash) == Some(name) {
                self.owners.remove(&token.hash);
            }
        }
        Some(state)
    }

    /// What is known of a namespace.
    pub fn get(&self, name: &NamespaceName) -> Option<&NamespaceState> {
        self.states.get(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &NamespaceState> {
        self.states.values()
    }

    /// Judges a token that came with a request for `host`. `is_known`: it is good for something else here.
    pub fn admit(
        &self,
        token: &str,
        host: Option<&str>,
        now_unix: u64,
        is_known: impl FnOnce(&str) -> bool,
    ) -> Result<Membership, Denied> {
        let hash = TokenHash::of(token);
        let state = self.owners.get(&hash).and_then(|name| self.states.get(name));
        let record = |state: &NamespaceState| {
            state.tokens.iter().find(|record| record.hash == hash && record.is_good(now_unix)).cloned()
        };
        let Some((state, record)) = state.and_then(|state| Some((state, record(state)?))) else {
            return Err(if is_known(token) { Denied::NoNamespace } else { Denied::Unauthorized });
        };
        if host.is_some_and(|host| !state.name.may_be_asked_at(host)) {
            return Err(Denied::WrongHost);
        }
        if !state.enabled {
            return Err(Denied::NotEnabled);
        }
        Ok(Membership {
            namespace: state.name.clone(),
            role: record.role,
            subject: record.subject,
            limits: state.limits,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::state::{ENTROPY, TokenRecord, TurnSecret};
    use super::*;

    /// One that is enabled and has these tokens, each with its text as id, and with its end.
    pub fn namespace(name: &str, tokens: &[(&str, RoomRole, Option<u64>)]) -> NamespaceState {
        let mut state = NamespaceState::new(name.parse().unwrap(), RoomLimits::default());
        state.enable(TurnSecret::from_entropy([1; ENTROPY]), 0);
        for (text, role, expires_at) in tokens {
            let (hash, subject) = (TokenHash::of(text), Some(format!("{text}'s bearer")));
            let record = TokenRecord {
                id: (*text).into(),
                hash,
                role: *role,
                subject,
                created_at: 0,
                expires_at: *expires_at,
            };
            state.add_token(record, 0).unwrap();
        }
        state
    }

    fn two() -> Namespaces {
        let mut known = Namespaces::default();
        known.put(namespace("a", &[("boss", RoomRole::Owner, None), ("short", RoomRole::Member, Some(100))]));
        known.put(namespace("b", &[("other", RoomRole::Member, None)]));
        known
    }

    fn judged(known: &Namespaces, token: &str, host: Option<&str>, now: u64) -> Result<String, u16> {
        let admitted = known.admit(token, host, now, |token| token == "admin");
        admitted
            .map(|member| format!("{} {}", member.namespace, member.role.name()))
            .map_err(|denied| denied.status())
    }

    // SPEC 10: A token is good in its own namespace only, by its host, its time and its namespace's
    // state: 401, 403, 404
    // Also: `a_host_of_one_namespace_is_for_no_other`, `a_token_ends_when_it_was_said_to`,
    // `a_token_that_is_taken_back_is_no_token`, `a_copied_file_takes_no_token_away`,
    // `only_owners_manage_rooms`; a reload brings none back that was revoked:
    // `a_reload_brings_no_revoked_token_back`, `new_limits_change_nothing_else`
    #[test]
    fn a_token_is_good_in_its_own_namespace_only() {
        let mut known = two();
        let a = |host| judged(&known, "boss", host, 0);
        assert_eq!(a(None).unwrap(), "a owner");
        assert_eq!(a(Some("neck.example.com")).unwrap(), "a owner");
        assert_eq!(a(Some("ns-a.example.com:8443")).unwrap(), "a owner");
        assert_eq!(a(Some("ns-b.example.com")), Err(403));
        assert_eq!(judged(&known, "other", Some("ns-a.example.com"), 0), Err(403));
        assert_eq!(judged(&known, "nobody", None, 0), Err(401));
        assert_eq!(judged(&known, "", None, 0), Err(401));
        assert_eq!(judged(&known, "admin", None, 0), Err(403), "good, but of no namespace");
        let disabled = {
            let mut state = known.get(&"a".parse().unwrap()).unwrap().clone();
            state.disable();
            state
        };
        known.put(disabled);
        assert_eq!(judged(&known, "boss", None, 0), Err(404));
        assert_eq!(judged(&known, "other", None, 0).unwrap(), "b member", "others are not touched");
    }

    #[test]
    fn a_token_ends_when_it_was_said_to() {
        let known = two();
        assert_eq!(judged(&known, "short", None, 99).unwrap(), "a member");
        assert_eq!(judged(&known, "short", None, 100), Err(401));
    }

    #[test]
    fn a_token_that_is_taken_back_is_no_token() {
        let mut known = two();
        let mut state = known.get(&"a".parse().unwrap()).unwrap().clone();
        assert!(state.revoke("boss"));
        known.put(state);
        assert_eq!(judged(&known, "boss", None, 0), Err(401));
        assert!(known.remove(&"a".parse().unwrap()).is_some());
        assert_eq!(judged(&known, "short", None, 0), Err(401));
        assert_eq!(known.all().count(), 1);
    }

    #[test]
    fn new_limits_change_nothing_else() {
        let mut known = two();
        let before: Vec<NamespaceState> = known.all().cloned().collect();
        let limits = RoomLimits { max_peers: 3, ..RoomLimits::default() };
        known.set_limits(limits);
        let expected = before.into_iter().map(|state| NamespaceState { limits, ..state });
        assert_eq!(known.all().cloned().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(known.admit("boss", None, 0, |_| false).unwrap().limits, limits);
    }

    #[test]
    fn a_copied_file_takes_no_token_away() {
        let mut known = two();
        known.put(namespace("c", &[("boss", RoomRole::Member, None)]));
        known.remove(&"a".parse().unwrap());
        assert_eq!(judged(&known, "boss", None, 0).unwrap(), "c member");
        assert_eq!(judged(&known, "other", None, 0).unwrap(), "b member");
    }
}
