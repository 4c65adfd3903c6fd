//! Pebble and its name server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Process, program, until_open};

/// Where it is.
pub const DIRECTORY: &str = "https://ca.test:14000/dir";

/// A certificate for the authority's own HTTPS, and who signed it.
pub fn own_certificate(base: &Path) -> PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let (root_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut root = CertificateParams::new(Vec::new()).expect("a root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).expect("a root");
    let leaf = CertificateParams::new(vec!["ca.test".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let leaf = leaf.signed_by(&key, &Issuer::new(root, root_key)).expect("a certificate");
    write_pem(&base.join("ca-root.pem"), "CERTIFICATE", root_certificate.der());
    write_pem(&base.join("ca-cert.pem"), "CERTIFICATE", leaf.der());
    write_pem(&base.join("ca-key.pem"), "PRIVATE KEY", &key.serialize_der());
    base.join("ca-root.pem")
}

pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn write_pem(path: &Path, label: &str, der: &[u8]) {
    fs::write(path, pem(label, der)).expect("a file");
}

/// The authority while it runs.
pub struct Pebble {
    pub process: Process,
    _names: Process,
    pub ca_file: PathBuf,
    base: PathBuf,
}

impl Pebble {
    /// Starts it, with these variables beside our own.
    pub fn start(base: &Path, variables: &[(&str, &str)]) -> Pebble {
        Pebble::start_with(base, variables, json!({}))
    }

    pub fn start_with(base: &Path, variables: &[(&str, &str)], more: serde_json::Value) -> Pebble {
        let ca_file = own_certificate(base);
        let mut pebble = json!({
            "listenAddress": "127.0.0.1:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": base.join("ca-cert.pem"),
            "privateKey": base.join("ca-key.pem"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
        });
        for (key, value) in more.as_object().expect("an object") {
            pebble[key] = value.clone();
        }
        let config = base.join("pebble.json");
        fs::write(&config, json!({"pebble": pebble}).to_string()).expect("a file");
        let names = name_server();
        let mut command = Command::new(program("pebble"));
        command.arg("-config").arg(&config).args(["-dnsserver", "127.0.0.1:8053"]);
        command.env("PEBBLE_VA_NOSLEEP", "1").envs(variables.iter().copied());
        let process = Process::start(&mut command);
        until_open(14000);
        Pebble { process, _names: names, ca_file, base: base.to_owned() }
    }

    fn agent(&self) -> ureq::Agent {
        let tls = hydraneckwebrtc::host::crypto::client_roots(Some(&self.ca_file)).expect("roots");
        ureq::Agent::new_with_config(ureq::Agent::config_builder().tls_config(tls).build())
    }

    /// Its directory (RFC 8555, 7.1.1).
    pub fn directory(&self) -> Value {
        let reply = self.agent().get("https://127.0.0.1:14000/dir").call();
        reply.expect("a directory").body_mut().read_json().expect("JSON")
    }

    /// From now on it says this when it is asked when to renew a certificate (RFC 9773).
    pub fn renew(&self, certificate: &str, window: &Value) {
        let said = json!({"suggestedWindow": window, "explanationURL": "https://ca.test/why"}).to_string();
        let told = json!({"certificate": certificate, "ariResponse": said});
        let reply = self.agent().post("https://127.0.0.1:15000/set-renewal-info/").send_json(told);
        assert_eq!(reply.expect("an answer").status(), 200);
    }

    /// Whom browsers would have to believe.
    pub fn root(&self) -> PathBuf {
        let mut reply = self.agent().get("https://127.0.0.1:15000/roots/0").call().expect("a root");
        let path = self.base.join("issued-root.pem");
        fs::write(&path, reply.body_mut().read_to_string().expect("PEM")).expect("a file");
        path
    }

    /// Lines under `server:` for a role of these names.
    pub fn settings(&self, domain: &str) -> String {
        format!(
            "  domain: {domain}\n  acme:\n    directory: {DIRECTORY}\n    ca_file: {}\n",
            self.ca_file.display()
        )
    }

    pub fn orders(&self) -> usize {
        self.process.count("Added order")
    }

    /// Orders that it has given up, because nobody answered when it looked: each has to be made anew.
    pub fn given_up(&self) -> usize {
        self.process.count("set INVALID by completed challenge")
    }

    pub fn issued(&self) -> usize {
        self.process.count("Issued certificate")
    }
}

fn name_server() -> Process {
    let help =
        Command::new(program("pebble-challtestsrv")).arg("-help").output().expect("pebble-challtestsrv");
    let help = String::from_utf8_lossy(&help.stderr).into_owned();
    // It has two names, by version.
    let flag = if help.contains("-dnsserver") { "-dnsserver" } else { "-dns01" };
    let mut command = Command::new(program("pebble-challtestsrv"));
    command.args([flag, "127.0.0.1:8053", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
    // Newer ones speak DNS over HTTPS, too.
    if help.contains("-doh") {
        command.args(["-doh", ""]);
    }
    command.args(["-management", "127.0.0.1:8055", "-defaultIPv6", ""]);
    let process = Process::start(&mut command);
    until_open(8055);
    process
}
