//! What the stand-in asks a GameStream host. Connects have the real one's limit; replies have none.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use super::state::Host;
use crate::http::encoded;

/// Connect limit of the real one for a host. It has none for the reply.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a host's reply that are read.
const MAX_REPLY: u64 = 256 * 1024;

/// Why a host did not help.
#[derive(Debug)]
pub enum HostError {
    /// The address is none.
    Unusable,
    /// No connection.
    Unreachable,
    /// A connection, and then no answer of a GameStream host.
    Nonsense,
}

/// What a host says about itself.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Whether it knows the client.
    pub paired: bool,
    /// The app that runs; 0: none.
    pub current_game: u32,
    /// `Free` or `Busy`.
    pub state: &'static str,
}

/// Where a host is, and who asks it.
#[derive(Clone, Debug)]
pub struct HostLine {
    address: SocketAddr,
    user: String,
}

impl HostLine {
    /// For a host that the client names. `ip:port` is no address.
    pub fn to(address: &str, port: u16, user: &str) -> Result<HostLine, HostError> {
        let mut all =
            (address.trim_matches(['[', ']']), port).to_socket_addrs().map_err(|_| HostError::Unusable)?;
        let address = all.next().ok_or(HostError::Unusable)?;
        Ok(HostLine { address, user: user.to_owned() })
    }

    /// For a host that is known, asked as the user it belongs to.
    pub fn to_known(host: &Host) -> Result<HostLine, HostError> {
        HostLine::to(&host.address, host.http_port, &host.owner)
    }

    /// `/serverinfo`
    pub fn server_info(&self) -> Result<ServerInfo, HostError> {
        let xml = self.ask("/serverinfo", "")?;
        Ok(ServerInfo {
            name: tag(&xml, "hostname").ok_or(HostError::Nonsense)?.to_owned(),
            paired: tag(&xml, "PairStatus") == Some("1"),
            current_game: tag(&xml, "currentgame").and_then(|id| id.parse().ok()).unwrap_or(0),
            state: if xml.contains("SUNSHINE_SERVER_BUSY") { "Busy" } else { "Free" },
        })
    }

    /// `/applist`, as the page gets it.
    pub fn apps(&self) -> Result<Vec<Value>, HostError> {
        let list = self.ask("/applist", "")?;
        let app = |app: &str| {
            let id: u32 = tag(app, "ID")?.parse().ok()?;
            let title = unescaped(tag(app, "AppTitle")?);
            Some(json!({"app_id": id, "title": title, "is_hdr_supported": false}))
        };
        Ok(list.split("<App>").skip(1).filter_map(app).collect())
    }

    /// Pairs. Waits for the PIN for as long as the host lets it, and for the proof as long as it is told.
    pub fn pair(&self, pin: &str, before_proof: Duration) -> Result<bool, HostError> {
        let certificate = self.ask("/pair", "&phrase=getservercert&devicename=roth&updateState=1")?;
        if tag(&certificate, "paired") != Some("1") {
            return Ok(false);
        }
        std::thread::sleep(before_proof);
        let proof = self.ask("/pair", &format!("&phrase=clientchallenge&proof={pin}"))?;
        Ok(tag(&proof, "paired") == Some("1"))
    }

    /// `/launch`: begins a stream of an app.
    pub fn launch(&self, app: u32) -> Result<(), HostError> {
        self.ask("/launch", &format!("&appid={app}")).map(drop)
    }

    /// `/cancel`: ends what runs.
    pub fn cancel(&self) -> Result<(), HostError> {
        self.ask("/cancel", "").map(drop)
    }

    /// Asks; only an XML root of status 200 counts as an answer.
    fn ask(&self, path: &str, more: &str) -> Result<String, HostError> {
        let mut client =
            TcpStream::connect_timeout(&self.address, CONNECT_LIMIT).map_err(|_| HostError::Unreachable)?;
        let reply = self.exchange(&mut client, path, more).map_err(|_| HostError::Nonsense)?;
        if reply.starts_with("HTTP/1.1 200") && reply.contains("<root status_code=\"200\"") {
            Ok(reply)
        } else {
            Err(HostError::Nonsense)
        }
    }

    fn exchange(&self, client: &mut TcpStream, path: &str, more: &str) -> io::Result<String> {
        let request = format!(
            "GET {path}?uniqueid={}{more} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            encoded(&self.user),
            self.address
        );
        client.write_all(request.as_bytes())?;
        let mut reply = String::new();
        client.take(MAX_REPLY).read_to_string(&mut reply)?;
        Ok(reply)
    }
}

/// The text of the first such element.
fn tag<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

fn unescaped(text: &str) -> String {
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    plain.replace("&amp;", "&")
}
