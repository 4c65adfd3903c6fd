//! What `webrtc.*` and `turn.*` mean together, and what is refused.

use crate::config::load::load;
use crate::config::settings::{Role, Settings, WebRtc};
use crate::config::source::{Environment, Source};
use crate::config::tests::{loaded, refused};

const SERVER: &str = "server: {listen: ':1', admin_token: a-long-enough-token}\n";

fn webrtc(lines: &str) -> WebRtc {
    settings(lines).webrtc
}

fn settings(lines: &str) -> Settings {
    let indented: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    loaded(&format!("{SERVER}webrtc:\n{indented}"), Role::Worker)
}

// SPEC 2: `webrtc.*` and `turn.*`: one UDP port unless something else is set, a list for both kinds
// of ICE servers, contradictions refused with key and line
// Also: `a_list_of_ice_servers_stands_for_both_only_when_both_are_empty`,
// `contradictions_of_the_transport_are_refused_where_they_stand`,
// `ice_servers_that_nobody_will_get_are_warned_of`, `what_is_printed_of_the_transport_loads_again`
#[test]
fn one_udp_port_for_all_is_the_default_while_no_transport_is_set() {
    for (lines, expected) in [
        ("icelite: true", (Some(59_000), None, None)),
        ("udpmux: 0", (Some(59_000), None, None)),
        ("udpmux: 3479", (Some(3479), None, None)),
        ("udpmux: any", (Some(0), None, None)),
        ("epr: 59000-59100", (None, Some((59_000, 59_100)), None)),
        ("tcpmux: 3479", (None, None, Some(3479))),
        ("tcpmux: 0", (Some(59_000), None, None)),
        ("udpmux: 3479\ntcpmux: 3479", (Some(3479), None, Some(3479))),
        ("udpmux: 0\nepr: 59000-59000", (None, Some((59_000, 59_000)), None)),
        ("epr: 59000-59100\ntcpmux: any", (None, Some((59_000, 59_100)), Some(0))),
    ] {
        let settled = webrtc(lines);
        assert_eq!((settled.udpmux, settled.epr, settled.tcpmux), expected, "{lines}");
    }
    let free = loaded("server: {listen: '127.0.0.1:0', admin_token: a-long-enough-token}\n", Role::Worker);
    assert_eq!(
        free.webrtc.udpmux,
        Some(0),
        "who lets the kernel choose the port to listen on gets no fixed one"
    );
}

#[test]
fn a_list_of_ice_servers_stands_for_both_only_when_both_are_empty() {
    let urls = |list: &[crate::config::settings::IceServer]| -> Vec<String> {
        list.iter().flat_map(|server| server.urls.clone()).collect()
    };
    let lite = webrtc("iceservers: [{urls: ['stun:a']}]");
    assert_eq!(
        (urls(&lite.ice_servers_frontend), lite.ice_servers_backend.len()),
        (vec!["stun:a".into()], 0)
    );
    let full = webrtc("icelite: false\niceservers: [{urls: ['stun:a']}]");
    assert_eq!(urls(&full.ice_servers_backend), urls(&full.ice_servers_frontend));
    // Both forms at once need a variable beside the file.
    let environment = [
        ("HOME".to_owned(), "/root".to_owned()),
        ("HYDRANECKWEBRTC_WEBRTC__ICESERVERS".to_owned(), "[{urls: ['stun:b']}]".to_owned()),
    ];
    let source = Source {
        path: "test.yaml".into(),
        text: format!("{SERVER}webrtc: {{iceservers: {{frontend: [{{urls: ['stun:a']}}]}}}}\n"),
        world_readable: false,
        environment: Environment::new(environment.map(|(name, value)| (name.into(), value.into()))),
    };
    let both = load(&source, Role::Worker).expect("sound");
    assert_eq!(urls(&both.webrtc.ice_servers_frontend), ["stun:a"]);
    assert!(both.webrtc.ice_servers_backend.is_empty());
    assert!(
        both.warnings.join("\n").contains("webrtc.iceservers as a list is not used"),
        "{:?}",
        both.warnings
    );
}

#[test]
fn contradictions_of_the_transport_are_refused_where_they_stand() {
    for (lines, expected) in [
        ("udpmux: 59000\n  epr: 59000-59100", "4 webrtc.epr"),
        ("epr: 59100-59000", "3 webrtc.epr"),
        ("epr: 80-90", "3 webrtc.epr"),
        ("epr: 59000", "3 webrtc.epr"),
        ("epr: 49000-50000", "3 webrtc.epr"),
        ("udpmux: 40000", "3 webrtc.udpmux"),
        ("udpmux: 65536", "3 webrtc.udpmux"),
        ("udpmux: -1", "3 webrtc.udpmux"),
        ("tcpmux: 1", "3 webrtc.tcpmux"),
        ("iceservers: {backend: [{urls: ['stun:a']}]}", "3 webrtc.iceservers.backend"),
        ("iceservers: [{urls: ['http:a']}]", "3 webrtc.iceservers[0].urls[0]"),
        ("iceservers: 3", "3 webrtc.iceservers"),
        ("nat1to1: [203.0.113.7, 203.0.113.7]", "3 webrtc.nat1to1"),
        ("nat1to1: [0.0.0.0]", "3 webrtc.nat1to1[0]"),
        ("nat1to1: [224.0.0.1]", "3 webrtc.nat1to1[0]"),
        ("ip_retrieval_url: 'ftp://x'", "3 webrtc.ip_retrieval_url"),
        ("estimator: {passive: true}", "3 webrtc.estimator.passive"),
        ("estimator: {read_interval: 6s}", "3 webrtc.estimator.read_interval"),
        ("estimator: {diff_threshold: -1}", "3 webrtc.estimator.diff_threshold"),
        ("estimator: {diff_threshold: nan}", "3 webrtc.estimator.diff_threshold"),
        ("estimator: {initial_bitrate: 1}", "3 webrtc.estimator.initial_bitrate"),
    ] {
        assert_eq!(refused(&format!("{SERVER}webrtc:\n  {lines}\n"), Role::Worker), [expected], "{lines}");
    }
    for (lines, expected) in [
        ("turn: {secret: a-long-enough-secret, urls: []}", "2 turn.urls"),
        ("turn: {secret: a-long-enough-secret, urls: ['stun:a']}", "2 turn.urls[0]"),
        ("turn: {secret: a-long-enough-secret, urls: ['turn:a'], ttl: 1m}", "2 turn.ttl"),
        ("turn: {secret: a-long-enough-secret, urls: ['turn:a'], ttl: 25h}", "2 turn.ttl"),
    ] {
        assert_eq!(refused(&format!("{SERVER}{lines}\n"), Role::Worker), [expected], "{lines}");
    }
}

#[test]
fn ice_servers_that_nobody_will_get_are_warned_of() {
    let turn = "turn: {secret: a-long-enough-secret, urls: ['turn:a']}\n";
    let warned = |lines: &str| loaded(&format!("{SERVER}{lines}"), Role::Worker).warnings.join("\n");
    assert_eq!(warned(turn), "");
    assert!(warned(&format!("{turn}ice_servers: [{{urls: ['stun:a']}}]\n")).contains("not used"));
    assert!(warned("").contains("no TURN server"));
    let behind_a_proxy =
        "server: {listen: '127.0.0.1:1', public_url: 'https://a.b', admin_token: a-long-enough-token}\n";
    let settings = loaded(&format!("{behind_a_proxy}{turn}"), Role::Worker);
    assert!(settings.warnings.join("\n").contains("webrtc.nat1to1"), "{:?}", settings.warnings);
}

#[test]
fn what_is_printed_of_the_transport_loads_again() {
    let text = format!(
        "{SERVER}webrtc:\n  epr: 59000-59100\n  icelite: false\n  iceservers: [{{urls: ['stun:a']}}]\n"
    );
    let printed = crate::config::print(&loaded(&text, Role::Worker)).expect("YAML");
    let again = loaded(&crate::config::tests::unmasked(&printed), Role::Worker);
    assert_eq!(crate::config::print(&again).expect("YAML"), printed);
    assert_eq!((again.webrtc.udpmux, again.webrtc.ice_servers_backend.len()), (None, 1));
}
