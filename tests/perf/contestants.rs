//! The same reverse proxy five times: ours, and nginx and haproxy with their own and with 64 KiB buffers; and upstreams.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::children::{Program, free_port};

/// A proxy under measurement: one program, or two in a row.
pub struct Contestant {
    /// Its name in the tables.
    pub name: &'static str,
    /// Outermost last.
    pub programs: Vec<Program>,
}

impl Contestant {
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

const COMMON: &str = "worker_processes 2; worker_rlimit_nofile 16384; daemon off; user root; error_log stderr crit;\n\
                      events { worker_connections 16000; }\n";

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
    Program::on_port(Command::new("nginx").arg("-p").arg(&prefix).arg("-c").arg(&file), port)
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

fn nginx_proxy(directory: &Path, name: &str, to: &Upstreams, buffers: &str) -> Program {
    let http = format!(
        "{buffers}\nupstream files {{ server {}; keepalive 256; }}\nupstream tunnels {{ server {}; }}\n\
         server {{ listen 127.0.0.1:@PORT@; proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;\n\
         location / {{ proxy_set_header Connection \"\"; proxy_pass http://files; }}\n\
         location /ws {{ proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; \
         proxy_read_timeout 1h; proxy_pass http://tunnels; }} }}",
        to.files.address, to.tunnels.address
    );
    nginx(directory, name, &http)
}

fn haproxy(directory: &Path, name: &str, to: &Upstreams, buffer: &str) -> Program {
    let port = free_port();
    let text = format!(
        "global\n nbthread 2\n maxconn 7000\n {buffer}\ndefaults\n mode http\n option forwardfor\n timeout connect 5s\n \
         timeout client 60s\n timeout server 60s\n timeout tunnel 1h\nfrontend front\n bind 127.0.0.1:{port}\n \
         acl ws path_beg /ws\n use_backend tunnels if ws\n default_backend files\nbackend files\n http-reuse always\n \
         server a {}\nbackend tunnels\n server a {}\n",
        to.files.address, to.tunnels.address
    );
    let file = directory.join(format!("{name}.cfg"));
    fs::write(&file, text).expect("a file");
    Program::on_port(Command::new("haproxy").arg("-q").arg("-db").arg("-f").arg(&file), port)
}

/// An edge in a process of its own.
fn edge(files: SocketAddr, tunnels: SocketAddr) -> Program {
    Program::ourselves(&["serve-edge", &files.to_string(), &tunnels.to_string()])
}

/// Starts all of them. Ours comes first.
pub fn contestants(directory: &Path, to: &Upstreams) -> Vec<Contestant> {
    let one = |name, program| Contestant { name, programs: vec![program] };
    let (files, tunnels) = (to.files.address, to.tunnels.address);
    let inner = edge(files, tunnels);
    let outer = edge(inner.address, inner.address);
    let large = "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;";
    vec![
        one("edge", edge(files, tunnels)),
        Contestant { name: "edge twice", programs: vec![inner, outer] },
        one("nginx", nginx_proxy(directory, "nginx", to, "")),
        one("nginx 64K", nginx_proxy(directory, "nginx64", to, large)),
        one("haproxy", haproxy(directory, "haproxy", to, "")),
        one("haproxy 64K", haproxy(directory, "haproxy64", to, "tune.bufsize 65536")),
    ]
}
