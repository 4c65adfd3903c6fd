//! The edge against scripted clients and upstreams on loopback.

mod support;
#[allow(dead_code, reason = "shared with tests/tls_fleet.rs")]
mod tls_pipe;

mod api;
mod bodies;
mod deadlines;
mod events;
mod failing_upstreams;
mod forwarding;
mod hygiene;
mod injection;
mod lifecycle;
mod names;
mod rates;
mod slow;
mod throughput;
mod tls;
mod torture;
mod tunnels;
mod websockets;
