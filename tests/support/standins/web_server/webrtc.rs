//! v3's signalling: `/api/host/stream/webrtc`, an offer and its answer over HTTP. There is no WebRTC behind it.

use serde_json::Value;

use super::{Server, log_line};
use crate::http::{Reply, Request};

/// Answers what is asked below `/api/host/stream/webrtc`; `stream` is what follows it.
pub fn reply(server: &Server, stream: &str, request: &Request, user: &str) -> Reply {
    match (request.method.as_str(), stream.strip_prefix('/')) {
        ("OPTIONS", None) => options(server),
        ("GET", None) => Reply::text(405, "method not allowed"),
        ("POST", None) => offer(server, request, user),
        ("PATCH", Some(_)) if request.field("if-match") == Some("*") => Reply::text(422, "no ICE restart"),
        ("PATCH", Some(_)) => {
            heard(request);
            Reply::text(204, "")
        }
        ("DELETE", Some(_)) => Reply::text(200, "stream not found"),
        _ => Reply::text(404, "not found"),
    }
}

/// The ICE servers of the process, with their credentials.
fn options(server: &Server) -> Reply {
    let mut reply = Reply::text(200, "");
    reply.fields.push(("Accept-Post", "application/sdp".into()));
    for entry in &server.config.webrtc.ice_servers {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        for url in entry["urls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let link = format!(
                "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                text("username"),
                text("credential")
            );
            reply.fields.push(("Link", link));
        }
    }
    reply
}

fn offer(server: &Server, request: &Request, user: &str) -> Reply {
    heard(request);
    let offer = String::from_utf8_lossy(&request.body);
    let host =
        offer.lines().find_map(|line| line.strip_prefix("a=x-moonlight-host-id:")?.trim().parse().ok());
    if host.and_then(|id| server.state().host(id, user).cloned()).is_none() {
        return Reply::text(404, "host not found");
    }
    let number = server.streams.number();
    let answer = server.faults.version.answer(server.config.webrtc.relay_only);
    let mut reply = Reply::text(201, &answer);
    reply.content_type = "application/sdp";
    let prefix = &server.config.web_server.url_path_prefix;
    reply.fields.push(("Location", format!("{prefix}/api/host/stream/webrtc/{number}")));
    reply
}

fn heard(request: &Request) {
    log_line("INFO", &format!("page says: {:?}", String::from_utf8_lossy(&request.body)));
}
