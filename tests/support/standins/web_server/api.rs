//! Who asks, and the JSON calls.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::{Value, json};

use super::hosts::{HostError, HostLine};
use super::state::Host;
use super::version::Version;
use super::{Server, files, pairing, stream, webrtc};
use crate::http::{Connection, Incoming, Reply, Request, reason};

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Login</title></head><body><form id=\"login\" method=\"post\">\
     <input name=\"name\" placeholder=\"Name\"><input name=\"password\" type=\"password\">\
     <button>Login</button></form></body></html>";

/// What a call leads to.
enum Answer {
    Reply(Reply),
    Lines(Box<dyn Iterator<Item = Value>>),
    Stream(String),
}

/// Serves one connection until it ends.
pub fn serve(server: &Arc<Server>, client: TcpStream) {
    let mut connection = Connection::new(client);
    if let Some(path) = &server.faults.record {
        connection.record_to(path);
    }
    connection.say_too(&server.faults.fields);
    loop {
        let request = match connection.next() {
            Incoming::Request(request) => request,
            Incoming::Refused(status) => {
                // A client that is gone needs no reason.
                let _ = connection.send(&Reply::text(status, reason(status)), false, false);
                return;
            }
            Incoming::Closed => return,
        };
        if server.dead.load(Ordering::SeqCst) {
            return;
        }
        let keep = request.keep_alive && !server.stopping.load(Ordering::SeqCst);
        let sent = match answer(server, &request) {
            Answer::Reply(reply) => connection.send(&reply, keep, request.method == "HEAD"),
            Answer::Lines(lines) => connection.send_lines(lines, keep),
            Answer::Stream(user) => return stream::serve(server, connection, &request, &user),
        };
        if sent.is_err() || !keep {
            return;
        }
    }
}

fn answer(server: &Arc<Server>, request: &Request) -> Answer {
    let prefix = server.config.web_server.url_path_prefix.as_str();
    let Some(path) =
        request.path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return Answer::Reply(Reply::text(404, "not found"));
    };
    let Some(user) = admitted(server, request) else {
        let mut reply = Reply::text(401, LOGIN_PAGE);
        reply.content_type = "text/html; charset=utf-8";
        return Answer::Reply(reply);
    };
    match (request.method.as_str(), path) {
        ("POST", "/api/host") => Answer::Reply(add_host(server, request, user)),
        ("DELETE", "/api/host") => Answer::Reply(forget_host(server, request, user)),
        ("POST", "/api/host/cancel") => Answer::Reply(cancel(server, request, user)),
        ("GET", "/api/hosts") => hosts(server, user),
        ("POST", "/api/pair") => pair(server, request, user),
        ("GET", "/api/apps") => Answer::Reply(apps(server, request, user)),
        ("GET", path) if path == server.faults.version.socket() => Answer::Stream(user.to_owned()),
        (_, path) if server.faults.version == Version::V3 && path.starts_with(WEBRTC) => {
            let stream = path.strip_prefix(WEBRTC).unwrap_or_default();
            Answer::Reply(webrtc::reply(server, stream, request, user))
        }
        (method, path) if path.starts_with("/api/") => Answer::Reply(rest(server, method, path, user)),
        ("GET" | "HEAD", path) => Answer::Reply(files::reply(prefix, path, request)),
        _ => Answer::Reply(Reply::text(405, "method not allowed")),
    }
}

/// v3's signalling.
const WEBRTC: &str = "/api/host/stream/webrtc";

/// The rest of the API: calls whose answers nothing here depends on.
fn rest(server: &Server, method: &str, path: &str, user: &str) -> Reply {
    let role = json!({"id": 1, "name": "user", "ty": "User", "default_settings": {}, "permissions": {}});
    let user = json!({"id": 1, "is_default_user": false, "name": user, "role": "User", "role_id": 1});
    let answer = match (method, path) {
        ("GET", "/api/authenticate") | ("POST", "/api/login" | "/api/logout") => json!({}),
        ("GET", "/api/host") => json!({"host": server.state().hosts("").count()}),
        ("PATCH", "/api/host") | ("POST", "/api/host/wake") => json!({"success": true}),
        ("GET", "/api/user") => user,
        ("GET", "/api/users") => json!({"users": [user]}),
        ("POST" | "PATCH" | "DELETE", "/api/user") => json!({"success": true}),
        ("GET", "/api/role") => json!({"role": role}),
        ("GET", "/api/roles") => json!({"roles": [role]}),
        ("POST" | "PATCH" | "DELETE", "/api/role") => json!({"success": true}),
        ("PUT" | "DELETE" | "GET", "/api/user/default" | "/api/role/default") => json!({"success": true}),
        ("GET", "/api/settings/default" | "/api/settings/permissions" | "/api/app/image") => json!({}),
        _ => return Reply::text(404, "not found"),
    };
    Reply::json(&answer)
}

/// The user's name. The forwarded header is the only proof of identity that the stand-in knows; its first occurrence
/// counts.
fn admitted<'a>(server: &Server, request: &'a Request) -> Option<&'a str> {
    let header = server.config.web_server.forwarded_header.as_ref()?;
    let user = request.field(&header.username_header).filter(|user| !user.is_empty())?;
    server.state().admit(user, header.auto_create_missing_user).then_some(user)
}

#[derive(Deserialize)]
struct AddHost {
    address: String,
    http_port: Option<u16>,
}

fn add_host(server: &Server, request: &Request, user: &str) -> Reply {
    let Ok(wanted) = serde_json::from_slice::<AddHost>(&request.body) else {
        return Reply::text(400, "malformed request");
    };
    let port = wanted.http_port.unwrap_or(server.config.moonlight.default_http_port);
    let info = HostLine::to(&wanted.address, port, user).and_then(|line| line.server_info());
    let info = match info {
        Ok(info) => info,
        Err(HostError::Unusable) => return Reply::text(500, "address is not usable"),
        Err(HostError::Unreachable) => return Reply::text(404, "host not reachable"),
        Err(HostError::Nonsense) => return Reply::text(500, "host did not answer as a GameStream host"),
    };
    let (id, host) = server.state().add_host(user, &wanted.address, port, &info);
    super::log_line("INFO", &format!("added host {id}"));
    Reply::json(&json!({"host": host.shown(id, Some(&info))}))
}

fn forget_host(server: &Server, request: &Request, user: &str) -> Reply {
    match host_id(request) {
        Some(id) if server.state().forget(id, user) => Reply::json(&json!({"success": true})),
        _ => Reply::text(404, "no such host"),
    }
}

#[derive(Deserialize)]
struct HostId {
    host_id: u32,
}

/// The host that the body names, if it is the user's.
fn named_host(server: &Server, request: &Request, user: &str) -> Result<(u32, Host), Reply> {
    let HostId { host_id } =
        serde_json::from_slice(&request.body).map_err(|_| Reply::text(400, "malformed request"))?;
    let host = server.state().host(host_id, user).cloned();
    host.map(|host| (host_id, host)).ok_or_else(|| Reply::text(404, "no such host"))
}

fn cancel(server: &Server, request: &Request, user: &str) -> Reply {
    let host = match named_host(server, request, user) {
        Ok((_, host)) => host,
        Err(refusal) => return refusal,
    };
    match HostLine::to_known(&host).and_then(|line| line.cancel()) {
        Ok(()) => Reply::json(&json!({"success": true})),
        Err(_) => Reply::text(500, "host did not cancel"),
    }
}

/// The list as it is remembered, then each host as it answers now.
fn hosts(server: &Server, user: &str) -> Answer {
    let known: Vec<_> = server.state().hosts(user).map(|(id, host)| (id, host.clone())).collect();
    let list: Vec<Value> = known.iter().map(|(id, host)| host.shown(*id, None)).collect();
    let first = std::iter::once(json!({"hosts": list}));
    let live = known.into_iter().map(|(id, host)| {
        match HostLine::to_known(&host).and_then(|line| line.server_info()) {
            Ok(info) => host.shown(id, Some(&info)),
            Err(_) => host.shown_offline(id),
        }
    });
    Answer::Lines(Box::new(first.chain(live)))
}

fn pair(server: &Arc<Server>, request: &Request, user: &str) -> Answer {
    match named_host(server, request, user) {
        Ok((id, host)) => Answer::Lines(pairing::lines(server, id, &host)),
        Err(refusal) => Answer::Reply(refusal),
    }
}

fn apps(server: &Server, request: &Request, user: &str) -> Reply {
    let host = host_id(request).and_then(|id| server.state().host(id, user).cloned());
    let Some(host) = host.filter(|host| host.paired) else { return Reply::text(500, "host is not paired") };
    match HostLine::to_known(&host).and_then(|line| line.apps()) {
        Ok(apps) => Reply::json(&json!({"apps": apps})),
        Err(_) => Reply::text(500, "host did not answer"),
    }
}

fn host_id(request: &Request) -> Option<u32> {
    request.parameter("host_id")?.parse().ok()
}
