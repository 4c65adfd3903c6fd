//! Panics here are on purpose: their words are in the output of a run that passes.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::*;
use crate::config::Environment;
use crate::config::settings::Log;

/// Set in the copy of this very program that is to die.
const DIES: &str = "NECK_TEST_STRAY_PANIC";

/// SIGABRT
const ABORTED: i32 = 6;

// SPEC edge: A panic in a WebRTC peer, an API request or a connection costs that alone; nothing of
// it is left, it is logged with `ALERT` under a limit and counted in health; of a library's own
// thread, which has no name, it ends that thread; anywhere else it ends the process
// Also: `a_panic_in_one_viewer_is_no_other_viewers`,
// `a_panic_in_a_publisher_frees_its_place_and_viewers_go_on`,
// `a_panic_while_an_offer_is_answered_refuses_that_offer`,
// `a_panic_answers_500_and_the_thread_goes_on`,
// `a_panic_in_one_connection_closes_that_one_and_leaves_nothing_behind`,
// `a_panic_that_nobody_contains_ends_the_process_and_a_contained_one_does_not`,
// `what_panics_when_it_is_dropped_is_dropped_all_the_same`, `what_is_not_retained_frees_its_key`
#[test]
fn a_panic_costs_its_work_only_and_is_counted() {
    let before = contained();
    assert_eq!(isolate("nothing", || 7), Ok(7));
    assert_eq!(isolate("a test", || panic!("on purpose")), Err::<(), _>(Contained));
    let nested = isolate("a test", || {
        let inner = isolate("a test within", || panic!("within"));
        assert_eq!(inner, Err::<(), _>(Contained));
        assert!(DEPTH.get() == 1, "still within the outer one");
        panic!("after all");
    });
    assert_eq!(nested, Err::<(), _>(Contained));
    assert_eq!(DEPTH.get(), 0);
    // Other tests of this process may add to it.
    assert!(contained() >= before + 3, "{before}, {}", contained());
}

/// Panics when it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped on purpose");
    }
}

#[test]
fn what_panics_when_it_is_dropped_is_dropped_all_the_same() {
    let (sender, rest) = std::sync::mpsc::channel::<()>();
    discard("a trap", (Trap, sender));
    assert_eq!(
        rest.try_recv(),
        Err(std::sync::mpsc::TryRecvError::Disconnected),
        "what came after it went too"
    );
    assert_eq!(isolate("a payload", || std::panic::panic_any(Trap)), Err::<(), _>(Contained));
}

#[test]
fn a_panic_that_nobody_contains_ends_the_process_and_a_contained_one_does_not() {
    if std::env::var_os(DIES).is_some() {
        return die();
    }
    let name = "isolation::tests::a_panic_that_nobody_contains_ends_the_process_and_a_contained_one_does_not";
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).args(["--exact", name, "--nocapture"]).env(DIES, "1").output().expect("a copy");
    let log = String::from_utf8_lossy(&output.stderr);
    println!("{:?}\n{log}", output.status);
    assert_eq!(output.status.signal(), Some(ABORTED));
    let contained = log.lines().find(|line| line.contains("ALERT a peer is lost, nothing else"));
    assert!(contained.is_some_and(|line| line.contains("tests.rs") && line.contains("contained")), "{log}");
    assert!(log.contains("ALERT thread `unnamed` panicked") && log.contains("a library's own"), "{log}");
    assert!(log.contains("a library's thread is counted"), "{log}");
    assert!(log.contains("ALERT thread `owner` panicked") && log.contains("stray"), "{log}");
    assert!(!log.contains("lived on"), "{log}");
}

/// As `main` starts a role: the hook, then a panic that is contained, one of a library's own thread, and a stray one.
fn die() {
    crate::logging::start(&Log::default(), &Environment::default());
    end_on_stray_panics();
    assert_eq!(isolate("a peer", || panic!("contained")), Err::<(), _>(Contained));
    let before = contained();
    let nameless = std::thread::Builder::new().spawn(|| panic!("a library's own")).expect("a thread");
    assert!(nameless.join().is_err());
    if contained() > before {
        eprintln!("a library's thread is counted");
    }
    let owner = std::thread::Builder::new().name("owner".into()).spawn(|| panic!("stray")).expect("a thread");
    let _ = owner.join();
    eprintln!("lived on");
}
