//! The recipes of `docs/proxies.md`, run as they stand there, with the proxies that Debian has.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use stand_ins::ports::own_port;

use crate::http::{self, Reply, Stream};
use crate::lab::{Lab, PATIENCE, Role, TOKEN, eventually};

/// How often a port that somebody else took meanwhile is tried anew.
const TRIES: usize = 5;

/// Where the recipes expect the service.
const SERVICE: &str = "127.0.0.1:8080";

/// The first block of this language.
fn recipe(language: &str) -> String {
    let page = include_str!("../../docs/proxies.md");
    let block = page.split_once(&format!("```{language}\n")).and_then(|(_, rest)| rest.split_once("```"));
    block.unwrap_or_else(|| panic!("docs/proxies.md has no recipe for {language}")).0.to_owned()
}

/// Where a program is; `None` and a printed line where it is not.
fn find(program: &str) -> Option<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|place| Path::new(place).join(program));
    let found = places.into_iter().find(|path| path.exists());
    if found.is_none() {
        // Not by println: that is shown of failed tests only.
        let _ = writeln!(std::io::stderr(), "SKIPPED behind {program}: it is not installed");
    }
    found
}

/// A proxy that runs.
pub struct Proxy {
    pub url: String,
    child: Child,
    log: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of the proxy\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        // Its workers end with it: none of these daemonises.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Starts a proxy whose configuration is made for a port, and waits until it listens.
fn start(lab: &Lab, name: &str, program: &Path, config: &dyn Fn(u16) -> String, arguments: &[&str]) -> Proxy {
    let (file, log) = (lab.dir.join(format!("{name}.conf")), lab.dir.join(format!("{name}.proxy.log")));
    for _ in 0..TRIES {
        let port = own_port().expect("a port");
        fs::write(&file, config(port)).expect("a file");
        let output = fs::File::create(&log).expect("a log");
        let child = Command::new(program)
            .args(arguments)
            .arg(&file)
            .env("HOME", &lab.dir)
            .env("XDG_DATA_HOME", &lab.dir)
            .env("XDG_CONFIG_HOME", &lab.dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log"))
            .stderr(output)
            .spawn()
            .expect("the proxy");
        let mut proxy = Proxy { url: format!("http://127.0.0.1:{port}"), child, log: log.clone() };
        let listens = eventually(&format!("{name} listens or ends"), || {
            match proxy.child.try_wait().expect("its state") {
                Some(_) => Some(false),
                None => TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true),
            }
        });
        if listens {
            return proxy;
        }
        println!("{name} ended: {}", fs::read_to_string(&log).unwrap_or_default());
    }
    panic!("{name} does not run: {}", fs::read_to_string(&log).unwrap_or_default());
}

/// nginx around the recipe, changed.
pub fn nginx(lab: &Lab, name: &str, service: &Role, change: &dyn Fn(String) -> String) -> Option<Proxy> {
    let program = find("nginx")?;
    let dir = lab.dir.display().to_string();
    let config = |port: u16| {
        let recipe = change(recipe("nginx"))
            .replace(SERVICE, authority(service))
            .replace("listen 443 ssl;", &format!("listen 127.0.0.1:{port};"));
        let without_tls: Vec<&str> = recipe.lines().filter(|line| !line.trim().starts_with("ssl_")).collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/{name}-{kind};\n"))
            .concat();
        format!(
            "daemon off;\nworker_processes 1;\npid {dir}/{name}.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
             {temporary}{}\n}}\n",
            without_tls.join("\n")
        )
    };
    Some(start(lab, name, &program, &config, &["-e", "stderr", "-p", &dir, "-c"]))
}

fn authority(service: &Role) -> &str {
    service.url.trim_start_matches("http://")
}

/// A controller that believes proxies on this host, and its worker.
pub fn service(lab: &Lab) -> (Role, Role) {
    let trust = |config: &mut Value| config["server"]["trusted_proxies"] = json!(["127.0.0.1/32"]);
    let controller = lab.controller(trust);
    let worker = lab.worker("one", &controller.url, |_| ());
    eventually("the worker is known", || {
        controller.get("/api/v1/workers").body.contains("\"up\"").then_some(())
    });
    // A proxy that asks for readiness, as HAProxy does, gives up a controller that does not know all of its sessions yet.
    eventually("the controller is ready", || (controller.get("/readyz").status == 200).then_some(()));
    (controller, worker)
}

fn create(url: &str, prefix: &str, body: &str) -> Value {
    let auth = format!("Bearer {TOKEN}");
    let fields =
        [("Authorization", auth.as_str()), ("Content-Type", "application/json"), ("Cookie", "name=Zoë")];
    let asked = json!({"body_ip": body}).to_string();
    let reply = http::request(url, "POST", &format!("{prefix}/api/v1/sessions"), &fields, &asked);
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.json()
}

/// The first event of a session, as soon as it comes.
fn first_event(url: &str, id: &str) -> String {
    let authority = url.trim_start_matches("http://");
    let mut tcp = TcpStream::connect(authority).expect("a connection");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let head = format!(
        "GET /session/{id}/_neck/events HTTP/1.1\r\nHost: {authority}\r\nAccept: text/event-stream\r\n\r\n"
    );
    tcp.write_all(head.as_bytes()).expect("sent");
    let lines = BufReader::new(tcp).lines().map_while(Result::ok);
    lines.into_iter().find(|line| line.starts_with("data: ")).unwrap_or_default()
}

/// Everything that a session needs of the proxy at this URL.
fn a_session_works_behind(proxy: &Proxy, body: &str) {
    let created = create(&proxy.url, "", body);
    let id = created["session_id"].as_str().expect("an id");
    assert_eq!(created["stream_url"], format!("{}/session/{id}/", proxy.url), "the proxy's port is in it");
    let start = http::get_page(&proxy.url, &format!("/session/{id}/"));
    let location = start.header("Location").expect("a location").to_owned();
    let page = http::get_page(&proxy.url, &location);
    assert!(page.status == 200 && page.body.contains("_neck/overlay.js"), "{page:?}");
    let mut stream = Stream::open(&proxy.url, id);
    assert!(stream.next_media().expect("media") > 0);
    assert!(first_event(&proxy.url, id).contains("\"status\""), "an event comes at once");
    assert_eq!(http::request(&proxy.url, "OPTIONS", "/", &[], "").status, 204);
    let origin = [("Origin", proxy.url.as_str()), ("Content-Type", "application/json")];
    let quit = http::request(&proxy.url, "POST", &format!("/session/{id}/quit"), &origin, "{}");
    assert_eq!(quit.status, 202, "{quit:?}");
}

// SPEC 6: The recipes of `docs/proxies.md` work: nginx, also below a prefix, HAProxy, Caddy
// Also: `a_session_works_below_a_prefix_of_nginx`, `a_session_works_behind_haproxy`,
// `a_session_works_behind_caddy`, `the_recipe_for_traefik_is_yaml`
#[test]
fn a_session_works_behind_nginx() {
    let mut lab = Lab::new();
    let (controller, _worker) = service(&lab);
    let Some(proxy) = nginx(&lab, "nginx", &controller, &|recipe| recipe) else { return };
    a_session_works_behind(&proxy, &lab.body(1));
}

#[test]
fn a_session_works_behind_haproxy() {
    let mut lab = Lab::new();
    let (controller, _worker) = service(&lab);
    let Some(program) = find("haproxy") else { return };
    let config = |port: u16| {
        let bind = "bind :443 ssl crt /etc/haproxy/neck.example.com.pem";
        recipe("haproxy")
            .replace(SERVICE, authority(&controller))
            .replace(bind, &format!("bind 127.0.0.1:{port}"))
    };
    let proxy = start(&lab, "haproxy", &program, &config, &["-db", "-f"]);
    // It asks for our health first.
    eventually("haproxy finds the service", || {
        http::get(&proxy.url, "/healthz", None).ok().filter(|reply| reply.status == 200)
    });
    a_session_works_behind(&proxy, &lab.body(1));
}

#[test]
fn a_session_works_behind_caddy() {
    let mut lab = Lab::new();
    let (controller, _worker) = service(&lab);
    let Some(program) = find("caddy") else { return };
    let config = |port: u16| {
        let recipe = recipe("caddyfile").replace(SERVICE, authority(&controller));
        format!(
            "{{\nadmin off\n}}\n{}",
            recipe.replace("neck.example.com", &format!("http://127.0.0.1:{port}"))
        )
    };
    let proxy = start(&lab, "caddy", &program, &config, &["run", "--adapter", "caddyfile", "--config"]);
    a_session_works_behind(&proxy, &lab.body(1));
}

#[test]
fn the_recipe_for_traefik_is_yaml() {
    let recipe: Value = serde_yaml::from_str(&recipe("traefik")).expect("YAML");
    assert_eq!(
        recipe["http"]["services"]["neck"]["loadBalancer"]["servers"][0]["url"],
        format!("http://{SERVICE}")
    );
}

/// The lines of `docs/proxies.md` for a prefix, in place of those that they are instead of.
fn below_a_prefix(recipe: String) -> String {
    recipe
        .replace("location / {", "location /neck/ {")
        .replace(&format!("proxy_pass http://{SERVICE};"), &format!("proxy_pass http://{SERVICE}/;"))
        .replace("X-Forwarded-Prefix \"\"", "X-Forwarded-Prefix /neck")
}

#[test]
fn a_session_works_below_a_prefix_of_nginx() {
    let mut lab = Lab::new();
    let (controller, _worker) = service(&lab);
    let Some(proxy) = nginx(&lab, "nginx", &controller, &below_a_prefix) else { return };
    let created = create(&proxy.url, "/neck", &lab.body(1));
    let id = created["session_id"].as_str().expect("an id");
    assert_eq!(created["stream_url"], format!("{}/neck/session/{id}/", proxy.url));
    let start = http::get_page(&proxy.url, &format!("/neck/session/{id}"));
    assert_eq!(start.header("Location"), Some(&*format!("/neck/session/{id}/")), "{start:?}");
    let start = http::get_page(&proxy.url, &format!("/neck/session/{id}/"));
    let location = start.header("Location").expect("a location").to_owned();
    assert!(location.starts_with(&format!("/neck/session/{id}/")), "{location}");
    let page = http::get_page(&proxy.url, &location);
    assert_eq!(page.status, 200, "{page:?}");
    for path in ["_neck/overlay.js", "config.js"] {
        let found = http::get_page(&proxy.url, &format!("/neck/session/{id}/{path}"));
        assert!(found.status == 200 && found.body.contains(&format!("/neck/session/{id}")), "{found:?}");
    }
}

#[test]
fn nginx_without_the_upgrade_lines_is_found_out() {
    let mut lab = Lab::new();
    let (controller, worker) = service(&lab);
    let without = |recipe: String| {
        let keeps = |line: &&str| {
            !["Upgrade ", "Connection ", "proxy_http_version"].iter().any(|word| line.contains(word))
        };
        recipe.lines().filter(keeps).collect::<Vec<_>>().join("\n")
    };
    let Some(proxy) = nginx(&lab, "nginx", &controller, &without) else { return };
    let created = create(&proxy.url, "", &lab.body(1));
    let id = created["session_id"].as_str().expect("an id");
    assert!(Stream::try_open(&proxy.url, id).is_err());
    let session: Reply = controller.get(&format!("/api/v1/sessions/{id}"));
    assert!(session.json()["warnings"].to_string().contains("does not pass WebSockets"), "{session:?}");
    worker.wait_for_log("does not pass WebSockets");
}
