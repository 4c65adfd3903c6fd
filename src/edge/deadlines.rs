//! Which deadline holds in which state, and what passing it means.

use std::time::Duration;

use super::admission::TRIAL;
use super::client_io::{ClientIo, End};
use super::context::Context;
use super::counters::Failure;
use super::exchange::{Exchange, Stage};
use super::state::State;
use crate::config::settings;
use crate::core::time::Moment;

/// How long a client may take to read our last words before its connection is closed: closing with unread input
/// would send RST, which can destroy the reply on its way.
pub const LINGER: Duration = Duration::from_secs(2);

/// Silence of a reply under way after which the kernel is asked to probe both peers; nothing is cut.
const QUIET: Duration = Duration::from_secs(30);

/// The deadline that holds now. `None`: silence is fine (streams, tunnels).
pub fn deadline(io: &ClientIo, state: &State, settings: &settings::Edge) -> Option<Moment> {
    let send = (!io.out.is_empty()).then(|| io.sent + settings.send_idle_timeout);
    match state {
        State::Handshake | State::Head { .. } if io.ticket.on_trial().is_some() => Some(io.since + TRIAL),
        State::Handshake => Some(io.since + settings.tls_handshake_timeout),
        State::Head { .. } if send.is_some() => send,
        State::Head { began: false } if io.requests > 0 => Some(io.since + settings.keepalive_timeout),
        State::Head { .. } => Some(io.since + settings.header_timeout),
        State::Exchange(exchange) => exchange_deadline(exchange, io, settings).into_iter().chain(send).min(),
        State::Api(exchange) => send.into_iter().chain([exchange.deadline(io.since, settings)]).min(),
        State::Events(stream) => send.or(Some(stream.comment_due())),
        State::Tunnel(tunnel) => {
            let half = tunnel.half_since.map(|since| since + settings.tunnel_fin_timeout);
            half.into_iter().chain(tunnel.pong_due(settings.websocket_pong)).min()
        }
        State::Closing { finished: true, .. } => Some(io.since + LINGER),
        State::Closing { finished: false, .. } => Some(io.sent + settings.send_idle_timeout),
    }
}

fn exchange_deadline(exchange: &Exchange, io: &ClientIo, settings: &settings::Edge) -> Option<Moment> {
    match exchange.stage {
        Stage::Connect { since } => Some(since + settings.upstream_connect_timeout),
        Stage::Relay if !exchange.request_done() && exchange.to_up.is_empty() => {
            Some(io.moved + settings.body_idle_timeout)
        }
        Stage::Relay if !exchange.reply_begun() => Some(io.moved + settings.upstream_head_timeout),
        Stage::Relay if !exchange.to_up.is_empty() => Some(io.moved + settings.upstream_head_timeout),
        Stage::Relay if !exchange.watched => Some(io.moved + QUIET),
        Stage::Relay => None,
    }
}

/// What a passed deadline means; `None`: go on.
pub fn on_timeout(io: &mut ClientIo, state: &mut State, cx: &mut Context) -> Option<End> {
    let sending = !io.out.is_empty();
    match state {
        State::Head { .. } if io.ticket.on_trial().is_some() => {
            let verdict = io.ticket.give_up();
            verdict.err().map(|limit| End::Refuse(Box::new(limit.reply())))
        }
        State::Head { began: true } if !sending => Some(End::refuse(408, "the request head took too long")),
        State::Tunnel(tunnel) if !tunnel.is_over(cx) => {
            tunnel.pong(io, cx.now);
            None
        }
        State::Handshake | State::Head { .. } | State::Tunnel(_) | State::Closing { .. } => Some(End::Gone),
        State::Api(_) | State::Events(_) if sending => Some(End::Gone),
        State::Api(exchange) => exchange.expire(cx),
        State::Events(stream) => {
            stream.comment(io, cx.now);
            None
        }
        State::Exchange(exchange) => match exchange.stage {
            Stage::Connect { .. } => Some(exchange.unreachable(cx, &"connecting took too long", 504)),
            Stage::Relay
                if exchange.reply_begun()
                    && exchange.request_done()
                    && exchange.to_up.is_empty()
                    && !sending =>
            {
                exchange.watch(&io.socket);
                None
            }
            Stage::Relay if exchange.reply_begun() => Some(End::Gone),
            Stage::Relay if !exchange.request_done() && exchange.to_up.is_empty() => {
                Some(End::refuse(408, "the request body stopped coming"))
            }
            Stage::Relay => {
                cx.complain(&exchange.forward.upstream, Failure::Broken, &"no reply in time");
                Some(End::refuse(504, "the upstream did not reply in time"))
            }
        },
    }
}
