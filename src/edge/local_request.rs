//! Whether a request comes from a program on this host itself. That its connection is from loopback is not enough: behind a proxy on
//! the same host everybody is, and a web page can lead a browser here by a name of its own (DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parts of names of fields that proxies and content networks add, and that programs which ask for themselves do not send.
const PROXIES_WORDS: [&str; 7] =
    ["forward", "client-ip", "clientip", "real-ip", "connecting-ip", "envoy", "proxy"];

/// Such names that are too short to be looked for as parts.
const PROXIES_NAMES: [&str; 4] = ["via", "x-via", "cdn-loop", "cf-ray"];

/// Whether a field of this name is a proxy's.
pub fn is_of_proxy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    PROXIES_NAMES.contains(&name.as_str()) || PROXIES_WORDS.iter().any(|word| name.contains(word))
}

/// Whether a `Host` names this host as programs on it do: `localhost`, or an address of loopback. Old clients send none.
pub fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_v4 = |ip: Ipv4Addr| IpAddr::V4(ip).is_loopback();
    let is_v6 = |ip: Ipv6Addr| IpAddr::V6(ip).to_canonical().is_loopback();
    host.is_empty()
        || name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(is_v4)
        || name.parse().is_ok_and(is_v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proxies_add_is_known_whichever_they_are() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x-forwarded-proto",
            "X-Forwarded-Anything-New",
            "X-Original-Forwarded-For",
            "Neck-Forwarded",
            "Via",
            "X-Real-IP",
            "X-Client-IP",
            "True-Client-IP",
            "Fastly-Client-IP",
            "X-Cluster-Client-Ip",
            "X-Azure-ClientIP",
            "CF-Connecting-IP",
            "X-Envoy-External-Address",
            "Proxy-Authorization",
            "CDN-Loop",
        ] {
            assert!(is_of_proxy(name), "{name}");
        }
        for name in [
            "Accept",
            "User-Agent",
            "Host",
            "X-Prometheus-Scrape-Timeout-Seconds",
            "Authorization",
            "Connection",
        ] {
            assert!(!is_of_proxy(name), "{name}");
        }
    }

    #[test]
    fn only_names_of_this_host_are_local() {
        for host in [
            "",
            "localhost",
            "LOCALHOST:47990",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:47990",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_local_host(host), "{host}");
        }
        for host in
            ["rebind.example:47990", "localhost.example", "10.0.0.1", "[::2]", "127.0.0.1.example", "[", ":"]
        {
            assert!(!is_local_host(host), "{host}");
        }
    }
}
