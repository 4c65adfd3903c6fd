//! What the operators' page shows of a controller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::live::Live;
use crate::controller::lease::Leadership;
use crate::controller::namespaces::NamespaceRegistry;
use crate::controller::service::{ControllerService, all_problems};
use crate::controller::snapshot::Published;
use crate::core::operator::board::Look;
use crate::core::operator::history::Counted;
use crate::front::certificate_view::CertificateView;
use crate::front::metrics::FrontMetrics;
use crate::host::clock::{Clock, unix_millis};
use crate::operator::watch::Source;
use crate::outbox::Outbox;

/// Reads what the fleet thread publishes.
pub struct FleetSource {
    /// What the fleet thread published.
    pub published: Arc<Published>,
    /// What is counted in front of us.
    pub metrics: Arc<FrontMetrics>,
    /// The certificate, where there is one.
    pub certificate: CertificateView,
    /// Events on their way.
    pub outbox: Outbox,
    /// Namespaces and what lacks for them.
    pub namespaces: NamespaceRegistry,
    /// The settings in force.
    pub live: Arc<Live>,
    /// Who leads.
    pub leadership: Leadership,
    /// We are going down.
    pub closing: Arc<AtomicBool>,
    /// The clock of the fleet thread.
    pub clock: Clock,
}

impl FleetSource {
    /// Sees what the API sees.
    pub fn beside(service: &ControllerService) -> FleetSource {
        FleetSource {
            published: service.published.clone(),
            metrics: service.metrics.clone(),
            certificate: service.certificate.clone(),
            outbox: service.outbox.clone(),
            namespaces: service.namespaces.registry.clone(),
            live: service.live.clone(),
            leadership: service.leadership.clone(),
            closing: service.closing.clone(),
            clock: service.clock,
        }
    }
}

impl Source for FleetSource {
    fn look(&self, with_sessions: bool) -> Look {
        let now = self.clock.now();
        let snapshot = self.published.get(now);
        let rest = (&self.outbox, &self.namespaces, &*self.live.get());
        let mut problems = all_problems(&snapshot, true, &self.certificate, rest);
        problems.extend(self.leadership.problems(now, true));
        Look {
            now: unix_millis(),
            old: now.since(snapshot.taken),
            workers: snapshot.workers().collect(),
            sessions: with_sessions.then(|| snapshot.sessions().collect()),
            counts: snapshot.counts,
            problems,
            closing: self.closing.load(Ordering::Acquire),
            settling: snapshot.settling(now).is_some(),
        }
    }

    fn counted(&self) -> Counted {
        let sum = |good: bool| {
            let creates = self.metrics.api.creates.iter();
            // What the caller did wrong is no failure of ours.
            let wanted = creates.filter(|(status, _)| match good {
                true => status.starts_with('2'),
                false => status.starts_with('5'),
            });
            wanted.map(|(_, count)| count).sum()
        };
        Counted { active: self.published.counts().active, created: sum(true), failed: sum(false) }
    }
}
