//! What is known of a request once its head is gone.

use crate::edge::http1::head::Version;
use crate::edge::http1::head::response::ToHead;
use crate::edge::reply::Reply;

/// What is remembered of a request's head.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The client's version.
    pub version: Version,
    /// HEAD: replies have no body.
    pub to_head: ToHead,
    /// GET or HEAD: pages may get a script, and their heads say so.
    pub is_page_request: bool,
    /// A page is wanted, not data.
    pub accepts_html: bool,
    /// May be sent twice.
    pub idempotent: bool,
    /// The client's connection may be kept.
    pub keep_alive: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The form that replies of ours have on its path.
    pub form: Option<fn(Reply) -> Reply>,
}

impl Facts {
    /// A reply of ours in the form that its path has.
    pub fn in_form(&self, reply: Reply) -> Reply {
        match self.form {
            Some(form) => form(reply),
            None => reply,
        }
    }
}
