//! An entry of the table of bodies ([`super::bodies`]).

use std::fmt;
use std::str::FromStr;

use super::wire::SessionBrief;
use crate::core::ids::{BodyAddr, InvalidId, SessionId, WorkerId};

/// What of a session's id may be shown, and be kept where others read it: the id itself opens the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionTag(u32);

impl From<&SessionId> for SessionTag {
    fn from(id: &SessionId) -> SessionTag {
        // An id is hexadecimal.
        SessionTag(u32::from_str_radix(id.short(), 16).unwrap_or_default())
    }
}

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A session that a worker has, or may have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub body: BodyAddr,
    pub session: SessionTag,
    pub copy: u32,
}

/// How entries of copies that were left behind end.
const LEFT: &str = ".left";

/// An entry of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyEntry {
    pub(super) worker: WorkerId,
    pub(super) spot: Spot,
    /// The session has left this copy behind ([`super::left_behind`]): it holds nothing.
    pub(super) is_left: bool,
}

impl BodyEntry {
    pub(super) fn at(worker: &WorkerId, spot: Spot) -> BodyEntry {
        BodyEntry { worker: worker.clone(), spot, is_left: false }
    }

    /// Of a session as the books have it.
    pub(super) fn of_session(worker: &WorkerId, brief: &SessionBrief) -> BodyEntry {
        BodyEntry::at(worker, spot(brief.body, &brief.id, brief.copy))
    }

    /// Of a copy that was left behind.
    pub(super) fn left(worker: &WorkerId, spot: Spot) -> BodyEntry {
        BodyEntry { is_left: true, ..BodyEntry::at(worker, spot) }
    }

    /// Whether it is of a copy that was left behind, and holds nothing.
    pub fn is_left(&self) -> bool {
        self.is_left
    }

    pub(super) fn key(&self) -> (BodyAddr, SessionTag) {
        (self.spot.body, self.spot.session)
    }

    pub(super) fn copy(&self) -> u32 {
        self.spot.copy
    }

    /// The worker that has the session, or was asked for it.
    pub fn worker(&self) -> &WorkerId {
        &self.worker
    }
}

impl fmt::Display for BodyEntry {
    /// `WORKER/BODY/SESSION.COPY`, or that and `.left`, which earlier versions do not read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spot { body, session, copy } = self.spot;
        let left = if self.is_left { LEFT } else { "" };
        write!(f, "{}/{body}/{session}.{copy}{left}", self.worker)
    }
}

impl FromStr for BodyEntry {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<BodyEntry, InvalidId> {
        let invalid = InvalidId("an entry of the table of bodies is WORKER/BODY/SESSION.COPY");
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(invalid);
        let (worker, body) = (next()?.parse()?, next()?.parse()?);
        let session = next()?;
        let (session, is_left) =
            session.strip_suffix(LEFT).map_or((session, false), |session| (session, true));
        let (session, copy) = session.split_once('.').ok_or(invalid)?;
        let session = SessionTag(u32::from_str_radix(session, 16).map_err(|_| invalid)?);
        let spot = Spot { body, session, copy: copy.parse().map_err(|_| invalid)? };
        Ok(BodyEntry { worker, spot, is_left })
    }
}

pub(super) fn spot(body: BodyAddr, session: &SessionId, copy: u32) -> Spot {
    Spot { body, session: session.into(), copy }
}
