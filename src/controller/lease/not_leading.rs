//! This controller does not lead.

/// This controller does not lead. Where the one that does is reached, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLeading(pub Option<String>);
