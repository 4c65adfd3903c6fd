//! `setup`: makes a host a worker or a controller. It looks at everything first, and changes nothing where a file is somebody else's.

mod place;
pub mod policy;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::settings::Role;
use crate::config::{self, Environment, Source};
use crate::core::doctor::services::is_inside;
use crate::core::fleet::identity::to_hex;
use crate::daemon::{SetupOptions, Verdict};
use crate::host::{entropy, interfaces};
use crate::setup::policy::{
    ControllerPlan, Verdict as Judged, WorkerPlan, coturn_config, difference, is_host_name, judge, marked,
};
use place::{Found, Place};

/// coturn's shared secret, where it has always been kept.
const TURN_SECRET: &str = "/root/.hydraneckwebrtc-turn-credential";
const ADMIN_TOKEN: &str = "/root/.hydraneckwebrtc/admin-token";
const WORKERS_TOKEN: &str = "/root/.hydraneckwebrtc/workers-token";
const CONFIG: &str = "/root/.hydraneckwebrtc/config.yaml";
const TURNSERVER: &str = "/etc/turnserver.conf";
const SYSUSERS: &str = "/etc/sysusers.d/hydraneckwebrtc.conf";
/// What the units run.
const BINARY: &str = "/usr/local/bin/hydraneckwebrtc";
const DPKG: &str = "/var/lib/dpkg/status";

/// Of files with a secret in them, of coturn's, of others.
const SECRET_MODE: u32 = 0o600;
const COTURN_MODE: u32 = 0o640;
const PUBLIC_MODE: u32 = 0o644;

/// A file as it should be.
struct Wanted {
    path: String,
    text: String,
    mode: u32,
    group: u32,
}

/// A file that is to be written.
struct Change {
    wanted: Wanted,
    found: Option<Found>,
}

/// What there is to do.
struct Plan {
    /// What dpkg noted of its packages.
    dpkg: String,
    changes: Vec<Change>,
    /// Files that are somebody else's, with the difference.
    theirs: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
    notes: Vec<String>,
}

/// Sets up, or says what would be done.
pub fn run(options: &SetupOptions) -> Verdict {
    let done = Place::new(&options.root).and_then(|place| {
        let plan = match options.role {
            Role::Worker => worker(&place, options),
            Role::Controller => controller(&place, options),
        }?;
        carry_out(&place, plan, options.is_dry)
    });
    match done {
        Ok(text) => Verdict { text, is_sound: true },
        Err(text) => Verdict { text: format!("hydraneckwebrtc: {text}\n"), is_sound: false },
    }
}

fn worker(place: &Place, options: &SetupOptions) -> Result<Plan, String> {
    let controller = options.controller.clone().ok_or("setup worker needs --controller URL")?;
    let token_file = options.token_file.as_ref().ok_or(
        "setup worker needs --token-file FILE: a file (mode 0600) with the controller's workers.token",
    )?;
    let controller_token = config::read_secret(token_file).map_err(|why| format!("--token-file: {why}"))?;
    let turnserver = place
        .group("turnserver")
        .ok_or("coturn is not installed: apt-get install coturn, then run this again; nothing was changed")?;
    let (public_ip, private_ip) = addresses(options.public_ip)?;
    let mut plan = Plan::new(place);
    let turn_secret = plan.secret(place, TURN_SECRET)?;
    let admin_token = plan.secret(place, ADMIN_TOKEN)?;
    let made = WorkerPlan { controller, controller_token, admin_token, turn_secret, public_ip, private_ip };
    let config = policy::worker_config(&made);
    check(&config, Role::Worker)?;
    plan.units(place, "hydraneckwebrtc")?;
    let coturn_changes = plan.file(place, TURNSERVER, &coturn_config(&made), COTURN_MODE, turnserver)?;
    let config_changes = plan.file(place, CONFIG, &config, SECRET_MODE, 0)?;
    plan.enable(place, "coturn.service", coturn_changes.then_some("restart"));
    for name in place.names("/etc/wireguard") {
        if let Some(interface) = name.strip_suffix(".conf") {
            plan.enable(place, &format!("wg-quick@{interface}.service"), None);
        }
    }
    plan.enable(place, "hydraneckwebrtc.service", config_changes.then_some("reload"));
    Ok(plan)
}

fn controller(place: &Place, options: &SetupOptions) -> Result<Plan, String> {
    let domain = options.domain.clone().ok_or("setup controller needs --domain NAME")?;
    if !is_host_name(&domain) {
        return Err("--domain is a host name, like neck.example.com".into());
    }
    let mut plan = Plan::new(place);
    let admin_token = plan.secret(place, ADMIN_TOKEN)?;
    let workers_token = plan.secret(place, WORKERS_TOKEN)?;
    let config =
        policy::controller_config(&ControllerPlan { domain: domain.clone(), admin_token, workers_token });
    check(&config, Role::Controller)?;
    plan.units(place, "hydraneckwebrtc-controller")?;
    let config_changes = plan.file(place, CONFIG, &config, SECRET_MODE, 0)?;
    // It listens on ports that the service itself may not bind, so it comes first.
    plan.enable_socket(place, "hydraneckwebrtc-controller");
    plan.enable(place, "hydraneckwebrtc-controller.service", config_changes.then_some("reload"));
    plan.notes.push(format!(
        "on each worker: hydraneckwebrtc setup worker --controller https://{domain} --token-file FILE, where FILE is a copy of {WORKERS_TOKEN}"
    ));
    Ok(plan)
}

/// What would keep the role from its start is said before anything is written.
fn check(text: &str, role: Role) -> Result<(), String> {
    let environment = Environment::new([("HOME".into(), "/root".into())]);
    let source = Source { path: CONFIG.into(), text: text.into(), world_readable: false, environment };
    match config::load(&source, role) {
        Ok(_) => Ok(()),
        Err(problems) => {
            Err(format!("what was given makes no configuration; nothing was changed:\n{problems}"))
        }
    }
}

/// The public address, and our own behind a NAT.
fn addresses(given: Option<IpAddr>) -> Result<(IpAddr, Option<IpAddr>), String> {
    let own =
        interfaces::addresses().map_err(|error| format!("cannot list this host's addresses: {error}"))?;
    let public = match given {
        Some(public) => public,
        None => *own.iter().find(|ip| ip.is_ipv4() && !is_inside(**ip)).ok_or(
            "none of this host's addresses is public: say by --public-ip which one browsers reach coturn at",
        )?,
    };
    if own.contains(&public) {
        return Ok((public, None));
    }
    // No packet is sent: the kernel chooses the address that a packet would have.
    let any: IpAddr =
        if public.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let chosen = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(public, 9))?;
        socket.local_addr()
    });
    let private =
        chosen.map_err(|error| format!("no way leads from here to {public}: {error}; check --public-ip"))?;
    Ok((public, Some(private.ip())))
}

impl Plan {
    fn new(place: &Place) -> Plan {
        let dpkg = std::fs::read_to_string(place.path(DPKG)).unwrap_or_default();
        Plan { dpkg, changes: Vec::new(), theirs: Vec::new(), commands: Vec::new(), notes: Vec::new() }
    }

    /// The secret that is kept at `path`, or a new one.
    fn secret(&mut self, place: &Place, path: &str) -> Result<String, String> {
        if place.exists(path) {
            return config::read_secret(&place.path(path));
        }
        let text = to_hex(&entropy::bytes::<32>());
        let wanted = Wanted { path: path.into(), text: format!("{text}\n"), mode: SECRET_MODE, group: 0 };
        self.changes.push(Change { wanted, found: None });
        Ok(text)
    }

    /// A file with our mark; whether it is to be written.
    fn file(&mut self, place: &Place, path: &str, text: &str, mode: u32, group: u32) -> Result<bool, String> {
        let wanted = Wanted { path: path.into(), text: marked(text), mode, group };
        let Some(found) = place.read(path)? else {
            self.changes.push(Change { wanted, found: None });
            return Ok(true);
        };
        let wanted = match judge(&wanted.text, &found.text, &policy::packaged_sums(&self.dpkg, path)) {
            Judged::Same if place.fits(&found, mode, group) => return Ok(false),
            // Only its mode or group is another.
            Judged::Same => Wanted { text: found.text.clone(), ..wanted },
            Judged::Write => wanted,
            Judged::Theirs => {
                self.theirs.push((path.into(), difference(&found.text, &wanted.text)));
                return Ok(false);
            }
        };
        self.changes.push(Change { wanted, found: Some(found) });
        Ok(true)
    }

    /// Users, service and socket, where no package brought them.
    fn units(&mut self, place: &Place, name: &str) -> Result<(), String> {
        if place.exists(&format!("/usr/lib/systemd/system/{name}.service")) {
            return Ok(());
        }
        if self.file(place, SYSUSERS, policy::unit("sysusers"), PUBLIC_MODE, 0)? {
            self.commands.push(place.of_systemd("systemd-sysusers", &[]));
        }
        let mut is_changed = false;
        for unit in [format!("{name}.service"), format!("{name}.socket")] {
            let path = format!("/etc/systemd/system/{unit}");
            is_changed |= self.file(place, &path, policy::unit(&unit), PUBLIC_MODE, 0)?;
        }
        if is_changed && place.is_this_host() {
            self.commands.push(place.of_systemd("systemctl", &["daemon-reload"]));
            if place.is_active(&format!("{name}.service")) {
                self.notes.push(format!(
                    "the unit changed: systemctl restart {name}, when no session would be lost"
                ));
            }
        }
        if !place.exists(BINARY) {
            self.notes.push(format!("{BINARY} is not there, and the unit runs it: install it there"));
        }
        Ok(())
    }

    /// Has a service's socket listen, now and at boot. systemd gives no socket to a service that runs already.
    fn enable_socket(&mut self, place: &Place, name: &str) {
        let (socket, service) = (format!("{name}.socket"), format!("{name}.service"));
        if !place.is_this_host() || place.is_active(&socket) || !place.is_active(&service) {
            return self.enable(place, &socket, None);
        }
        if !place.is_enabled(&socket) {
            self.commands.push(place.of_systemd("systemctl", &["enable", &socket]));
        }
        self.notes.push(format!(
            "{socket} listens from the next boot on; at once, as a restart: systemctl stop {name} && systemctl start {socket} {service}"
        ));
    }

    /// Has a unit started, now and at boot. `changed`: what is done to one that runs already, because its file is another.
    fn enable(&mut self, place: &Place, unit: &str, changed: Option<&str>) {
        if !place.is_this_host() {
            if !place.is_enabled(unit) {
                self.commands.push(place.of_systemd("systemctl", &["enable", unit]));
            }
            return;
        }
        let is_active = place.is_active(unit);
        if !is_active || !place.is_enabled(unit) {
            self.commands.push(place.of_systemd("systemctl", &["enable", "--now", unit]));
        }
        if let Some(verb) = changed.filter(|_| is_active) {
            self.commands.push(place.of_systemd("systemctl", &[verb, unit]));
        }
    }
}

/// Does it, or says it.
fn carry_out(place: &Place, plan: Plan, is_dry: bool) -> Result<String, String> {
    if !plan.theirs.is_empty() {
        let mut text = String::from("these files are not as setup wrote them, so nothing was changed:\n");
        for (path, difference) in &plan.theirs {
            text.push_str(&format!("\n{path}: - as it is, + as setup would write it\n{difference}"));
        }
        text.push_str("\nTake over by hand what you want, or move a file away and run setup again.");
        return Err(text);
    }
    let mut text = String::new();
    let verb = |word: &str| if is_dry { format!("would {word}") } else { word.to_owned() };
    for Change { wanted, found } in &plan.changes {
        let Wanted { path, text: new, mode, group } = wanted;
        if !is_dry {
            place
                .write(path, new, *mode, *group)
                .map_err(|why| format!("{why}\nDone before that:\n{text}"))?;
        }
        text.push_str(&format!("{} {path} (mode {mode:04o}, group {group})\n", verb("write")));
        let old = found.as_ref().map_or("", |found| found.text.as_str());
        match *mode == SECRET_MODE && path != CONFIG {
            true => text.push_str("+ ***\n"),
            false => text.push_str(&difference(old, new)),
        }
    }
    for words in &plan.commands {
        if !is_dry {
            place.run(words).map_err(|why| format!("{why}\nDone before that:\n{text}"))?;
        }
        text.push_str(&format!("{} {}\n", verb("run"), words.join(" ")));
    }
    if text.is_empty() {
        text.push_str("nothing to do: everything is as setup makes it\n");
    }
    for note in &plan.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    if !is_dry {
        text.push_str("`hydraneckwebrtc doctor` says how this host is\n");
    }
    Ok(text)
}
