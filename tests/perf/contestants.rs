//! The same reverse proxy in every way: ours, nginx and haproxy, with their own and with 64 KiB buffers, once and two in a
//! row; and the upstreams.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use crate::certificate::Certificate;
use crate::children::{Program, before, free_port, pin};

/// A proxy under measurement: one program, or two in a row.
pub struct Contestant {
    /// Its name in the tables.
    pub name: &'static str,
    /// How many proxies a request passes.
    pub depth: usize,
    /// Outermost last.
    pub programs: Vec<Program>,
    /// How clients speak to it.
    pub scheme: &'static str,
}

impl Contestant {
    /// Ours, not a rival.
    pub fn is_ours(&self) -> bool {
        self.name.starts_with("edge")
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.programs.last().expect("a program").address
    }
}

/// Where requests end up.
pub struct Upstreams {
    /// nginx with two files, `/1k` and `/1m`.
    pub files: Program,
    /// WebSocket-like ends of tunnels, below `/ws`.
    pub tunnels: Program,
}

/// Has everything that takes part, and what it starts, use one core, or again all of them.
pub fn gather(contestants: &[Contestant], upstreams: &Upstreams, on_one_core: bool) {
    // Asked before anything is gathered: afterwards it is one.
    static ALL: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    let all = *ALL;
    let cores: Vec<usize> = (0..if on_one_core { 1 } else { all }).collect();
    let proxies = contestants.iter().flat_map(|contestant| &contestant.programs);
    proxies.chain([&upstreams.files, &upstreams.tunnels]).for_each(|program| program.stay_on(&cores));
    pin(std::process::id(), "", &cores);
}

const COMMON: &str = "worker_processes 2; worker_rlimit_nofile 20000; daemon off; user root; error_log stderr crit;\n\
                      events { worker_connections 19000; }\n";

/// A program that is ended by the kernel when this one is killed.
fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]);
    command
}

fn nginx(directory: &Path, name: &str, http: &str) -> Program {
    let port = free_port();
    let prefix = directory.join(name);
    fs::create_dir_all(&prefix).expect("a directory");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", prefix.display()))
        .concat();
    let http = http.replace("@PORT@", &port.to_string());
    let text = format!(
        "pid {}/pid;\n{COMMON}http {{ access_log off; keepalive_requests 1000000000; tcp_nodelay on;\n{temporary}{http}\n}}\n",
        prefix.display()
    );
    let file = prefix.join("nginx.conf");
    fs::write(&file, text).expect("a file");
    Program::on_port(mortal("nginx").arg("-p").arg(&prefix).arg("-c").arg(&file), port)
}

/// Starts the upstreams.
pub fn upstreams(directory: &Path) -> Upstreams {
    let root = directory.join("files");
    fs::create_dir_all(&root).expect("a directory");
    fs::write(root.join("1k"), vec![b'x'; 1 << 10]).expect("a file");
    fs::write(root.join("1m"), vec![b'x'; 1 << 20]).expect("a file");
    let http = format!(
        "sendfile on; tcp_nopush on; open_file_cache max=10;\nserver {{ listen 127.0.0.1:@PORT@; root {}; }}",
        root.display()
    );
    Upstreams { files: nginx(directory, "upstream", &http), tunnels: Program::ourselves(&["serve-tunnels"]) }
}

/// Files' and tunnels' address: upstreams, or the next proxy twice.
type Targets = (SocketAddr, SocketAddr);

/// Buffers of 64 KiB for nginx and for haproxy.
const LARGE_NGINX: &str = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;";
const LARGE_HAPROXY: &str = "tune.bufsize 65536";

fn nginx_proxy(
    directory: &Path,
    name: &str,
    (files, tunnels): Targets,
    buffers: &str,
    tls: Option<&Certificate>,
) -> Program {
    let (ssl, certificate) = match tls {
        Some(pair) => (
            "ssl",
            format!(
                "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; ssl_session_tickets off;",
                pair.cert.display(),
                pair.key.display()
            ),
        ),
        None => ("", String::new()),
    };
    let http = format!(
        "{buffers}\nupstream files {{ server {files}; keepalive 256; }}\nupstream tunnels {{ server {tunnels}; }}\n\
         server {{ listen 127.0.0.1:@PORT@ {ssl}; {certificate} proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;\n\
         location / {{ proxy_set_header Connection \"\"; proxy_pass http://files; }}\n\
         location /ws {{ proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; \
         proxy_read_timeout 1h; proxy_pass http://tunnels; }} }}"
    );
    nginx(directory, name, &http)
}

fn haproxy(
    directory: &Path,
    name: &str,
    (files, tunnels): Targets,
    buffer: &str,
    tls: Option<&Certificate>,
) -> Program {
    let port = free_port();
    let ssl = tls.map_or(String::new(), |pair| {
        format!("ssl crt {} ssl-min-ver TLSv1.3 no-tls-tickets", pair.both.display())
    });
    let text = format!(
        "global\n nbthread 2\n maxconn 9900\n {buffer}\ndefaults\n mode http\n option forwardfor\n timeout connect 5s\n \
         timeout client 60s\n timeout server 60s\n timeout tunnel 1h\nfrontend front\n bind 127.0.0.1:{port} {ssl}\n \
         acl ws path_beg /ws\n use_backend tunnels if ws\n default_backend files\nbackend files\n http-reuse always\n \
         server a {files}\nbackend tunnels\n server a {tunnels}\n"
    );
    let file = directory.join(format!("{name}.cfg"));
    fs::write(&file, text).expect("a file");
    Program::on_port(mortal("haproxy").arg("-q").arg("-db").arg("-f").arg(&file), port)
}

/// An edge in a process of its own.
fn edge(targets: Targets, tls: Option<&Certificate>) -> Program {
    edge_of(&std::env::current_exe().expect("this program"), targets, tls)
}

/// The edge of a measurement's program.
fn edge_of(program: &Path, (files, tunnels): Targets, tls: Option<&Certificate>) -> Program {
    let (files, tunnels) = (files.to_string(), tunnels.to_string());
    match tls.map(|pair| (pair.cert.to_str(), pair.key.to_str())) {
        Some((Some(cert), Some(key))) => {
            Program::telling(program, &["serve-edge", &files, &tunnels, cert, key])
        }
        _ => Program::telling(program, &["serve-edge", &files, &tunnels]),
    }
}

/// Starts all of them, once and twice in a row, with TLS towards clients when there is a certificate. Ours comes first.
pub fn contestants(directory: &Path, to: &Upstreams, tls: Option<&Certificate>) -> Vec<Contestant> {
    let once = (to.files.address, to.tunnels.address);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let one = |name, program| Contestant { name, depth: 1, programs: vec![program], scheme };
    // The way between the two is plain.
    let two = |name, inner: Program, outer: &dyn Fn(Targets) -> Program| {
        let outer = outer((inner.address, inner.address));
        Contestant { name, depth: 2, programs: vec![inner, outer], scheme }
    };
    let mut all = vec![
        one("edge", edge(once, tls)),
        one("nginx", nginx_proxy(directory, "nginx", once, "", tls)),
        one("nginx 64K", nginx_proxy(directory, "nginx64", once, LARGE_NGINX, tls)),
        one("haproxy", haproxy(directory, "haproxy", once, "", tls)),
        one("haproxy 64K", haproxy(directory, "haproxy64", once, LARGE_HAPROXY, tls)),
        two("edge twice", edge(once, None), &|targets| edge(targets, tls)),
        two("nginx twice", nginx_proxy(directory, "inner", once, "", None), &|targets| {
            nginx_proxy(directory, "outer", targets, "", tls)
        }),
        two("haproxy 64K twice", haproxy(directory, "in", once, LARGE_HAPROXY, None), &|targets| {
            haproxy(directory, "out", targets, LARGE_HAPROXY, tls)
        }),
    ];
    if let Some(program) = before() {
        all.push(one("edge before", edge_of(&program, once, tls)));
        let inner = edge_of(&program, once, None);
        all.push(two("edge before twice", inner, &|targets| edge_of(&program, targets, tls)));
    }
    all
}
