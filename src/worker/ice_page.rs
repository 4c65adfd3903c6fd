//! ICE servers for a session's pages: in their script, and when they ask.

use std::time::Duration;

use serde_json::json;

use crate::api::overlay::BrowserIceServer;
use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::api::sessions;
use crate::host::clock;
use crate::worker::ice::{IceList, for_browser};
use crate::worker::registry::Visit;
use crate::worker::service::WorkerService;

/// Until a page that got no credentials for now asks for them by `_neck/ice`.
const ASK_SOON: Duration = Duration::from_secs(1);

/// What a page gets now. The one place that mints for whoever has a link of a session: only while the session lives, and no
/// more often than its page may ask.
fn for_page(service: &WorkerService, call: &Call, visit: &Visit) -> Result<IceList, Answer> {
    if !visit.handle.is_live() {
        return Err(sessions::unknown());
    }
    service.admit_pace(call, &visit.id)?;
    Ok(for_browser(&service.live.get(), &visit.id, clock::unix_millis() / 1000))
}

/// What stands in the page's script. The script is there after the end, too, and for pages that ask too often: without
/// credentials.
pub fn for_script(service: &WorkerService, call: &Call, visit: &Visit) -> IceList {
    for_page(service, call, visit)
        .unwrap_or_else(|_| IceList::none(visit.handle.is_live().then_some(ASK_SOON)))
}

/// `GET /session/{id}/_neck/ice`: what the page connects with now, before its credentials end, and at an ICE restart.
pub fn answer(service: &WorkerService, call: &Call) -> Answer {
    let Some(visit) = service.visit(call) else { return sessions::unknown() };
    let list = match for_page(service, call, &visit) {
        Ok(list) => list,
        Err(refusal) => return refusal,
    };
    let servers: Vec<BrowserIceServer> = list.servers.iter().map(BrowserIceServer::from).collect();
    Answer::json(200, &json!({"iceServers": servers, "ttl": list.ttl.map(|ttl| ttl.as_secs())}))
}
