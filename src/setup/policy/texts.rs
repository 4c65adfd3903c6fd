//! The texts of files that `setup` writes.

use std::net::IpAddr;

use crate::core::ids::url_host;

/// The shipped configuration of coturn, whose marked lines are replaced.
const TURNSERVER: &str = include_str!("../../../etc/turnserver.conf");

/// What a worker's files are made from.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    /// The controller's URL.
    pub controller: String,
    /// The token that it takes.
    pub controller_token: String,
    /// For the worker's own API.
    pub admin_token: String,
    /// coturn's secret.
    pub turn_secret: String,
    /// Where browsers reach coturn.
    pub public_ip: IpAddr,
    /// This host's own address behind a NAT; `None`: it has the public one itself.
    pub private_ip: Option<IpAddr>,
}

/// What a controller's files are made from.
#[derive(Clone, Debug)]
pub struct ControllerPlan {
    /// Its name.
    pub domain: String,
    /// For its API.
    pub admin_token: String,
    /// What workers report with.
    pub workers_token: String,
}

/// A worker's `config.yaml`. JSON's strings are YAML's.
pub fn worker_config(plan: &WorkerPlan) -> String {
    let WorkerPlan { controller, controller_token, admin_token, turn_secret, public_ip, private_ip } = plan;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let host = url_host(*public_ip);
    let nat = match private_ip {
        Some(_) => {
            format!(
                "# Behind a NAT: the address that media is offered at.\nwebrtc:\n  nat1to1: [\"{public_ip}\"]\n"
            )
        }
        None => String::new(),
    };
    format!(
        "# Every key, its default and why: hydraneckwebrtc print-sample worker\n\
         mode: worker\n\
         server:\n  listen: \":47990\"\n  admin_token: {}\n\
         controller:\n  url: {}\n  token: {}\n\
         # coturn's side is /etc/turnserver.conf: its static-auth-secret.\n\
         turn:\n  secret: {}\n  urls: [\"turn:{host}:3478\", \"turn:{host}:3478?transport=tcp\"]\n{nat}",
        quoted(admin_token),
        quoted(controller),
        quoted(controller_token),
        quoted(turn_secret),
    )
}

/// A controller's `config.yaml`.
pub fn controller_config(plan: &ControllerPlan) -> String {
    let ControllerPlan { domain, admin_token, workers_token } = plan;
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "# Every key, its default and why: hydraneckwebrtc print-sample controller\n\
         mode: controller\n\
         server:\n  domain: {}\n  admin_token: {}\n\
         workers:\n  token: {}\n",
        quoted(domain),
        quoted(admin_token),
        quoted(workers_token),
    )
}

/// `/etc/turnserver.conf`: everything is denied but our own media addresses.
pub fn coturn_config(plan: &WorkerPlan) -> String {
    let name = |line: &str| line.trim_start_matches('#').split('=').next().unwrap_or_default().to_owned();
    let own: Vec<IpAddr> = [Some(plan.public_ip), plan.private_ip].into_iter().flatten().collect();
    let allowed: Vec<String> = own.iter().map(|ip| format!("allowed-peer-ip={ip}")).collect();
    let mut lines: Vec<String> = Vec::new();
    let mut is_allowed = false;
    // The head tells how the file is filled in by hand.
    for line in TURNSERVER.lines().skip_while(|line| line.starts_with('#') || line.is_empty()) {
        match name(line).as_str() {
            "static-auth-secret" => lines.push(format!("static-auth-secret={}", plan.turn_secret)),
            "realm" => lines.push("realm=hydraneckwebrtc".to_owned()),
            "external-ip" => {
                let mapped =
                    plan.private_ip.map(|private| format!("external-ip={}/{private}", plan.public_ip));
                lines.extend(mapped);
            }
            "allowed-peer-ip" => {
                if !std::mem::replace(&mut is_allowed, true) {
                    lines.extend(allowed.iter().cloned());
                }
            }
            _ => lines.push(line.replace("CHANGE behind NAT: ", "Behind NAT: ").replace("CHANGE: ", "")),
        }
    }
    lines.join("\n") + "\n"
}

/// A unit, as it is shipped.
pub fn unit(name: &str) -> &'static str {
    match name {
        "hydraneckwebrtc.service" => include_str!("../../../systemd/hydraneckwebrtc.service"),
        "hydraneckwebrtc.socket" => include_str!("../../../systemd/hydraneckwebrtc.socket"),
        "hydraneckwebrtc-controller.service" => {
            include_str!("../../../systemd/hydraneckwebrtc-controller.service")
        }
        "hydraneckwebrtc-controller.socket" => {
            include_str!("../../../systemd/hydraneckwebrtc-controller.socket")
        }
        _ => include_str!("../../../systemd/hydraneckwebrtc.sysusers"),
    }
}
