//! Our own TURN client with a real coturn, sound and broken in the ways that an operator meets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hydraneckwebrtc::core::turn::client::{Reach, Relay, Trouble};
use hydraneckwebrtc::core::turn::credentials::{self, Credentials};
use hydraneckwebrtc::edge::tls;
use hydraneckwebrtc::host::crypto;
use hydraneckwebrtc::host::turn::{Plan as Check, allocate_check, relay_check};
use stand_ins::ports::own_port;

use super::coturn::{Coturn, LOOPBACK, SECRET};
use super::lab::Lab;
use super::{OWN, unix_now};

fn minted(secret: &str, now: u64) -> Credentials {
    credentials::mint(secret, "0123abcd", now, Duration::from_secs(600))
}

fn check(url: &str, credentials: &Credentials, ca: Option<&std::path::Path>) -> Result<Relay, Trouble> {
    crypto::install();
    let tls = tls::client_config(ca).expect("authorities");
    relay_check(url, credentials, &Check { tls, patience: Duration::from_secs(30) })
}

// SPEC turn: A TURN client of our own allocates relays with the credentials that browsers get and
// sends a packet from relay to relay, by UDP, TCP and TLS; it finds out a coturn that relays to
// everybody or for everybody
// Also: `a_coturn_that_relays_to_everybody_or_for_everybody_is_found_out`,
// `the_long_term_key_is_that_of_rfc_8489`, `an_allocation_is_asked_for_bare_and_then_signed`,
// `packets_go_out_and_come_in_with_their_peer`, `urls_name_carrier_host_and_port`
#[test]
fn a_packet_passes_from_relay_to_relay_by_udp_tcp_and_tls() {
    let lab = Lab::new();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (lab.dir.join("turn-cert.pem"), lab.dir.join("turn-key.pem"));
    fs::write(&cert, pem("CERTIFICATE", pair.cert.der())).expect("a certificate");
    fs::write(&key, pem("PRIVATE KEY", &pair.signing_key.serialize_der())).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("its mode");
    let tls_port = own_port().expect("a port");
    let more = [
        format!("cert={}", cert.display()),
        format!("pkey={}", key.display()),
        format!("tls-listening-port={tls_port}"),
    ];
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &more) else { return };
    let credentials = minted(SECRET, unix_now());
    for url in [
        format!("turn:{server}"),
        format!("turn:{server}?transport=tcp"),
        format!("turns:localhost:{tls_port}?transport=tcp"),
    ] {
        let relay =
            check(&url, &credentials, Some(&cert)).unwrap_or_else(|trouble| panic!("{url}: {trouble}"));
        assert_eq!(
            (relay.relayed.ip(), relay.reach, relay.is_unguarded),
            (LOOPBACK, Reach::Guarded, false),
            "{url}"
        );
        assert_eq!(relay.mapped.map(|mapped| mapped.ip()), Some(LOOPBACK), "{url}");
        let is_tls = url.starts_with("turns");
        assert_eq!(relay.certificate, is_tls.then(|| pair.cert.der().to_vec()), "{url}");
    }
    let stranger = check(&format!("turns:localhost:{tls_port}"), &credentials, None);
    let words = "its certificate is of an authority that nobody here believes";
    assert_eq!(stranger, Err(Trouble::Tls(words.into())));
    let named = check(&format!("turns:127.0.0.1:{tls_port}"), &credentials, Some(&cert));
    assert_eq!(named, Err(Trouble::Tls("its certificate is for another name".into())));
}

fn pem(what: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

/// The code of a refusal.
fn code(checked: &Result<Relay, Trouble>) -> (&'static str, u16) {
    match checked {
        Err(Trouble::Allocation(refusal)) => ("allocation", refusal.code),
        Err(Trouble::Permission(_, refusal)) => ("permission", refusal.code),
        _ => ("neither", 0),
    }
}

// SPEC turn: Each refusal and each silence is told in words with what to do
// Also: `every_code_has_its_advice`,
// `a_refusal_of_signed_requests_is_told_and_a_stale_nonce_is_not`,
// `what_is_no_turn_server_is_told_by_what_it_does`,
// `a_port_without_a_server_is_told_before_the_patience_ends`,
// `a_server_that_never_answers_is_given_up_in_time`
#[test]
fn each_refusal_of_a_real_coturn_is_told_by_its_code() {
    let lab = Lab::new();
    let good = minted(SECRET, unix_now());
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &[]) else { return };
    let url = format!("turn:{server}");
    let sound = allocate_check(
        &url,
        &good,
        &Check { tls: tls::client_config(None).expect("authorities"), patience: Duration::from_secs(30) },
    );
    assert!(sound.is_ok(), "{sound:?}");
    for (what, credentials) in [
        ("another secret", minted("another-secret", unix_now())),
        ("expired", minted(SECRET, unix_now() - 700)),
        ("an unknown user", Credentials { username: "nobody".into(), password: "x".into() }),
    ] {
        let checked = check(&url, &credentials, None);
        assert_eq!(code(&checked), ("allocation", 401), "{what}: {checked:?}");
    }
    for (what, peers, more, expected) in [
        ("peers without its own address", &["203.0.113.7"][..], &[][..], ("permission", 403)),
        ("a quota of one", OWN, &["user-quota=1"], ("allocation", 486)),
        ("one port", OWN, &["min-port=58000", "max-port=58000"], ("allocation", 508)),
    ] {
        let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, peers, more) else { return };
        let checked = check(&format!("turn:{server}"), &good, None);
        assert_eq!(code(&checked), expected, "{what}: {checked:?}");
    }
}

#[test]
fn a_coturn_that_relays_to_everybody_or_for_everybody_is_found_out() {
    let lab = Lab::new();
    let good = minted(SECRET, unix_now());
    for (peers, stray) in [
        (&["0.0.0.0-255.255.255.255"][..], [192, 0, 2, 1]),
        // Who denies only what is special, or allows networks of clouds, relays to others all the same.
        (&["127.0.0.1", "169.254.0.0-169.254.255.255"], [169, 254, 169, 254]),
        (&["127.0.0.1", "1.0.0.0-9.255.255.255"], [8, 8, 8, 8]),
    ] {
        let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, peers, &[]) else { return };
        let open = check(&format!("turn:{server}?transport=tcp"), &good, None).expect("a relay");
        assert_eq!((open.reach, open.is_unguarded), (Reach::Open(stray.into()), false), "{open:?}");
    }
    let Some((_coturn, server)) = Coturn::on_loopback(&lab.dir, OWN, &["no-auth"]) else { return };
    let unguarded = check(&format!("turn:{server}"), &good, None).expect("a relay");
    assert!(unguarded.is_unguarded, "{unguarded:?}");
}
