//! A look at ourselves from outside: whether what an authority will ask for through the domain is answered by us. It costs nothing,
//! and an order that must fail costs one of five an hour.

use std::time::Duration;

use ureq::Agent;
use ureq::tls::TlsConfig;

use crate::acme::protocol::trouble;
use crate::edge::tls::names::ServedCertificates;
use crate::host::entropy;
use crate::host::http_client::{self, is_unknown_host};

/// For one name: an authority waits ten seconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer that is read.
const MAX_ANSWER: u64 = 4096;

/// Fetches a token of ours through each name. The error says what to do.
pub fn look(served: &ServedCertificates, names: &[String]) -> Result<(), String> {
    // Not an authority's, which nobody answers before it is asked for.
    let token = format!("self-check-{:016x}{:016x}", entropy::number(), entropy::number());
    let answer = format!("{:016x}", entropy::number());
    served.answer_http_challenge(&token, &answer);
    let agent = agent();
    let seen = names.iter().try_for_each(|name| fetch(&agent, name, (&token, &answer)));
    served.forget_http_challenge(&token);
    seen
}

fn agent() -> Agent {
    // An authority follows redirections, and believes any certificate on the way, as it only asks who answers.
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(5)
        .proxy(None)
        .user_agent("hydraneckwebrtc (self-check)")
        .build();
    http_client::agent(config)
}

fn fetch(agent: &Agent, name: &str, (token, answer): (&str, &str)) -> Result<(), String> {
    let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let url = format!("http://{host}/.well-known/acme-challenge/{token}");
    let mut response = agent.get(&url).call().map_err(|error| unreached(&error, name))?;
    let status = response.status().as_u16();
    let said = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
    match status {
        200 if said.trim_end() == answer => Ok(()),
        200 | 404 => Err(format!(
            "{name} does not lead here: something else answers http://{name}/.well-known/acme-challenge/ (HTTP {status}); see where its A \
             and AAAA records lead, and that a proxy in front passes this path on"
        )),
        _ => Err(format!(
            "http://{name}/.well-known/acme-challenge/ answers HTTP {status} instead of our answer; a proxy or firewall in front must pass \
             this path on"
        )),
    }
}

fn unreached(error: &ureq::Error, name: &str) -> String {
    let advice = match error {
        error if is_unknown_host(error) => {
            return format!(
                "{name} has no address yet: add an A or AAAA record that leads here, and wait until it is known ({})",
                trouble::clean(&error.to_string())
            );
        }
        ureq::Error::Timeout(_) => "a firewall seems to swallow it; open port 80 from everywhere",
        _ => "see where its A and AAAA records lead, and open port 80 from everywhere",
    };
    format!("port 80 of {name} does not answer: {advice} ({})", trouble::clean(&error.to_string()))
}
