//! What may stand where: policy is pure, `unsafe` has one home, nothing from outside makes us panic.

use crate::none;
use crate::source::{STAND_INS, Source, closing, root, sources};

/// The pure modules, each a file or a folder with all that is in it: they decide, and their neighbours act. A feature's pure part stands
/// beside its loop; what several features share is in `core`.
const PURE: &[&str] = &[
    "acme/protocol",
    "api/token_use",
    "api/whip",
    "api/wrong_tokens",
    "controller/lease/policy",
    "core",
    "edge/api_queue",
    "edge/forwarding_proof",
    "edge/http1",
    "edge/local_request",
    "edge/signalling",
    "edge/websocket",
    "engine/clip/webm",
    "engine/ffmpeg/streams",
    "engine/log_ends",
    "server/certificate_news",
    "server/worker_conditions",
    "media/codec",
    "media/mic_gate",
    "media/peer_life",
    "media/publisher_turn",
    "media/rtp",
    "media/sdp",
    "media/simulcast",
    "media/srtp",
    "media/telling",
    "media/transport",
    "operator/policy",
    "outbox/policy",
    "setup/policy",
    "update/policy",
    "worker/body_distance",
    "worker/child_api",
    "worker/engines/ffmpeg_progress",
    "worker/leaked_streamers",
    "worker/pairing_turns",
    "worker/probe_policy",
];

/// Settings are values; a pure module may be given them.
const VALUES: &str = "src/config/";

/// What pure modules do not do: the time, entropy and settings come in as values.
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant",
    "SystemTime",
    "std::thread",
    "thread::",
    "std::fs",
    "std::env",
    "env!",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::os",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "UnixStream",
    "getrandom",
    "log::",
    "crossbeam_channel",
    "rustix",
    "libc",
    "ureq",
    "tiny_http",
    "static mut",
    "Mutex",
    "RwLock",
    "println!",
    "eprintln!",
];

/// The modules with `unsafe`: what happens between fork and exec, the system calls of the sandbox, and descriptors that systemd
/// passes by their numbers.
const UNSAFE_HOMES: [&str; 3] = ["src/host/activation.rs", "src/host/process.rs", "src/host/sandbox.rs"];

/// What panics. Bad input is never a reason; the rest has an error type.
const PANICS: &[&str] =
    &[".unwrap()", ".expect(", ".unwrap_err()", "panic!", "unreachable!", "todo!", "unimplemented!", "dbg!"];

/// File and reason of the panics that are meant: a bug or a machine that cannot go on, never bad input.
const MEANT: &[(&str, &str)] = &[
    ("src/core/fleet/ledger.rs", "an invariant, checked in debug builds only"),
    (
        "src/host/entropy.rs",
        "without randomness there is no safe session id: better to end than to guess one",
    ),
];

/// Where sockets have time-outs: there an interrupted call is made again.
const TIMED: [&str; 2] = ["src/host/interfaces.rs", "src/host/uninterrupted.rs"];

const TIME_OUTS: &[&str] = &["set_read_timeout", "set_write_timeout", "set_socket_timeout"];

fn find(sources: &[Source], tokens: &[&str]) -> Vec<String> {
    let each =
        |source: &Source| -> Vec<usize> { tokens.iter().flat_map(|token| source.uses(token)).collect() };
    let mut found = Vec::new();
    for source in sources {
        let mut places = each(source);
        places.sort_unstable();
        found.extend(places.into_iter().map(|at| source.at(at)));
        found.dedup();
    }
    found
}

/// Whether a file is this module, or in its folder.
fn is_of(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix("src/").and_then(|path| path.strip_prefix(module));
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_pure(path: &str) -> bool {
    PURE.iter().any(|module| is_of(path, module))
}

// SPEC build: What decides is pure and uses nothing that is not; imports point down only; `unsafe`
// in three modules; nothing panics on input
// Also: `pure_modules_use_pure_modules_only`, `imports_point_down_only`,
// `the_table_of_imports_has_no_cycle_but_the_settings`,
// `unsafe_stands_in_three_modules_and_says_why_it_is_sound`, `nothing_panics_outside_tests`
#[test]
fn pure_modules_have_no_clock_socket_thread_file_environment_randomness_or_log() {
    let pure: Vec<Source> = sources("src").into_iter().filter(|source| is_pure(&source.path)).collect();
    none("what decides does nothing else", find(&pure, IMPURE));
    let gone = PURE.iter().filter(|module| !pure.iter().any(|source| is_of(&source.path, module)));
    none("every pure module exists", gone.map(|module| (*module).to_owned()).collect());
}

#[test]
fn pure_modules_use_pure_modules_only() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|source| is_pure(&source.path)) {
        for (at, path) in crate::imports::paths(source) {
            let file = file_of(&path);
            if !(is_pure(&file) || file.starts_with(VALUES)) {
                found.push(format!("{} ({file} is not pure)", source.at(at)));
            }
        }
    }
    none("what is pure uses what is pure", found);
}

/// The file of the module in which a path `a::b::C` ends.
fn file_of(path: &str) -> String {
    let parts: Vec<&str> = path.split("::").collect();
    let files = (1..=parts.len()).rev().flat_map(|length| {
        let module = parts[..length].join("/");
        [format!("src/{module}.rs"), format!("src/{module}/mod.rs")]
    });
    files.into_iter().find(|file| root().join(file).is_file()).unwrap_or_else(|| path.to_owned())
}

#[test]
fn unsafe_stands_in_three_modules_and_says_why_it_is_sound() {
    let (mut strays, mut silent, mut seen) = (Vec::new(), Vec::new(), 0);
    for source in sources("src").into_iter().chain(sources(STAND_INS)) {
        let blocks = crate::source::words(&source.code, "unsafe");
        let allows = crate::source::words(&source.code, "allow(unsafe_code)");
        if !UNSAFE_HOMES.contains(&source.path.as_str()) {
            strays.extend(blocks.iter().chain(&allows).map(|at| source.at(*at)));
            continue;
        }
        seen += blocks.len();
        for at in blocks {
            let line = source.text[..at].matches('\n').count();
            // Right above, or above the statement whose second line it is.
            let above = source.text.lines().skip(line.saturating_sub(2)).take(2).collect::<String>();
            if !above.contains("// SAFETY: ") {
                silent.push(source.at(at));
            }
        }
    }
    none("`unsafe` outside its three modules", strays);
    none("`unsafe` without `// SAFETY: `", silent);
    assert!(seen > 0, "{UNSAFE_HOMES:?} has no unsafe code any more: forbid it everywhere");
    let library = crate::source::read("src/lib.rs");
    assert!(
        library.contains("#![deny(unsafe_code)]") && library.contains("#![deny(missing_docs)]"),
        "src/lib.rs"
    );
    let library = crate::source::read(&format!("{STAND_INS}/lib.rs"));
    assert!(
        library.contains("#![forbid(unsafe_code)]") && library.contains("#![deny(missing_docs)]"),
        "{STAND_INS}/lib.rs"
    );
}

#[test]
fn nothing_panics_outside_tests() {
    let meant = |source: &Source| MEANT.iter().any(|(path, _)| *path == source.path);
    let all = sources("src").into_iter().chain(sources(STAND_INS));
    let (meant, sources): (Vec<_>, Vec<_>) = all.partition(meant);
    none("no panics", find(&sources, PANICS));
    let each_once = meant.iter().all(|source| find(std::slice::from_ref(source), PANICS).len() == 1);
    assert!(each_once && meant.len() == MEANT.len(), "MEANT lists files with exactly one panic");
}

#[test]
fn sockets_have_time_outs_only_where_an_interrupted_call_is_made_again() {
    let is_timed = |source: &Source| TIMED.contains(&source.path.as_str());
    let (timed, others): (Vec<_>, Vec<_>) = sources("src").into_iter().partition(is_timed);
    none("time-outs of sockets are of `host::uninterrupted`", find(&others, TIME_OUTS));
    assert!(
        timed.len() == TIMED.len()
            && timed.iter().all(|source| !find(std::slice::from_ref(source), TIME_OUTS).is_empty())
    );
}

#[test]
fn tests_do_not_wait_by_sleeping() {
    let mut found = Vec::new();
    // Stand-ins are no tests: they wait as what they stand for does.
    let is_test = |source: &Source| !["tests/rules/", STAND_INS].iter().any(|at| source.path.starts_with(at));
    for source in sources("tests").into_iter().filter(is_test) {
        for at in crate::source::words(&source.code, "thread::sleep") {
            let inside = enclosing(&source, at);
            if !SLEEPERS.iter().any(|(file, name, _)| *file == source.path && *name == inside) {
                found.push(format!("{} (in fn {inside})", source.at(at)));
            }
        }
    }
    none(
        "`sleep` outside the polling helpers; poll for what you wait for, or add a row with the reason",
        found,
    );
}

/// Who may sleep: file, function, reason.
const SLEEPERS: &[(&str, &str, &str)] = &[
    ("tests/acme/place.rs", "until", "polls"),
    ("tests/behaviour/lab.rs", "eventually", "polls"),
    ("tests/behaviour/lab.rs", "eventually_equal", "polls"),
    ("tests/stand_in_support/mod.rs", "ended_within", "polls"),
    ("tests/stand_in_support/mod.rs", "until", "polls"),
    ("tests/edge/support.rs", "until", "polls"),
    ("tests/edge/deadlines.rs", "a_slow_head_gets_408_however_it_drips", "is the slow client"),
    (
        "tests/edge/lifecycle.rs",
        "out_of_descriptors_accepting_waits_without_spinning_and_goes_on",
        "measures idleness",
    ),
    ("tests/edge/bodies.rs", "a_reader_that_stops_stops_the_sender", "is the reader that stops"),
    ("tests/edge/deadlines.rs", "a_silent_stream_is_not_cut", "is the silent upstream"),
    ("tests/abuse/attacks.rs", "hold", "is the attackers' pace"),
    ("tests/abuse/bench.rs", "run", "measures while an attack goes on"),
    ("tests/abuse/honest.rs", "begin", "is the honest client's pace"),
    ("tests/abuse/honest.rs", "until", "measures for some seconds"),
    ("tests/abuse/stage.rs", "until_whole", "polls"),
    ("tests/stand_in_body/client.rs", "pause", "polls"),
    ("tests/perf/mic_bench.rs", "open", "is the far end that is not woken by each packet"),
    ("tests/support/collector.rs", "serve", "is the slow server"),
    ("tests/support/hook_receiver.rs", "serve", "is the slow server"),
    ("tests/outbox/webhooks.rs", "until", "polls"),
    ("tests/outbox/main.rs", "the_process_that_is_killed", "polls"),
    (
        "tests/outbox/main.rs",
        "a_thousand_ratings_and_records_arrive_once_by_their_key_whatever_is_down_or_killed",
        "chooses the moment of a kill, and polls",
    ),
    ("tests/outbox/main.rs", "what_a_receiver_refuses_becomes_a_dead_letter_and_holds_up_nobody", "polls"),
    (
        "tests/behaviour/records.rs",
        "each_session_leaves_one_record_and_each_rating_arrives_though_the_worker_is_killed",
        "polls",
    ),
    ("tests/coturn/mod.rs", "wait_for", "polls"),
    ("tests/fleet/people.rs", "pause", "is the people's pace"),
    ("tests/fleet/soak.rs", "trouble", "chooses the moment of a trouble"),
    ("tests/fleet/soak.rs", "wait_for_none", "polls"),
    ("tests/fleet/watch.rs", "keep_looking", "looks again and again"),
    ("tests/mic_acceptance/browser.rs", "drop", "polls"),
    ("tests/perf/children.rs", "on_port", "polls"),
    ("tests/perf/children.rs", "drop", "polls"),
    ("tests/perf/create_bench.rs", "creates", "polls"),
    ("tests/perf/create_bench.rs", "drop", "polls"),
    ("tests/perf/fleet_bench.rs", "until", "polls"),
    ("tests/perf/fleet_bench.rs", "measure", "is the time that is measured"),
    ("tests/perf/fleet_workers.rs", "beat_all", "is the sender of a given rate"),
    ("tests/perf/slow_bench.rs", "round", "lets an attack make its connections"),
    ("tests/perf/slow_bench.rs", "measure", "is a client of a given rate"),
    ("tests/perf/slow_bench.rs", "health", "is a client of a given rate"),
    ("tests/perf/scrape_bench.rs", "round", "is a client of a given rate"),
    ("tests/perf/whep_limit.rs", "send_paced", "is the sender of a given rate"),
    ("tests/perf/whep_bench.rs", "round", "is the time that is measured"),
    ("tests/perf/far_end.rs", "wait", "is the far end that is not woken by each packet"),
    ("tests/perf/rounds.rs", "of", "is the time that is measured"),
    ("tests/perf/janus_server.rs", "start", "polls"),
    ("tests/perf/rooms_bench.rs", "round", "is the time that is measured"),
    ("tests/perf/serve.rs", "paced", "is the sender of a given rate"),
    ("tests/perf/mic_bench.rs", "pace", "is the sender of a given rate"),
    ("tests/update/host.rs", "until", "polls"),
    ("tests/whep/client.rs", "until", "polls"),
    ("tests/whep/generator.rs", "run", "is the sender of a given rate"),
    ("tests/support/link_shim.rs", "carry", "waits for a device that is down"),
];

/// The function around this place.
fn enclosing(source: &Source, at: usize) -> String {
    let mut name = String::from("?");
    for (start, found) in functions(&source.code) {
        if start < at && at < closing(&source.code, start + source.code[start..].find('{').unwrap_or(0)) {
            name = found;
        }
    }
    name
}

/// Offset and name of each function with a body.
pub fn functions(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in crate::source::words(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let body = code[at..].find('{');
        // A type such as `fn(u8)`, or a method without a body.
        let declared = code[at..].find(';').is_some_and(|end| body.is_none_or(|body| end < body));
        if !name.is_empty() && !declared && body.is_some() {
            found.push((at, name));
        }
    }
    found
}
