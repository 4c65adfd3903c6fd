//! What is offered, for every way to listen.

use super::*;
use crate::config::settings::{ListenAddress, Role};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| ip(text)).collect()
}

/// A worker that listens on `host` (`None`: everywhere).
fn settings(host: Option<&str>, nat1to1: &[&str]) -> Settings {
    let mut settings = Settings::defaults(Role::Worker);
    settings.server.listen = Listen::Plain(ListenAddress { host: host.map(ip), port: 1 });
    settings.webrtc.nat1to1 = ips(nat1to1);
    settings
}

const INTERFACES: &[&str] =
    &["127.0.0.1", "192.168.7.2", "169.254.3.3", "10.10.0.2", "::1", "fe80::1", "fd00::7", "2001:4860::7"];

fn offered(host: Option<&str>, nat1to1: &[&str]) -> Vec<IpAddr> {
    Addresses::new(&settings(host, nat1to1), &ips(INTERFACES), None).list().to_vec()
}

// SPEC address: Host candidates: every address that others reach, `nat1to1` instead of those of its
// family, loopback only for who listens on loopback
// Also: `who_listens_on_one_address_offers_that_one`,
// `nat_addresses_replace_those_of_their_family_each_with_a_candidate`,
// `each_address_has_a_candidate_per_transport`,
// `a_datagram_was_meant_for_an_address_that_we_offered`,
// `a_host_with_many_addresses_offers_some_of_them_once`
#[test]
fn every_address_that_others_reach_is_offered_and_no_other() {
    let expected = ips(&["192.168.7.2", "10.10.0.2", "fd00::7", "2001:4860::7"]);
    assert_eq!(offered(None, &[]), expected);
    assert_eq!(offered(Some("0.0.0.0"), &[]), expected);
    assert_eq!(offered(Some("::"), &[]), expected);
}

#[test]
fn who_listens_on_one_address_offers_that_one() {
    assert_eq!(offered(Some("127.0.0.1"), &[]), ips(&["127.0.0.1"]));
    assert_eq!(offered(Some("::1"), &[]), ips(&["::1"]));
    assert_eq!(offered(Some("10.10.0.2"), &[]), ips(&["10.10.0.2"]));
    assert_eq!(binding(&settings(Some("10.10.0.2"), &[])), Binding::Only(ip("10.10.0.2")));
    assert_eq!(binding(&settings(Some("10.10.0.2"), &["203.0.113.7"])), Binding::Only(ip("10.10.0.2")));
    assert_eq!(offered(Some("10.10.0.2"), &["203.0.113.7"]), ips(&["203.0.113.7"]));
}

#[test]
fn who_is_there_for_browsers_of_this_host_offers_loopback_and_what_firefox_pairs_with() {
    for host in ["127.0.0.1", "::1", "0.0.0.0"] {
        let mut settings = settings(Some(host), &[]);
        settings.webrtc.everywhere = true;
        let list = |interfaces: &[IpAddr]| Addresses::new(&settings, interfaces, None).list().to_vec();
        let expected = ips(&["127.0.0.1", "::1", "192.168.7.2", "10.10.0.2", "fd00::7", "2001:4860::7"]);
        assert_eq!(list(&ips(INTERFACES)), expected, "{host}");
        assert_eq!(binding(&settings), Binding::Every, "{host}");
        let many: Vec<IpAddr> =
            (0..200).map(|n| IpAddr::from([10, 0, 0, n])).chain([ip("127.0.0.1")]).collect();
        assert_eq!((list(&many)[0], list(&many).len()), (ip("127.0.0.1"), MAX_ADDRESSES), "{host}");
    }
}

#[test]
fn nat_addresses_replace_those_of_their_family_each_with_a_candidate() {
    assert_eq!(
        offered(None, &["203.0.113.7", "192.168.7.2"]),
        ips(&["203.0.113.7", "192.168.7.2", "fd00::7", "2001:4860::7"])
    );
    assert_eq!(offered(None, &["2001:db8::1"]), ips(&["2001:db8::1", "192.168.7.2", "10.10.0.2"]));
    assert_eq!(offered(Some("127.0.0.1"), &["203.0.113.7"]), ips(&["203.0.113.7"]));
    assert_eq!(binding(&settings(Some("127.0.0.1"), &["203.0.113.7"])), Binding::Every);
}

#[test]
fn a_learned_address_is_offered_beside_our_own() {
    let list = Addresses::new(&settings(None, &[]), &ips(&["10.0.0.5"]), Some(ip("198.51.100.9")));
    assert_eq!(list.list(), ips(&["10.0.0.5", "198.51.100.9"]));
    let only = Addresses::new(&settings(Some("127.0.0.1"), &[]), &[], Some(ip("198.51.100.9")));
    assert_eq!(only.list(), ips(&["127.0.0.1"]));
}

#[test]
fn each_address_has_a_candidate_per_transport() {
    let addresses = Addresses::new(&settings(None, &[]), &ips(&["10.0.0.5", "fd00::5"]), None);
    let shown = |ports: Ports| -> Vec<String> {
        let each = |candidate: &HostCandidate| format!("{:?} {}", candidate.transport, candidate.address);
        addresses.candidates(ports).iter().map(each).collect()
    };
    assert_eq!(shown(Ports { udp: Some(59_000), tcp: None }), ["Udp 10.0.0.5:59000", "Udp [fd00::5]:59000"]);
    assert_eq!(shown(Ports { udp: None, tcp: Some(9) }), ["TcpPassive 10.0.0.5:9", "TcpPassive [fd00::5]:9"]);
    assert_eq!(shown(Ports { udp: Some(1), tcp: Some(2) }).len(), 4);
    assert!(shown(Ports::default()).is_empty());
}

#[test]
fn a_datagram_was_meant_for_an_address_that_we_offered() {
    let own = Addresses::new(&settings(None, &[]), &ips(&["10.0.0.5", "10.0.0.6"]), None);
    assert_eq!(own.meant(ip("10.0.0.6")), Some(ip("10.0.0.6")));
    assert_eq!(own.meant(ip("::ffff:10.0.0.6")), Some(ip("10.0.0.6")));
    assert_eq!(own.meant(ip("fd00::1")), None);
    let nat = Addresses::new(&settings(None, &["203.0.113.7"]), &ips(&["10.0.0.5", "fd00::5"]), None);
    assert_eq!(nat.meant(ip("10.0.0.5")), Some(ip("203.0.113.7")));
    assert_eq!(nat.meant(ip("fd00::5")), Some(ip("fd00::5")));
}

#[test]
fn a_host_with_many_addresses_offers_some_of_them_once() {
    let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 0, n / 2])).collect();
    let list = Addresses::new(&settings(None, &[]), &many, None);
    assert_eq!(list.list().len(), MAX_ADDRESSES);
    assert_eq!(list.list()[1], ip("10.0.0.1"));
}

// SPEC address: `ip_retrieval_url`: one GET of 3 s, 2xx with a public address only; asked by who
// needs it; offered beside our own
// Also: `an_address_with_white_space_around_it_is_understood`, `everything_else_is_refused`,
// `a_server_that_says_nothing_is_given_up_within_the_limit`,
// `a_learned_address_is_offered_beside_our_own`, `global_addresses_are_told_from_the_others`
#[test]
fn the_public_address_is_asked_for_only_by_who_needs_it() {
    let private = ips(&["127.0.0.1", "10.0.0.5", "fd00::5", "100.64.0.1"]);
    assert!(needs_public_address(&settings(None, &[]), &private));
    assert!(!needs_public_address(&settings(Some("127.0.0.1"), &[]), &private), "on loopback");
    assert!(!needs_public_address(&settings(Some("10.0.0.5"), &[]), &private), "on one private address");
    assert!(!needs_public_address(&settings(None, &["203.0.113.7"]), &private), "told already");
    assert!(!needs_public_address(&settings(None, &[]), &ips(&["10.0.0.5", "8.8.8.8"])), "public already");
}

#[test]
fn global_addresses_are_told_from_the_others() {
    for global in ["8.8.8.8", "100.128.0.1", "2001:4860::1", "::ffff:1.1.1.1"] {
        assert!(is_global(ip(global)), "{global}");
    }
    for other in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "2001:db8::1",
        "ff02::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(!is_global(ip(other)), "{other}");
    }
}
