//! REST of rooms on the worker that holds them.

use std::time::SystemTime;

use crate::api::reply::Answer;
use crate::api::rooms::{self, Admission, RoomView};
use crate::api::rooms_form;
use crate::api::routes::Operation;
use crate::api::server::Call;
use crate::core::ids::WorkerId;
use crate::core::namespaces::NamespaceName;
use crate::core::namespaces::wire::RoomBrief;
use crate::worker::health::Health;
use crate::worker::namespaces::access::{Denied, Membership, RoomAccess, TurnCredentials};
use crate::worker::rooms::RoomRefused;

impl Admission for RoomAccess {
    fn admit(&self, token: &str, host: Option<&str>, now: SystemTime) -> Result<Membership, Denied> {
        RoomAccess::admit(self, token, host, now)
    }

    fn turn_credentials(&self, ns: &NamespaceName, who: &str, now: SystemTime) -> Option<TurnCredentials> {
        RoomAccess::turn_credentials(self, ns, who, now)
    }
}

/// Answers what is asked of rooms.
pub fn answer(health: &Health, call: &Call) -> Answer {
    if !health.room_access.is_enabled() {
        return rooms_form::not_served("rooms.enabled");
    }
    let answered = match call.operation {
        Operation::TurnCredentials => rooms::credentials(call, &health.room_access),
        Operation::ListRooms => list(health, call),
        Operation::CreateRoom => create(health, call),
        _ => close(health, call),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

fn list(health: &Health, call: &Call) -> Result<Answer, Answer> {
    let namespace = rooms::membership(call, &health.room_access)?.namespace;
    let wanted = rooms::in_query(call)?;
    let ours = health.rooms.list().into_iter().filter(|room| room.ns == namespace);
    rooms::listed(ours.filter_map(|room| view(health, room)).collect(), wanted.as_ref())
}

fn create(health: &Health, call: &Call) -> Result<Answer, Answer> {
    let Membership { namespace, limits, .. } = rooms::owner(call, &health.room_access)?;
    let room = rooms::asked_for(call)?;
    let refused = |why: RoomRefused| rooms::later("room not made", &why.to_string());
    let is_new = health.rooms.create(namespace.clone(), room.clone(), limits).map_err(refused)?;
    let mut all = health.rooms.list().into_iter();
    let made = all.find(|known| known.ns == namespace && known.id == room);
    // One that was closed in this moment.
    let made = made.and_then(|made| view(health, made)).ok_or_else(rooms::no_such_room)?;
    Ok(rooms::made(&made, is_new))
}

fn close(health: &Health, call: &Call) -> Result<Answer, Answer> {
    let namespace = rooms::owner(call, &health.room_access)?.namespace;
    let room = rooms::required_in_query(call)?;
    match health.rooms.close(&namespace, &room) {
        true => Ok(Answer::empty()),
        false => Err(rooms::no_such_room()),
    }
}

fn view(health: &Health, room: RoomBrief) -> Option<RoomView> {
    Some(RoomView::of(room, own_id(health)?))
}

/// It is settled before anybody can ask.
fn own_id(health: &Health) -> Option<WorkerId> {
    health.live.get().server.worker_id.clone()
}
