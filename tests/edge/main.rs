//! The edge against scripted clients and upstreams on loopback.

mod support;

mod bodies;
mod deadlines;
mod forwarding;
mod hygiene;
mod injection;
mod lifecycle;
mod throughput;
mod torture;
mod tunnels;
