//! `lease.*` of a controller: several controllers of one service, of which one leads.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::secret::Secret;

/// Where the lease is kept, and how long a leader that does not renew it has it.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// `lease.etcd`: URLs of etcd's members, `http[s]://host:port`.
    pub etcd: Vec<String>,
    /// `lease.url`: where this controller is reached, and no other one: the others name it to callers while it leads. Default:
    /// `server.public_url`, `server.domain`, or the address of `server.listen`.
    pub url: Option<String>,
    /// `lease.ttl`: how long nobody leads at most after a leader's end. Default 10s.
    pub ttl: Duration,
    /// `lease.prefix`: below it is everything that controllers keep in etcd. Default `/hydraneckwebrtc/`.
    pub prefix: String,
    /// `lease.username`: etcd's user. Empty: none.
    pub username: String,
    /// `lease.password`: of that user.
    pub password: Secret,
    /// `lease.secret`: what namespaces are sealed with in etcd, the same on every controller. Empty: `server.admin_token`, which is the same
    /// there anyway.
    pub secret: Secret,
    /// `lease.ca_file`: PEM; the authorities believed for `https://` members, instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// `lease.cert`: PEM; the certificate shown to etcd.
    pub cert: Option<PathBuf>,
    /// `lease.key`: PEM; its key.
    pub key: Option<PathBuf>,
    /// `lease.floor`: added to each number of a lease, for an etcd that was set up anew and counts from the beginning. Default 0.
    pub floor: u64,
}
