//! What setup may write, what it writes, and what it shows.

use super::*;

fn plan(private: Option<&str>) -> WorkerPlan {
    WorkerPlan {
        controller: "https://neck.example.com".into(),
        controller_token: "the-controllers-token".into(),
        admin_token: "the-workers-token".into(),
        turn_secret: "the-secret-of-coturn".into(),
        public_ip: "203.0.113.7".parse().expect("an address"),
        private_ip: private.map(|text| text.parse().expect("an address")),
    }
}

#[test]
fn what_somebody_else_wrote_or_changed_is_left_alone() {
    let wanted = marked("a\nb\n");
    let packages = [to_hex(&Md5::digest(b"as installed\n"))];
    let verdict = |found: &str| judge(&wanted, found, &packages);
    assert_eq!(verdict(&wanted), Verdict::Same);
    assert_eq!(verdict("a\nb\n"), Verdict::Same, "the same without the mark");
    assert_eq!(verdict(&marked("an older one\n")), Verdict::Write);
    assert_eq!(verdict("as installed\n"), Verdict::Write);
    assert_eq!(verdict(&marked("a\n").replace("\na\n", "\na changed\n")), Verdict::Theirs);
    assert_eq!(verdict("as installed\nand changed\n"), Verdict::Theirs);
    assert_eq!(verdict(""), Verdict::Theirs);
}

#[test]
fn dpkg_tells_how_it_installed_a_file() {
    let status = "Package: coturn\nConffiles:\n /etc/default/coturn aaaa\n /etc/turnserver.conf bbbb\nDescription: x\n /etc/turnserver.conf.d cccc\n";
    assert_eq!(packaged_sums(status, "/etc/turnserver.conf"), ["bbbb"]);
}

#[test]
fn coturn_denies_everybody_and_allows_our_media_addresses_only() {
    let text = coturn_config(&plan(Some("10.0.0.7")));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let of = |name: &str| -> Vec<&str> {
        lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
    };
    assert_eq!(of("allowed-peer-ip"), ["203.0.113.7", "10.0.0.7"], "{text}");
    let everybody = ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
    assert_eq!(of("denied-peer-ip"), everybody);
    assert_eq!(of("external-ip"), ["203.0.113.7/10.0.0.7"]);
    assert_eq!(of("static-auth-secret"), ["the-secret-of-coturn"]);
    assert!(
        lines.contains(&"use-auth-secret") && !text.contains("CHANGE") && !text.contains("change-me"),
        "{text}"
    );
    // The relays' ports leave those of media alone, and the log goes where coturn may write.
    assert_eq!((of("min-port"), of("max-port")), (vec!["49152"], vec!["58999"]));
    assert!(lines.contains(&"syslog") && of("log-file").is_empty());
    assert!(!coturn_config(&plan(None)).contains("external-ip="));
}

#[test]
fn a_difference_shows_what_changes_and_no_secret() {
    let numbers = |middle: &str| {
        (0..20)
            .map(|n| if n == 10 { format!("{middle}\n") } else { format!("line {n}\n") })
            .collect::<String>()
    };
    let shown = difference(&numbers("old"), &numbers("new"));
    assert_eq!(shown, "  line 8\n  line 9\n- old\n+ new\n  line 11\n  line 12\n");
    let secret =
        difference("  token: \"abc\"\nuser=hydraturn:def\n", "  token: \"xyz\"\nstatic-auth-secret=ghi\n");
    assert_eq!(secret, "-   token: ***\n- user= ***\n+   token: ***\n+ static-auth-secret= ***\n");
    let inline =
        difference("sunshine: { username: s, password: \"abc\" }\n- 0123456789abcdef0123456789\n", "");
    assert_eq!(inline, "- sunshine: { username: s, password: ***\n- - ***\n");
    assert_eq!(difference("a\nb\nc\nd\n", "a\nx\nc\nd\ny\n"), "  a\n- b\n+ x\n  c\n  d\n+ y\n");
    assert_eq!(difference("", "a\n"), "+ a\n");
    assert_eq!(difference("a\n\x1b[2J\n", "a\n"), "  a\n-  [2J\n");
    assert_eq!(difference("same\n", "same\n"), "");
}

#[test]
fn names_that_would_break_a_file_are_none() {
    assert!(is_host_name("neck.example.com") && is_host_name("2001:db8::1"));
    for bad in ["", "a b", "x\"y", "a\nb", "neck.example.com/"] {
        assert!(!is_host_name(bad), "{bad:?}");
    }
}
