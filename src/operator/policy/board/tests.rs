//! What a page is told, and what it is spared.

use super::*;
use crate::core::fleet::Heard;
use crate::core::fleet::wire::SessionFacts;
use crate::core::time::Moment;

const NOW: u64 = 1_800_000_000_000;

fn worker(name: &str) -> WorkerView {
    WorkerView {
        id: name.parse().unwrap(),
        url: "http://10.0.0.1:1".to_owned(),
        source: [10, 0, 0, 1].into(),
        key: None,
        version: "1.0.0".to_owned(),
        health: WorkerHealth::Up,
        heard: Heard {
            viewed: Moment(0),
            last: Moment(0),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        },
        status: WorkerStatus::Ok,
        last_heartbeat_age: Duration::from_secs(1),
        active: 1,
        reserved: 0,
        max: 8,
        wireguard: true,
        draining: false,
        stopping: false,
        unreachable: false,
        drains_for: None,
        trouble: None,
        hindrances: Vec::new(),
    }
}

fn session(n: u8) -> SessionView {
    SessionView {
        id: SessionId::from_entropy([n; 16]),
        worker: "a".parse().unwrap(),
        body: BodyAddr::from(IpAddr::from([10, 10, 0, n])),
        status: SessionStatus::Ready,
        reason: None,
        experience: Some("Space \"</script>\u{2028}".to_owned()),
        district: None,
        age: Duration::from_secs(60),
        connections: 0,
        ending_as: None,
        view_id: None,
        ended_for: None,
        moves: 0,
        facts: SessionFacts::default(),
    }
}

fn look(now: u64, workers: Vec<WorkerView>, sessions: Vec<SessionView>) -> Look {
    Look { now, workers, sessions: Some(sessions), ..Look::default() }
}

/// What a page would read.
fn read(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn what_only_grows_older_does_not_change() {
    let mut board = Board::default();
    let first = board.update(&look(NOW, vec![worker("a")], vec![session(1)]));
    assert_eq!((first.workers.len(), first.sessions.len(), first.head), (1, 1, true));
    // A minute later, as a beat has told it that was under way for two seconds.
    let aged = |secs| SessionView { age: Duration::from_secs(secs), ..session(1) };
    for (after, age) in [(60_000, 118), (61_000, 121), (62_000, 123)] {
        let changes = board.update(&look(NOW + after, vec![worker("a")], vec![aged(age)]));
        assert!(changes.is_empty(), "{changes:?}");
    }
    let changes = board.update(&look(NOW + 63_000, vec![worker("a")], vec![aged(30)]));
    assert_eq!(changes.sessions.len(), 1, "another beginning is news");
}

#[test]
fn a_page_hears_what_changed_and_what_is_gone() {
    let mut board = Board::default();
    board.update(&look(NOW, vec![worker("a"), worker("b")], vec![session(1), session(2)]));
    let streaming = SessionView { status: SessionStatus::Streaming, connections: 2, ..session(2) };
    let changes = board.update(&look(NOW + 500, vec![worker("b")], vec![streaming]));
    let text = board.changed(NOW + 500, &changes, Some((1, 2, 3)));
    let seen = read(&text);
    assert_eq!(seen["sessions"][0]["state"], "streaming", "{text}");
    assert_eq!(seen["sessions"].as_array().map(Vec::len), Some(1), "{text}");
    assert_eq!(seen["gone"][0].as_str(), Some(session(1).id.expose()), "{text}");
    assert_eq!((&seen["gone_workers"][0], &seen["point"][2]), (&"a".into(), &3.into()), "{text}");
    assert!(
        seen.get("workers").is_none() && seen.get("ends").is_none() && seen.get("head").is_none(),
        "{text}"
    );
    assert!(!text.contains('\n'), "one line: {text}");
}

#[test]
fn who_comes_late_reads_the_same_as_who_heard_it_all() {
    let mut board = Board::default();
    let ended = |n, secs| SessionView {
        status: SessionStatus::Ended,
        reason: Some(EndReason::Crashed),
        ended_for: Some(Duration::from_secs(secs)),
        ..session(n)
    };
    board.update(&look(NOW, vec![worker("a")], vec![session(1), ended(2, 30), ended(3, 10)]));
    board.history().note(Default::default());
    let seen = read(&board.full(NOW));
    assert_eq!((&seen["full"], &seen["now"]), (&true.into(), &NOW.into()));
    assert_eq!(seen["sessions"][0]["experience"].as_str(), session(1).experience.as_deref());
    assert_eq!(seen["sessions"].as_array().map(Vec::len), Some(1), "those that are over are told apart");
    let ends: Vec<_> =
        seen["ends"].as_array().unwrap().iter().map(|end| end["id"].as_str().unwrap()).collect();
    assert_eq!(ends, [session(3).id.short(), session(2).id.short()], "the newest first, and no id whole");
    assert_eq!(
        (&seen["history"][0], &seen["workers"][0]["state"]),
        (&serde_json::json!([0, 0, 0]), &"up".into())
    );
}

#[test]
fn only_the_last_ends_are_shown() {
    let mut board = Board::default();
    let over = |n: u8| SessionView {
        status: SessionStatus::Ended,
        ended_for: Some(Duration::from_secs(u64::from(n))),
        ..session(n)
    };
    let changes = board.update(&look(NOW, Vec::new(), (0..200).map(over).collect()));
    assert!(changes.ends && changes.sessions.is_empty());
    assert_eq!((board.ends.len(), board.ends[0].at), (MAX_ENDS, NOW));
}

// SPEC 9 page: A worker's state is told with its beginning, its late beats and its last failure;
// ends with their reasons; an hour of curves is there when the page opens
// Also: `a_workers_last_failure_is_told_for_an_hour`, `only_the_last_ends_are_shown`,
// `an_hour_is_kept_and_counts_are_since_the_point_before`
#[test]
fn a_workers_state_is_told_with_its_beginning() {
    let mut board = Board::default();
    let row = |board: &Board| board.workers.values().next().unwrap().row.clone();
    let see = |board: &mut Board, at: u64, change: &dyn Fn(&mut WorkerView)| {
        let mut view = worker("a");
        change(&mut view);
        board.update(&look(NOW + at, vec![view], Vec::new()));
        row(board)
    };
    assert_eq!(see(&mut board, 0, &|_| ()).since, NOW);
    assert_eq!(see(&mut board, 5_000, &|_| ()).since, NOW);
    let silent = |view: &mut WorkerView| {
        (view.health, view.last_heartbeat_age) = (WorkerHealth::Late, Duration::from_secs(4));
    };
    let late = see(&mut board, 10_000, &silent);
    assert_eq!((late.state, late.since, late.late), ("late", NOW + 6_000, 1), "since its last beat");
    assert_eq!(see(&mut board, 11_000, &silent).late, 1, "one silence is one");
    assert_eq!(see(&mut board, 12_000, &|_| ()).late, 1);
    assert_eq!(see(&mut board, 13_000, &silent).late, 2);
    let drains = |view: &mut WorkerView| {
        (view.draining, view.drains_for) = (true, Some(Duration::from_secs(300)));
    };
    let draining = see(&mut board, 20_000, &drains);
    assert_eq!((draining.state, draining.drains_until), ("draining", Some(NOW + 320_000)));
    assert_eq!(see(&mut board, 21_000, &drains).drains_until, Some(NOW + 320_000), "it is one time");
}

#[test]
fn a_workers_last_failure_is_told_for_an_hour() {
    let mut board = Board::default();
    let mut see = |at: u64, trouble: Option<&str>| {
        let view = WorkerView { trouble: trouble.map(str::to_owned), ..worker("a") };
        board.update(&look(NOW + at, vec![view], Vec::new()));
        board.workers.values().next().unwrap().row.failure.clone()
    };
    assert_eq!(see(0, None), None);
    let told = Some((NOW + 1_000, "it fails".to_owned()));
    assert_eq!((see(1_000, Some("it fails")), see(2_000, Some("it fails"))), (told.clone(), told.clone()));
    assert_eq!((see(3_000, None), see(3_600_999, None)), (told.clone(), told));
    assert_eq!(see(3_601_001, None), None);
}

#[test]
fn nobody_watches_and_no_session_is_kept() {
    let mut board = Board::default();
    board.update(&look(NOW, vec![worker("a")], vec![session(1)]));
    board.update(&Look { now: NOW + 1_000, workers: vec![worker("a")], ..Look::default() });
    assert!(board.sessions.is_empty() && board.workers.len() == 1);
    let again = board.update(&look(NOW + 2_000, vec![worker("a")], vec![session(1)]));
    assert_eq!((again.sessions.len(), again.workers.len()), (1, 0));
}
