//! Checked settings of the edge.

use std::time::Duration;

/// `edge.*`: deadlines and caps of every connection. Reasons: `docs/design/edge.md`.
#[derive(Clone, Debug)]
pub struct Edge {
    /// `edge.threads`: event loops. Default: the number of cores, at most 8.
    pub threads: usize,
    /// `edge.tls_handshake_timeout`: from accept to the end of the TLS handshake. Default 10s.
    pub tls_handshake_timeout: Duration,
    /// `edge.header_timeout`: for a whole request head, from its first byte or from accept. Default 10s.
    pub header_timeout: Duration,
    /// `edge.keepalive_timeout`: idle time between requests. Default 60s.
    pub keepalive_timeout: Duration,
    /// `edge.body_idle_timeout`: silence within a request body. Default 30s.
    pub body_idle_timeout: Duration,
    /// `edge.send_idle_timeout`: a client that takes no byte of its reply for this long is dropped. Default 30s.
    pub send_idle_timeout: Duration,
    /// `edge.upstream_connect_timeout`. Default 5s.
    pub upstream_connect_timeout: Duration,
    /// `edge.upstream_head_timeout`: from the request's end to the reply's head. Default 60s (a create takes 45s).
    pub upstream_head_timeout: Duration,
    /// `edge.upstream_idle_timeout`: how long an idle upstream connection is kept; below the child's 5s. Default 4s.
    pub upstream_idle_timeout: Duration,
    /// `edge.tunnel_fin_timeout`: how long the other half of a half-closed tunnel may stay. Default 30s.
    pub tunnel_fin_timeout: Duration,
    /// `edge.websocket_pong`: silence towards a browser on a WebSocket after which it gets a Pong, below the time-outs of proxies
    /// and balancers (30s and more). Default 25s.
    pub websocket_pong: Duration,
    /// `edge.max_head_bytes`. Default 32768.
    pub max_head_bytes: usize,
    /// `edge.max_uri_bytes`. Default 8192.
    pub max_uri_bytes: usize,
    /// `edge.max_header_fields`. Default 100.
    pub max_header_fields: usize,
    /// `edge.control_body_limit`: bytes of a control API request body. Default 1048576.
    pub control_body_limit: u64,
    /// `edge.body_budget`: bytes that bodies of control API requests hold in memory, all together. Default 67108864.
    pub body_budget: u64,
    /// `edge.api_connections`: connections to the control API at once, each four descriptors and a thread. Default 32.
    pub api_connections: usize,
    /// `edge.api_queue`: control API requests that wait for one, operators' and others' each. Default 1024.
    pub api_queue: usize,
    /// `edge.api_queue_timeout`: how long one waits; then 503. Default 5s.
    pub api_queue_timeout: Duration,
    /// `edge.session_body_limit`: bytes of a request body to a session's page. Default 67108864.
    pub session_body_limit: u64,
    /// `edge.requests_per_connection`. Default 1000.
    pub requests_per_connection: u32,
    /// `edge.max_connections`: 0 means (descriptor limit − reserve) / 2. Default 0.
    pub max_connections: usize,
    /// `edge.max_connections_per_address`, and requests under way of one client behind a trusted proxy or a controller; at most half
    /// of all. Not applied to trusted proxies themselves and loopback. Default 256.
    pub max_connections_per_address: usize,
    /// `edge.rate_limit_per_address`: requests a second, ten seconds' worth at once; 0: no limit. Exempt as above. Default 500.
    pub rate_limit_per_address: u32,
    /// `edge.rate_limit_per_session`: the same for requests to one session, nobody exempt; a reserve of a quarter is for clients that
    /// ask for less than half of it. Default 200.
    pub rate_limit_per_session: u32,
}
