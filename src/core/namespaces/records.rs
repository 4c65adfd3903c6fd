//! The DNS records that a namespace wants. Nobody needs them for a call to work: credentials name the TURN servers themselves.

use std::net::IpAddr;

use serde::Serialize;

use super::NamespaceName;
use crate::core::turn::client::ServerUrl;

/// One record, as an operator enters it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Record {
    /// Whose.
    pub name: String,
    /// `A`, `AAAA` or `CNAME`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// An address, or another name.
    pub value: String,
}

/// The page's host leads to the base domain, that of the relays to the TURN servers.
pub fn wanted(ns: &NamespaceName, base_domain: &str, turn_urls: &[String]) -> Vec<Record> {
    let page = Record { name: ns.page_host(base_domain), kind: "CNAME", value: base_domain.to_owned() };
    let servers = turn_urls.iter().filter_map(|url| ServerUrl::parse(url));
    let mut relays: Vec<Record> = servers
        .map(|server| Record {
            name: ns.relay_host(base_domain),
            kind: match server.host.parse() {
                Ok(IpAddr::V4(_)) => "A",
                Ok(IpAddr::V6(_)) => "AAAA",
                Err(_) => "CNAME",
            },
            value: server.host,
        })
        .collect();
    // A name with an address has no other name beside it (RFC 1034, 3.6.2).
    if relays.iter().any(|record| record.kind != "CNAME") {
        relays.retain(|record| record.kind != "CNAME");
    }
    relays.sort();
    relays.dedup();
    std::iter::once(page).chain(relays).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(urls: &[&str]) -> Vec<String> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        let records = wanted(&"myapp".parse().unwrap(), "neck.example.com", &urls);
        records
            .into_iter()
            .map(|record| format!("{} {} {}", record.name, record.kind, record.value))
            .collect()
    }

    // SPEC 10: The DNS records that a namespace wants are told
    #[test]
    fn records_lead_to_the_turn_servers_each_once() {
        let page = "ns-myapp.neck.example.com CNAME neck.example.com";
        assert_eq!(shown(&[]), [page]);
        let both = ["turn:203.0.113.7:3478", "turn:203.0.113.7:3478?transport=tcp", "turn:[2001:db8::7]"];
        assert_eq!(
            shown(&both),
            [
                page,
                "turn.ns-myapp.neck.example.com A 203.0.113.7",
                "turn.ns-myapp.neck.example.com AAAA 2001:db8::7"
            ]
        );
        assert_eq!(
            shown(&["turns:t.example:5349?transport=tcp"]),
            [page, "turn.ns-myapp.neck.example.com CNAME t.example"]
        );
        assert_eq!(shown(&[both[0], "turns:t.example"]).len(), 2, "an address and no other name");
    }
}
