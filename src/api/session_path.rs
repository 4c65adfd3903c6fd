//! Paths below `/session/`, on both roles.

use crate::core::ids::SessionId;

/// What a path says about a session.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionPath<'a> {
    /// Not below `/session/`.
    NotASession,
    /// Below `/session/`, but not a session's id.
    BadId,
    /// `/session/ID` without the slash: relative links of the page would break.
    Bare(SessionId),
    /// `/session/ID/…`, with what follows the id, slash included.
    Below(SessionId, &'a str),
}

impl<'a> SessionPath<'a> {
    /// Reads a raw path.
    pub fn parse(path: &'a str) -> SessionPath<'a> {
        let Some(after) = path.strip_prefix("/session/") else {
            return if path == "/session" { SessionPath::BadId } else { SessionPath::NotASession };
        };
        let (id, rest) = match after.find('/') {
            Some(at) => after.split_at(at),
            None => (after, ""),
        };
        match (id.parse(), rest) {
            (Err(_), _) => SessionPath::BadId,
            (Ok(id), "") => SessionPath::Bare(id),
            (Ok(id), rest) => SessionPath::Below(id, rest),
        }
    }

    /// The session it names.
    pub fn id(self) -> Option<SessionId> {
        match self {
            SessionPath::Bare(id) | SessionPath::Below(id, _) => Some(id),
            SessionPath::NotASession | SessionPath::BadId => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_path_has_a_whole_id() {
        let id = SessionId::from_entropy([0x11; 16]);
        let whole = format!("/session/{}", id.expose());
        assert_eq!(SessionPath::parse(&whole), SessionPath::Bare(id.clone()));
        assert_eq!(SessionPath::parse(&format!("{whole}/a/b")), SessionPath::Below(id.clone(), "/a/b"));
        assert_eq!(SessionPath::parse("/session/1111"), SessionPath::BadId);
        assert_eq!(SessionPath::parse("/session/"), SessionPath::BadId);
        assert_eq!(SessionPath::parse("/sessions"), SessionPath::NotASession);
        assert_eq!(SessionPath::parse("/api/v1/health"), SessionPath::NotASession);
    }
}
