//! Pages that get a script.

use hydraneckwebrtc::edge::router::{Decision, Injection};

use crate::support::{Message, TestEdge, forward, upstream};

const TAG: &str = "<script src=\"/o.js\"></script>";
const NAVIGATION: &str =
    "Accept: text/html, */*\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"x\"\r\nRange: bytes=0-1\r\n";

/// Asks with `fields` an upstream that answers `reply`; returns what it saw and what came.
fn ask(reply: &'static str, method: &str, fields: &str) -> (String, Message) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let to = upstream(move |mut wire, _| {
        while let Some(request) = wire.request() {
            let _ = sender.send(request.head);
            wire.send(reply);
        }
    });
    let edge = TestEdge::new(move |_| {
        let mut forward = forward(to);
        forward.inject = Some(Injection { tag: TAG.into(), version: "v1".into() });
        Decision::Forward(forward)
    });
    let mut wire = edge.connect();
    wire.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"));
    let message = wire.reply();
    (receiver.recv_timeout(crate::support::PATIENCE).expect("a request"), message)
}

#[test]
fn a_page_of_known_length_gets_the_tag_and_true_fields() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"e\"\r\nLast-Modified: d\r\nAccept-Ranges: bytes\r\n\
                Content-Security-Policy: script-src 'none'\r\nContent-Length: 41\r\n\r\n<!DOCTYPE html><html><head></head></html>";
    let (seen, message) = ask(page, "GET", NAVIGATION);
    assert!(seen.contains("Accept-Encoding: identity\r\n"), "{seen}");
    assert!(!seen.contains("gzip") && !seen.contains("If-None-Match") && !seen.contains("Range"), "{seen}");
    assert!(message.complete, "{message:?}");
    assert_eq!(message.text(), format!("<!DOCTYPE html><html><head>{TAG}</head></html>"));
    assert_eq!(message.field("ETag"), Some("W/\"e-v1\""));
    assert_eq!(message.field("Content-Security-Policy"), Some("script-src 'self'"));
    assert_eq!((message.field("Last-Modified"), message.field("Accept-Ranges")), (None, None));
}

#[test]
fn a_chunked_page_gets_the_tag_wherever_chunks_end() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n\
                4\r\n<htm\r\n5\r\nl><he\r\n3\r\nad>\r\n2\r\nxy\r\n0\r\n\r\n";
    let (_, message) = ask(page, "GET", NAVIGATION);
    assert!(message.complete && message.text() == format!("<html><head>{TAG}xy"), "{message:?}");
}

#[test]
fn an_undecided_page_is_complete_at_its_end() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: 8\r\n\r\n<!-- <he";
    let (_, message) = ask(page, "GET", NAVIGATION);
    assert!(message.complete && message.text() == format!("{TAG}<!-- <he"), "{message:?}");
}

#[test]
fn everything_else_passes_untouched() {
    let encoded = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nETag: \"e\"\r\nContent-Length: 6\r\n\r\n<head>";
    let attachment = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\nETag: \"e\"\r\nContent-Length: 6\r\n\r\n<head>";
    let json =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"e\"\r\nContent-Length: 6\r\n\r\n<head>";
    let missing =
        "HTTP/1.1 404 No\r\nContent-Type: text/html\r\nETag: \"e\"\r\nContent-Length: 6\r\n\r\n<head>";
    for reply in [encoded, attachment, json, missing] {
        let (_, message) = ask(reply, "GET", NAVIGATION);
        assert_eq!((message.text().as_str(), message.field("ETag")), ("<head>", Some("\"e\"")), "{reply:?}");
    }
    let (seen, message) = ask(json, "POST", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n");
    assert!(seen.contains("Accept-Encoding: gzip") && seen.contains("Range"), "{seen}");
    assert_eq!(message.text(), "<head>");
}

#[test]
fn head_is_told_what_get_would_be() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"e\"\r\nLast-Modified: d\r\nContent-Length: 41\r\n\r\n";
    let (seen, message) = ask(head, "HEAD", NAVIGATION);
    assert!(!seen.contains("If-None-Match") && !seen.contains("Range"), "{seen}");
    assert_eq!(message.field("Content-Length"), Some((41 + TAG.len()).to_string().as_str()), "{message:?}");
    assert_eq!((message.field("ETag"), message.field("Last-Modified")), (Some("W/\"e-v1\""), None));
}
