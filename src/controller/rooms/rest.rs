//! REST of rooms on the controller.

use std::time::{Duration, SystemTime};

use crate::api::reply::{Answer, Responder};
use crate::api::rooms::{self, Admission, RoomView};
use crate::api::rooms_form;
use crate::api::routes::Operation;
use crate::api::server::Call;
use crate::config::secret::Secret;
use crate::controller::messages::{RoomOrder, RoomWish};
use crate::controller::namespaces::NamespaceRegistry;
use crate::controller::refusals;
use crate::controller::rooms::RoomPlaces;
use crate::controller::worker_client::{CallError, Reply, WorkerClient};
use crate::core::fleet::wire::Stamp;
use crate::core::ids::WorkerId;
use crate::core::namespaces::access::{Denied, Membership};
use crate::core::namespaces::relays::TurnCredentials;
use crate::core::namespaces::wire::RoomBrief;
use crate::core::namespaces::{NamespaceName, RoomId};

/// What a worker may take: it asks one thread that is busy for milliseconds at most.
const LIMIT: Duration = Duration::from_secs(6);

impl Admission for NamespaceRegistry {
    fn admit(&self, token: &str, host: Option<&str>, now: SystemTime) -> Result<Membership, Denied> {
        NamespaceRegistry::admit(self, token, host, now)
    }

    fn turn_credentials(&self, ns: &NamespaceName, who: &str, now: SystemTime) -> Option<TurnCredentials> {
        NamespaceRegistry::turn_credentials(self, ns, who, now)
    }
}

/// Answers what is asked of rooms; what is their worker's to do is given to `submit`, for a thread that may wait.
pub fn call(places: &RoomPlaces, call: &Call, responder: Responder, submit: impl FnOnce(Box<RoomOrder>)) {
    let registry = &places.registry;
    let answered = match call.operation {
        _ if !registry.is_enabled() => Err(rooms_form::not_served("rooms.enabled")),
        Operation::TurnCredentials => rooms::credentials(call, registry),
        Operation::ListRooms => list(registry, call),
        operation => {
            let wish = if operation == Operation::CreateRoom { RoomWish::Make } else { RoomWish::Close };
            match aim(places, call, wish) {
                Ok((ns, room, worker)) => {
                    let token = Secret::new(rooms::token(call).unwrap_or_default());
                    let registry = registry.clone();
                    return submit(Box::new(RoomOrder {
                        wish,
                        ns,
                        room,
                        worker,
                        token,
                        registry,
                        responder,
                    }));
                }
                Err(refusal) => Err(refusal),
            }
        }
    };
    responder.send(answered.unwrap_or_else(|refusal| refusal));
}

fn list(registry: &NamespaceRegistry, call: &Call) -> Result<Answer, Answer> {
    let namespace = rooms::membership(call, registry)?.namespace;
    let wanted = rooms::in_query(call)?;
    let rooms = registry.rooms(&namespace).into_iter().map(|(room, worker)| RoomView::of(room, worker));
    rooms::listed(rooms.collect(), wanted.as_ref())
}

/// Which room an owner means, and where it is or is to be.
fn aim(
    places: &RoomPlaces,
    call: &Call,
    wish: RoomWish,
) -> Result<(NamespaceName, RoomId, WorkerId), Answer> {
    let ns = rooms::owner(call, &places.registry)?.namespace;
    let (room, (worker, _)) = match wish {
        RoomWish::Make => {
            let room = rooms::asked_for(call)?;
            let found = places.of(&ns, &room)?;
            (room, found)
        }
        RoomWish::Close => {
            let room = rooms::required_in_query(call)?;
            let found = places.existing(&ns, &room)?;
            (room, found)
        }
    };
    Ok((ns, room, worker))
}

impl RoomOrder {
    /// Has the worker do it, and answers.
    pub fn carry_out(self, client: &WorkerClient) {
        let sent = client.room(&self.worker, self.wish, &self.room, &self.token, LIMIT);
        let answer = match sent {
            Ok(reply) => self.heard(reply),
            Err(CallError::NotLeading(who)) => refusals::not_leading(&who),
            Err(CallError::NotReached(why) | CallError::Lost(why)) => {
                let worker = &self.worker;
                log::warn!(worker:%; "[room] worker {worker} is not reached for a room: {why}");
                rooms::later("worker is away", "the room's worker is not reached just now; ask again")
            }
        };
        self.responder.send(answer);
    }

    fn heard(&self, reply: Reply) -> Answer {
        match (self.wish, reply.status) {
            (RoomWish::Make, 200 | 201) => match serde_json::from_value::<RoomView>(reply.body) {
                Ok(made) => {
                    self.told(reply.stamp, (made.participants, made.created_at), true);
                    rooms::made(&made, reply.status == 201)
                }
                Err(_) => Answer::error(502, "bad answer", "the worker's answer makes no sense; update it"),
            },
            (RoomWish::Close, 204 | 404) => {
                self.told(reply.stamp, (0, 0), false);
                if reply.status == 204 { Answer::empty() } else { rooms::no_such_room() }
            }
            // It has not been told of a token or of the namespace yet that we know.
            (_, 401 | 403 | 404) => {
                rooms::later("not yet", "the room's worker does not know this token yet; ask again")
            }
            (_, 503) => rooms::later("room not made", &reply.error_text()),
            (_, status) => {
                Answer::error(502, "bad answer", format!("the room's worker answered {status}; see its log"))
            }
        }
    }

    /// Nobody need wait for the worker's next heartbeat, and none that was begun before undoes it.
    fn told(&self, at: Option<Stamp>, (peers, created_at): (u32, u64), exists: bool) {
        let (ns, id) = (self.ns.clone(), self.room.clone());
        self.registry.told(&self.worker, at, RoomBrief { ns, id, peers, created_at }, exists);
    }
}
