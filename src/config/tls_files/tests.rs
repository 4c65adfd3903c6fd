//! Certificates, keys and authorities in files.

use crate::config::settings::Role;
use crate::config::tests::{MINIMAL, loaded, refused};

pub const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/tls/first.pem");
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/edge/tls/ca.pem");

/// A copy of a committed key that only its owner can read.
pub fn private_key(name: &str) -> &'static str {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let copy = std::env::temp_dir().join(format!("neck-key-{}-{number}.pem", std::process::id()));
    // Copies stay, and a process of an earlier run may have had this number.
    let _ = std::fs::remove_file(&copy);
    let source = format!("{}/tests/edge/tls/{name}.key.pem", env!("CARGO_MANIFEST_DIR"));
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&copy).unwrap();
    file.write_all(&std::fs::read(source).unwrap()).unwrap();
    copy.to_str().unwrap().to_owned().leak()
}

#[test]
fn a_byte_order_mark_before_pem_is_accepted() {
    let marked = |path: &str, mode: u32| {
        let copy = format!("{}.bom", private_key("first"));
        let text = [&b"\xef\xbb\xbf"[..], &std::fs::read(path).unwrap()].concat();
        std::fs::write(&copy, text).unwrap();
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        copy
    };
    let (cert, key, authority) =
        (marked(CERTIFICATE, 0o644), marked(private_key("first"), 0o600), marked(AUTHORITY, 0o644));
    let text = format!(
        "server: {{listen: ':1', admin_token: a-long-enough-token, tls: {{cert: {cert}, key: {key}}}}}\n\
         controller: {{url: 'https://a.b', token: a-long-enough-token, ca_file: {authority}}}\n"
    );
    loaded(&text, Role::Worker);
}

#[test]
fn a_certificate_and_its_key_are_checked_before_they_are_needed() {
    let (first, second) = (private_key("first"), private_key("second"));
    let text = |cert: &str, key: &str| {
        format!(
            "server:\n  listen: ':1'\n  admin_token: a-long-enough-token\n  tls:\n    cert: {cert}\n    key: {key}\n"
        )
    };
    loaded(&text(CERTIFICATE, first), Role::Worker);
    loaded(&text(CERTIFICATE, first), Role::Controller);
    let open = std::env::temp_dir().join(format!("neck-key-open-{}.pem", std::process::id()));
    std::fs::copy(first, &open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for (cert, key, blamed) in [
        (CERTIFICATE, second, "6 server.tls.key"),
        (CERTIFICATE, CERTIFICATE, "6 server.tls.key"),
        (CERTIFICATE, open.to_str().unwrap(), "6 server.tls.key"),
        (CERTIFICATE, "/nonexistent", "6 server.tls.key"),
        (first, first, "5 server.tls.cert"),
        ("/nonexistent", first, "5 server.tls.cert"),
    ] {
        assert_eq!(refused(&text(cert, key), Role::Worker), [blamed], "{cert} {key}");
    }
    let alone =
        format!("server: {{listen: ':1', admin_token: a-long-enough-token, tls: {{cert: {CERTIFICATE}}}}}\n");
    assert_eq!(refused(&alone, Role::Worker), ["1 server.tls.key"]);
    let domain = text(CERTIFICATE, first).replace("listen: ':1'", "domain: a.example.com");
    assert_eq!(refused(&domain, Role::Worker), ["5 server.tls.cert"]);
    let link = "controller:\n  url: https://a.b\n  token: a-long-enough-token\n  ca_file: ";
    loaded(&format!("{MINIMAL}{link}{AUTHORITY}\n"), Role::Worker);
    assert_eq!(refused(&format!("{MINIMAL}{link}{first}\n"), Role::Worker), ["5 controller.ca_file"]);
    assert_eq!(
        refused(&format!("{MINIMAL}workers: {{ca_file: /nonexistent}}\n"), Role::Controller),
        ["2 workers.ca_file"]
    );
}
