//! Janus' streaming plugin with one RTP mountpoint.

use std::net::SocketAddr;

use serde_json::json;

use crate::generator::Pair;
use crate::janus_server::{Server, Session};

/// A running Janus; ended when dropped.
pub struct Janus {
    server: Server,
    session: Session,
    /// Where its mountpoint listens: video, audio.
    pub to: (SocketAddr, SocketAddr),
}

impl Janus {
    /// Starts it, without helper threads of the mountpoint.
    pub fn start() -> Janus {
        let to = Pair::bind().ports();
        let server = Server::start("streaming", &mountpoint(to));
        let session = Session::open(&server.root, "streaming");
        Janus { server, session, to }
    }

    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A new viewer: its handle and Janus' offer.
    pub fn watch(&mut self) -> (u64, String) {
        let handle = self.session.attach();
        self.session.message(handle, &json!({ "request": "watch", "id": 1 }), None);
        let offer =
            self.session.await_event(handle, |event| event["jsep"]["sdp"].as_str().map(str::to_owned));
        (handle, offer)
    }

    /// The viewer's answer; Janus begins to send.
    pub fn start_viewer(&mut self, handle: u64, answer: &str) {
        self.session.message(handle, &json!({ "request": "start" }), Some(("answer", answer)));
        self.session.await_event(handle, |event| {
            let status = event["plugindata"]["data"]["result"]["status"].as_str();
            status.filter(|status| ["starting", "started"].contains(status)).map(drop)
        });
    }
}

fn mountpoint((video, audio): (SocketAddr, SocketAddr)) -> String {
    format!(
        "general: {{ events = false }}\n\
         bench: {{ type = \"rtp\"\n id = 1\n audio = true\n audioport = {}\n audioiface = \"127.0.0.1\"\n \
         audiopt = 111\n audiocodec = \"opus\"\n video = true\n videoport = {}\n \
         videoiface = \"127.0.0.1\"\n videopt = 96\n videocodec = \"vp8\" }}\n",
        audio.port(),
        video.port()
    )
}
