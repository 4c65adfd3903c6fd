//! Machines: network namespaces around this one, which is the router between them, so that any two can be cut from each other. All of it
//! is in namespaces of a run's own (network, mounts, processes): when the run is over, so is everything that it started.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Tells the inner run that it is one.
const INNER: &str = "NECK_FLEET_INNER";

/// Addresses of what runs in the test itself: `10.77.0.N`, on the router.
const OWN: [u8; 3] = [10, 77, 0];

/// Whether this is the run that has machines. Else the test is run again, where it has them; it fails when that run does. Where
/// namespaces are refused it says so.
pub fn are_here(test: &str) -> bool {
    if env::var_os(INNER).is_some() {
        settle();
        return true;
    }
    // Everything ends with us: by the signal at our end, and by the end of the processes' namespace.
    const APART: [&str; 9] = [
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let apart = || {
        let mut command = Command::new("setpriv");
        command.args(APART);
        command
    };
    let probe = apart().args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no namespaces here (needs root, util-linux and iproute2)");
        return false;
    }
    // Process ids begin anew inside, and name directories.
    let dir = env::temp_dir().join(format!("neck-fleet-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    // bash is the first process there, and reaps orphans.
    let status = apart()
        .args(["bash", "-c", "\"$@\"; exit $?", "bash"])
        .arg(env::current_exe().expect("our path"))
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INNER, "1")
        .env("TMPDIR", &dir)
        .status()
        .expect("the inner run");
    let _ = fs::remove_dir_all(&dir);
    assert!(status.success(), "the run of {test} among machines: {status}");
    false
}

/// Makes a router of this namespace.
fn settle() {
    run("ip", &["link", "set", "lo", "up"]);
    // Where ip(8) keeps the names of namespaces: ours are nobody else's.
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a router");
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
}

/// A machine with a network of its own.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    pub ip: Ipv4Addr,
}

impl Machine {
    /// What a command is started by that is to run there.
    pub fn starter(&self) -> Vec<String> {
        vec!["nsenter".into(), format!("--net=/run/netns/{}", self.name), "--".into()]
    }
}

/// The network of all machines. Any two reach each other, until they are cut.
#[derive(Default)]
pub struct Network {
    machines: u8,
    own: u8,
}

impl Network {
    /// One machine more.
    pub fn machine(&mut self, name: &str) -> Machine {
        self.machines += 1;
        let (near, net) = (format!("to-{name}"), self.machines);
        let (gateway, ip) = (Ipv4Addr::new(10, 77, net, 1), Ipv4Addr::new(10, 77, net, 2));
        let ip_in = |arguments: &[&str]| run("ip", &[&["-n", name], arguments].concat());
        run("ip", &["netns", "add", name]);
        run("ip", &["link", "add", &near, "type", "veth", "peer", "name", "out", "netns", name]);
        run("ip", &["addr", "add", &format!("{gateway}/24"), "dev", &near]);
        run("ip", &["link", "set", &near, "up"]);
        ip_in(&["addr", "add", &format!("{ip}/24"), "dev", "out"]);
        ip_in(&["link", "set", "out", "up"]);
        ip_in(&["link", "set", "lo", "up"]);
        ip_in(&["route", "add", "default", "via", &gateway.to_string()]);
        Machine { name: name.into(), ip }
    }

    /// An address of the router's own, which every machine reaches.
    pub fn own_address(&mut self) -> Ipv4Addr {
        self.own += 1;
        let [a, b, c] = OWN;
        let ip = Ipv4Addr::new(a, b, c, self.own);
        run("ip", &["addr", "add", &format!("{ip}/32"), "dev", "lo"]);
        ip
    }

    /// The network of [`Network::own_address`].
    pub fn own_network() -> String {
        let [a, b, c] = OWN;
        format!("{a}.{b}.{c}.0/24")
    }

    /// From now on what one sends to the other is swallowed, both ways, also on connections that are there. Nobody is told.
    pub fn cut(&self, one: &Machine, other: &Machine) {
        [(one, other), (other, one)].iter().for_each(|(from, to)| rule("add", from, to));
    }

    /// The end of [`Network::cut`].
    pub fn mend(&self, one: &Machine, other: &Machine) {
        [(one, other), (other, one)].iter().for_each(|(from, to)| rule("del", from, to));
    }
}

fn rule(verb: &str, from: &Machine, to: &Machine) {
    run("ip", &["rule", verb, "from", &from.ip.to_string(), "to", &to.ip.to_string(), "blackhole"]);
}

/// A small file system, which can be filled.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at a path. It goes with the run.
    pub fn mount(path: PathBuf, megabytes: u32) -> SmallDisk {
        fs::create_dir_all(&path).expect("a directory");
        let (size, place) = (format!("size={megabytes}m"), path.to_string_lossy().into_owned());
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &place]);
        SmallDisk(path)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the room there is.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        // Pages first, then bytes of the last one.
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("it has an end");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives the room back.
    pub fn clear(&self) {
        let _ = fs::remove_file(self.filler());
    }
}
