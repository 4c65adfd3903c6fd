//! The operators' page: one page that shows a controller's fleet live, on an origin where nothing of a session is.
//!
//! ```text
//!  browser ─ cookie ─▶ edge (server.operator_listen) ─▶ OperatorRouter ─┬─ page, script, log in and out
//!                                                                       ├─ actions ─▶ api-N, as an operator's
//!                                                                       └─ events ◀─ feed ◀─ `operators` thread ◀─ snapshot
//! ```
//!
//! The thread takes a look at what the role publishes, twice a second while somebody watches, and says what changed, once for
//! all who watch. It keeps an hour of curves, so that the page is not empty when it is opened.

pub mod page;
pub mod policy;
pub mod router;
pub mod watch;
