//! Which deadline holds in which state, and what passing it means.

use std::time::Duration;

use super::admission::TRIAL;
use super::client::{Client, End, LINGER, State};
use super::context::Context;
use super::counters::Failure;
use super::exchange::{Exchange, Stage};
use crate::config::settings;
use crate::core::time::Moment;

/// Silence of a reply under way after which the kernel is asked to probe both peers; nothing is cut.
const QUIET: Duration = Duration::from_secs(30);

/// The deadline that holds now. `None`: silence is fine (streams, tunnels).
pub fn deadline(client: &Client, settings: &settings::Edge) -> Option<Moment> {
    let io = &client.io;
    let send = (!io.out.is_empty()).then(|| io.sent + settings.send_idle_timeout);
    match &client.state {
        State::Handshake | State::Head { .. } if io.ticket.on_trial().is_some() => Some(io.since + TRIAL),
        State::Handshake => Some(io.since + settings.tls_handshake_timeout),
        State::Head { .. } if send.is_some() => send,
        State::Head { began: false } if io.requests > 0 => Some(io.since + settings.keepalive_timeout),
        State::Head { .. } => Some(io.since + settings.header_timeout),
        State::Exchange(exchange) => {
            exchange_deadline(exchange, client, settings).into_iter().chain(send).min()
        }
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

fn exchange_deadline(exchange: &Exchange, client: &Client, settings: &settings::Edge) -> Option<Moment> {
    let io = &client.io;
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
pub fn on_timeout(client: &mut Client, cx: &mut Context) -> Option<End> {
    let sending = !client.io.out.is_empty();
    match &mut client.state {
        State::Head { .. } if client.io.ticket.on_trial().is_some() => {
            let verdict = client.io.ticket.give_up();
            verdict.err().map(|limit| End::Refuse(Box::new(limit.reply())))
        }
        State::Head { began: true } if !sending => Some(End::refuse(408, "the request head took too long")),
        State::Tunnel(tunnel) if !tunnel.is_over(cx) => {
            tunnel.pong(&mut client.io, cx.now);
            None
        }
        State::Handshake | State::Head { .. } | State::Tunnel(_) | State::Closing { .. } => Some(End::Gone),
        State::Api(_) | State::Events(_) if sending => Some(End::Gone),
        State::Api(exchange) => exchange.expire(cx),
        State::Events(stream) => {
            stream.comment(&mut client.io, cx.now);
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
                exchange.watch(&client.io.socket);
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
