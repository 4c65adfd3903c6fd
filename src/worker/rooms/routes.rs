//! Where the worker's edge sends requests of rooms: signalling to the thread `rooms`, everything else to the control API.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::gate::Gate;
use crate::api::reply::Answer;
use crate::api::rooms_form;
use crate::core::namespaces::bearer;
use crate::core::rooms::upgrade::{CLIENT_FIELD, PATH};
use crate::edge::router::{Decision, Forward, Reply, Request, Rewrite, TunnelWatch, Uncounted, Upstream};
use crate::worker::namespaces::access::RoomAccess;
use crate::worker::rooms::Rooms;

/// When signalling may be asked again that did not take a connection: it is busy for milliseconds at most.
const RETRY: Duration = Duration::from_secs(2);

/// The ways there.
pub struct RoomRoutes {
    access: RoomAccess,
    api: Arc<Gate>,
    upstream: Upstream,
    /// The thread counts its members itself.
    tunnels: Arc<dyn TunnelWatch>,
    /// Keeps `upstream` good.
    _rooms: Rooms,
}

impl RoomRoutes {
    /// To this thread and this API.
    pub fn new(rooms: Rooms, access: RoomAccess, api: Arc<Gate>) -> RoomRoutes {
        let upstream = Upstream::Unix(Arc::new(PathBuf::from(rooms.socket_path())));
        RoomRoutes { access, api, upstream, tunnels: Arc::new(Uncounted), _rooms: rooms }
    }

    /// What becomes of a request. `most`: `edge.control_body_limit`.
    pub fn decide(&self, request: &Request<'_>, most: u64) -> Decision {
        if !self.access.is_enabled() {
            return Decision::Reply(rooms_form::not_served("rooms.enabled").into());
        }
        if request.path != PATH {
            return self.api.decide(request, most);
        }
        match self.api.admit(request) {
            Ok(()) if request.upgrade => Decision::Forward(self.tunnel(request)),
            Ok(()) => Decision::Reply(rooms_form::no_upgrade(request.lost_upgrade).into()),
            Err(reply) => Decision::Reply(reply),
        }
    }

    /// The token goes on in the one field that no log shows, wherever it came.
    fn tunnel(&self, request: &Request<'_>) -> Forward {
        let rewrite = Rewrite {
            query: request.query.and_then(bearer::without_token),
            authorization: rooms_form::token(request).map(|token| format!("Bearer {token}")),
            client: Some((CLIENT_FIELD, request.client)),
        };
        Forward {
            upstream: self.upstream.clone(),
            prefix: "".into(),
            body_limit: 0,
            inject: None,
            user: None,
            tunnels: Some(self.tunnels.clone()),
            proof: None,
            unavailable: Some(unavailable),
            confined: None,
            screen: None,
            rewrite: Some(Arc::new(rewrite)),
        }
    }
}

fn unavailable(_html: bool) -> Reply {
    let detail = "signalling takes no connection just now; ask again";
    rooms_form::of_answer(Answer::error(503, "service unavailable", detail).retry_after(RETRY)).into()
}
