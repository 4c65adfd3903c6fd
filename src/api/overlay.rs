//! The script that is put into every page of a session: the files of `web/overlay`, joined, with the session's settings.
//!
//! Pure text: who serves it, with which headers and to whom is decided elsewhere. The reply must not be cached beyond
//! [`version`], because the settings carry TURN credentials.

use std::fmt::Write;
use std::sync::LazyLock;

use serde::Serialize;

use crate::config::settings::IceServer;
use crate::core::reason::EndReason;

/// The files, in the order in which they are joined. `start.js` uses all the others.
const FILES: &[(&str, &str)] = &[
    ("i18n.js", include_str!("../../web/overlay/i18n.js")),
    ("relay.js", include_str!("../../web/overlay/relay.js")),
    ("overlay.js", include_str!("../../web/overlay/overlay.js")),
    ("status.js", include_str!("../../web/overlay/status.js")),
    ("exit.js", include_str!("../../web/overlay/exit.js")),
    ("start.js", include_str!("../../web/overlay/start.js")),
];

/// What the script knows of its session. Neither `Debug` nor `Display`: it holds the session id and credentials.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlaySettings {
    /// The whole id; the page that gets it has it in its address already.
    pub session_id: String,
    /// `/session/ID/`
    pub base: String,
    /// `sessions.return_url`
    pub return_url: String,
    /// `sessions.report_url`
    pub report_url: String,
    /// `sessions.force_relay`: every peer connection of the page gets `iceTransportPolicy: "relay"`.
    pub force_relay: bool,
    /// Replaces the page's own list unless it is empty.
    pub ice_servers: Vec<BrowserIceServer>,
    /// The experience that was asked for; empty when none was.
    pub experience: String,
    /// `server.district`
    pub district: String,
    /// The body's address.
    pub body_ip: String,
    /// Why the session ended, when it has: the page shows that at once.
    pub end_reason: Option<EndReason>,
    /// How long the session lived before it ended, or has lived so far, in milliseconds.
    pub age_ms: u64,
}

/// `RTCIceServer` of the browser, credentials in clear.
#[derive(Clone, Serialize)]
pub struct BrowserIceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl From<&IceServer> for BrowserIceServer {
    fn from(server: &IceServer) -> BrowserIceServer {
        BrowserIceServer {
            urls: server.urls.clone(),
            username: server.username.clone(),
            credential: server.credential.as_ref().map(|secret| secret.expose().to_owned()),
        }
    }
}

/// The whole script for one session. It is a classic script, so that it runs before any module of the page.
pub fn script(settings: &OverlaySettings) -> String {
    let body = body();
    let mut script = String::with_capacity(body.len() + 1024);
    script.push_str("// hydraneckwebrtc: relay policy, reconnecting, end of stream, exit\n");
    script.push_str("if (!(\"__neck\" in window)) (() => {\n\"use strict\";\n");
    // Writing to a String cannot fail.
    let _ = writeln!(script, "const VERSION = {};", embedded(&version()));
    let _ = writeln!(script, "const SETTINGS = {};", embedded(settings));
    script.push_str(body);
    script.push_str("})();\n");
    script
}

/// Names the text of the script, whatever the settings: 16 hexadecimal digits, for `Injection::version` and `ETag`s.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| format!("{:016x}", fnv1a(body().as_bytes())));
    &VERSION
}

fn body() -> &'static str {
    static BODY: LazyLock<String> = LazyLock::new(|| {
        FILES.iter().fold(String::new(), |joined, (name, text)| format!("{joined}\n// ── {name}\n{text}"))
    });
    &BODY
}

/// FNV-1a: tells two builds apart, protects nothing.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// JSON that is safe inside a script, even one that stands in HTML: no `<`, and no line separators of Unicode.
fn embedded<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| String::from("null"));
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    fn settings() -> OverlaySettings {
        OverlaySettings {
            session_id: "ab".repeat(16),
            base: String::from("/session/abab/"),
            return_url: String::from("https://example.com/"),
            report_url: String::from("https://example.com/report"),
            force_relay: true,
            ice_servers: Vec::new(),
            experience: String::new(),
            district: String::new(),
            body_ip: String::from("10.10.0.7"),
            end_reason: None,
            age_ms: 0,
        }
    }

    #[test]
    fn a_setting_cannot_end_the_script() {
        let mut settings = settings();
        settings.experience = String::from("</script><b>\u{2028}\"\\");
        let script = script(&settings);
        assert!(script.contains(r#""experience":"\u003c/script>\u003cb>\u2028\"\\""#), "{script}");
        assert!(!script.contains("</script>") && !script.contains('\u{2028}'), "{script}");
    }

    #[test]
    fn a_credential_reaches_the_browser_in_clear() {
        let server = IceServer {
            urls: vec![String::from("turn:203.0.113.7:3478")],
            username: Some(String::from("hydraturn")),
            credential: Some(Secret::new("c1")),
        };
        let json = embedded(&BrowserIceServer::from(&server));
        assert_eq!(json, r#"{"urls":["turn:203.0.113.7:3478"],"username":"hydraturn","credential":"c1"}"#);
    }

    #[test]
    fn every_end_reason_has_words_in_every_language() {
        let table = FILES.iter().find(|(name, _)| *name == "i18n.js").expect("the table").1;
        for reason in EndReason::ALL {
            let count = table.matches(&format!(" {reason}: \"")).count();
            assert_eq!(count, 4, "{reason}: {count} of 4 languages");
        }
    }

    #[test]
    fn the_version_names_the_text_and_not_the_session() {
        let mut other = settings();
        other.session_id = "cd".repeat(16);
        assert_eq!(version().len(), 16);
        assert!(script(&settings()).contains(version()) && script(&other).contains(version()));
    }
}
