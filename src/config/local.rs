//! Where a role is asked from its own host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::settings::{Listen, Settings};

/// Where the role of these settings listens, as seen from its own host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Without a trailing slash.
    pub url: String,
    /// Where its host name leads here, whatever it leads to outside.
    pub host: Option<IpAddr>,
    /// Nothing that is sent there leaves this host.
    pub is_own: bool,
}

impl Local {
    /// `None`: the settings leave the port to the system.
    pub fn of(settings: &Settings) -> Option<Local> {
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let of_domain =
            settings.server.domain_url().map(|url| format!("{url}:{}", settings.server.https_listen.port));
        let address = match &settings.server.listen {
            Listen::Domain(_) => settings.server.https_listen,
            Listen::Plain(address) => *address,
        };
        if address.port == 0 {
            return None;
        }
        let host = address.host.filter(|host| !host.is_unspecified()).unwrap_or(Ipv4Addr::LOCALHOST.into());
        Some(match of_domain {
            Some(url) => Local { url, host: Some(host), is_own: true },
            None => Local {
                url: format!("{scheme}://{}", SocketAddr::new(host, address.port)),
                host: None,
                is_own: host.to_canonical().is_loopback(),
            },
        })
    }
}
