//! A service of two controllers, as it is set up on hosts: each role, and each member of etcd, on a machine of its own. Bodies and the
//! receiver of records are in this process, on addresses that every machine reaches.

use serde_json::{Value, json};
use stand_ins::sunshine::{Body, BodyOptions, BodyPorts};

use crate::collector::{self, Collector};
use crate::etcd::{Etcd, Home};
use crate::http::{self, Reply};
use crate::lab::{Lab, Role, TOKEN, eventually};
use crate::machines::{Machine, Network};

/// Ports of Sunshine and hydrabody as they are.
const BODY_PORTS: BodyPorts = BodyPorts { http: 47989, management: 47990, hydrabody: 47991 };

/// The names of all controllers.
const CONTROLLERS: [&str; 2] = ["first", "second"];

/// A role and its machine.
pub struct Host {
    pub role: Role,
    pub machine: Machine,
}

/// Everything of one run. The roles go before what they need.
pub struct Fleet {
    pub controllers: Vec<Host>,
    pub workers: Vec<Host>,
    pub bodies: Vec<Body>,
    pub etcd: Etcd,
    /// The machines of etcd's members.
    pub stores: Vec<Machine>,
    /// Where browsers are.
    pub visitor: Machine,
    pub collector: Collector,
    pub net: Network,
    pub lab: Lab,
}

impl Fleet {
    /// Starts everything. `change` edits the configuration of each role, by its name: `first`, `second`, `w1` and so on.
    pub fn start(workers: usize, bodies: usize, change: &dyn Fn(&Lab, &str, &mut Value)) -> Fleet {
        let (mut net, mut lab) = (Network::default(), Lab::new());
        let stores: Vec<Machine> = (1..=3).map(|number| net.machine(&format!("e{number}"))).collect();
        let etcd = Etcd::start_at(&lab.dir, stores.iter().map(home).collect());
        let bodies = (0..bodies).map(|_| body(&mut net)).collect();
        let collector = Collector::start_on(net.own_address().into());
        let controllers: Vec<Host> = CONTROLLERS
            .iter()
            .map(|name| {
                let machine = net.machine(name);
                lab.starter = machine.starter();
                let role = lab.controller_named(name, |config| {
                    config["server"]["listen"] = json!(format!("{}:8080", machine.ip));
                    config["lease"] = json!({"etcd": etcd.urls()});
                    config.as_object_mut().expect("sections").remove("workers");
                    config["sessions"] = json!({"allowed_bodies": [Network::own_network()]});
                    change(&lab, name, config);
                });
                Host { role, machine }
            })
            .collect();
        let urls = urls(&controllers);
        let workers = (1..=workers)
            .map(|number| {
                let name = format!("w{number}");
                let machine = net.machine(&name);
                lab.starter = machine.starter();
                let role = lab.worker(&name, "", |config| {
                    configure(config, &machine, &urls, &collector);
                    change(&lab, &name, config);
                });
                Host { role, machine }
            })
            .collect();
        let visitor = net.machine("visitor");
        let fleet = Fleet { controllers, workers, bodies, etcd, stores, visitor, collector, net, lab };
        fleet.wait_until_whole();
        fleet
    }

    /// Waits until each controller hears of each worker and one of them leads.
    pub fn wait_until_whole(&self) {
        for Host { role, .. } in &self.controllers {
            eventually(&format!("{} hears of every worker", role.name), || {
                let text = role.get("/api/v1/workers").body;
                (text.matches("\"up\"").count() == self.workers.len()).then_some(())
            });
        }
        self.leader();
    }

    /// Waits until exactly one controller leads: which.
    pub fn leader(&self) -> usize {
        eventually("exactly one controller leads", || {
            let leads = |host: &Host| {
                http::get(&host.role.url, "/api/v1/health?ready", None).is_ok_and(|reply| reply.status == 200)
            };
            let leaders: Vec<usize> = (0..2).filter(|index| leads(&self.controllers[*index])).collect();
            let [leader] = leaders[..] else { return None };
            Some(leader)
        })
    }

    /// The address of a body.
    pub fn body_ip(&self, body: usize) -> String {
        self.bodies[body].ip().to_string()
    }

    /// Asks a controller for a session; `None` where nobody answers.
    pub fn create(&self, controller: usize, request: &Value) -> Option<Reply> {
        http::post(&self.controllers[controller].role.url, "/api/v1/sessions", Some(TOKEN), request).ok()
    }

    /// What is left of sessions at workers.
    pub fn left_at_workers(&self) -> Vec<String> {
        self.workers.iter().flat_map(|host| self.lab.left_overs(&host.role.name)).collect()
    }

    /// The same at bodies: clients that are paired or wait for it, and apps.
    pub fn left_at_bodies(&self) -> Vec<String> {
        let bodies = self.bodies.iter();
        let state =
            bodies.map(|body| (body.ip(), body.paired_clients(), body.waiting_clients(), body.running_app()));
        let used =
            state.filter(|(_, paired, waiting, app)| !paired.is_empty() || !waiting.is_empty() || *app != 0);
        used.map(|state| format!("{state:?}")).collect()
    }

    /// Cuts a controller from these machines, or mends it.
    pub fn cut<'m>(&self, controller: usize, others: impl Iterator<Item = &'m Machine>, on: bool) {
        let own = &self.controllers[controller].machine;
        for other in others {
            match on {
                true => self.net.cut(own, other),
                false => self.net.mend(own, other),
            }
        }
    }
}

/// Where these roles are asked.
pub fn urls(hosts: &[Host]) -> Vec<String> {
    hosts.iter().map(|host| host.role.url.clone()).collect()
}

/// Where a member of etcd is, on a machine of its own.
fn home(machine: &Machine) -> Home {
    Home { client: (machine.ip, 2379).into(), peer: (machine.ip, 2380).into(), starter: machine.starter() }
}

fn body(net: &mut Network) -> Body {
    let options = BodyOptions { ports: BODY_PORTS, ..BodyOptions::on(net.own_address().into()) };
    Body::start(&options).expect("a body")
}

/// A worker's part: as shipped, but for where things are.
fn configure(config: &mut Value, machine: &Machine, controllers: &[String], collector: &Collector) {
    config["server"]["listen"] = json!(format!("{}:47990", machine.ip));
    config["controller"] = json!({"urls": controllers, "token": TOKEN});
    config["bodies"] = json!({});
    // Nobody outside is asked.
    config["webrtc"] = json!({"ip_retrieval_url": "off"});
    config["sessions"]["allowed_bodies"] = json!([Network::own_network()]);
    // Browsers come by themselves: there is no relay here.
    config["sessions"]["force_relay"] = json!(false);
    config["nps"] = json!({"url": collector.url(), "token": collector::TOKEN});
}

/// What a controller's health says of its lease.
pub fn lease_of(controller: &Role) -> Value {
    controller.get("/api/v1/health").json()["extra"]["lease"].clone()
}

/// What a role's health says is wrong.
pub fn problems_of(role: &Role) -> String {
    role.get("/api/v1/health").json()["extra"]["problems"].to_string()
}

/// Asks a role to end every session that it does not list as ended, one after the other: what it answered.
pub fn end_sessions(role: &Role) -> Vec<Reply> {
    let sessions = role.sessions().into_iter().filter(|session| session["status"] != "ended");
    let ids = sessions.map(|session| session["id"].as_str().expect("an id").to_owned());
    ids.map(|id| role.delete(&format!("/api/v1/sessions/{id}"))).collect()
}
