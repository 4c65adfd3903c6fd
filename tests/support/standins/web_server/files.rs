//! The pages: files under `static`, relative to the working directory, with validators and ranges.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::http::{Reply, Request};

/// Answers a GET or HEAD below the prefix.
pub fn reply(prefix: &str, path: &str, request: &Request) -> Reply {
    if path == "/config.js" {
        // The real server writes the prefix into it as well.
        let text = format!("export default {{\n    path_prefix: {},\n}}\n", serde_json::json!(prefix));
        return found(text.into_bytes(), "text/javascript; charset=utf-8", SystemTime::UNIX_EPOCH, request);
    }
    // The prefix without its slash answers index.html as well, where relative links then break.
    let name = match path {
        "" | "/" => "index.html",
        other => other.trim_start_matches('/'),
    };
    let odd = |part: &str| part.is_empty() || part.starts_with('.') || part.contains(['%', '\\']);
    if name.split('/').any(odd) {
        return Reply::text(404, "not found");
    }
    let file = Path::new("static").join(name);
    match fs::read(&file) {
        Ok(bytes) => {
            let changed = fs::metadata(&file).and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
            found(bytes, content_type(name), changed, request)
        }
        Err(_) => Reply::text(404, "not found"),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn found(bytes: Vec<u8>, content_type: &'static str, changed: SystemTime, request: &Request) -> Reply {
    let seconds = changed.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let etag = format!("\"{seconds:x}:{:x}\"", bytes.len());
    let date = http_date(seconds);
    let fields = vec![
        ("etag", etag.clone()),
        ("last-modified", date.clone()),
        ("accept-ranges", String::from("bytes")),
    ];
    let fresh = match request.field("if-none-match") {
        Some(tags) => {
            tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*")
        }
        None => request.field("if-modified-since") == Some(date.as_str()),
    };
    let mut reply = Reply { status: 200, content_type, fields, body: bytes };
    if fresh {
        reply.status = 304;
        reply.body.clear();
    } else if let Some(range) = request.field("range") {
        cut(&mut reply, range);
    }
    reply
}

/// Applies a single byte range (RFC 9110, section 14.2); anything else is ignored.
fn cut(reply: &mut Reply, range: &str) {
    let length = reply.body.len();
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return;
    };
    let bounds = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => Some((first, last.min(length.saturating_sub(1)))),
        (Ok(first), Err(_)) if last.is_empty() => Some((first, length.saturating_sub(1))),
        (Err(_), Ok(count)) if first.is_empty() => {
            Some((length.saturating_sub(count), length.saturating_sub(1)))
        }
        _ => None,
    };
    let Some((first, last)) = bounds else { return };
    match reply.body.get(first..=last).map(<[u8]>::to_vec) {
        Some(part) => {
            reply.status = 206;
            reply.fields.push(("content-range", format!("bytes {first}-{last}/{length}")));
            reply.body = part;
        }
        None => {
            reply.status = 416;
            reply.fields.push(("content-range", format!("bytes */{length}")));
            reply.body.clear();
        }
    }
}

/// IMF-fixdate (RFC 9110, section 5.6.7) of seconds since 1970.
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = seconds / 86_400;
    // Years that begin in March put the leap day last (Howard Hinnant's civil_from_days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
    format!(
        "{}, {day:02} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month as usize],
        era * 400 + year_of_era + next,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_path_cannot_leave_the_directory() {
        for path in ["/../server/config.json", "/..", "/%2e%2e/x", "//etc/passwd", "/.hidden"] {
            assert_eq!(reply("", path, &Request::default()).status, 404, "{path}");
        }
    }
}
