//! What the stand-in remembers in `server/data.json`: hosts and users, over a restart too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hosts::ServerInfo;

/// A GameStream host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Host {
    /// As the client named it; `ip:port` is not taken.
    pub address: String,
    /// GameStream HTTP.
    pub http_port: u16,
    /// What the host calls itself.
    pub name: String,
    /// Who added it: nobody else sees it, and the host knows this name as the client's unique id.
    pub owner: String,
    /// Whether it is paired, as far as we know: a host that forgot us is not asked.
    pub paired: bool,
    /// In the real file this is the pairing's private key; here a word that must never be seen outside.
    pub client_private_key: String,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Data {
    version: u32,
    users: BTreeSet<String>,
    hosts: BTreeMap<u32, Host>,
}

/// The file and where it is.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    data: Data,
}

impl State {
    /// Reads the file or makes it, with the process's umask.
    pub fn open(path: &Path) -> io::Result<State> {
        let data = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Data { version: 2, ..Data::default() },
            Err(error) => return Err(error),
        };
        let state = State { path: path.to_path_buf(), data };
        state.save()?;
        Ok(state)
    }

    fn save(&self) -> io::Result<()> {
        fs::write(&self.path, serde_json::to_vec_pretty(&self.data)?)
    }

    /// Whether the user is known or may be made.
    pub fn admit(&mut self, user: &str, create: bool) -> bool {
        if self.data.users.contains(user) {
            return true;
        }
        if create {
            self.data.users.insert(user.to_owned());
            self.keep();
        }
        create
    }

    /// Adds a host and gives it an id. The same address twice is two hosts: the real one does not look.
    pub fn add_host(&mut self, owner: &str, address: &str, http_port: u16, info: &ServerInfo) -> (u32, Host) {
        let id = self.data.hosts.keys().next_back().map_or_else(first_host_id, |last| last.wrapping_add(1));
        let host = Host {
            address: address.to_owned(),
            http_port,
            name: info.name.clone(),
            owner: owner.to_owned(),
            paired: info.paired,
            client_private_key: String::from("STAND-IN-PRIVATE-KEY-CANARY"),
        };
        self.data.hosts.insert(id, host.clone());
        self.keep();
        (id, host)
    }

    /// The user's host of that id.
    pub fn host(&self, id: u32, user: &str) -> Option<&Host> {
        self.data.hosts.get(&id).filter(|host| host.owner == user)
    }

    /// Every host of the user.
    pub fn hosts(&self, user: &str) -> impl Iterator<Item = (u32, &Host)> {
        self.data.hosts.iter().filter(move |(_, host)| host.owner == user).map(|(id, host)| (*id, host))
    }

    /// Remembers that the host is paired. `None`: it was forgotten meanwhile.
    pub fn set_paired(&mut self, id: u32) -> Option<Host> {
        let host = self.data.hosts.get_mut(&id)?;
        host.paired = true;
        let host = host.clone();
        self.keep();
        Some(host)
    }

    /// Forgets a host of the user.
    pub fn forget(&mut self, id: u32, user: &str) -> bool {
        let known = self.host(id, user).is_some();
        if known {
            self.data.hosts.remove(&id);
            self.keep();
        }
        known
    }

    fn keep(&self) {
        if let Err(error) = self.save() {
            super::log_line("ERROR", &format!("failed to write {}: {error}", self.path.display()));
        }
    }
}

impl Host {
    /// How a reply shows it. `info` is what it answered just now; without the question its state is unknown.
    pub fn shown(&self, id: u32, info: Option<&ServerInfo>) -> Value {
        self.record(id, info.map(|info| info.state), info.map_or(0, |info| info.current_game))
    }

    /// How a reply shows it when it did not answer.
    pub fn shown_offline(&self, id: u32) -> Value {
        self.record(id, Some("Offline"), 0)
    }

    fn record(&self, id: u32, state: Option<&str>, current_game: u32) -> Value {
        json!({
            "host_id": id,
            "name": self.name,
            "address": self.address,
            "http_port": self.http_port,
            "paired": if self.paired { "Paired" } else { "NotPaired" },
            "server_state": state,
            "current_game": current_game,
        })
    }
}

/// By chance, as the real one: nobody's page fits another process.
fn first_host_id() -> u32 {
    // The numbers after it follow without a wrap.
    (RandomState::new().hash_one("host") >> 33) as u32 + 1
}
