//! The verb `demo`: controller, worker and a simulated body in one process, on loopback or where `--listen` says.
//!
//! ```text
//! browser ─▶ controller ─▶ worker ─▶ the built-in clip
//!    │                        └─ microphone ─▶ the simulated body's ear
//!    └─ "Start new stream" ─▶ door: a new session, and a redirect to it
//! ```
//!
//! Everything it needs it writes into one private directory under the temporary directory, and removes at the end; what a
//! killed demo left is removed by the next one.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::config::secret::Secret;
use crate::config::settings::{
    ControllerLink, Listen, ListenAddress, Network, OperatorListen, Role, Settings,
};
use crate::controller::Controller;
use crate::daemon::{Daemon, DemoOptions, RunError, Running};
use crate::demo::door::Door;
use crate::demo::ear::Ear;
use crate::demo::reach::Reach;
use crate::demo::room;
use crate::host::entropy;
use crate::host::interfaces;
use crate::host::private_dir::{DirError, PrivateDir};
use crate::worker::Worker;

/// How the demo's directories begin.
const PREFIX: &str = "hydraneckwebrtc-demo-";

/// A fast rhythm: a new controller gives sessions after two beats. Not faster, because a worker is late after one and a half, and
/// the machine may be a busy one.
const HEARTBEAT: Duration = Duration::from_millis(600);

/// Where the simulated body is. The clip asks nothing of it, so that its ear is all there is.
const BODY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// People open the URL when they are ready.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Runs the demo until it is told to stop.
pub fn run(options: &DemoOptions) -> Result<(), RunError> {
    let daemon = Daemon::start(&options.environment)?;
    let mut demo = Demo::start(options, &daemon)?;
    let url = demo.door.first_stream()?;
    let room = room::open(&demo.reach.own_origin(), &demo.token, demo.worker.address());
    if let Err(why) = &room {
        log::warn!("[demo] there is no room: {why}");
    }
    let text = greeting(&url, room.ok().as_deref(), &demo);
    let mut stdout = std::io::stdout();
    // Whoever closed our stdout still has the log.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    daemon.ready("running");
    daemon.run(&mut demo, None, false);
    Ok(())
}

/// What the person reads who started it. Every URL in it works.
fn greeting(url: &str, room: Option<&str>, Demo { reach, token, controller, .. }: &Demo) -> String {
    let page = controller.page_address();
    let page = page.map(|address| format!("Operators: http://{address}/ (log in with the admin token)\n"));
    let page = page.unwrap_or_default();
    let room = room.map(|url| {
        format!("A room, to meet yourself in two windows: {url}\n  (no TURN server here: media goes directly, on this machine)\n")
    });
    let room = room.unwrap_or_default();
    let own = reach.own_origin();
    let path = url.strip_prefix(&own).unwrap_or_default();
    let others: String = reach.other_origins().iter().map(|origin| format!("  {origin}{path}\n")).collect();
    let others = if others.is_empty() { others } else { format!("From other machines:\n{others}") };
    format!(
        "\nOpen {url}\n{others}\n{room}{page}API: {own}/api/v1/health\nAdmin token: {token}\nStop with Ctrl-C.\n"
    )
}

struct Demo {
    worker: Worker,
    controller: Controller,
    /// Listens as long as we live.
    _ear: Ear,
    door: Door,
    reach: Reach,
    token: String,
    home: Home,
}

/// The demo's directory.
struct Home {
    parent: PrivateTemp,
    name: String,
    directory: PrivateDir,
    lock: Option<File>,
}

/// The temporary directory, where we only touch names of ours.
struct PrivateTemp(std::path::PathBuf);

impl Demo {
    fn start(options: &DemoOptions, daemon: &Daemon) -> Result<Demo, RunError> {
        let home = Home::make()?;
        let token = format!("{:016x}{:016x}", entropy::number(), entropy::number());
        let controller =
            Controller::start(controller_settings(options, &home, &token), Vec::new(), daemon.pulses())?;
        let reach = Reach::new(controller.address(), &interfaces::reachable().unwrap_or_default());
        let door = Door::bind(controller.address().ip())?;
        let mut settings = worker_settings(options, &home, &token, &reach);
        settings.sessions.return_url = door.url(reach.widest());
        let ear = Ear::start(BODY)
            .map_err(|error| RunError(format!("cannot bind a port for the microphone: {error}")))?;
        settings.bodies.mic_port = ear.port();
        let worker = Worker::start(settings, Vec::new(), daemon.pulses())?;
        worker.wait_for_first_beat();
        let door = door.open(&reach.own_origin(), &token, BODY)?;
        Ok(Demo { worker, controller, _ear: ear, door, reach, token, home })
    }
}

fn controller_settings(options: &DemoOptions, home: &Home, token: &str) -> Settings {
    let mut settings = Settings::defaults(Role::Controller);
    settings.server.listen = Listen::Plain(options.listen);
    settings.server.admin_token = Secret::new(token);
    settings.server.state_dir = home.directory.path().join("state");
    // Any free port: another demo, or a controller, has the usual one.
    let page = ListenAddress { port: 0, ..OperatorListen::USUAL };
    settings.server.operator_listen = OperatorListen::At(page);
    settings.workers.heartbeat_interval = HEARTBEAT;
    settings.workers.dispatch_threads = 4;
    settings.bodies.wireguard_networks = Vec::new();
    settings
}

fn worker_settings(options: &DemoOptions, home: &Home, token: &str, reach: &Reach) -> Settings {
    let mut settings = Settings::defaults(Role::Worker);
    // The controller calls it where its heartbeats come from.
    settings.server.listen = Listen::Plain(ListenAddress { host: Some(reach.own()), port: 0 });
    settings.server.admin_token = Secret::new(token);
    settings.server.state_dir = home.directory.path().join("state");
    settings.controller = Some(ControllerLink {
        ca_file: None,
        url: reach.own_origin(),
        urls: Vec::new(),
        token: Secret::new(token),
        heartbeat_interval: HEARTBEAT,
    });
    settings.sessions.data_dir = home.directory.path().join("sessions");
    settings.sessions.connect_timeout = CONNECT_TIMEOUT;
    settings.sessions.force_relay = options.force_relay;
    // Pages are opened by whatever browser, here and elsewhere; who has no session's ICE credentials gets no answer.
    settings.webrtc.everywhere = true;
    // Any free port, and no question to anybody outside.
    settings.webrtc.udpmux = Some(0);
    (settings.rooms.enabled, settings.rooms.media_port) = (true, 0);
    settings.webrtc.ip_retrieval_url = None;
    // The simulated body is no tunnel away.
    settings.bodies.wireguard_networks = Vec::new();
    settings.sessions.allowed_bodies = vec![Network { address: [127, 0, 0, 0].into(), prefix: 8 }];
    settings
}

impl Running for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn settings(&self) -> Settings {
        self.worker.settings()
    }

    fn reload(&mut self, _: Settings) {}

    fn drain(&mut self) {
        self.controller.drain();
        self.worker.drain();
    }

    fn is_idle(&self) -> bool {
        self.worker.is_idle()
    }

    fn finish(&mut self, hurried: bool) {
        self.door.close();
        self.worker.finish(hurried);
        self.controller.finish(hurried);
        self.home.remove();
    }
}

impl Home {
    fn make() -> Result<Home, RunError> {
        let fail = |error: DirError| RunError(error.to_string());
        let parent = PrivateTemp(std::env::temp_dir());
        parent.remove_left_overs();
        loop {
            let name = format!("{PREFIX}{:016x}", entropy::number());
            let path = parent.0.join(&name);
            let directory = PrivateDir::open(&path).map_err(fail)?;
            match directory.lock() {
                // Another demo that starts now may have taken it for a killed one's before it was locked.
                Err(DirError::InUse(_)) => {}
                Ok(_) if !path.exists() => {}
                lock => return Ok(Home { parent, name, directory, lock: Some(lock.map_err(fail)?) }),
            }
        }
    }

    fn remove(&mut self) {
        self.lock = None;
        self.parent.remove(&self.name);
    }
}

impl PrivateTemp {
    /// Directories of demos that were killed: ours by name and owner, and nobody holds their lock.
    fn remove_left_overs(&self) {
        let names = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with(PREFIX)
                && let Ok(_lock) = PrivateDir::open(&self.0.join(&name)).and_then(|it| it.lock())
            {
                self.remove(&name);
            }
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = std::fs::remove_dir_all(self.0.join(name)) {
            log::warn!("[demo] cannot remove {name} in {}: {error}", self.0.display());
        }
    }
}
