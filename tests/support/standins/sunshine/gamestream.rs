//! GameStream over HTTP. Errors are XML with a status code of their own, in a reply of status 200, as Sunshine sends them.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pairing::Stage;
use super::record::{Event, Outcome};
use super::serve::GARBAGE;
use super::shared::{Life, Shared, State};
use crate::http::{Reply, Request};

/// How soon a client that left is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// Answers one request.
pub fn answer(shared: &Arc<Shared>, request: &Request, socket: &TcpStream) -> Option<Reply> {
    if shared.state().faults.garbage_gamestream {
        return Some(Reply::text(200, GARBAGE));
    }
    let client = request.parameter("uniqueid").unwrap_or("");
    match request.path.as_str() {
        "/serverinfo" => Some(server_info(shared, client)),
        "/pair" => pair(shared, request, client, socket),
        "/unpair" if !shared.state().faults.no_gamestream_unpair => Some(unpair(shared, client)),
        "/applist" => Some(paired_only(shared, client, app_list)),
        "/launch" | "/resume" => Some(paired_only(shared, client, |state| launch(state, request, client))),
        "/cancel" => Some(paired_only(shared, client, |state| cancel(state, client))),
        _ => Some(refused(404, "Not Found")),
    }
}

fn xml(code: u16, message: &str, inner: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<root status_code=\"{code}\"{message}>{inner}</root>"
    );
    let mut reply = Reply::text(200, &text);
    reply.content_type = "application/xml";
    reply
}

fn root(inner: &str) -> Reply {
    xml(200, "", inner)
}

fn refused(code: u16, message: &str) -> Reply {
    xml(code, &format!(" status_message=\"{message}\""), "")
}

fn server_info(shared: &Shared, client: &str) -> Reply {
    let slow = shared.state().faults.slow_serverinfo_ms;
    shared.dawdle(slow);
    let ports = (shared.gate(super::Door::GameStream).address().port(), 47984);
    let state = shared.state();
    let paired = u8::from(state.pairings.is_paired(client, state.faults.already_paired));
    let word = if state.running_app == 0 { "FREE" } else { "BUSY" };
    root(&format!(
        "<hostname>demo-body</hostname><appversion>7.1.431.-1</appversion><GfeVersion>3.23.0.74</GfeVersion>\
         <uniqueid>DEMO</uniqueid><HttpsPort>{}</HttpsPort><ExternalPort>{}</ExternalPort>\
         <mac>00:00:00:00:00:00</mac><PairStatus>{paired}</PairStatus><currentgame>{}</currentgame>\
         <state>SUNSHINE_SERVER_{word}</state>",
        ports.1, ports.0, state.running_app
    ))
}

fn pair(shared: &Arc<Shared>, request: &Request, client: &str, socket: &TcpStream) -> Option<Reply> {
    match request.parameter("phrase") {
        _ if client.is_empty() => Some(refused(400, "Missing uniqueid parameter")),
        Some("getservercert") => get_server_cert(shared, client, socket),
        Some("clientchallenge") => {
            Some(client_challenge(shared, client, request.parameter("proof").unwrap_or("")))
        }
        // A client that is cut short asks for a phase by its own parameter; ours proves by naming its PIN.
        None if request.parameter("clientchallenge").is_some() => Some(phase_of(shared, client)),
        _ => Some(refused(404, "Invalid pairing request")),
    }
}

/// A phase without a proof: it is never that client's turn.
fn phase_of(shared: &Shared, client: &str) -> Reply {
    let mut state = shared.state();
    if !state.pairings.out_of_order(client) {
        return refused(400, "Invalid uniqueid");
    }
    state.end_pairing(client, Outcome::OutOfOrder);
    drop(state);
    shared.announce();
    refused(400, "Out of order call to clientchallenge")
}

/// Waits until a PIN is taken, the client leaves, or the body dies.
fn get_server_cert(shared: &Arc<Shared>, client: &str, socket: &TcpStream) -> Option<Reply> {
    let mut state = shared.state();
    let Some(number) = begin(&mut state, client) else { return Some(root("<paired>0</paired>")) };
    loop {
        match state.pairings.stage(number) {
            _ if state.life != Life::Alive => return None,
            Stage::Over => return Some(root("<paired>0</paired>")),
            Stage::Answered => {
                return Some(root("<paired>1</paired><plaincert>5354414e442d494e</plaincert>"));
            }
            Stage::Waiting => {}
        }
        state = shared.wait(state, LOOK);
        if state.pairings.stage(number) == Stage::Waiting && has_left(socket) {
            if !state.faults.leftovers_wait && state.pairings.abandon(number) {
                state.end_pairing(client, Outcome::Abandoned);
            }
            return None;
        }
    }
}

fn begin(state: &mut State, client: &str) -> Option<u64> {
    let now = Instant::now();
    for gone in state.pairings.end_overdue(now) {
        state.end_pairing(&gone, Outcome::Abandoned);
    }
    let number = state.pairings.begin(client, state.faults.already_paired, now);
    match number {
        Some(_) => state.record.note(Event::PairingBegan { client: client.to_owned() }),
        None => state.end_pairing(client, Outcome::Refused),
    }
    number
}

/// Whether the client closed its side. One that only closed its sending side has left, too: HTTP clients do not.
fn has_left(socket: &TcpStream) -> bool {
    let limited = socket.set_read_timeout(Some(Duration::from_millis(1)));
    limited.is_err() || matches!(socket.peek(&mut [0; 1]), Ok(0))
}

fn client_challenge(shared: &Shared, client: &str, proof: &str) -> Reply {
    let mut state = shared.state();
    if state.faults.fail_pairings > 0 && state.pairings.fail(client) {
        state.faults.fail_pairings = match state.faults.fail_pairings {
            u32::MAX => u32::MAX,
            left => left - 1,
        };
        state.end_pairing(client, Outcome::Failed);
        return root("<paired>0</paired>");
    }
    let keep = !state.faults.forgets_pairings;
    let outcome = state.pairings.prove(client, proof, keep);
    if let Some(outcome) = outcome {
        state.end_pairing(client, outcome);
    }
    root(if outcome == Some(Outcome::Paired) { "<paired>1</paired>" } else { "<paired>0</paired>" })
}

fn unpair(shared: &Shared, client: &str) -> Reply {
    let mut state = shared.state();
    state.pairings.unpair(client);
    state.record.note(Event::Unpaired { client: client.to_owned() });
    root("")
}

fn paired_only(shared: &Shared, client: &str, answer: impl FnOnce(&mut State) -> Reply) -> Reply {
    let mut state = shared.state();
    if state.pairings.is_paired(client, state.faults.already_paired) {
        return answer(&mut state);
    }
    refused(401, "The client is not authorized. Certificate verification failed.")
}

fn app_list(state: &mut State) -> Reply {
    if state.faults.fail_app_lists > 0 {
        if state.faults.fail_app_lists < u32::MAX {
            state.faults.fail_app_lists -= 1;
        }
        return refused(500, "told to fail");
    }
    let apps: String = state
        .apps
        .titles()
        .map(|(title, id)| {
            let title = escaped(title);
            format!("<App><IsHdrSupported>0</IsHdrSupported><AppTitle>{title}</AppTitle><ID>{id}</ID></App>")
        })
        .collect();
    root(&apps)
}

/// An app that runs already is resumed. A body whose clients are all paired beforehand is one of [`crate::body`], where nobody
/// closes what runs: nothing does.
fn launch(state: &mut State, request: &Request, client: &str) -> Reply {
    let asked = request.parameter("appid").and_then(|id| id.parse().ok()).unwrap_or(0);
    let got = if state.running_app == 0 { asked } else { state.running_app };
    if !state.faults.already_paired {
        state.running_app = got;
    }
    state.record.note(Event::StreamStarted { client: client.to_owned(), asked, got });
    root("<gamesession>1</gamesession>")
}

fn cancel(state: &mut State, client: &str) -> Reply {
    state.record.note(Event::Cancelled { client: client.to_owned() });
    state.close_app();
    root("<cancel>1</cancel>")
}

fn escaped(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => all.push_str("&amp;"),
            '<' => all.push_str("&lt;"),
            '>' => all.push_str("&gt;"),
            '"' => all.push_str("&quot;"),
            '\'' => all.push_str("&apos;"),
            _ => all.push(letter),
        }
    }
    all
}
