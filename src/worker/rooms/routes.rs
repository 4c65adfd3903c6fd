//! Where the worker's edge sends requests of rooms: signalling to the thread `rooms`, everything else to the control API.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::gate::Gate;
use crate::api::reply::Answer;
use crate::api::rooms_form;
use crate::core::rooms::upgrade::CLIENT_FIELD;
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Forward, Request, TunnelWatch, Uncounted, Upstream};
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
        let decided = self.api.decide_room(request, self.access.is_enabled(), most);
        decided.unwrap_or_else(|| Decision::Forward(self.tunnel(request)))
    }

    fn tunnel(&self, request: &Request<'_>) -> Forward {
        Forward {
            tunnels: Some(self.tunnels.clone()),
            unavailable: Some(unavailable),
            rewrite: Some(rooms_form::rewrite(request, Some(CLIENT_FIELD))),
            ..Forward::to(self.upstream.clone())
        }
    }
}

fn unavailable(_html: bool) -> Reply {
    let detail = "signalling takes no connection just now; ask again";
    rooms_form::of_answer(Answer::error(503, "service unavailable", detail).retry_after(RETRY)).into()
}
