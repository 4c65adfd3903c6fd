//! The controller: gives each request to the least-loaded worker and leads browsers to it.
//!
//! ```text
//! edge-N ──▶ owning worker        api-N ──asks──▶ fleet ──jobs──▶ dispatch-N ──HTTP──▶ worker
//!    └─────▶ api-N (unix socket)                   │  ▲               │
//!                        snapshot ◀──publishes─────┘  └─────reports───┘
//! ```

pub mod dispatch;
pub mod fleet_thread;
pub mod jobs;
pub mod key_store;
pub mod lease;
pub mod left_store;
pub mod messages;
pub mod metrics;
pub mod moves;
pub mod namespaces;
pub mod operators;
pub mod refusals;
pub mod rooms;
pub mod router;
pub mod service;
pub mod snapshot;
pub mod worker_address;
pub mod worker_client;
pub mod worker_names;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::api::auth::TokenGuard;
use crate::api::server::ApiServer;
use crate::config::live::Live;
use crate::config::settings::{OperatorListen, Settings};
use crate::controller::messages::Ask;
use crate::controller::worker_names::WorkerNames;
use crate::core::doctor::host::Preflight;
use crate::core::fleet::WorkerView;
use crate::core::limits::descriptors::Plan;
use crate::daemon::{ConfigOrigin, Daemon, RunError, Running};
use crate::edge::router::{Entrance, Uncounted};
use crate::edge::{Edge, Listener};
use crate::host::activation::{self, Passed};
use crate::host::clock::Clock;
use crate::host::crypto::{self, TlsConfig};
use crate::host::join;
use crate::host::private_dir::PrivateDir;
use crate::host::pulse::Pulses;
use crate::operator::router::OperatorRouter;
use crate::operator::watch::Operators;
use crate::outbox::OutboxThread;
use crate::server::announcer::{Announcer, Workers};
use crate::server::metrics::FrontMetrics;
use crate::server::{self, Certificates, Checker, Updates, listeners};
use dispatch::Dispatcher;
use fleet_thread::{FleetThread, Known};
use jobs::{Bounds, Jobs};
use key_store::KeyStore;
use lease::etcd::Etcd;
use lease::stored::StoredNamespaces;
use lease::{KEEP_PATIENCE, Leadership, LeaseThread, RESIGN_PATIENCE};
use left_store::LeftStore;
use namespaces::{Files, NamespaceRegistry, NamespaceService, NamespacesThread, Tell};
use rooms::routes::RoomRoutes;
use router::ControllerRouter;
use service::ControllerService;
use snapshot::Published;
use worker_client::WorkerClient;

/// The fleet thread comes round once a second.
const FLEET_SILENCE: Duration = Duration::from_secs(30);

/// A dispatch thread is silent for as long as a create may take, and then some.
const DISPATCH_SILENCE_MARGIN: Duration = Duration::from_secs(60);

/// The lease thread is silent for as long as a question to etcd may take: at most four calls.
const LEASE_SILENCE: Duration = Duration::from_secs(30);

/// What joining a thread may take once nothing is under way.
const JOIN_DEADLINE: Duration = Duration::from_secs(12);

/// What joining the thread `namespaces` may take: a change that etcd is asked for, and the files.
const NAMESPACES_DEADLINE: Duration = KEEP_PATIENCE.saturating_add(Duration::from_secs(2));

/// What joining the thread `lease` may take: the question that it is at, at most four calls of three seconds, and giving the lease back.
const LEASE_DEADLINE: Duration = Duration::from_secs(12).saturating_add(RESIGN_PATIENCE);

/// Stack of the fleet thread in bytes.
const STACK: usize = 512 * 1024;

/// Runs a controller until it is told to stop.
pub fn run(settings: Settings, origin: &ConfigOrigin) -> Result<(), RunError> {
    let passed = activation::take(origin.environment()).map_err(RunError)?;
    let daemon = Daemon::start(origin.environment())?;
    let mut controller = Controller::start(settings, passed, daemon.pulses())?;
    controller.check_updates(daemon.pulses())?;
    daemon.ready("running");
    daemon.run(&mut controller, Some(origin), true);
    Ok(())
}

/// What a controller would meet at its start.
pub fn preflight(settings: &Settings) -> Preflight {
    server::preflight::of(settings)
}

/// A running controller.
pub struct Controller {
    live: Arc<Live>,
    published: Arc<Published>,
    closing: Arc<AtomicBool>,
    address: SocketAddr,
    edge: Option<Edge>,
    api: Option<ApiServer>,
    fleet: Sender<Ask>,
    fleet_thread: Option<JoinHandle<()>>,
    namespaces: Option<JoinHandle<()>>,
    client: WorkerClient,
    jobs: Jobs,
    leadership: Leadership,
    lease: Option<JoinHandle<()>>,
    certificates: Certificates,
    announcer: Option<Announcer>,
    outbox: Option<OutboxThread>,
    tokens: (Arc<TokenGuard>, Clock),
    page: Page,
    updates: (Updates, Option<Checker>),
    /// Held as long as we live: nobody else may use our directory.
    _lock: File,
}

impl Controller {
    /// Starts a controller: sockets, those that were passed or new ones; threads.
    pub fn start(settings: Settings, passed: Vec<Passed>, pulses: &Pulses) -> Result<Controller, RunError> {
        let plan = server::descriptors(&settings);
        let listeners = listeners::open(&settings, passed)?;
        let address = server::own_address(&listeners)?;
        let listens_on = server::shown(&listeners, &settings);
        let (state, lock) = server::state_directory(&settings)?;
        let mut secured = server::secure(&settings)?;
        let mut certificates = Certificates::open(&settings, &state, &mut secured)?;
        let client = crypto::client_roots(settings.workers.ca_file.as_deref())
            .map_err(|error| RunError(format!("workers.ca_file: {error}")))?;
        let (clock, live, published) = (Clock::start(), Arc::new(Live::new(settings)), Arc::default());
        let (fleet, asks) = crossbeam_channel::unbounded();
        let jobs = Jobs::new(bounds(&live.get(), &plan));
        let sides = ((fleet.clone(), asks), jobs.clone());
        let (threads, leadership, namespaces) =
            start_threads(&live, &state, &published, sides, (address.port(), client), (clock, pulses))?;
        let (closing, tokens) = (Arc::new(AtomicBool::new(false)), Arc::new(TokenGuard::default()));
        let metrics = Arc::new(FrontMetrics::of(certificates.view(), &live));
        let (outbox, outbox_thread) = server::outbox(&state, &live, pulses)?;
        let (operators, awake) = Operators::new(live.clone());
        let page_address = page_address(&listeners);
        let service = Arc::new(ControllerService {
            page: page_address,
            live: live.clone(),
            published: published.clone(),
            fleet: fleet.clone(),
            jobs: jobs.clone(),
            names: WorkerNames::default(),
            leadership: leadership.clone(),
            closing: closing.clone(),
            tokens: tokens.clone(),
            certificate: certificates.view(),
            outbox: outbox.clone(),
            namespaces,
            metrics: metrics.clone(),
            clock,
        });
        let source = service.clone();
        let rooms = RoomRoutes::new(service.rooms(), live.clone(), closing.clone());
        let api = server::api(&state, &live.get(), service, (&plan, pulses))?;
        let router = own_router(rooms, &published, &live, (&api, &fleet), clock);
        let page = Page::start((operators, page_address), (source, awake), &live.get(), pulses)?;
        let router = page.in_front_of(router, &live);
        let run = (&plan, pulses, &metrics.edge);
        let edge = server::edge(&live.get(), &secured, listeners, Arc::new(router), run)?;
        certificates.start(pulses)?;
        let workers = watched(published.clone(), live.clone(), (leadership.clone(), clock));
        let announcer =
            Announcer::start(&state, (outbox, live.clone()), certificates.view(), Some(workers), pulses)?;
        log::info!("[controller] listens on {listens_on}");
        Ok(Controller {
            live,
            published,
            closing,
            address,
            edge: Some(edge),
            api: Some(api),
            fleet,
            fleet_thread: Some(threads.fleet),
            namespaces: Some(threads.namespaces),
            client: threads.client,
            jobs,
            leadership,
            lease: threads.lease,
            certificates,
            announcer: Some(announcer),
            outbox: Some(outbox_thread),
            tokens: (tokens, clock),
            page,
            updates: (metrics.updates.clone(), None),
            _lock: lock,
        })
    }

    /// Starts to look for newer versions. They need not wait for anybody: sessions go on without us.
    fn check_updates(&mut self, pulses: &Pulses) -> Result<(), RunError> {
        let (updates, checker) = &mut self.updates;
        *checker = Some(server::check_updates(updates, &self.live.get(), || false, pulses)?);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the operators' page is, unless it is nowhere of its own.
    pub fn page_address(&self) -> Option<SocketAddr> {
        self.page.address
    }
}

/// The operators' page, and its thread.
struct Page {
    operators: Arc<Operators>,
    thread: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
}

impl Page {
    /// Without a place where it is shown there is no thread.
    fn start(
        (operators, address): (Arc<Operators>, Option<SocketAddr>),
        (source, awake): (Arc<ControllerService>, Receiver<()>),
        settings: &Settings,
        pulses: &Pulses,
    ) -> Result<Page, RunError> {
        let server = &settings.server;
        if server.operator_listen == OperatorListen::Nowhere && !server.operator_on_public {
            return Ok(Page { operators, thread: None, address });
        }
        let beat = server::beat(pulses, "operators", FLEET_SILENCE);
        let run = operators.clone();
        let thread = server::thread("operators", STACK, move || run.run(&*source, &awake, &beat))?;
        Ok(Page { operators, thread: Some(thread), address })
    }

    /// The page's routes before those of everybody.
    fn in_front_of(&self, router: ControllerRouter, live: &Arc<Live>) -> OperatorRouter {
        OperatorRouter {
            gate: router.api.clone(),
            inner: Arc::new(router),
            operators: self.operators.clone(),
            live: live.clone(),
            on_public: live.get().server.operator_on_public,
        }
    }

    fn stop(&mut self) {
        self.operators.stop();
        self.thread.take().and_then(|thread| join::within(thread, JOIN_DEADLINE));
    }
}

fn page_address(listeners: &[Listener]) -> Option<SocketAddr> {
    let mut of_operators =
        listeners.iter().filter(|listener| matches!(listener.entrance, Entrance::Operators { .. }));
    let address = of_operators.next()?.socket.local_addr().ok()?;
    log::info!("[operator] the operators' page is at {address}");
    Some(address)
}

fn own_router(
    rooms: RoomRoutes,
    published: &Arc<Published>,
    live: &Arc<Live>,
    (api, asks): (&ApiServer, &Sender<Ask>),
    clock: Clock,
) -> ControllerRouter {
    ControllerRouter {
        rooms,
        fleet: published.clone(),
        live: live.clone(),
        api: api.gate(),
        asks: asks.clone(),
        clock,
        uncounted: Arc::new(Uncounted),
    }
}

/// The threads that know and tell.
struct Threads {
    fleet: JoinHandle<()>,
    namespaces: JoinHandle<()>,
    client: WorkerClient,
    lease: Option<JoinHandle<()>>,
}

fn start_threads(
    live: &Arc<Live>,
    state: &PrivateDir,
    published: &Arc<Published>,
    ((fleet, asks), jobs): ((Sender<Ask>, Receiver<Ask>), Jobs),
    (port, roots): (u16, TlsConfig),
    (clock, pulses): (Clock, &Pulses),
) -> Result<(Threads, Leadership, NamespaceService), RunError> {
    let known = known_workers(state)?;
    let (registry, files) = NamespaceRegistry::open(state, live.clone(), clock);
    let files = Files::new(files, &registry);
    let (leadership, lease) = start_lease(live, (&fleet, &registry), port, (clock, pulses))?;
    let given = (jobs.clone(), leadership.clone(), asks);
    let fleet_thread = start_fleet(live, known, (published, &registry), given, (clock, pulses))?;
    let client = WorkerClient::new(live.clone(), published.clone(), roots, (leadership.clone(), clock));
    let kept = (files, leadership.clone());
    let (service, namespaces) = start_namespaces(registry, kept, client.clone(), pulses)?;
    open_jobs(&jobs, &live.get(), Dispatcher { fleet, client: client.clone(), clock }, pulses);
    Ok((Threads { fleet: fleet_thread, namespaces, client, lease }, leadership, service))
}

/// What is known of workers that were here before.
fn known_workers(state: &PrivateDir) -> Result<Known, RunError> {
    let open = || Ok(Known { keys: KeyStore::open(state.path())?, left: LeftStore::open(state.path())? });
    open().map_err(|error: io::Error| {
        let advice = "the workers' keys are kept there: it must be writable and belong to the service's user";
        RunError(format!("server.state_dir: {}: {error}; {advice}", state.path().display()))
    })
}

fn start_fleet(
    live: &Live,
    known: Known,
    (published, namespaces): (&Arc<Published>, &NamespaceRegistry),
    (jobs, leadership, asks): (Jobs, Leadership, Receiver<Ask>),
    (clock, pulses): (Clock, &Pulses),
) -> Result<JoinHandle<()>, RunError> {
    let settings = live.get();
    let beat = server::beat(pulses, "fleet", FLEET_SILENCE);
    let told = (published.clone(), namespaces.clone());
    let fleet = FleetThread::new(&settings, known, (jobs, leadership), told, (clock, beat));
    server::thread("fleet", STACK, move || fleet.run(&asks))
}

fn start_namespaces(
    registry: NamespaceRegistry,
    (files, leadership): (Files, Leadership),
    client: WorkerClient,
    pulses: &Pulses,
) -> Result<(NamespaceService, JoinHandle<()>), RunError> {
    let (tell, orders) = Tell::new();
    let beat = server::beat(pulses, "namespaces", FLEET_SILENCE);
    let service = NamespaceService { registry: registry.clone(), tell };
    let thread = NamespacesThread { registry, files, leadership, client, beat };
    Ok((service, server::thread("namespaces", STACK, move || thread.run(&orders))?))
}

/// Starts the thread that asks who leads; without `lease` there is none, and this controller does.
fn start_lease(
    live: &Arc<Live>,
    (fleet, namespaces): (&Sender<Ask>, &NamespaceRegistry),
    port: u16,
    (clock, pulses): (Clock, &Pulses),
) -> Result<(Leadership, Option<JoinHandle<()>>), RunError> {
    let settings = live.get();
    let Some(config) = &settings.lease else { return Ok((Leadership::alone(), None)) };
    let tls = crypto::client_of(config).map_err(RunError)?;
    let own_url = config.own_url(&settings, port).unwrap_or_default();
    let etcd = Etcd::new(config.clone(), own_url.clone(), tls);
    let beat = server::beat(pulses, "lease", LEASE_SILENCE);
    let store = (etcd, StoredNamespaces::new(live.clone(), namespaces.clone()));
    let (lease, leadership) = LeaseThread::new((config.ttl, own_url), store, fleet.clone(), (clock, beat));
    let thread = server::thread("lease", STACK, move || lease.run())?;
    Ok((leadership, Some(thread)))
}

/// How many calls to workers are made at once.
fn bounds(settings: &Settings, plan: &Plan) -> Bounds {
    Bounds {
        creates: plan.creates_at_once,
        calls: plan.calls_at_once,
        waiting: settings.workers.dispatch_queue,
    }
}

fn open_jobs(jobs: &Jobs, settings: &Settings, dispatcher: Dispatcher, pulses: &Pulses) {
    let silence = settings.sessions.create_timeout + DISPATCH_SILENCE_MARGIN;
    let pulses = pulses.clone();
    jobs.open(move |job| dispatcher.carry_out(job), move |name| server::passing_beat(&pulses, name, silence));
}

impl Running for Controller {
    fn name(&self) -> &'static str {
        "controller"
    }

    fn settings(&self) -> Settings {
        (*self.live.get()).clone()
    }

    fn reload(&mut self, settings: Settings) {
        self.certificates.reload(&settings);
        let (tokens, clock) = &self.tokens;
        tokens.reloaded(&self.live.get(), &settings, clock.now());
        self.live.set(settings.clone());
        // Last: the fleet brings up to date what was made by the settings before.
        let _ = self.fleet.send(Ask::Reconfigure(Box::new(settings)));
    }

    fn tick(&mut self) {
        self.certificates.look(Instant::now());
    }

    fn drain(&mut self) {
        self.closing.store(true, Ordering::Release);
        let _ = self.fleet.send(Ask::Close);
    }

    /// Creates under way are waited for; sessions live on without us.
    fn is_idle(&self) -> bool {
        self.published.counts().reserved == 0
    }

    fn finish(&mut self, hurried: bool) {
        server::last_call(self.edge.as_ref(), hurried);
        // It looks through the API's eyes: nobody asks for changes of namespaces once both are gone.
        self.page.stop();
        self.certificates.stop();
        let _ = self.fleet.send(Ask::Stop);
        self.fleet_thread.take().and_then(|thread| join::within(thread, JOIN_DEADLINE));
        if let Some(edge) = self.edge.take() {
            server::stop_edge(edge, JOIN_DEADLINE);
        }
        if let Some(api) = self.api.take() {
            api.stop();
        }
        self.jobs.stop(JOIN_DEADLINE, || self.client.interrupt());
        // With the API the last goes who can ask for changes of namespaces. Workers get their copies with heartbeats, too.
        self.client.interrupt();
        self.namespaces.take().and_then(|thread| join::within(thread, NAMESPACES_DEADLINE));
        // When no create is under way any more: the next leader may begin at once.
        self.leadership.stop();
        self.lease.take().and_then(|thread| join::within(thread, LEASE_DEADLINE));
        // Last: what puts something in has ended.
        self.announcer.take().into_iter().for_each(Announcer::stop);
        self.updates.1.take().into_iter().for_each(Checker::stop);
        self.outbox.take().into_iter().for_each(OutboxThread::stop);
    }
}

/// The workers, for those who tell of their conditions.
fn watched(published: Arc<Published>, live: Arc<Live>, (leadership, clock): (Leadership, Clock)) -> Workers {
    Box::new(move |look| {
        let now = clock.now();
        let snapshot = published.get(now);
        // The clock starts with us: who lives has had time for a beat.
        let settled = now.0 >= live.get().workers.heartbeat_timeout.as_millis() as u64;
        let workers: Vec<WorkerView> = snapshot.workers().collect();
        // Each event is told once, by the controller that leads.
        let tells = settled && snapshot.settling(now).is_none() && leadership.number(now).is_ok();
        look(now, &workers, tells);
    })
}
