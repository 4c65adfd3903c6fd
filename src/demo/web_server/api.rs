//! Who asks, and the JSON calls.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::demo::http::{Connection, Incoming, Reply, Request, reason};
use super::{Server, files, stream};

/// Connect limit of the real one for a host. It has none for the reply.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a host's reply that are read.
const MAX_HOST_REPLY: u64 = 256 * 1024;

const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Login</title></head><body><form id=\"login\" method=\"post\">\
     <input name=\"name\" placeholder=\"Name\"><input name=\"password\" type=\"password\">\
     <button>Login</button></form></body></html>";

/// What a call leads to.
enum Answer {
    Reply(Reply),
    Lines(Box<dyn Iterator<Item = Value>>),
    Stream,
}

/// Serves one connection until it ends.
pub fn serve(server: &Arc<Server>, client: TcpStream) {
    let mut connection = Connection::new(client);
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
            Answer::Stream => return stream::serve(server, connection, &request),
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
    if !admitted(server, request) {
        let mut reply = Reply::text(401, LOGIN_PAGE);
        reply.content_type = "text/html; charset=utf-8";
        return Answer::Reply(reply);
    }
    match (request.method.as_str(), path) {
        ("POST", "/api/host") => Answer::Reply(add_host(server, request)),
        ("DELETE", "/api/host") => Answer::Reply(forget_host(server, request)),
        ("POST", "/api/host/cancel") => Answer::Reply(cancel(server, request)),
        ("GET", "/api/hosts") => hosts(server),
        ("POST", "/api/pair") => pair(server, request),
        ("GET", "/api/apps") => Answer::Reply(apps(server, request)),
        ("GET", "/api/host/stream") => Answer::Stream,
        (_, path) if path.starts_with("/api/") => Answer::Reply(Reply::text(404, "not found")),
        ("GET" | "HEAD", path) => Answer::Reply(files::reply(prefix, path, request)),
        _ => Answer::Reply(Reply::text(405, "method not allowed")),
    }
}

/// The forwarded header is the only proof of identity that the stand-in knows; its first occurrence counts.
fn admitted(server: &Server, request: &Request) -> bool {
    let Some(header) = &server.config.web_server.forwarded_header else { return false };
    match request.field(&header.username_header) {
        Some(user) if !user.is_empty() => server.state().admit(user, header.auto_create_missing_user),
        _ => false,
    }
}

#[derive(Deserialize)]
struct AddHost {
    address: String,
    http_port: Option<u16>,
}

fn add_host(server: &Server, request: &Request) -> Reply {
    let Ok(wanted) = serde_json::from_slice::<AddHost>(&request.body) else {
        return Reply::text(400, "malformed request");
    };
    let port = wanted.http_port.unwrap_or(server.config.moonlight.default_http_port);
    let address =
        (wanted.address.trim_matches(['[', ']']), port).to_socket_addrs().ok().and_then(|mut all| all.next());
    let Some(address) = address else { return Reply::text(500, "address is not usable") };
    let mut client = match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
        Ok(client) => client,
        Err(_) => return Reply::text(404, "host not reachable"),
    };
    let Ok(info) = ask(&mut client, address, "/serverinfo") else {
        return Reply::text(500, "host did not answer as a GameStream host");
    };
    let Some(name) = tag(&info, "hostname") else { return Reply::text(500, "host talks nonsense") };
    let (id, host) = server.state().add_host(&wanted.address, port, name.to_owned());
    super::log_line("INFO", &format!("added host {id}"));
    Reply::json(&json!({"host": host.shown(id, Some(true))}))
}

fn forget_host(server: &Server, request: &Request) -> Reply {
    match host_id(request) {
        Some(id) if server.state().forget(id) => Reply::json(&json!({"success": true})),
        _ => Reply::text(404, "no such host"),
    }
}

#[derive(Deserialize)]
struct HostId {
    host_id: u32,
}

fn cancel(server: &Server, request: &Request) -> Reply {
    match serde_json::from_slice::<HostId>(&request.body) {
        Ok(HostId { host_id }) if server.state().host(host_id).is_some() => {
            Reply::json(&json!({"success": true}))
        }
        Ok(_) => Reply::text(404, "no such host"),
        Err(_) => Reply::text(400, "malformed request"),
    }
}

/// The list as it is remembered, then each host as it answers now.
fn hosts(server: &Server) -> Answer {
    let known: Vec<_> = server.state().hosts().map(|(id, host)| (id, host.clone())).collect();
    let list: Vec<Value> = known.iter().map(|(id, host)| host.shown(*id, None)).collect();
    let first = std::iter::once(json!({"hosts": list}));
    let live = known.into_iter().map(|(id, host)| {
        let reached = info_of(&host.address, host.http_port, "/serverinfo").is_ok();
        host.shown(id, Some(reached))
    });
    Answer::Lines(Box::new(first.chain(live)))
}

/// Already paired: a PIN at once, then the error, as the real one does then.
fn pair(server: &Server, request: &Request) -> Answer {
    let Ok(HostId { host_id }) = serde_json::from_slice::<HostId>(&request.body) else {
        return Answer::Reply(Reply::text(400, "malformed request"));
    };
    if server.state().host(host_id).is_none() {
        return Answer::Reply(Reply::text(404, "no such host"));
    }
    let pin = format!("{:04}", host_id % 10_000);
    Answer::Lines(Box::new([json!({"Pin": pin}), json!("PairError")].into_iter()))
}

fn apps(server: &Server, request: &Request) -> Reply {
    let host = host_id(request).and_then(|id| server.state().host(id).cloned());
    let Some(host) = host.filter(|host| host.paired) else { return Reply::text(500, "host is not paired") };
    let Ok(list) = info_of(&host.address, host.http_port, "/applist") else {
        return Reply::text(500, "host did not answer");
    };
    let apps: Vec<Value> = list
        .split("<App>")
        .skip(1)
        .filter_map(|app| {
            let id: u32 = tag(app, "ID")?.parse().ok()?;
            Some(json!({"app_id": id, "title": tag(app, "AppTitle")?, "is_hdr_supported": false}))
        })
        .collect();
    Reply::json(&json!({"apps": apps}))
}

fn host_id(request: &Request) -> Option<u32> {
    request.parameter("host_id")?.parse().ok()
}

/// Connects and asks, for hosts that were reached before.
fn info_of(address: &str, port: u16, path: &str) -> io::Result<String> {
    let address =
        (address.trim_matches(['[', ']']), port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    ask(&mut TcpStream::connect_timeout(&address, CONNECT_LIMIT)?, address, path)
}

/// Asks a GameStream host; only an XML root counts as an answer.
fn ask(client: &mut TcpStream, address: SocketAddr, path: &str) -> io::Result<String> {
    write!(
        client,
        "GET {path}?uniqueid=0123456789ABCDEF HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    client.take(MAX_HOST_REPLY).read_to_string(&mut reply)?;
    if reply.starts_with("HTTP/1.1 200") && reply.contains("<root") {
        Ok(reply)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// The text of the first such element.
fn tag<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
