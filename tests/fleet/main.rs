//! Whole fleets on machines of their own: two controllers with a lease in real etcd, workers, bodies, and browsers that watch while
//! machines die and are cut from each other. `tests/fleet/pairs` and `tests/fleet/soak` run what takes minutes.

#[path = "../whep/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../support/collector.rs"]
#[allow(dead_code)]
mod collector;
#[path = "../support/etcd.rs"]
#[allow(dead_code)]
mod etcd;
mod fleet;
#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;
mod machines;
mod pages;
mod pairs;
mod people;
#[path = "../sim/rng.rs"]
#[allow(dead_code)]
mod rng;
mod soak;
mod standing;
mod troubles;
mod watch;
