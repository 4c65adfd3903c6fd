//! Which moonlight-web-stream the stand-in is, and what differs between them towards a page.

use serde::Deserialize;

/// A kind and version.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// The owner's fork of v2.6: `relay_only` works.
    #[default]
    Fork,
    /// An upstream v2.x: `relay_only` is ignored, so its candidates are of every type.
    V2,
    /// v3: no `streamer`; signalling over HTTP, WebSockets for media alone.
    V3,
}

/// Candidates as they are gathered on a host behind a NAT, with a relay.
const CANDIDATES: [&str; 3] = [
    "candidate:1 1 udp 2130706431 192.168.77.7 40001 typ host",
    "candidate:2 1 udp 1694498815 198.51.100.77 40001 typ srflx raddr 192.168.77.7 rport 40001",
    "candidate:3 1 udp 16777215 203.0.113.77 49160 typ relay raddr 192.168.77.7 rport 40001",
];

impl Version {
    /// Where its WebSocket is.
    pub fn socket(self) -> &'static str {
        match self {
            Version::V3 => "/api/host/stream/web_socket",
            Version::Fork | Version::V2 => "/api/host/stream",
        }
    }

    /// What it gathers.
    pub fn candidates(self, relay_only: bool) -> &'static [&'static str] {
        if relay_only && self == Version::Fork { &CANDIDATES[2..] } else { &CANDIDATES }
    }

    /// An answer with what it gathers.
    pub fn answer(self, relay_only: bool) -> String {
        let mut sdp = String::from(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
             c=IN IP4 192.168.77.7\r\na=mid:0\r\n",
        );
        for candidate in self.candidates(relay_only) {
            sdp.push_str(&format!("a={candidate}\r\n"));
        }
        sdp.push_str("a=end-of-candidates\r\n");
        sdp
    }
}
