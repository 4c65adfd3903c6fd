//! Replies to upgrades that are not granted, as the API words them.

use std::time::Duration;

use crate::core::rooms::registry::Refusal;
use crate::edge::http1::reason::reason;

/// When a worker that drains, or is full, may be asked again: by then the controller sends people elsewhere.
const RETRY: Duration = Duration::from_secs(2);

/// An error with its JSON.
pub fn error(status: u16, detail: &str, retry: Option<Duration>) -> String {
    let reason = reason(status);
    let body =
        serde_json::json!({"error": reason.to_lowercase(), "code": status, "detail": detail}).to_string();
    let mut fields = String::new();
    if let Some(retry) = retry {
        let seconds = retry.as_millis().div_ceil(1000).max(1);
        fields.push_str(&format!("Retry-After: {seconds}\r\n"));
    }
    match status {
        401 => fields.push_str("WWW-Authenticate: Bearer\r\n"),
        405 => fields.push_str("Allow: GET\r\n"),
        426 => fields.push_str("Upgrade: websocket\r\n"),
        _ => {}
    }
    format!(
        "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Cache-Control: no-store\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {}\r\n{fields}\r\n{body}",
        body.len()
    )
}

/// For whom the registry does not take now.
pub fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Draining => error(503, "this worker ends soon: connect again", Some(RETRY)),
        Refusal::Full => error(503, "this worker has no place for another member", Some(RETRY)),
        Refusal::TooFast(wait) => {
            error(429, "20 joins at once and 60 a minute: wait as long as Retry-After says", Some(*wait))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_come_later_is_told_when() {
        for (why, status, seconds) in [
            (Refusal::Draining, 503, 2),
            (Refusal::Full, 503, 2),
            (Refusal::TooFast(Duration::from_millis(1_200)), 429, 2),
            (Refusal::TooFast(Duration::ZERO), 429, 1),
        ] {
            let reply = refusal(&why);
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
            for field in [
                &format!("Retry-After: {seconds}"),
                "Access-Control-Allow-Origin: *",
                "Cache-Control: no-store",
            ] {
                assert!(reply.contains(&format!("\r\n{field}\r\n")), "{field} of {reply}");
            }
        }
    }
}
