//! Hosts and links: a namespace each for browser, TURN server, worker and body, around a router.
//!
//! ```text
//!   browser 10.99.1.2 ──shim (delay, loss)── router ──veth── turn    10.99.2.2
//!           fd99:1::2                          ├────veth──── worker  10.99.3.2
//!                                              └────veth──── body    10.99.4.2
//! ```
//!
//! Nothing leads outside. Everything goes when it is dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use crate::coturn::note;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The hosts, in the order of their networks: 10.99.1.0/24, 10.99.2.0/24 and so on.
pub const BROWSER: usize = 1;
pub const TURN: usize = 2;
pub const WORKER: usize = 3;
pub const BODY: usize = 4;
pub const ROUTER: usize = 0;

/// The network; hosts by their number.
pub struct Net {
    names: Vec<String>,
    shim: Option<Child>,
    body: Option<Child>,
}

impl Net {
    /// `None` where namespaces are refused.
    pub fn new(tag: &str) -> Option<Net> {
        let pid = std::process::id();
        let names = ["r", "b", "t", "w", "d"].iter().map(|host| format!("neck{tag}{host}{pid}")).collect();
        let mut net = Net { names, shim: None, body: None };
        for name in &net.names {
            if !ip(&["netns", "add", name]) {
                note("SKIPPED: network namespaces are refused here (needs root and iproute2)");
                return None;
            }
            must(&["-n", name, "link", "set", "lo", "up"]);
        }
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            // /proc/sys/net is that of the thread's namespace.
            net.within(ROUTER, || std::fs::write(format!("/proc/sys/{key}"), "1").expect(key));
        }
        net.join_by_shim(BROWSER);
        for host in [TURN, WORKER, BODY] {
            net.join_by_veth(host);
        }
        Some(net)
    }

    /// The namespace of a host.
    pub fn name(&self, host: usize) -> &str {
        &self.names[host]
    }

    fn join_by_veth(&self, host: usize) {
        let far = format!("to{host}");
        must(&[
            "link",
            "add",
            "eth0",
            "netns",
            self.name(host),
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            self.name(ROUTER),
        ]);
        self.address(host, &far);
    }

    fn join_by_shim(&mut self, host: usize) {
        let far = format!("to{host}");
        let mut shim = Command::new("ip")
            .args(["netns", "exec", self.name(ROUTER), env!("CARGO_BIN_EXE_link-shim"), &far, "eth0", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the link");
        wait_for_ready(&mut shim);
        self.shim = Some(shim);
        must(&["-n", self.name(ROUTER), "link", "set", "eth0", "netns", self.name(host)]);
        self.address(host, &far);
    }

    fn address(&self, host: usize, far: &str) {
        let (near, router) = (self.name(host), self.name(ROUTER));
        for (space, device, last) in [(near, "eth0", 2), (router, far, 1)] {
            must(&["-n", space, "link", "set", device, "up"]);
            must(&["-n", space, "addr", "add", &format!("10.99.{host}.{last}/24"), "dev", device]);
            let v6 = format!("fd99:{host}::{last}/64");
            must(&["-n", space, "-6", "addr", "add", &v6, "dev", device, "nodad"]);
        }
        must(&["-n", near, "route", "add", "default", "via", &format!("10.99.{host}.1")]);
        must(&["-n", near, "-6", "route", "add", "default", "via", &format!("fd99:{host}::1")]);
    }

    /// Runs `work` on a thread of a host; sockets that it makes stay there.
    pub fn within<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter(host);
                work()
            });
            thread.join().expect("a thread on that host")
        })
    }

    /// Moves this thread, and what it starts, to a host.
    pub fn enter(&self, host: usize) {
        let space = File::open(format!("/run/netns/{}", self.name(host))).expect("its namespace");
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
    }

    /// A program on a host.
    pub fn command(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name(host), program]);
        command
    }

    pub fn udp(&self, host: usize, address: IpAddr, port: u16) -> UdpSocket {
        self.within(host, || UdpSocket::bind((address, port)).expect("a socket there"))
    }

    /// A body that can be streamed from.
    pub fn start_body(&mut self, ports: [u16; 3]) {
        let mut body = self
            .command(BODY, env!("CARGO_BIN_EXE_stand-in-body"))
            .arg("10.99.4.2")
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a body");
        wait_for_ready(&mut body);
        self.body = Some(body);
    }

    /// No datagram of the browser's reaches this network any more, both families.
    pub fn block_udp(&self, v4: &str, v6: &str) {
        let browser = self.name(BROWSER);
        for (family, network) in [("-4", v4), ("-6", v6)] {
            must(&[
                "-n", browser, family, "rule", "add", "to", network, "ipproto", "udp", "table", "66", "pref",
                "9",
            ]);
            let route = ["-n", browser, family, "route", "replace", "blackhole", "default", "table", "66"];
            must(&route);
        }
    }

    /// The browser is somewhere else now: another address, everything of the old one is gone.
    pub fn move_browser(&self, address: &str) {
        let browser = self.name(BROWSER);
        must(&["-n", browser, "addr", "flush", "dev", "eth0", "scope", "global"]);
        must(&["-n", browser, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        must(&["-n", browser, "route", "replace", "default", "via", "10.99.1.1"]);
    }

    /// Changes the browser's link: `loss PERCENT` or `reorder PERCENT`.
    pub fn change_link(&mut self, line: &str) {
        let stdin = self.shim.as_mut().and_then(|shim| shim.stdin.as_mut()).expect("the link");
        writeln!(stdin, "{line}").expect("the link hears us");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in [&mut self.body, &mut self.shim].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

pub fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn must(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("iproute2");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn wait_for_ready(child: &mut Child) {
    let mut reader = BufReader::new(child.stdout.take().expect("its stdout"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    assert!(line.starts_with("ready"), "it said {line:?}");
    // Keeps the pipe open and empty for as long as the child lives.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
}
