//! What is opened to more of the network than it seems: lists of networks that are everything, tokens in clear.

use std::net::IpAddr;

use crate::config::addresses::host_of;
use crate::config::settings::{Network, Role, Settings};

/// A list that covers this part of the internet is a list of everything, however it is written: two halves, eight eighths.
const MOST: u128 = 8;

/// All public IPv6 addresses there are (RFC 4291, 2.4).
const GLOBAL_V6: (u128, u128) = (0x2000 << 112, (0x3fff << 112) | (u128::MAX >> 16));

/// Networks whose addresses do not lead out of an operator's own network.
const PRIVATE_NAMES: [&str; 11] = [
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "private",
    "test",
];

/// What is allowed but opens more than it seems.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let mut list = Vec::new();
    if covers_most(&settings.server.trusted_proxies) {
        list.push(
            "server.trusted_proxies covers most of the internet: whoever connects can claim any address by \
             X-Forwarded-For and escapes every limit per address; list the networks of your own proxies"
                .to_owned(),
        );
    }
    if covers_most(&settings.sessions.allowed_bodies) {
        list.push(
            "sessions.allowed_bodies covers most of the internet: whoever may create sessions can make this host \
             connect to any public one; list the networks of your bodies"
                .to_owned(),
        );
    }
    list.extend(tokens_in_clear(settings));
    if settings.role == Role::Controller {
        list.extend(operators_page(settings));
    }
    list.extend(webhooks(settings));
    list
}

/// Webhooks that are never told anything here, and those that are told of sessions in clear: a session's id opens it.
fn webhooks(settings: &Settings) -> Vec<String> {
    let mut list = Vec::new();
    for (index, hook) in settings.webhooks.iter().enumerate() {
        let (role, kinds) =
            (settings.role, || hook.events.iter().filter(|kind| kind.arises_on(settings.role)));
        if kinds().next().is_none() {
            list.push(format!(
                "webhooks[{index}].events: none of them arises on a {}, so nothing is sent there; session.* are events of \
                 workers, worker.* of the controller",
                role.name()
            ));
        } else if is_in_clear_to_the_public(&hook.url) {
            let what = match kinds().any(|kind| kind.name().starts_with("session.")) {
                true => "ids of sessions, which open them, go",
                false => "events go",
            };
            list.push(format!(
                "webhooks[{index}].url is http:// and names a public host: {what} there in clear; write https://"
            ));
        }
    }
    list
}

/// The operators' page where more than its operators are.
fn operators_page(settings: &Settings) -> impl Iterator<Item = String> {
    let server = &settings.server;
    let elsewhere = server.operator_listen.address().is_some_and(|address| !address.is_loopback());
    let clear = (elsewhere && !settings.serves_tls()).then(|| {
        "server.operator_listen is reached from other hosts in clear, and the admin token is typed there: set server.tls or \
         server.domain, or use a loopback address and a tunnel (`ssh -L 9099:127.0.0.1:9099 HOST`)"
            .to_owned()
    });
    let beside = server.operator_on_public.then(|| {
        "server.operator_on_public is on: a script on a page of a session that an operator opens while logged in there can do what \
         the operator can; prefer server.operator_listen"
            .to_owned()
    });
    clear.into_iter().chain(beside)
}

fn tokens_in_clear(settings: &Settings) -> Vec<String> {
    let link = settings.controller.as_ref();
    let nps = settings.nps.as_ref().map(|nps| nps.url.as_str());
    let library = settings.experience_library.as_ref().map(|library| library.url.as_str());
    let advertised = settings.server.advertise_url.as_deref().filter(|_| link.is_some());
    let sent = [
        ("nps.url", nps, "nps.token"),
        ("experience_library.url", library, "experience_library.token"),
        ("server.advertise_url", advertised, "the controller's token"),
    ];
    let key =
        if link.is_some_and(|link| link.urls.is_empty()) { "controller.url" } else { "controller.urls" };
    let controllers = link.iter().flat_map(|link| link.all()).map(|url| (key, Some(url), "controller.token"));
    let etcd = settings.lease.iter().filter(|lease| !lease.password.is_empty()).flat_map(|lease| &lease.etcd);
    let etcd = etcd.map(|url| ("lease.etcd", Some(url.as_str()), "lease.password"));
    let crossing =
        controllers.chain(sent).chain(etcd).filter(|(_, url, _)| url.is_some_and(is_in_clear_to_the_public));
    crossing
        .map(|(key, _, token)| {
            format!("{key} is http:// and names a public host: {token} goes there in clear; write https://")
        })
        .collect()
}

fn is_in_clear_to_the_public(url: &str) -> bool {
    let host = host_of(url);
    let is_away = match host.parse::<IpAddr>() {
        Ok(ip) => is_public(ip.to_canonical()),
        Err(_) => is_public_name(&host.to_ascii_lowercase()),
    };
    is_away && url.starts_with("http://")
}

fn is_public_name(host: &str) -> bool {
    let below =
        |name: &str| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    host.contains('.') && !PRIVATE_NAMES.iter().any(|name| below(name))
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => (GLOBAL_V6.0..=GLOBAL_V6.1).contains(&u128::from(v6)),
    }
}

/// Whether the networks together hold a large part of all public addresses of a family.
pub fn covers_most(networks: &[Network]) -> bool {
    let v4 = (0, u128::from(u32::MAX));
    [(false, v4), (true, GLOBAL_V6)].into_iter().any(|(is_v6, all)| {
        let ranges = networks.iter().filter(|network| network.address.is_ipv6() == is_v6).map(range);
        held(ranges.collect(), all) >= (all.1 - all.0) / MOST
    })
}

/// First and last address.
fn range(network: &Network) -> (u128, u128) {
    let (first, width) = match network.address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let host_bits = u32::from(u8::saturating_sub(width, network.prefix));
    let size_less_one = 1u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
    (first, first | size_less_one)
}

/// How many addresses of `all`, less one for each gap, the ranges hold together.
fn held(mut ranges: Vec<(u128, u128)>, all: (u128, u128)) -> u128 {
    ranges.sort_unstable();
    let (mut held, mut next) = (0u128, all.0);
    for (first, last) in ranges {
        let (first, last) = (first.max(next), last.min(all.1));
        if first <= last {
            held = held.saturating_add(last - first);
            next = last.saturating_add(1);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network;
    use crate::config::tests::{MINIMAL, loaded};

    fn most(list: &[&str]) -> bool {
        covers_most(&list.iter().map(|text| network(text).unwrap()).collect::<Vec<_>>())
    }

    // SPEC 2: Lists of networks that are everything, however written, and tokens in clear to public
    // hosts are warned of by name
    // Also: `lists_of_everything_and_tokens_in_clear_are_warned_of_by_name`
    #[test]
    fn everything_is_everything_however_it_is_written() {
        for list in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["2000::/3"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["2000::/4", "3000::/4"],
            &["10.0.0.0/8", "0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"],
            &["128.0.0.0/1"],
        ] {
            assert!(most(list), "{list:?}");
        }
        for list in [
            &[][..],
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
            &["203.0.113.0/24", "2001:db8::/32"],
            &["100.64.0.0/10", "169.254.0.0/16", "fe80::/10", "fc00::/7", "127.0.0.0/8", "::1"],
        ] {
            assert!(!most(list), "{list:?}");
        }
    }

    #[test]
    fn webhooks_that_say_nothing_or_say_it_in_clear_are_warned_of() {
        let warned = |role: Role, url: &str, events: &str| {
            let hook =
                format!("webhooks: [{{url: '{url}', secret: a-long-enough-secret, events: [{events}]}}]");
            let list = loaded(&format!("{MINIMAL}{hook}"), role).warnings;
            list.into_iter().filter(|text| text.starts_with("webhooks[0]")).collect::<Vec<_>>().join("\n")
        };
        let (public, private) = ("http://hooks.example.com/x", "http://10.0.0.1:9/x");
        let all =
            "session.ready, session.ended, worker.down, worker.degraded, worker.up, certificate.problem";
        for role in [Role::Controller, Role::Worker] {
            assert_eq!(
                warned(role, "https://hooks.example.com/x", all),
                "",
                "one list may be for both roles"
            );
            assert_eq!(warned(role, private, all), "");
        }
        assert!(warned(Role::Worker, public, all).contains("ids of sessions"));
        assert!(warned(Role::Controller, public, all).contains("events go there in clear"));
        assert!(warned(Role::Worker, private, "worker.down").contains("nothing is sent there"));
        assert!(warned(Role::Controller, private, "session.ready").contains("nothing is sent there"));
    }

    #[test]
    fn lists_of_everything_and_tokens_in_clear_are_warned_of_by_name() {
        let warned = |text: &str| {
            let mut list = loaded(&format!("{MINIMAL}{text}"), Role::Worker).warnings;
            list.retain(|warning| !warning.contains("TURN"));
            list.join("\n")
        };
        for (text, key) in [
            ("sessions: {allowed_bodies: ['0.0.0.0/0']}", "sessions.allowed_bodies"),
            ("controller: {url: 'http://neck.example.com', token: a-long-enough-token}", "controller.url"),
            ("controller: {url: 'http://203.0.113.7:1', token: a-long-enough-token}", "controller.url"),
            ("controller: {url: 'http://[2001:db8::1]:1', token: a-long-enough-token}", "controller.url"),
            ("nps: {url: 'http://nps.example.com/x', token: t}", "nps.url"),
            ("experience_library: {url: 'http://library.example.com', token: t}", "experience_library.url"),
        ] {
            assert!(warned(text).starts_with(key), "{text}: {:?}", warned(text));
        }
        for text in [
            "controller: {url: 'https://neck.example.com', token: a-long-enough-token}",
            "controller: {url: 'http://10.10.0.1:47990', token: a-long-enough-token}",
            "controller: {url: 'http://neck.internal', token: a-long-enough-token}",
            "controller: {url: 'http://controller:47990', token: a-long-enough-token}",
            "controller: {url: 'http://[fd00::1]:47990', token: a-long-enough-token}",
            "controller: {url: 'http://localhost:1', token: a-long-enough-token}",
        ] {
            assert_eq!(warned(text), "", "{text}");
        }
        let text = "server: {listen: ':1', admin_token: a-long-enough-token, trusted_proxies: ['0.0.0.0/1', '128.0.0.0/1']}";
        let warnings = loaded(text, Role::Controller).warnings;
        assert!(warnings[0].starts_with("server.trusted_proxies covers most"), "{warnings:?}");
    }
}
