//! What the edge answers by itself: status, fields and body of a reply of ours.

use std::sync::Arc;
use std::time::Duration;

/// What the scripts and styles of one reply carry, so that the page runs these and no others.
#[derive(Clone, Debug)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// A fresh one. Without randomness it is one that no browser takes: the page is whole without its script.
    pub fn fresh() -> Nonce {
        let mut bytes = [0u8; 16];
        match getrandom::fill(&mut bytes) {
            Ok(()) => Nonce(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()),
            Err(_) => Nonce("".into()),
        }
    }

    /// As it stands in an attribute and in the policy.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A small reply of our own. The edge adds `Content-Length`, `Date`, `Cache-Control: no-store` and connection fields, and to
/// pages the policy of pages of ours.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// `Content-Type`; ignored when the body is empty.
    pub content_type: &'static str,
    /// Further fields, for example `Location` or `Retry-After`. Values are checked by the edge before they are sent.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Arc<[u8]>,
    /// What its scripts and styles carry; a page without one runs none.
    pub nonce: Option<Nonce>,
    /// The name of the limit that was met, for those who count.
    pub limit: Option<&'static str>,
}

impl Reply {
    /// The JSON error of SPEC 3: `{"error","code","detail"}`.
    pub fn error(status: u16, error: &str, detail: &str) -> Reply {
        let body = serde_json::json!({"error": error, "code": status, "detail": detail}).to_string();
        Reply {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            body: body.into_bytes().into(),
            nonce: None,
            limit: None,
        }
    }

    /// For whoever met a limit: its words, its stable name, and when to come back, in whole seconds.
    pub fn over_limit(status: u16, detail: &str, limit: &'static str, wait: Duration) -> Reply {
        let error = if status == 429 { "too many requests" } else { "service unavailable" };
        let body =
            serde_json::json!({"error": error, "code": status, "detail": detail, "limit": limit}).to_string();
        let seconds = wait.as_millis().div_ceil(1000).max(1).to_string();
        Reply { body: body.into_bytes().into(), limit: Some(limit), ..Reply::error(status, error, detail) }
            .with("Retry-After", seconds)
    }

    /// For whoever asks faster than this limit allows.
    pub fn too_fast(wait: Duration, limit: &'static str) -> Reply {
        Reply::over_limit(429, "wait as long as Retry-After says", limit, wait)
    }

    /// A page without scripts and styles.
    pub fn html(status: u16, page: String) -> Reply {
        Reply {
            status,
            content_type: "text/html; charset=utf-8",
            headers: Vec::new(),
            body: page.into_bytes().into(),
            nonce: None,
            limit: None,
        }
    }

    /// A page whose scripts and styles carry this.
    pub fn page(status: u16, page: String, nonce: Nonce) -> Reply {
        Reply { nonce: Some(nonce), ..Reply::html(status, page) }
    }

    /// A redirect that keeps the method (307).
    pub fn redirect(location: String) -> Reply {
        let headers = vec![("Location", location)];
        Reply {
            status: 307,
            content_type: "text/plain",
            headers,
            body: Arc::from([]),
            nonce: None,
            limit: None,
        }
    }

    /// Adds a field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}
