//! Where the controller's edge sends requests of rooms: signalling to the room's worker, everything else to the control API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::api::gate::Gate;
use crate::api::reply::Answer;
use crate::api::{rooms, rooms_form};
use crate::config::live::Live;
use crate::controller::rooms::RoomPlaces;
use crate::controller::snapshot::Reach;
use crate::core::ids::WorkerId;
use crate::core::namespaces::RoomId;
use crate::core::namespaces::bearer;
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Forward, Request, TunnelWatch, Uncounted};

/// The ways there.
pub struct RoomRoutes {
    places: RoomPlaces,
    live: Arc<Live>,
    /// We are going down.
    closing: Arc<AtomicBool>,
    /// For every tunnel.
    tunnels: Arc<dyn TunnelWatch>,
}

impl RoomRoutes {
    /// `closing`: we are going down.
    pub fn new(places: RoomPlaces, live: Arc<Live>, closing: Arc<AtomicBool>) -> RoomRoutes {
        RoomRoutes { places, live, closing, tunnels: Arc::new(Uncounted) }
    }

    /// What becomes of a request, of which `api` answers a part.
    pub fn decide(&self, request: &Request<'_>, api: &Gate) -> Decision {
        let (is_enabled, most) = (self.places.registry.is_enabled(), self.live.get().edge.control_body_limit);
        if let Some(decided) = api.decide_room(request, is_enabled, most) {
            return decided;
        }
        match self.target(request) {
            Ok((worker, reach)) => Decision::Forward(self.tunnel(request, &worker, &reach)),
            Err(answer) => Decision::Reply(rooms_form::of_answer(answer).into()),
        }
    }

    fn target(&self, request: &Request<'_>) -> Result<(WorkerId, Arc<Reach>), Answer> {
        if self.closing.load(Ordering::Acquire) {
            return Err(rooms::later("service is stopping", "this controller ends soon; connect again"));
        }
        let room = request.query.and_then(|query| bearer::parameter(query, "room"));
        let room = room.ok_or_else(|| {
            Answer::error(400, "bad request", "the address names the room here: /v1/webrtc/signal?room=ID")
        })?;
        let room = RoomId::parse(&room)
            .map_err(|error| Answer::error(400, "bad request", format!("room: {error}")))?;
        let token = rooms_form::token(request).unwrap_or_default();
        let admitted = self.places.registry.admit(&token, Some(request.host), SystemTime::now());
        let membership = admitted.map_err(|denied| rooms_form::denied(denied, true))?;
        self.places.of(&membership.namespace, &room)
    }

    fn tunnel(&self, request: &Request<'_>, worker: &WorkerId, reach: &Reach) -> Forward {
        Forward {
            tunnels: Some(self.tunnels.clone()),
            proof: reach.proof_to(worker, &self.live.get()),
            unavailable: Some(away),
            rewrite: Some(rooms_form::rewrite(request, None)),
            ..Forward::to(reach.upstream.clone())
        }
    }
}

fn away(_html: bool) -> Reply {
    let answer = rooms::later("worker is away", "the room's worker is not reached just now; connect again");
    rooms_form::of_answer(answer).into()
}
