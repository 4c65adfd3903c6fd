//! The log: one line per event on stderr, as plain text, for journald, or as JSON.
//!
//! Outsiders cannot forge a line: control characters and characters that reorder text are escaped. They cannot flood
//! a reader with one line either: it is cut at [`MAX_LINE_BYTES`]. Messages begin with a literal prefix such as
//! `[worker]`. Lines of other crates (`log.dependencies` and above) get `[dependency NAME]` and pass one limiter: what they
//! say is often what outsiders send. Nobody who logs waits for the log's reader (`queue`).

mod queue;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Metadata, Record};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::config::Environment;
use crate::config::settings::{Log, LogFormat};
use crate::core::limits::log_limit::LogLimit;
use crate::core::time::Moment;
use crate::isolation;
use queue::Queue;

/// Longest message, in bytes: journald's own limit is far above, a terminal's patience far below.
pub const MAX_LINE_BYTES: usize = 4096;

/// One event, ready to be formatted.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When it happened, since 1970 UTC.
    pub time: Duration,
    /// How bad it is.
    pub level: Level,
    /// Who logs: the module path.
    pub target: &'a str,
    /// The message, prefix included.
    pub message: &'a str,
    /// What the message speaks of, by name: for JSON, where programs look for a session or a peer.
    pub fields: &'a [(String, String)],
}

/// The names of fields. A line's own members (`time`, `level`, `prefix`, `message`) are none of them.
pub const FIELDS: &[&str] =
    &["body", "method", "ms", "path", "peer", "reason", "session", "status", "worker"];

/// Lines of other crates: a burst, then one a second. An honest fault needs a few.
const DEPENDENCIES_BURST: u32 = 20;
const DEPENDENCIES_INTERVAL: Duration = Duration::from_secs(1);

/// Crates that warn of what any peer may send, packet by packet: of these only errors, unless `log.dependencies` asks for
/// more than warnings.
const NOISY: &[&str] = &["sctp_proto"];

/// Stack of the `log` thread in bytes: it formats one short line.
const STACK: usize = 128 * 1024;

/// How long a panic waits for its line to be written: long for a reader that reads, short for a process that ends.
const PANIC_FLUSH: Duration = Duration::from_millis(200);

/// The one way to stderr.
static QUEUE: Queue = Queue::new();

/// Whether the `log` thread writes; before that, and without it, lines are written by who logs.
static QUEUED: AtomicBool = AtomicBool::new(false);

/// `log.dependencies` as a number, as [`LevelFilter`] counts.
static DEPENDENCIES: AtomicUsize = AtomicUsize::new(LevelFilter::Warn as usize);

/// Lines of other crates that the limiter held back.
static HELD_BACK: AtomicU64 = AtomicU64::new(0);

/// What became of lines that were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Dropped since the start, because the log's reader did not keep up.
    pub dropped: u64,
    /// Lines of other crates that were held back since the start.
    pub held_back: u64,
    /// Nobody reads at present.
    pub stalled: bool,
}

/// Starts logging to stderr. The first call wins; later calls change the levels only.
pub fn start(log: &Log, environment: &Environment) {
    let format = resolve(log.format, environment.get("JOURNAL_STREAM"), stderr_identity());
    let limit = Mutex::new(LogLimit::new(DEPENDENCIES_BURST, DEPENDENCIES_INTERVAL));
    let started = log::set_boxed_logger(Box::new(Logger { format, limit, start: Instant::now() }));
    set_levels(log);
    if started.is_err() {
        return;
    }
    let note = move |count: u64| {
        let message = format!("[log] {count} lines were dropped: the reader of this log did not keep up");
        render(format, &event(Level::Warn, "", &message, &[])) + "\n"
    };
    let thread = std::thread::Builder::new().name("log".into()).stack_size(STACK);
    let thread = thread.spawn(move || QUEUE.run(write_all, note));
    QUEUED.store(thread.is_ok(), Ordering::Release);
    std::panic::set_hook(Box::new(log_panic));
    if let Err(error) = thread {
        log::warn!(
            "[log] cannot start a thread for the log: {error}; a reader that does not read holds us up"
        );
    }
}

/// Changes the levels of a running process.
pub fn set_levels(log: &Log) {
    DEPENDENCIES.store(log.dependencies as usize, Ordering::Relaxed);
    log::set_max_level(log.level);
}

/// Waits until every line is written, but not longer than this: for a process that is about to end.
pub fn flush(within: Duration) {
    if QUEUED.load(Ordering::Acquire) {
        QUEUE.flush(within);
    }
}

/// What became of lines that were not written.
pub fn figures() -> Figures {
    let held_back = HELD_BACK.load(Ordering::Relaxed);
    Figures { dropped: QUEUE.dropped(), held_back, stalled: QUEUE.is_stalled() }
}

/// Stderr for last words that are no line of the log: behind the lines, and without waiting for the reader either.
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        put(String::from_utf8_lossy(bytes).into_owned(), true);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Logger {
    format: LogFormat,
    limit: Mutex<LogLimit>,
    start: Instant,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata.target()) || metadata.level() <= level_of(crate_of(metadata.target()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (level, target) = (record.level(), record.target());
        let message = if is_ours(target) {
            record.args().to_string()
        } else {
            let Some(held_back) = self.admit() else { return };
            let more = if held_back > 0 {
                format!(" ({held_back} more lines of dependencies were left out)")
            } else {
                String::new()
            };
            format!("[dependency {}] {}{more}", crate_of(target), record.args())
        };
        let fields = match self.format {
            LogFormat::Json if is_ours(target) => fields_of(record),
            // Words of other crates are one text: nothing in it is a field of ours.
            _ => Vec::new(),
        };
        put(render(self.format, &event(level, target, &message, &fields)) + "\n", level == Level::Error);
    }

    fn flush(&self) {}
}

impl Logger {
    /// Whether a line of another crate may be written; it should say that so many were not.
    fn admit(&self) -> Option<u64> {
        let now = Moment(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX));
        let admitted = self.limit.lock().unwrap_or_else(PoisonError::into_inner).allow(now);
        if admitted.is_none() {
            HELD_BACK.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }
}

/// The crate that logs under this target.
fn crate_of(target: &str) -> &str {
    target.split("::").next().unwrap_or(target)
}

fn is_ours(target: &str) -> bool {
    crate_of(target) == env!("CARGO_CRATE_NAME")
}

/// From which level on another crate is heard.
fn level_of(name: &str) -> LevelFilter {
    let asked = DEPENDENCIES.load(Ordering::Relaxed);
    let asked = LevelFilter::iter().find(|level| *level as usize == asked).unwrap_or(LevelFilter::Warn);
    if NOISY.contains(&name) && asked == LevelFilter::Warn { LevelFilter::Error } else { asked }
}

fn put(text: String, urgent: bool) {
    if QUEUED.load(Ordering::Acquire) {
        QUEUE.put(text, urgent);
    } else {
        write_all(&text);
    }
}

/// Writes to stderr without the lock of the standard library, which somebody may hold. A stderr that is gone is nobody's
/// business.
fn write_all(text: &str) {
    let stderr = io::stderr();
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(stderr.as_fd(), left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Who gave it to us does not want to wait; we do.
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(_) => return,
        }
    }
}

fn event<'a>(level: Level, target: &'a str, message: &'a str, fields: &'a [(String, String)]) -> Event<'a> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Event { time, level, target, message, fields }
}

/// The fields that a line was given.
fn fields_of(record: &Record<'_>) -> Vec<(String, String)> {
    struct Collected(Vec<(String, String)>);
    impl<'kvs> VisitSource<'kvs> for Collected {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
            self.0.push((key.as_str().to_owned(), value.to_string()));
            Ok(())
        }
    }
    let mut collected = Collected(Vec::new());
    // It fails where the visitor does, and ours does not.
    let _ = record.key_values().visit(&mut collected);
    collected.0
}

/// What `auto` means here. `stderr` is the device and inode of our stderr, `journal_stream` what systemd says they
/// are when they lead to journald.
pub fn resolve(format: LogFormat, journal_stream: Option<&str>, stderr: Option<(u64, u64)>) -> LogFormat {
    let named = journal_stream.and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    });
    match format {
        LogFormat::Auto if named.is_some() && named == stderr => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Plain,
        fixed => fixed,
    }
}

fn stderr_identity() -> Option<(u64, u64)> {
    let meta = std::fs::metadata("/proc/self/fd/2").ok()?;
    Some((meta.st_dev(), meta.st_ino()))
}

/// One line without its newline.
pub fn render(format: LogFormat, event: &Event<'_>) -> String {
    let message = match event.message.starts_with('[') {
        true => clean(event.message),
        false => clean(&format!("[{}] {}", event.target, event.message)),
    };
    match format {
        LogFormat::Journald => format!("<{}>{message}", priority(event.level)),
        LogFormat::Json => json(event, &message),
        LogFormat::Plain | LogFormat::Auto => {
            format!("{} {:<5} {message}", rfc3339(event.time), event.level.as_str())
        }
    }
}

/// The syslog priority, as in sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn json(event: &Event<'_>, message: &str) -> String {
    let split = message.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (prefix, text) = split.unwrap_or(("", message));
    let level = event.level.as_str().to_ascii_lowercase();
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut line = format!(
        r#"{{"time":"{}","level":"{level}","prefix":{},"message":{}"#,
        rfc3339(event.time),
        quoted(prefix),
        quoted(text.trim_start())
    );
    let given = |name: &str| event.fields.iter().any(|(given, _)| given == name);
    if !given("session")
        && let Some(id) = session_of(prefix, text)
    {
        let _ = write!(line, r#","session":{}"#, quoted(id));
    }
    for (name, value) in event.fields.iter().filter(|(name, _)| FIELDS.contains(&name.as_str())) {
        let _ = match value.parse::<u64>() {
            Ok(number) if NUMBERS.contains(&name.as_str()) => write!(line, r#","{name}":{number}"#),
            _ => write!(line, r#","{name}":{}"#, quoted(&clean(value))),
        };
    }
    line.push('}');
    line
}

/// The fields that are numbers.
const NUMBERS: &[&str] = &["ms", "status"];

/// Characters of a session id that a line shows.
const SHOWN_ID: usize = 8;

/// The session that a line begins with: `[session 0123abcd] …` or `[pairing] session 0123abcd: …`.
fn session_of<'m>(prefix: &'m str, text: &'m str) -> Option<&'m str> {
    let named = |text: &'m str| text.strip_prefix("session ");
    let rest = named(prefix).or_else(|| named(text.trim_start()))?;
    let id = rest.get(..SHOWN_ID)?;
    let is_whole = !rest[SHOWN_ID..].starts_with(|c: char| c.is_ascii_alphanumeric());
    (is_whole && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Escapes what could forge, hide or reorder text, and cuts what is too long.
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_LINE_BYTES));
    for (at, letter) in text.char_indices() {
        if shown.len() >= MAX_LINE_BYTES {
            let _ = write!(shown, "… ({} bytes more)", text.len() - at);
            break;
        }
        if is_treacherous(letter) {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and bidirectional controls.
fn is_treacherous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// RFC 3339 in UTC with milliseconds, from the time since 1970.
pub fn rfc3339(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Panics are always our bug: one line with `ALERT`, so that monitoring sees them. Of one that is contained, whoever contains it
/// tells, under a limit: outsiders may cause those.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    if isolation::is_contained(&place) {
        return;
    }
    log::error!("[panic] {}", panic_text(&place, isolation::said(info.payload())));
    // It may be the last thing that this process does.
    flush(PANIC_FLUSH);
    isolation::end_if_stray_panics_do();
}

fn panic_text(place: &str, said: &str) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    format!("ALERT thread `{name}` panicked at {place}: {said}; please report this")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: LogFormat, message: &str) -> String {
        let time = Duration::from_millis(1_700_000_000_123);
        render(format, &Event { time, level: Level::Warn, target: "rustls::x", message, fields: &[] })
    }

    // SPEC 9: Priorities for journald, JSON on demand
    // Also: `auto_is_journald_only_when_stderr_is_the_journal`
    #[test]
    fn each_format_has_its_form() {
        let message = "[session abcd1234] ready";
        assert_eq!(
            shown(LogFormat::Plain, message),
            "2023-11-14T22:13:20.123Z WARN  [session abcd1234] ready"
        );
        assert_eq!(shown(LogFormat::Journald, message), "<4>[session abcd1234] ready");
        assert_eq!(
            shown(LogFormat::Json, message),
            r#"{"time":"2023-11-14T22:13:20.123Z","level":"warn","prefix":"session abcd1234","message":"ready","session":"abcd1234"}"#
        );
        assert_eq!(shown(LogFormat::Journald, "foreign"), "<4>[rustls::x] foreign");
    }

    #[test]
    fn an_outsider_cannot_forge_a_line() {
        let evil = "[edge] a\n<0>b\r\u{1b}[2K\u{7f}\u{85}\u{9b}\u{2028}\u{2029}\u{202e}\u{2066}\u{0}";
        for format in [LogFormat::Plain, LogFormat::Journald, LogFormat::Json] {
            let line = shown(format, evil);
            assert!(!line.chars().any(is_treacherous), "{line:?}");
        }
        let parsed: serde_json::Value =
            serde_json::from_str(&shown(LogFormat::Json, "[e] a\"b\\\n")).unwrap();
        assert_eq!(parsed["message"], "a\"b\\\\n");
    }

    // SPEC 9: JSON lines have members for session, worker, body, reason, peer and status; nobody
    // can forge one
    // Also: `the_fields_of_log_lines_are_those_that_json_has`
    #[test]
    fn json_has_fields_and_nothing_else_can_make_one() {
        let line = |message: &str, fields: &[(&str, &str)]| -> serde_json::Value {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let fields: Vec<(String, String)> = fields.iter().map(owned).collect();
            let event =
                Event { time: Duration::ZERO, level: Level::Info, target: "x", message, fields: &fields };
            serde_json::from_str(&render(LogFormat::Json, &event)).unwrap()
        };
        let told = line("[api] GET: 200", &[("peer", "192.0.2.1"), ("status", "200"), ("ms", "x")]);
        assert_eq!(
            (&told["peer"], &told["status"], &told["ms"]),
            (&"192.0.2.1".into(), &200.into(), &"x".into())
        );
        assert_eq!(line("[pairing] session 0123abcd: paired", &[])["session"], "0123abcd");
        assert_eq!(line("[session 0123abcd] ready", &[("session", "fedcba98")])["session"], "fedcba98");
        for none in [
            "[api] session 0123abcdef",
            "[api] a session 0123abcd",
            "[edge] session ..../../x",
            "[api] session",
        ] {
            assert!(line(none, &[]).get("session").is_none(), "{none}");
        }
        let evil =
            line("[api] x", &[("peer", "a\",\"level\":\"error\n"), ("level", "off"), ("message", "forged")]);
        assert_eq!(
            (&evil["level"], &evil["message"], &evil["peer"]),
            (&"info".into(), &"x".into(), &"a\",\"level\":\"error\\n".into())
        );
        let plain = Event {
            time: Duration::ZERO,
            level: Level::Info,
            target: "x",
            message: "[a] b",
            fields: &[("peer".into(), "c".into())],
        };
        assert_eq!(render(LogFormat::Journald, &plain), "<6>[a] b");
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        let line = clean(&"é\n".repeat(10_000));
        assert!(line.len() < MAX_LINE_BYTES + 64, "{}", line.len());
        assert!(line.ends_with("bytes more)"), "{line}");
    }

    #[test]
    fn auto_is_journald_only_when_stderr_is_the_journal() {
        let auto = |stream, stderr| resolve(LogFormat::Auto, stream, stderr);
        assert_eq!(auto(Some("8:1234"), Some((8, 1234))), LogFormat::Journald);
        assert_eq!(auto(Some("8:1234"), Some((8, 9))), LogFormat::Plain);
        assert_eq!(auto(Some("nonsense"), None), LogFormat::Plain);
        assert_eq!(auto(None, None), LogFormat::Plain);
        assert_eq!(resolve(LogFormat::Json, Some("8:1"), Some((8, 1))), LogFormat::Json);
    }

    #[test]
    fn dates_are_right_across_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
    }
}
