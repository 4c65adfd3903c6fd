//! Bodies in network namespaces of their own: a link that is cut, a link that is slow.
//!
//! Each test makes two namespaces and runs itself again inside the first, where controller and worker live; the body lives
//! in the second. Needs root and `ip`; where namespaces are refused it says so and passes.

#[path = "behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::json;

use http::Stream;
use lab::{Lab, Role};

/// Tells the inner run which namespaces it is about.
const INNER: &str = "NECK_NETNS_INNER";

/// Ports of the body; namespaces are empty, so that they are free.
const PORTS: [u16; 3] = [47989, 47990, 47991];

/// Two namespaces with a link between them; everything goes when it is dropped.
struct Net {
    near: String,
    far: String,
    body: Option<Child>,
    link: Option<Child>,
}

impl Net {
    /// `None` where namespaces are refused.
    fn new(tag: &str) -> Option<Net> {
        let name = |side: &str| format!("neck{tag}{side}{}", std::process::id());
        let net = Net { near: name("n"), far: name("f"), body: None, link: None };
        if !ip(&["netns", "add", &net.near]) || !ip(&["netns", "add", &net.far]) {
            println!("skipped: network namespaces are refused here (needs root and iproute2)");
            return None;
        }
        for side in [&net.near, &net.far] {
            assert!(ip(&["-n", side, "link", "set", "lo", "up"]));
        }
        Some(net)
    }

    /// A veth pair, 10.99.0.1 to 10.99.0.2.
    fn join_by_veth(&self) {
        let (a, b) = (format!("va{}", std::process::id()), format!("vb{}", std::process::id()));
        assert!(ip(&[
            "link", "add", &a, "netns", &self.near, "type", "veth", "peer", "name", &b, "netns", &self.far
        ]));
        self.address(&a, &b);
    }

    /// Two TUN devices with a delay on the way, each direction.
    fn join_by_slow_link(&mut self, one_way_ms: u32) {
        let (a, b) = (format!("ta{}", std::process::id()), format!("tb{}", std::process::id()));
        let mut link = Command::new(env!("CARGO_BIN_EXE_link-shim"))
            .args([&a, &b, &one_way_ms.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the link");
        wait_for_ready(&mut link);
        self.link = Some(link);
        assert!(ip(&["link", "set", &a, "netns", &self.near]));
        assert!(ip(&["link", "set", &b, "netns", &self.far]));
        self.address(&a, &b);
    }

    fn address(&self, a: &str, b: &str) {
        for (space, device, own, other) in
            [(&self.near, a, "10.99.0.1", "10.99.0.2"), (&self.far, b, "10.99.0.2", "10.99.0.1")]
        {
            assert!(ip(&["-n", space, "addr", "add", own, "peer", other, "dev", device]));
            assert!(ip(&["-n", space, "link", "set", device, "up"]));
        }
    }

    fn start_body(&mut self) {
        let mut body = Command::new("ip")
            .args(["netns", "exec", &self.far, env!("CARGO_BIN_EXE_stand-in-body"), "10.99.0.2"])
            .args(PORTS.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a body");
        wait_for_ready(&mut body);
        self.body = Some(body);
    }

    /// Runs this test again inside the near namespace.
    fn run_inside(&self, test: &str) {
        let status = Command::new("ip")
            .args(["netns", "exec", &self.near])
            .arg(std::env::current_exe().expect("our path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(INNER, &self.far)
            .status()
            .expect("the inner run");
        assert!(status.success(), "the inner run of {test} failed: {status}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for child in [&mut self.body, &mut self.link].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        ip(&["netns", "del", &self.near]);
        ip(&["netns", "del", &self.far]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn wait_for_ready(child: &mut Child) {
    let stdout = child.stdout.take().expect("its stdout");
    let mut line = String::new();
    let mut reader = BufReader::new(stdout);
    reader.read_line(&mut line).expect("a line");
    assert!(line.starts_with("ready"), "it said {line:?}");
    // Keeps the pipe open and empty for as long as the child lives.
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
}

/// Controller and worker in this namespace.
fn fleet(lab: &Lab) -> (Role, Role) {
    let controller = lab.controller(|_| ());
    let url = controller.url.clone();
    let worker = lab.worker("one", &url, |config| {
        config["sessions"]["allowed_bodies"] = json!(["10.99.0.0/24"]);
        config["bodies"] = json!({
            "http_port": PORTS[0], "management_port": PORTS[1], "hydrabody_port": PORTS[2], "lost_after": "3s",
        });
    });
    (controller, worker)
}

// SPEC 5 bodies: A body silent for `bodies.lost_after` ends the session as `body_lost`
// Also: `a_body_that_stops_answering_is_reported_once`
#[test]
fn a_cut_link_ends_the_session_as_body_lost() {
    let Some(far) = std::env::var_os(INNER) else {
        let Some(mut net) = Net::new("c") else { return };
        net.join_by_veth();
        net.start_body();
        return net.run_inside("a_cut_link_ends_the_session_as_body_lost");
    };
    let lab = Lab::new();
    let (_controller, worker) = fleet(&lab);
    let id = worker.create("10.99.0.2");
    let mut stream = Stream::open(&worker.url, &id);
    assert!(stream.plays());
    assert_eq!(lab.child_config("one")["webrtc"]["ice_disconnected_timeout_seconds"], 10);
    let far = far.to_string_lossy().into_owned();
    // The one device there that is not the loopback.
    let list =
        Command::new("ip").args(["-n", &far, "-br", "link", "show", "type", "veth"]).output().expect("ip");
    let device =
        String::from_utf8_lossy(&list.stdout).split(['@', ' ']).next().unwrap_or_default().to_owned();
    assert!(ip(&["-n", &far, "link", "set", &device, "down"]), "cannot cut {device:?}");
    let cut = Instant::now();
    assert_eq!(worker.reason_of_end(&id), "body_lost");
    println!("body_lost {} ms after the cut (lost_after: 3000 ms)", cut.elapsed().as_millis());
    assert_eq!(lab.left_overs("one"), Vec::<String>::new());
}

#[test]
fn a_slow_link_makes_ice_patient() {
    if std::env::var_os(INNER).is_none() {
        let Some(mut net) = Net::new("s") else { return };
        net.join_by_slow_link(125);
        net.start_body();
        return net.run_inside("a_slow_link_makes_ice_patient");
    }
    let lab = Lab::new();
    let (_controller, worker) = fleet(&lab);
    let begun = Instant::now();
    let id = worker.create("10.99.0.2");
    println!("create over a link of 250 ms: {} ms", begun.elapsed().as_millis());
    assert_eq!(lab.child_config("one")["webrtc"]["ice_disconnected_timeout_seconds"], 25);
    assert_eq!(worker.delete(&format!("/api/v1/sessions/{id}")).status, 204);
}
