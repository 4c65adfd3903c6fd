//! What both roles tell Prometheus.

use std::sync::Arc;

use crate::api::counters::ApiCounters;
use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::config::live::Live;
use crate::config::settings::Role;
use crate::edge::counters::Counters;
use crate::host::clock::unix_millis;
use crate::host::process_stats::ProcessStats;
use crate::isolation;
use crate::logging;
use crate::metrics::exposition::{Exposition, Format};
use crate::metrics::table as t;
use crate::outbox::Outbox;
use crate::server::certificate_view::CertificateView;
use crate::update::checker::Updates;

/// What is counted in front of a role.
#[derive(Debug)]
pub struct FrontMetrics {
    /// By the edge.
    pub edge: Arc<Counters>,
    /// By the API.
    pub api: Arc<ApiCounters>,
    /// What was found of newer versions.
    pub updates: Updates,
    certificate: CertificateView,
    started_ms: u64,
}

/// What a role says of itself.
#[derive(Clone, Copy, Debug)]
pub struct RoleFacts {
    /// Which it is.
    pub role: Role,
    /// Whether sessions may come.
    pub ready: bool,
    /// What health tells in words.
    pub problems: usize,
    /// As health has it.
    pub wrong_tokens: u64,
}

impl FrontMetrics {
    /// Nothing is counted yet; this is the certificate.
    pub fn of(certificate: CertificateView, live: &Arc<Live>) -> FrontMetrics {
        let edge = Arc::new(Counters::default());
        let api = Arc::new(ApiCounters::beside(edge.limits.clone()));
        let updates = Updates::new(live.clone());
        FrontMetrics { edge, api, updates, certificate, started_ms: unix_millis() }
    }

    /// The answer to a scrape: what both roles write, then what `own` writes.
    pub fn answer(&self, call: &Call, facts: RoleFacts, own: impl FnOnce(&mut Exposition)) -> Answer {
        let format = Format::of_accept(call.header("Accept"));
        let mut page = Exposition::new(format);
        write_role(&mut page, facts);
        self.write_api(&mut page);
        self.write_edge(&mut page);
        own(&mut page);
        self.certificate.write(&mut page);
        page.value(&t::UPDATE_AVAILABLE, self.updates.is_available());
        self.write_process(&mut page);
        Answer::text(200, format.content_type(), page.finish())
    }

    fn write_api(&self, page: &mut Exposition) {
        page.tally(&t::CREATES, &self.api.creates);
        page.histogram(&t::CREATE_DURATION, &self.api.create_duration);
    }

    fn write_edge(&self, page: &mut Exposition) {
        let edge = &self.edge;
        page.value(&t::EDGE_CONNECTIONS, edge.connections.get());
        page.value(&t::EDGE_CONNECTIONS_MAX, edge.max_connections());
        page.value(&t::EDGE_ACCEPTED, edge.accepted.get());
        page.values(&t::EDGE_REQUESTS, edge.requests());
        page.value(&t::EDGE_RECEIVED, edge.received.get());
        page.value(&t::EDGE_SENT, edge.sent.get());
        page.value(&t::EDGE_TUNNELS, edge.tunnels.get());
        page.value(&t::EDGE_EVENT_STREAMS, edge.event_streams.get());
        page.tally(&t::EDGE_LIMITS, &edge.limits);
        page.tally(&t::EDGE_UPSTREAMS, &edge.failures);
        page.tally(&t::EDGE_HANDSHAKES, &edge.handshakes);
    }

    fn write_process(&self, page: &mut Exposition) {
        let stats = ProcessStats::read();
        page.value(&t::PROCESS_CPU, stats.cpu_seconds);
        page.value(&t::PROCESS_MEMORY, stats.resident);
        page.value(&t::PROCESS_VIRTUAL, stats.virtual_size);
        page.value(&t::PROCESS_FDS, stats.open_fds);
        page.value(&t::PROCESS_FDS_MAX, stats.max_fds);
        page.value(&t::PROCESS_THREADS, stats.threads);
        page.value(&t::PROCESS_START, std::time::Duration::from_millis(self.started_ms));
    }
}

/// What waits to be delivered.
pub fn write_outbox(page: &mut Exposition, outbox: &Outbox) {
    let figures = outbox.figures(unix_millis());
    page.value(&t::OUTBOX_ITEMS, figures.waiting);
    page.value(&t::OUTBOX_BYTES, figures.bytes);
    page.value(&t::OUTBOX_OVERDUE, figures.overdue);
    page.value(&t::OUTBOX_DEAD, figures.dead);
    page.value(&t::OUTBOX_REFUSED, figures.refused);
    page.values(&t::OUTBOX_DELIVERIES, outbox.deliveries().all());
}

fn write_role(page: &mut Exposition, facts: RoleFacts) {
    let log = logging::figures();
    page.values(&t::BUILD_INFO, [([env!("CARGO_PKG_VERSION"), facts.role.name()], 1u64)]);
    page.value(&t::READY, facts.ready);
    page.value(&t::PROBLEMS, facts.problems);
    page.value(&t::WRONG_TOKENS, facts.wrong_tokens);
    page.value(&t::PANICS, isolation::contained());
    page.value(&t::LOG_DROPPED, log.dropped);
    page.value(&t::LOG_HELD_BACK, log.held_back);
}
