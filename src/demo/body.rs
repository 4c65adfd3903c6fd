//! A simulated body: as much of a GameStream host as the stand-in needs to find it and list its apps.
//!
//! One thread, `demo-body`, answers one request per connection on loopback. It has no pairing and no media.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Name and id of each app, as `/applist` tells them. The first id is the one Sunshine gives `Desktop`.
pub const APPS: &[(&str, u32)] = &[("Desktop", 881_448_767), ("Demo", 303_580_669)];

/// A client that is slower than this is dropped: the body serves one at a time.
const CLIENT_DEADLINE: Duration = Duration::from_secs(2);

/// Longest request head that is read.
const MAX_HEAD: u64 = 8192;

/// The running body. Dropping it stops and joins its thread.
pub struct SimulatedBody {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedBody {
    /// Starts on 127.0.0.1 at a port that the kernel chooses.
    pub fn start() -> io::Result<SimulatedBody> {
        SimulatedBody::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Starts on an address of the caller's, for tests that need several bodies.
    pub fn start_on(address: SocketAddr) -> io::Result<SimulatedBody> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("demo-body".into()).spawn(move || serve(&listener, &stopped))?;
        Ok(SimulatedBody { address, stop, thread: Some(thread) })
    }

    /// Where it listens: the address for `body_ip`, the port for `bodies.http_port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and waits for the thread.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::SeqCst);
        // Wakes accept(); if it fails, the listener is gone and so is the thread's reason to wait.
        let woken = TcpStream::connect_timeout(&self.address, CLIENT_DEADLINE);
        if woken.is_ok() && thread.join().is_err() {
            log::error!("[worker] the simulated body's thread panicked");
        }
    }
}

impl Drop for SimulatedBody {
    fn drop(&mut self) {
        self.halt();
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool) {
    for client in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // A client that leaves half way is its own affair.
        let _ = client.and_then(answer);
    }
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(CLIENT_DEADLINE))?;
    client.set_write_timeout(Some(CLIENT_DEADLINE))?;
    let mut lines = BufReader::new((&client).take(MAX_HEAD)).lines();
    let request = match lines.next() {
        Some(line) => line?,
        None => return Ok(()),
    };
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
    let (status, body) = match path.as_str() {
        "/serverinfo" => ("200 OK", server_info()),
        "/applist" => ("200 OK", app_list()),
        _ => ("404 Not Found", String::from("<root status_code=\"404\"/>")),
    };
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    client.shutdown(Shutdown::Write)
}

fn server_info() -> String {
    String::from(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"200\"><hostname>demo-body</hostname>\
         <appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion><uniqueid>DEMO</uniqueid>\
         <HttpsPort>47984</HttpsPort><ExternalPort>47989</ExternalPort><mac>00:00:00:00:00:00</mac>\
         <PairStatus>1</PairStatus><currentgame>0</currentgame><state>SUNSHINE_SERVER_FREE</state></root>",
    )
}

fn app_list() -> String {
    let apps: String = APPS
        .iter()
        .map(|(title, id)| {
            format!("<App><IsHdrSupported>0</IsHdrSupported><AppTitle>{title}</AppTitle><ID>{id}</ID></App>")
        })
        .collect();
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><root status_code=\"200\">{apps}</root>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(body: &SimulatedBody, path: &str) -> String {
        let mut client = TcpStream::connect(body.address()).expect("connects");
        write!(client, "GET {path} HTTP/1.1\r\nHost: body\r\n\r\n").expect("sends");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("reads");
        reply
    }

    #[test]
    fn the_body_tells_that_it_is_free_and_what_it_runs() {
        let body = SimulatedBody::start().expect("starts");
        let info = get(&body, "/serverinfo?uniqueid=1");
        assert!(info.contains("<state>SUNSHINE_SERVER_FREE</state>"), "{info}");
        let apps = get(&body, "/applist");
        assert!(apps.contains("<AppTitle>Desktop</AppTitle><ID>881448767</ID>"), "{apps}");
    }

    #[test]
    fn a_stopped_body_does_not_answer() {
        let body = SimulatedBody::start().expect("starts");
        let address = body.address();
        body.stop();
        assert!(TcpStream::connect(address).is_err());
    }
}
