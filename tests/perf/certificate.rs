//! The certificate of a measurement, and the one cipher that its client speaks.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What every connection must use, so that all do the same work.
pub const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// ECDSA P-256, signed by itself.
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Both in one file, as haproxy wants them.
    pub both: PathBuf,
    /// Configuration of OpenSSL for clients (`OPENSSL_CONF`): TLS 1.3 with [`CIPHER`].
    pub client: PathBuf,
}

impl Certificate {
    /// Makes one with the `openssl` command.
    pub fn make(directory: &Path) -> Certificate {
        let path = |name: &str| directory.join(name);
        let pair = Certificate {
            cert: path("cert.pem"),
            key: path("key.pem"),
            both: path("both.pem"),
            client: path("client.cnf"),
        };
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
            .arg(&pair.key)
            .arg("-out")
            .arg(&pair.cert)
            .output()
            .expect("openssl is missing: apt-get install openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |path: &Path| fs::read_to_string(path).expect("a file that openssl wrote");
        fs::write(&pair.both, read(&pair.cert) + &read(&pair.key)).expect("a file");
        let text = format!(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nMinProtocol = TLSv1.3\n\
             Ciphersuites = {CIPHER}\n"
        );
        fs::write(&pair.client, text).expect("a file");
        pair
    }

    /// What a client of the measurement and this server agree on.
    pub fn agreed(&self, server: SocketAddr) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &server.to_string()])
            .env("OPENSSL_CONF", &self.client)
            .stdin(Stdio::null())
            .output()
            .expect("openssl");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().find(|line| line.starts_with("New, ")).unwrap_or("nothing").to_owned()
    }
}
