//! What is no TURN server, and what a client does about it.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::host::uninterrupted::uninterrupted;

fn credentials() -> Credentials {
    Credentials { username: "user".into(), password: "pass".into() }
}

fn plan(patience: Duration) -> Plan {
    crate::host::crypto::install();
    let roots = rustls::RootCertStore::empty();
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Plan { tls: Arc::new(tls), patience }
}

/// What a check says of a connection's other end that answers with these bytes and closes.
fn of_stream(scheme: &str, query: &str, answer: &'static [u8]) -> Trouble {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("{scheme}:{}{query}", listener.local_addr().expect("its address"));
    let server = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let _ = peer.read(&mut [0; 4096]);
        let _ = peer.write_all(answer);
    });
    let trouble =
        allocate_check(&url, &credentials(), &plan(Duration::from_secs(30))).expect_err("no TURN server");
    server.join().expect("the server");
    trouble
}

#[test]
fn what_is_no_turn_server_is_told_by_what_it_does() {
    let web = of_stream("turn", "?transport=tcp", b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(web, Trouble::Strange("what it answers is no STUN".into()));
    assert!(matches!(of_stream("turn", "?transport=tcp", b""), Trouble::Strange(_)));
    let plain = of_stream("turns", "", b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(plain, Trouble::Tls("what answers there speaks no TLS".into()));
}

#[test]
fn a_port_without_a_server_is_told_before_the_patience_ends() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port");
    let begun = Instant::now();
    let asked = |url: String| allocate_check(&url, &credentials(), &plan(Duration::from_secs(60)));
    assert!(matches!(asked(format!("turn:{free}?transport=tcp")), Err(Trouble::Unreached(..))));
    assert_eq!(asked(format!("turn:{free}")), Err(Trouble::Silent(free)));
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    assert_eq!(asked("turns:127.0.0.1?transport=udp".into()), Err(Trouble::Dtls));
    assert_eq!(asked("stun:127.0.0.1".into()), Err(Trouble::Url));
    assert!(matches!(asked("turn:nobody.invalid".into()), Err(Trouble::Unresolved(_))));
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address");
    let checked = relay_check(&format!("turn:{address}"), &credentials(), &plan(Duration::from_secs(2)));
    assert_eq!(checked, Err(Trouble::Silent(address)));
    silent.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    let mut buffer = [0; 2048];
    let sizes: Vec<usize> = (0..2)
        .map(|_| uninterrupted(|| silent.recv(&mut buffer)).expect("a request that is repeated"))
        .collect();
    assert_eq!(sizes[0], sizes[1]);
}
