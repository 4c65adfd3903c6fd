//! The outside URL of this service, as whoever called sees it.

use std::net::IpAddr;

use crate::api::server::Call;
use crate::config::settings::Network;

/// `server.public_url`, else scheme, host and prefix of the call as the edge forwarded them. No trailing slash.
pub fn base_url(call: &Call, public_url: Option<&str>) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let scheme = call.header("X-Forwarded-Proto").filter(|scheme| *scheme == "https").unwrap_or("http");
    let host = call.header("X-Forwarded-Host").or(call.header("Host")).unwrap_or("localhost");
    format!("{scheme}://{host}{}", call.header("X-Forwarded-Prefix").unwrap_or_default())
}

/// Who called: the last address of `X-Forwarded-For` that is not a trusted proxy. The edge wrote that field; what a
/// client put there itself was dropped, or stands left of what a trusted proxy appended.
pub fn client(call: &Call, trusted: &[Network]) -> Option<IpAddr> {
    let addresses = || {
        call.headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"))
            .flat_map(|(_, value)| value.split(','))
            .filter_map(|text| text.trim().parse::<IpAddr>().ok())
            .map(|ip| ip.to_canonical())
    };
    let untrusted = |ip: &IpAddr| !trusted.iter().any(|network| network.contains(*ip));
    addresses().rfind(untrusted).or_else(|| addresses().next())
}

/// Whether a trusted proxy handed the call to us: the edge wrote its address last.
pub fn is_by_proxy(call: &Call, trusted: &[Network]) -> bool {
    let field = call.headers.iter().rfind(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"));
    let last = field.and_then(|(_, value)| value.rsplit(',').next()?.trim().parse::<IpAddr>().ok());
    last.is_some_and(|ip| trusted.iter().any(|network| network.contains(ip.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_wins_over_what_the_call_says() {
        let call = Call::with_fields(&[("X-Forwarded-Host", "inside:1"), ("X-Forwarded-Proto", "http")]);
        assert_eq!(base_url(&call, Some("https://neck.example/")), "https://neck.example");
        assert_eq!(base_url(&call, None), "http://inside:1");
    }

    #[test]
    fn a_trusted_proxy_is_not_the_client() {
        let proxy = Network { address: [10, 0, 0, 0].into(), prefix: 8 };
        let call =
            Call::with_fields(&[("X-Forwarded-For", "6.6.6.6, 192.0.2.9"), ("X-Forwarded-For", "10.0.0.1")]);
        assert_eq!(client(&call, &[proxy]), Some([192, 0, 2, 9].into()));
        assert_eq!(client(&call, &[]), Some([10, 0, 0, 1].into()));
    }
}
