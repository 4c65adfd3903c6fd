//! Tells systemd how we are (sd_notify(3)) and knows how often the watchdog wants to hear from us. Does nothing when
//! we were not started by systemd. Owned by `main`; never blocks and never fails a caller.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::Environment;

/// A way to systemd, or none.
#[derive(Debug)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// From `$NOTIFY_SOCKET`: a path, or an abstract name that begins with `@`. The error says what was wrong with
    /// it; running on with [`Notifier::silent`] is possible, but systemd will wait for us in vain.
    pub fn new(environment: &Environment) -> io::Result<Notifier> {
        let Some(name) = environment.get("NOTIFY_SOCKET") else { return Ok(Notifier::silent()) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Notifier(Some((socket, address))))
    }

    /// A notifier that tells nobody.
    pub fn silent() -> Notifier {
        Notifier(None)
    }

    /// Start-up, or a reload, is complete.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// A reload began; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// Shutdown began.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}\n", one_line(status)));
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}\n", one_line(status)));
    }

    /// Feeds the watchdog.
    pub fn watchdog(&self) {
        self.send("WATCHDOG=1\n");
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            log::debug!("[systemd] cannot notify: {error}");
        }
    }
}

/// How often to feed the watchdog: half the time it allows, as sd_watchdog_enabled(3) advises. `None`: there is no
/// watchdog, or it is meant for another process.
pub fn watchdog_interval(environment: &Environment, own_pid: u32) -> Option<Duration> {
    let micros: u64 = environment.get("WATCHDOG_USEC")?.parse().ok().filter(|micros| *micros > 0)?;
    match environment.get("WATCHDOG_PID") {
        Some(pid) if pid.parse() != Ok(own_pid) => None,
        _ => Some(Duration::from_micros(micros / 2)),
    }
}

fn one_line(text: &str) -> String {
    crate::logging::clean(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::new(pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 8192];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn life_cycle(notifier: &Notifier, systemd: &UnixDatagram) {
        notifier.ready("15 slots\nSTOPPING=1");
        assert_eq!(received(systemd), "READY=1\nSTATUS=15 slots\\nSTOPPING=1\n");
        notifier.reloading();
        let text = received(systemd);
        let micros =
            text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(|rest| rest.trim_end().parse::<u64>());
        assert!(matches!(micros, Some(Ok(1..))), "{text:?}");
        notifier.watchdog();
        assert_eq!(received(systemd), "WATCHDOG=1\n");
        notifier.stopping("draining");
        assert_eq!(received(systemd), "STOPPING=1\nSTATUS=draining\n");
    }

    #[test]
    fn systemd_is_told_over_a_path() {
        let path = std::env::temp_dir().join(format!("neck-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let systemd = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(&environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())])).unwrap();
        life_cycle(&notifier, &systemd);
        std::fs::remove_file(&path).unwrap();
        notifier.status("nobody listens: no panic, no error");
    }

    #[test]
    fn systemd_is_told_over_an_abstract_name() {
        let name = format!("neck-notify-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::new(&environment(&[("NOTIFY_SOCKET", &format!("@{name}"))])).unwrap();
        life_cycle(&notifier, &systemd);
    }

    #[test]
    fn without_systemd_nothing_happens() {
        Notifier::new(&environment(&[])).unwrap().ready("x");
        assert!(Notifier::new(&environment(&[("NOTIFY_SOCKET", &"x".repeat(200))])).is_err());
    }

    #[test]
    fn the_watchdog_is_fed_twice_per_interval_and_only_by_the_process_it_is_meant_for() {
        let interval = |pairs: &[(&str, &str)]| watchdog_interval(&environment(pairs), 42);
        assert_eq!(interval(&[("WATCHDOG_USEC", "30000000")]), Some(Duration::from_secs(15)));
        assert_eq!(
            interval(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "42")]),
            Some(Duration::from_secs(15))
        );
        assert_eq!(interval(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "43")]), None);
        assert_eq!(interval(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(interval(&[]), None);
    }
}
