//! A stream process that tries what none may: `tests/behaviour/confinement.rs` reads from its log what became of it.
//!
//! What it is to try its hand at stands in `targets.json` beside the program, or in the directory of its first argument; it must not stand in the
//! command, where it would be opened to it. It prints a line per attempt, then lives on.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Says what became of an attempt.
fn tell<T>(what: &str, outcome: io::Result<T>) {
    match outcome {
        Ok(_) => eprintln!("attempt {what}: done"),
        Err(error) => eprintln!("attempt {what}: errno {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn sys(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn c(path: &Path) -> CString {
    CString::new(path.to_str().expect("text")).expect("no NUL")
}

struct Targets(Value);

impl Targets {
    fn path(&self, key: &str) -> PathBuf {
        PathBuf::from(self.0[key].as_str().unwrap_or_default())
    }

    fn pid(&self, key: &str) -> i32 {
        self.0[key].as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default()
    }
}

fn main() {
    let mut arguments = std::env::args().map(PathBuf::from);
    let program = arguments.next().expect("its own name");
    let given = arguments.find(|argument| argument.join("targets.json").exists());
    let directory = given.unwrap_or_else(|| program.parent().expect("a directory").to_owned());
    let text = fs::read(directory.join("targets.json")).expect("targets.json can be read");
    let targets = Targets(serde_json::from_slice(&text).expect("JSON"));
    files(&targets);
    processes(&targets);
    sockets(&targets);
    privileges(&targets);
    allowed(&targets);
    eprintln!("attempts over");
    // A picture, so that a media process counts as ready.
    picture();
    println!("frame=1\nfps=25\nprogress=continue");
    let _ = io::stdout().flush();
    loop {
        std::thread::park();
    }
}

/// Sends the beginning of a picture of H264 to where its arguments say.
fn picture() {
    let url = std::env::args().find(|argument| argument.starts_with("rtp://"));
    let port =
        url.as_deref().and_then(|url| url.strip_prefix("rtp://127.0.0.1:")?.split('?').next()?.parse().ok());
    let Some(port) = port.map(|port: u16| port) else { return };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let units: [&[u8]; 3] = [&[0x67, 0x42, 0xC0, 0x1E, 0x80], &[0x68, 0x80], &[0x65, 0x88]];
    for (number, unit) in (1..).zip(units) {
        let header = [0x80, 96, 0, number, 0, 0, 0, 1, 0, 0, 0, 7];
        socket.send_to(&[&header[..], unit].concat(), ("127.0.0.1", port)).expect("it goes out");
    }
}

fn files(targets: &Targets) {
    for key in ["config", "state_file", "other_file", "secret", "shadow"] {
        let path = targets.path(key);
        tell(&format!("read {key}"), File::open(&path));
        tell(&format!("write {key}"), OpenOptions::new().append(true).open(&path));
        // SAFETY: the path lives during the call.
        tell(&format!("truncate {key}"), sys(unsafe { libc::truncate(c(&path).as_ptr(), 0) }.into()));
        tell(&format!("remove {key}"), fs::remove_file(&path));
        tell(&format!("link {key}"), fs::hard_link(&path, "stolen"));
        tell(&format!("move {key}"), fs::rename(&path, "stolen"));
        tell(&format!("chmod {key}"), fs::set_permissions(&path, fs::Permissions::from_mode(0o777)));
        tell(&format!("chown {key}"), std::os::unix::fs::chown(&path, Some(1), None));
        let (path, name) = (c(&path), c"user.neck");
        // SAFETY: all three live during the call.
        let set = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), name.as_ptr().cast(), 1, 0) };
        tell(&format!("mark {key}"), sys(set.into()));
    }
    for key in ["state", "sessions", "other", "home", "temporary", "slash"] {
        let path = targets.path(key);
        tell(&format!("list {key}"), fs::read_dir(&path));
        tell(&format!("make a file in {key}"), File::create(path.join("intruder")));
        tell(&format!("make a directory in {key}"), fs::create_dir(path.join("intruder.d")));
        tell(&format!("make a link in {key}"), symlink("/etc", path.join("intruder.l")));
        tell(&format!("chmod {key}"), fs::set_permissions(&path, fs::Permissions::from_mode(0o777)));
    }
    // A link of its own leads nowhere either.
    let _ = symlink(targets.path("config"), "way");
    tell("read config by a link", File::open("way"));
    for device in ["/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/net/tun"] {
        tell(&format!("open {device}"), OpenOptions::new().read(true).write(true).open(device));
    }
}

fn processes(targets: &Targets) {
    for key in ["worker", "other_process"] {
        let pid = targets.pid(key);
        for name in ["environ", "mem", "maps", "cmdline", "status", "fd/0"] {
            tell(&format!("read {name} of {key}"), File::open(format!("/proc/{pid}/{name}")));
        }
        tell(&format!("list fd of {key}"), fs::read_dir(format!("/proc/{pid}/fd")));
        let (mut byte, other) = ([0u8; 1], 0x40_0000 as *mut libc::c_void);
        let local = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: other, iov_len: 1 };
        let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
        let nothing = std::ptr::null_mut();
        // SAFETY: what is pointed to is of the right kind and lives during the calls.
        unsafe {
            tell(&format!("trace {key}"), sys(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0)));
            tell(
                &format!("read memory of {key}"),
                sys(libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) as i64),
            );
            // No signal, only the question whether one could be sent.
            tell(&format!("signal {key}"), sys(libc::kill(pid, 0).into()));
            tell(
                &format!("limit {key}"),
                sys(libc::prlimit(pid, libc::RLIMIT_NOFILE, &limit, nothing).into()),
            );
            tell(
                &format!("slow down {key}"),
                sys(libc::setpriority(libc::PRIO_PROCESS, pid as u32, 19).into()),
            );
            let set: libc::cpu_set_t = std::mem::zeroed();
            tell(
                &format!("confine {key} to a processor"),
                sys(libc::sched_setaffinity(pid, size_of_val(&set), &set).into()),
            );
        }
    }
}

fn sockets(targets: &Targets) {
    tell("connect to the API's socket", UnixStream::connect(targets.path("api")));
    let name = targets.path("abstract");
    let address = SocketAddr::from_abstract_name(name.to_str().expect("text")).expect("a name");
    tell("connect to an abstract socket", UnixStream::connect_addr(&address));
    if let Some(port) = targets.0["port"].as_u64().and_then(|port| u16::try_from(port).ok()) {
        tell("take another session's port", TcpListener::bind(("127.0.0.1", port)));
    }
}

fn privileges(_: &Targets) {
    let nothing = std::ptr::null::<libc::c_char>();
    // SAFETY: the strings live during the call.
    let mounted = unsafe {
        libc::mount(nothing, c"/".as_ptr(), nothing, libc::MS_REMOUNT | libc::MS_BIND, std::ptr::null())
    };
    tell("mount", sys(mounted.into()));
    // SAFETY: refused before the pointer is looked at.
    tell("make an io_uring", sys(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) }));
    let made = fs::write("program", "#!/bin/sh\n").and_then(|()| File::open("program"));
    // SAFETY: a plain system call.
    let mode = made
        .and_then(|file| sys(unsafe { libc::fchmod(std::os::fd::AsRawFd::as_raw_fd(&file), 0o700) }.into()));
    let ran = mode.and_then(|()| Command::new("./program").status());
    tell("run a program that it wrote", ran);
}

fn may(what: &str, outcome: io::Result<()>) {
    match outcome {
        Ok(()) => eprintln!("allowed {what}: done"),
        Err(error) => eprintln!("allowed {what}: {error}"),
    }
}

fn allowed(targets: &Targets) {
    may("write in its directory", fs::write("own", "x").and_then(|()| fs::rename("own", "own2")));
    may("make and remove a directory", fs::create_dir("d").and_then(|()| fs::remove_dir("d")));
    may("write to /dev/null", fs::write("/dev/null", "x"));
    may("read /dev/urandom", File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut [0; 16])));
    for file in [
        "/proc/self/status",
        "/proc/self/maps",
        "/proc/cpuinfo",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
    ] {
        may(&format!("read {file}"), File::open(file).and_then(|mut file| file.read(&mut [0; 16])).map(drop));
    }
    for directory in ["/usr/lib", "/usr/share", "/etc/ssl/certs", "/sys/devices/system/cpu"] {
        may(&format!("list {directory}"), fs::read_dir(directory).map(drop));
    }
    let listener = TcpListener::bind("127.0.0.1:0");
    may("use the network", listener.and_then(|socket| TcpStream::connect(socket.local_addr()?)).map(drop));
    may("open a UDP socket", UdpSocket::bind("127.0.0.1:0").map(drop));
    may("start a program", Command::new("/bin/true").status().map(drop));
    may(
        "signal its own child",
        Command::new("/bin/sleep").arg("60").spawn().and_then(|mut child| {
            child.kill()?;
            child.wait().map(drop)
        }),
    );
    may("start a thread", std::thread::spawn(|| ()).join().map_err(|_| io::Error::other("it panicked")));
    for (key, written) in
        [("listed_to_read", false), ("listed_to_write", true), ("input", false), ("output", true)]
    {
        let path = targets.path(key);
        if path.as_os_str().is_empty() {
            continue;
        }
        may(&format!("read {key}"), File::open(&path).map(drop));
        if written {
            may(&format!("write {key}"), fs::write(&path, "x"));
        } else {
            tell(&format!("write {key}"), OpenOptions::new().append(true).open(&path));
        }
    }
}
