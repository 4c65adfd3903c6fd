//! Starting and stopping the media threads.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::core::ice::Ports;
use crate::host::join;
use crate::host::ports::in_words as ports_in_words;
use crate::host::public_address::PublicAddress;
use crate::host::pulse::Pulses;
use crate::host::wake::Wake;
use crate::media::Media;
use crate::media::config::MediaConfig;
use crate::media::peer_registry::PeerRegistry;
use crate::media::ports::{self, PortPool};
use crate::media::shared::{Command, Line, Shared};
use crate::media::sockets::Shares;
use crate::media::streams::Streams;
use crate::media::thread::{MediaThread, Start};
use crate::media::udp::{Pair, Share};

/// Stack of a `media-N` thread in bytes: a DTLS handshake of aws-lc needs a few hundred KiB at most. Untouched pages cost nothing.
const STACK: usize = 1 << 20;

/// A media thread comes round every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// Why media threads do not start, and what to do.
#[derive(Debug)]
pub struct MediaError(String);

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MediaError {}

/// The running threads, to be stopped by whoever started them.
#[derive(Debug)]
pub struct MediaThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Media {
    /// Binds the ports and starts the threads.
    pub fn start(config: MediaConfig, pulses: &Pulses) -> Result<(Media, MediaThreads), MediaError> {
        let count = config.threads.max(1);
        let mut sockets = shared_port(&config, count)?;
        let (mut listeners, tcp) = shared_tcp_port(&config, count)?;
        let mut room_sockets = room_ports(&config, count)?;
        let ports = Ports { udp: sockets.first().and_then(Pair::port), tcp };
        let fail = |error: io::Error| MediaError(format!("cannot start a media thread: {error}"));
        let (mut lines, mut keeps) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (line, commands, wake) = Line::new(Wake::new().map_err(fail)?);
            lines.push(line);
            keeps.push((commands, wake));
        }
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider.dtls_provider.generate_certificate();
        let certificate = certificate.ok_or_else(|| MediaError("cannot make a DTLS certificate".into()))?;
        let shared = Arc::new(Shared {
            directory: PeerRegistry::new(config.most_peers(), config.max_viewers, count),
            counters: Arc::default(),
            threads: lines,
            certificate,
            ports,
            learned: PublicAddress::default(),
            pool: config.epr.map(|range| PortPool::new(range, config.binding)),
            pulses: pulses.clone(),
            streams: Streams::default(),
            room_ports: room_sockets.iter().filter_map(Pair::port).collect(),
            rooms: Arc::default(),
            epoch: Instant::now(),
            config,
        });
        let mut running = MediaThreads { shared: shared.clone(), threads: Vec::new() };
        for (index, (commands, wake)) in keeps.into_iter().enumerate() {
            let name = format!("media-{index}");
            let pulse = pulses.register(&*name, SILENCE);
            let rooms = (!room_sockets.is_empty()).then(|| room_sockets.remove(0));
            let shares = Shares { mux: sockets.pop(), listeners: listeners.pop().unwrap_or_default(), rooms };
            let start = Start { index, shared: shared.clone(), commands, wake, shares, pulse };
            let thread = MediaThread::new(start).map_err(fail)?;
            let builder = std::thread::Builder::new().name(name).stack_size(STACK);
            running.threads.push(builder.spawn(move || thread.run()).map_err(fail)?);
        }
        Ok((Media(shared), running))
    }
}

impl MediaThreads {
    /// Ends all peers and joins the threads.
    pub fn stop(self, deadline: Duration) {
        for line in &self.shared.threads {
            // A thread that is too far behind to be told is reported below.
            let _ = line.tell(Command::Stop);
        }
        for thread in self.threads {
            join::within(thread, deadline);
        }
    }
}

/// How often a port of the kernel's choice is tried: in the moment in which it is let go, another socket may be given it.
const TRIES: usize = 10;

/// Does what takes a port; anew when the kernel chose it and somebody else was given it.
fn of_any_port<T>(port: u16, take: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let is_lost = |error: &io::Error| port == 0 && error.kind() == io::ErrorKind::AddrInUse;
    for _ in 1..TRIES {
        match take() {
            Err(error) if is_lost(&error) => {}
            taken => return taken,
        }
    }
    take()
}

/// One socket (of each family) per thread on the shared port; none when every peer has a port of its own.
fn shared_port(config: &MediaConfig, threads: usize) -> Result<Vec<Pair>, MediaError> {
    let Some(port) = config.udpmux else { return Ok(Vec::new()) };
    let fail = |error: io::Error| {
        MediaError(format!(
            "webrtc.udpmux: {}; webrtc.udpmux chooses another port",
            ports_in_words(&format!("UDP port {port} for media"), port, &error)
        ))
    };
    // Sockets that share a port do not tell us when a stranger of the same user shares it too: ask without sharing first.
    let take = || {
        let probe = ports::bind_both(config.binding, port, Share::Alone)?;
        let port = probe.port().unwrap_or(port);
        drop(probe);
        (0..threads).map(|_| ports::bind_both(config.binding, port, Share::WithThreads)).collect()
    };
    of_any_port(port, take).map_err(fail)
}

/// A port of its own for each thread's members of rooms: what they send is then heard by the thread that they live on. None where no rooms are held.
fn room_ports(config: &MediaConfig, threads: usize) -> Result<Vec<Pair>, MediaError> {
    let Some(rooms) = &config.rooms else { return Ok(Vec::new()) };
    let bind = |index: usize| {
        let port = match rooms.media_port {
            0 => 0,
            first => first.saturating_add(u16::try_from(index).unwrap_or(u16::MAX)),
        };
        ports::bind_both(rooms.binding(config.binding), port, Share::Alone).map_err(|error| {
            MediaError(format!(
                "rooms.media_port: {}; rooms.media_port chooses other ports",
                ports_in_words(&format!("UDP port {port} for members of rooms"), port, &error)
            ))
        })
    };
    (0..threads).map(bind).collect()
}

/// The listening sockets of a thread, IPv4 and IPv6.
type Listeners = [Option<TcpListener>; 2];

/// The same for ICE-TCP, and the port.
fn shared_tcp_port(
    config: &MediaConfig,
    threads: usize,
) -> Result<(Vec<Listeners>, Option<u16>), MediaError> {
    let Some(port) = config.tcpmux else { return Ok((Vec::new(), None)) };
    let fail = |error: io::Error| {
        MediaError(format!(
            "webrtc.tcpmux: {}; webrtc.tcpmux chooses another port",
            ports_in_words(&format!("TCP port {port} for media"), port, &error)
        ))
    };
    let take = || {
        let probe = ports::listen_both(config.binding, port, Share::Alone)?;
        let bound = probe.iter().flatten().find_map(|listener| listener.local_addr().ok());
        drop(probe);
        let port = bound.map_or(port, |address| address.port());
        let each = (0..threads).map(|_| ports::listen_both(config.binding, port, Share::WithThreads));
        Ok((each.collect::<io::Result<_>>()?, Some(port)))
    };
    of_any_port(port, take).map_err(fail)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_port_that_somebody_else_was_given_is_followed_by_another_one() {
        let tries = |port, lost| {
            let tried = Cell::new(0);
            let take = || {
                tried.set(tried.get() + 1);
                if tried.get() > lost { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
            };
            (of_any_port(port, take).is_ok(), tried.get())
        };
        assert_eq!(tries(0, 2), (true, 3));
        assert_eq!(tries(0, usize::MAX), (false, TRIES));
        assert_eq!(tries(59_000, 2), (false, 1), "the operator's port is tried once");
        assert!(of_any_port(0, || Err::<(), _>(io::ErrorKind::PermissionDenied.into())).is_err());
    }
}
