//! The worker: runs sessions on this host.
//!
//! ```text
//! edge-N ──▶ child of the session         api-N ──orders──▶ cleanup ──spawns──▶ session-ID ──▶ child
//!    └─────▶ api-N (unix socket)                              ▲                    │
//!                                       heartbeat ──orders────┘◀─────finished──────┘
//!            registry: what everybody may look up; its owners publish into it
//! ```

pub mod answers;
pub mod bodies;
pub mod body_distance;
pub mod browsers;
pub mod checks;
pub mod child_api;
pub mod child_log;
pub mod confinement;
pub mod counters;
pub mod data_dir;
pub mod engines;
pub mod events;
pub mod fence;
pub mod figures;
pub mod following;
pub mod gate;
pub mod health;
pub mod heartbeat;
pub mod ice;
pub mod ice_page;
pub mod identity;
pub mod kept_pairings;
pub mod laps;
pub mod leaked_streamers;
pub mod mailbox;
pub mod memory;
pub mod metrics;
pub mod mic;
pub mod mic_slot;
pub mod moves;
pub mod namespaces;
pub mod on_body;
pub mod operations;
pub mod order;
pub mod pairing_turns;
pub mod ports;
pub mod preflight;
pub mod prepare;
pub mod probe_policy;
pub mod process_probe;
pub mod process_tree;
pub mod public_address;
pub mod rating;
pub mod reach;
pub mod registry;
pub mod ring;
pub mod rooms;
pub mod router;
pub mod service;
pub mod session_context;
pub mod session_store;
pub mod sessions;
pub mod set_up;
pub mod settle;
pub mod source_trouble;
pub mod sources;
pub mod stamps;
pub mod standing;
pub mod step;
pub mod story;
pub mod streamers;
pub mod supervisor;
pub mod sweep;
pub mod whip;
pub mod whip_legs;

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::api::auth::TokenGuard;
use crate::api::server::ApiServer;
use crate::config::live::Live;
use crate::config::settings::{ControllerLink, Settings};
use crate::core::fleet::wire::Generation;
use crate::core::ids::WorkerId;
use crate::core::limits::descriptors::Plan;
use crate::core::limits::rate_limit::Rate;
use crate::core::session::reason::EndReason;
use crate::daemon::{ConfigOrigin, Daemon, RunError, Running};
use crate::edge::{Edge, Listener};
use crate::engine::moonlight::installed::Installed;
use crate::host::activation::{self, Passed};
use crate::host::clock::Clock;
use crate::host::crypto::{self, TlsConfig};
use crate::host::identity_key::{self, IdentityKey};
use crate::host::private_dir::PrivateDir;
use crate::host::pulse::Pulses;
use crate::host::sandbox::Support;
use crate::host::wireguard::WireGuard;
use crate::host::{join, process};
use crate::media::config::MediaConfig;
use crate::media::{Media, MediaThreads};
use crate::outbox::OutboxThread;
use crate::server::announcer::Announcer;
use crate::server::metrics::FrontMetrics;
use crate::server::{self, Certificates, Checker, Secured, Updates, listeners};
use crate::worker::order::Order;
use bodies::{Bodies, BodiesThread};
use browsers::Browsers;
use checks::Checks;
use data_dir::DataDir;
use fence::LeaseFence;
use health::{Flags, Health};
use heartbeat::Pulse;
use identity::{Identity, IdentityFile};
use memory::Memory;
use namespaces::access::RoomAccess;
use namespaces::relay_checks::{RelayCheckThread, RelayChecks};
use public_address::AddressThread;
use registry::SessionRegistry;
use ring::{Ear, Ring};
use rooms::routes::RoomRoutes;
use rooms::{Rooms, RoomsService};
use router::WorkerRouter;
use service::WorkerService;
use sessions::{Sessions, WorkerContext};
use stamps::Stamps;
use standing::Standing;
use whip::Whip;
use whip_legs::MediaLegs;

/// The `cleanup` thread comes round every two seconds.
const ROSTER_SILENCE: Duration = Duration::from_secs(30);

/// The `heartbeat` thread is silent for as long as a beat may take.
const HEARTBEAT_SILENCE: Duration = Duration::from_secs(30);

/// What ending every session may take beyond `sessions.stop_grace`.
const END_MARGIN: Duration = Duration::from_secs(15);

/// What joining the edge may take.
const JOIN_DEADLINE: Duration = Duration::from_secs(12);

/// What joining a media thread may take: it says good-bye to its peers, which takes milliseconds.
const MEDIA_DEADLINE: Duration = Duration::from_secs(5);

/// How long start-up waits for the first heartbeat attempt.
const FIRST_BEAT: Duration = Duration::from_secs(15);

/// Stack of the `cleanup` and `heartbeat` threads in bytes: JSON and an HTTP client.
const STACK: usize = 512 * 1024;

/// Runs a worker until it is told to stop.
pub fn run(settings: Settings, origin: &ConfigOrigin) -> Result<(), RunError> {
    let passed = activation::take(origin.environment()).map_err(RunError)?;
    let daemon = Daemon::start(origin.environment())?;
    let mut worker = Worker::start(settings, passed, daemon.pulses())?;
    worker.check_updates(daemon.pulses())?;
    worker.wait_for_first_beat();
    daemon.ready("running");
    daemon.run(&mut worker, Some(origin), true);
    Ok(())
}

/// Signs heartbeats, and the file where the rest of our identity is kept.
type Signer = Arc<(IdentityKey, IdentityFile)>;

/// A running worker.
pub struct Worker {
    live: Arc<Live>,
    registry: Arc<SessionRegistry>,
    flags: Arc<Flags>,
    address: SocketAddr,
    edge: Option<Edge>,
    api: Option<ApiServer>,
    orders: Sender<Order>,
    sessions: Option<JoinHandle<()>>,
    changed: Ring,
    heartbeats: Vec<JoinHandle<()>>,
    first_beat: Receiver<()>,
    outbox: Option<OutboxThread>,
    bodies: Option<BodiesThread>,
    address_thread: AddressThread,
    certificates: Certificates,
    announcer: Option<Announcer>,
    tokens: (Arc<TokenGuard>, Clock),
    /// `server.worker_id` as the file has it.
    configured_id: Option<WorkerId>,
    media: Option<MediaThreads>,
    rooms: Option<RoomsService>,
    relay_checks: Option<RelayCheckThread>,
    updates: (Updates, Option<Checker>),
    /// Held as long as we live: nobody else may use our directories.
    _locks: Vec<File>,
}

/// What exists before any thread.
struct Ground {
    listeners: Vec<Listener>,
    secured: Secured,
    certificates: Certificates,
    roots: TlsConfig,
    state: PrivateDir,
    root: Arc<DataDir>,
    locks: Vec<File>,
}

impl Worker {
    /// Starts a worker: sockets, those that were passed or new ones; sweep, threads. Nothing of an earlier run is touched before
    /// the port is ours.
    pub fn start(mut settings: Settings, passed: Vec<Passed>, pulses: &Pulses) -> Result<Worker, RunError> {
        let plan = server::descriptors(&settings);
        let ground = prepare_ground(&settings, passed)?;
        let address = server::own_address(&ground.listeners)?;
        let listens_on = server::shown(&ground.listeners, &settings);
        process::become_subreaper()
            .map_err(|error| RunError(format!("cannot become a sub-reaper: {error}")))?;
        let root = ground.root.get().map_err(|error| RunError(error.to_string()))?;
        report_sweep(sweep::sweep(&root));
        let wireguard = WireGuard::default();
        warn_of_host(&settings, &wireguard);
        let identity = settle_identity(&ground, &settings)?;
        let (id, generation) = (identity.id, identity.generation);
        let configured_id = settings.server.worker_id.replace(id.clone());
        let mut media = MediaConfig::new(&settings);
        media.tcp_connections = plan.ice_tcp_each;
        let (media, media_threads) =
            Media::start(media, pulses).map_err(|error| RunError(error.to_string()))?;
        let live = Arc::new(Live::new(settings));
        let (ring, ears) =
            Ring::new(live.get().controller.iter().flat_map(ControllerLink::all).count().max(1));
        let (registry, clock) = (Arc::new(SessionRegistry::default()), Clock::start());
        let memory = Memory::start(&ground.state, &live, &registry, clock, pulses)?;
        let checks = Checks { live: live.clone(), data_dir: ground.root.clone(), registry: registry.clone() };
        let installed = Installed::look(&live.get().sessions.web_server);
        log::info!("[worker] moonlight-web-stream: {}: {}", installed.name(), installed.meaning());
        let fence = open_fence(&ground.state, (generation, clock), &ring)?;
        let standing = Arc::new(Standing::new(identity.heartbeats_only));
        let room_access = RoomAccess::open(&ground.state, live.clone(), standing.clone());
        let members = Box::new(media.clone());
        let rooms = RoomsService::start(&ground.state, room_access.clone(), members, (clock, pulses))?;
        let (relays, relay_checks) = start_relay_checks(&room_access, &live, pulses)?;
        let health = Health {
            rooms: rooms.rooms(),
            relays,
            room_access,
            live: live.clone(),
            registry,
            outbox: memory.outbox,
            flags: Arc::new(Flags::default()),
            checks,
            state_dir: ground.state.path().to_owned(),
            store: memory.store.clone(),
            wireguard,
            installed: Arc::new(installed),
            tokens: Arc::default(),
            certificate: ground.certificates.view(),
            metrics: Arc::new(FrontMetrics::of(ground.certificates.view(), &live)),
            media,
            standing,
            fence,
            key: identity_key::fingerprint(identity.key.public()),
            clock,
        };
        let telling = (health.outbox.clone(), health.live.clone());
        // Here the certificate alone is told of by it.
        let start = || Announcer::start(&ground.state, telling, health.certificate.clone(), None, pulses);
        let announcer = health.live.get().serves_tls().then(start).transpose()?;
        let bodies = Arc::new(Bodies::open(&ground.state, &health.live, clock)?);
        warn_of_hindrances(&health.checks);
        let signer = Arc::new((identity.key, identity.file));
        let (heart, front) = ((Arc::new(Stamps::new(generation)), signer, ring, ears), (address, plan));
        let mut worker = Worker::start_threads(ground, health, bodies.clone(), heart, front, pulses)?;
        worker.certificates.start(pulses)?;
        worker.bodies = Some(BodiesThread::start(bodies)?);
        worker.configured_id = configured_id;
        worker.announcer = announcer;
        worker.outbox = Some(memory.thread);
        worker.media = Some(media_threads);
        worker.rooms = Some(rooms);
        worker.relay_checks = relay_checks;
        log::info!("[worker] {id} listens on {listens_on}");
        Ok(worker)
    }

    fn start_threads(
        ground: Ground,
        health: Health,
        bodies: Arc<Bodies>,
        (stamps, signer, changed, ears): (Arc<Stamps>, Signer, Ring, Vec<Ear>),
        (address, plan): (SocketAddr, Plan),
        pulses: &Pulses,
    ) -> Result<Worker, RunError> {
        let (orders, order_inbox) = crossbeam_channel::unbounded();
        let (live, registry, flags, clock) =
            (health.live.clone(), health.registry.clone(), health.flags.clone(), health.clock);
        let given = given(&health, (ground.root, bodies), changed.clone(), stamps.clone(), pulses);
        let sessions = Sessions::new(given, orders.clone());
        let sessions = server::thread("cleanup", STACK, move || sessions.run(&order_inbox))?;
        let legs = MediaLegs { media: health.media.clone(), registry: registry.clone() };
        let whip = Whip::new(live.clone(), registry.clone(), flags.clone(), clock, Box::new(legs));
        let service = WorkerService {
            live: live.clone(),
            registry: registry.clone(),
            sessions: orders.clone(),
            stamps: stamps.clone(),
            health: health.clone(),
            store: health.store.clone(),
            media: health.media.clone(),
            browsers: Browsers::default(),
            whip,
            clock,
        };
        let api = server::api(&ground.state, &live.get(), Arc::new(service), (&plan, pulses))?;
        let router = router(&health, &api);
        let run = (&plan, pulses, &health.metrics.edge);
        let edge = server::edge(&live.get(), &ground.secured, ground.listeners, Arc::new(router), run)?;
        let address_thread = AddressThread::start(&live, health.media.public_address())?;
        let tokens = (health.tokens.clone(), clock);
        let updates = (health.metrics.updates.clone(), None);
        let pulse = |index| Pulse {
            health: health.clone(),
            stamps: stamps.clone(),
            signer: signer.clone(),
            sessions: orders.clone(),
            port: address.port(),
            index,
            roots: ground.roots.clone(),
            beat: server::beat(pulses, &heartbeat_name(index), HEARTBEAT_SILENCE),
        };
        let (heartbeats, first_beat) = start_heartbeats(pulse, ears, &flags)?;
        Ok(Worker {
            live,
            registry,
            flags,
            address,
            edge: Some(edge),
            api: Some(api),
            orders,
            sessions: Some(sessions),
            changed,
            heartbeats,
            first_beat,
            outbox: None,
            bodies: None,
            address_thread,
            certificates: ground.certificates,
            announcer: None,
            tokens,
            configured_id: None,
            media: None,
            rooms: None,
            relay_checks: None,
            updates,
            _locks: ground.locks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the first heartbeat was attempted. A controller that is down does not keep a worker from starting.
    pub fn wait_for_first_beat(&self) {
        if self.first_beat.recv_timeout(FIRST_BEAT).is_err() {
            log::warn!("[heartbeat] the first beat takes long; going on");
        }
    }

    /// Starts to look for newer versions, which come when nobody streams.
    fn check_updates(&mut self, pulses: &Pulses) -> Result<(), RunError> {
        let (registry, rooms) = (self.registry.clone(), self.rooms.as_ref().map(RoomsService::rooms));
        let is_idle = move || nobody(&registry, rooms.as_ref());
        let (updates, checker) = &mut self.updates;
        *checker = Some(server::check_updates(updates, &self.live.get(), is_idle, pulses)?);
        Ok(())
    }

    fn end_sessions(&self, reason: EndReason) {
        let count = self.registry.live().len();
        if count > 0 {
            log::info!("[worker] ending {count} sessions as {reason}");
        }
        let _ = self.orders.send(Order::EndAll(reason));
    }
}

impl Running for Worker {
    fn name(&self) -> &'static str {
        "worker"
    }

    fn settings(&self) -> Settings {
        let mut settings = (*self.live.get()).clone();
        // As the file says: a name that was made or kept is no change of it.
        settings.server.worker_id.clone_from(&self.configured_id);
        settings
    }

    fn reload(&mut self, mut settings: Settings) {
        // The name was settled at start; the file need not have it.
        self.configured_id.clone_from(&settings.server.worker_id);
        settings.server.worker_id = self.live.get().server.worker_id.clone();
        self.certificates.reload(&settings);
        let (tokens, clock) = &self.tokens;
        tokens.reloaded(&self.live.get(), &settings, clock.now());
        self.live.set(settings);
    }

    fn tick(&mut self) {
        self.certificates.look(Instant::now());
    }

    fn drain(&mut self) {
        self.flags.stopping.store(true, Ordering::Release);
        let _ = self.orders.send(Order::Close);
        if let Some(rooms) = &self.rooms {
            rooms::drain(&rooms.rooms(), self.live.get().drain_timeout);
        }
        self.changed.ring();
    }

    fn is_idle(&self) -> bool {
        nobody(&self.registry, self.rooms.as_ref().map(RoomsService::rooms).as_ref())
    }

    fn finish(&mut self, hurried: bool) {
        server::last_call(self.edge.as_ref(), hurried);
        self.end_sessions(if hurried { EndReason::Shutdown } else { EndReason::Drained });
        let _ = self.orders.send(Order::Stop);
        let patience = self.live.get().sessions.stop_grace + END_MARGIN;
        self.sessions.take().and_then(|thread| join::within(thread, patience));
        if let Some(rooms) = self.rooms.take() {
            rooms.stop();
        }
        self.relay_checks.take().into_iter().for_each(RelayCheckThread::stop);
        if let Some(media) = self.media.take() {
            media.stop(MEDIA_DEADLINE);
        }
        self.changed.close();
        self.certificates.stop();
        self.address_thread.stop();
        let deadline = Instant::now() + heartbeat::JOIN_DEADLINE;
        for thread in self.heartbeats.drain(..) {
            join::within(thread, deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(edge) = self.edge.take() {
            server::stop_edge(edge, JOIN_DEADLINE);
        }
        if let Some(api) = self.api.take() {
            api.stop();
        }
        if let Some(bodies) = self.bodies.take() {
            bodies.stop();
        }
        self.announcer.take().into_iter().for_each(Announcer::stop);
        self.updates.1.take().into_iter().for_each(Checker::stop);
        // Last: everything that puts something in has ended.
        if let Some(outbox) = self.outbox.take() {
            outbox.stop();
        }
    }
}

/// Whether a restart would disturb nobody: there are neither sessions nor members of rooms.
fn nobody(registry: &SessionRegistry, rooms: Option<&Rooms>) -> bool {
    registry.live().is_empty() && rooms.is_none_or(|rooms| rooms.counts().members == 0)
}

/// What the `cleanup` thread works with.
fn given(
    health: &Health,
    (root, bodies): (Arc<DataDir>, Arc<Bodies>),
    changed: Ring,
    stamps: Arc<Stamps>,
    pulses: &Pulses,
) -> WorkerContext {
    WorkerContext {
        live: health.live.clone(),
        registry: health.registry.clone(),
        root,
        store: health.store.clone(),
        changed,
        fence: health.fence.clone(),
        stamps,
        wireguard: health.wireguard.clone(),
        sources: Arc::new(health.media.clone()),
        media: health.media.clone(),
        bodies,
        clock: health.clock,
        beat: server::beat(pulses, "cleanup", ROSTER_SILENCE),
    }
}

fn router(health: &Health, api: &ApiServer) -> WorkerRouter {
    let Health { registry, standing, live, clock, rooms, room_access, .. } = health;
    WorkerRouter {
        rooms: RoomRoutes::new(rooms.clone(), room_access.clone(), api.gate()),
        registry: registry.clone(),
        standing: standing.clone(),
        live: live.clone(),
        api: api.gate(),
        processes: gate::Gate::new(live.clone(), *clock),
        clock: *clock,
        rate: Rate::of_requests(live.get().edge.rate_limit_per_session),
    }
}

/// Logs what this host lacks for its bodies and its stream processes.
fn warn_of_host(settings: &Settings, wireguard: &WireGuard) {
    if !settings.bodies.wireguard_networks.is_empty() && !wireguard.is_there() {
        log::warn!(
            "[worker] WARNING: no WireGuard interface detected: bodies behind WireGuard cannot be reached"
        );
    }
    if let Some(lacks) = Support::of_this_kernel().lacks() {
        log::warn!("[worker] stream processes are not fully confined: {lacks}");
    }
}

/// Logs what keeps sessions from starting here, and is not meant.
fn warn_of_hindrances(checks: &Checks) {
    for hindrance in checks.hindrances().iter().filter(|hindrance| !hindrance.meant) {
        log::warn!("[worker] sessions cannot be started: {}", hindrance.reason);
    }
}

/// The first controller's, which most workers have alone, has no number.
fn heartbeat_name(index: usize) -> String {
    match index {
        0 => "heartbeat".to_owned(),
        _ => format!("heartbeat-{}", index + 1),
    }
}

/// Starts a thread for each controller; the receiver hears of the first attempt.
fn start_heartbeats(
    pulse: impl Fn(usize) -> Pulse,
    ears: Vec<Ear>,
    flags: &Arc<Flags>,
) -> Result<(Vec<JoinHandle<()>>, Receiver<()>), RunError> {
    let (beaten, first_beat) = crossbeam_channel::bounded(1);
    let start = |(index, ear): (usize, Ear)| {
        let (pulse, flags, beaten) = (pulse(index), flags.clone(), beaten.clone());
        let ready = move || {
            flags.ready.store(true, Ordering::Release);
            let _ = beaten.try_send(());
        };
        server::thread(&heartbeat_name(index), STACK, move || pulse.run(&ear, ready))
    };
    let threads = ears.into_iter().enumerate().map(start).collect::<Result<_, _>>()?;
    Ok((threads, first_beat))
}

fn open_fence(state: &PrivateDir, run: (Generation, Clock), changed: &Ring) -> Result<LeaseFence, RunError> {
    LeaseFence::open(state.path(), run, changed.clone()).map_err(|error| {
        let advice =
            "which controller leads is kept there: it must be writable and belong to the service's user";
        RunError(format!("server.state_dir: {}: {error}; {advice}", state.path().display()))
    })
}

fn prepare_ground(settings: &Settings, passed: Vec<Passed>) -> Result<Ground, RunError> {
    let fail = |error: crate::host::private_dir::DirError| RunError(format!("sessions.data_dir: {error}"));
    let listeners = listeners::open(settings, passed)?;
    let (state, state_lock) = server::state_directory(settings)?;
    let mut secured = server::secure(settings)?;
    let certificates = Certificates::open(settings, &state, &mut secured)?;
    let ca_file = settings.controller.as_ref().and_then(|link| link.ca_file.as_deref());
    let roots =
        crypto::client_roots(ca_file).map_err(|error| RunError(format!("controller.ca_file: {error}")))?;
    let root = DataDir::open(&settings.sessions.data_dir).map_err(fail)?;
    let locks = vec![state_lock];
    Ok(Ground { listeners, secured, certificates, roots, state, root: Arc::new(root), locks })
}

/// The thread, where rooms are held.
fn start_relay_checks(
    access: &RoomAccess,
    live: &Arc<Live>,
    pulses: &Pulses,
) -> Result<(RelayChecks, Option<RelayCheckThread>), RunError> {
    let found = RelayChecks::default();
    let start = || RelayCheckThread::start(found.clone(), access.clone(), live.clone(), pulses);
    let thread = access.is_enabled().then(start).transpose()?;
    Ok((found, thread))
}

fn settle_identity(ground: &Ground, settings: &Settings) -> Result<Identity, RunError> {
    let state = ground.state.path();
    identity::settle(state, settings.server.worker_id.as_ref()).map_err(|error| {
        let advice =
            "this worker's name and key are kept there: it must be writable and belong to the service's user";
        RunError(format!("server.state_dir: {}: {error}; {advice}", state.display()))
    })
}

fn report_sweep(swept: sweep::Swept) {
    if swept.processes > 0 || swept.directories > 0 {
        let (processes, directories) = (swept.processes, swept.directories);
        log::warn!("[cleanup] swept an earlier run: {processes} processes, {directories} directories");
    }
    if swept.stuck > 0 {
        log::error!("[cleanup] ALERT {} processes of an earlier run do not go away", swept.stuck);
    }
}
