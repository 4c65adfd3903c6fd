//! The script that is put into every page of a session: the files of `web/overlay`, the tables of `web/i18n` and the
//! session's settings, joined.
//!
//! Pure text: who serves it, with which headers and to whom is decided elsewhere. The reply must not be cached beyond
//! [`version`], because the settings carry TURN credentials.

use std::fmt::Write;
use std::sync::LazyLock;

use serde::Serialize;

use crate::api::words;
use crate::config::settings::IceServer;
use crate::core::session::reason::EndReason;

/// The files, in the order in which they are joined. `start.js` uses all the others.
const FILES: &[(&str, &str)] = &[
    ("i18n.js", include_str!("../../web/overlay/i18n.js")),
    ("dom.js", include_str!("../../web/overlay/dom.js")),
    ("store.js", include_str!("../../web/overlay/store.js")),
    ("cookies.js", include_str!("../../web/overlay/cookies.js")),
    ("address.js", include_str!("../../web/overlay/address.js")),
    ("server.js", include_str!("../../web/overlay/server.js")),
    ("relay.js", include_str!("../../web/overlay/relay.js")),
    ("media.js", include_str!("../../web/overlay/media.js")),
    ("events.js", include_str!("../../web/overlay/events.js")),
    ("mend.js", include_str!("../../web/overlay/mend.js")),
    ("disconnects.js", include_str!("../../web/overlay/disconnects.js")),
    ("overlay.js", include_str!("../../web/overlay/overlay.js")),
    ("drain.js", include_str!("../../web/overlay/drain.js")),
    ("rating.js", include_str!("../../web/overlay/rating.js")),
    ("report.js", include_str!("../../web/overlay/report.js")),
    ("end.js", include_str!("../../web/overlay/end.js")),
    ("stats.js", include_str!("../../web/overlay/stats.js")),
    ("mic_input.js", include_str!("../../web/overlay/mic_input.js")),
    ("mic_link.js", include_str!("../../web/overlay/mic_link.js")),
    ("mic.js", include_str!("../../web/overlay/mic.js")),
    ("mic_view.js", include_str!("../../web/overlay/mic_view.js")),
    ("exit.js", include_str!("../../web/overlay/exit.js")),
    ("proxy.js", include_str!("../../web/overlay/proxy.js")),
    ("facts.js", include_str!("../../web/overlay/facts.js")),
    ("start.js", include_str!("../../web/overlay/start.js")),
];

/// How all of it looks; a string to the script.
const STYLE: &str = include_str!("../../web/overlay/style.css");

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
    /// `moonlight`, `ffmpeg` or `demo`: whose page this is.
    pub engine: &'static str,
    /// The page came by the link that only watches: it shows what viewers may do, and says nothing for the record.
    pub viewer: bool,
    /// Whether the session takes a microphone.
    pub mic: bool,
    /// How long `ice_servers` are valid, in seconds; `None` when they do not expire.
    pub ice_ttl: Option<u64>,
    /// How long the session has lasted, in milliseconds: so far, or until it ended.
    pub age_ms: u64,
    /// Why it ended; the script then shows the end at once and nothing else.
    pub end_reason: Option<EndReason>,
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
    script.push_str(
        "// hydraneckwebrtc: relay policy, reconnecting, end of stream, rating, microphone, exit\n",
    );
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
        let tables: Vec<String> = words::TABLES
            .iter()
            .map(|(code, table)| format!("{}: {}", embedded(code), table.trim()))
            .collect();
        let mut body =
            format!("const STRINGS = {{{}}};\nconst STYLE = {};\n", tables.join(", "), embedded(&STYLE));
        for (name, text) in FILES {
            // Writing to a String cannot fail.
            let _ = write!(body, "\n// ── {name}\n{text}");
        }
        body
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
            engine: "moonlight",
            viewer: false,
            mic: true,
            ice_ttl: Some(600),
            age_ms: 1500,
            end_reason: None,
        }
    }

    // SPEC 6: A setting cannot break out of the script
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

    // SPEC 6: The overlay is closed to the page
    // Also: `the clip plays and the overlay shows nothing`
    #[test]
    fn the_script_knows_the_session_and_nothing_opens_its_shadow_root() {
        let mut settings = settings();
        settings.end_reason = Some(EndReason::MaxDuration);
        let json: serde_json::Value = serde_json::from_str(&embedded(&settings)).expect("JSON");
        let names: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "ageMs",
                "base",
                "bodyIp",
                "district",
                "endReason",
                "engine",
                "experience",
                "forceRelay",
                "iceServers",
                "iceTtl",
                "mic",
                "reportUrl",
                "returnUrl",
                "sessionId",
                "viewer",
            ]
        );
        assert_eq!(json["endReason"], "max_duration");
        assert_eq!(body().matches("attachShadow").count(), 1);
        assert!(body().contains(r#"attachShadow({ mode: "closed" })"#));
    }

    #[test]
    fn every_file_of_the_overlay_is_in_the_script() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/web/overlay");
        for entry in std::fs::read_dir(directory).expect("web/overlay").flatten() {
            let name = entry.file_name().into_string().expect("a name");
            assert!(name == "style.css" || FILES.iter().any(|(known, _)| *known == name), "{name}");
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
