//! Who sends a request, as far as its head shows: whose places it takes, and what is believed of its forwarding fields.

use std::net::IpAddr;

use super::admission::Shown;
use super::client_io::ClientIo;
use super::context::Context;
use super::router::Entrance;
use crate::core::limits::fair_share::network_of;
use crate::edge::forwarding_proof::Claim;
use crate::edge::http1::head::fields::{Known, known, members};
use crate::edge::http1::head::request::RequestHead;
use crate::edge::reply::Reply;

/// A request that is not taken.
pub struct Turned {
    /// The answer.
    pub reply: Reply,
    /// The connection goes with it.
    pub closes: bool,
}

/// Finds out who sends the request and takes the places it needs. Until the request is over the connection speaks for that client:
/// `io.peer`, `io.trusted`, `io.client`,
/// `io.network`.
pub fn admit(cx: &mut Context, io: &mut ClientIo, head: &RequestHead<'_, '_>) -> Result<(), Turned> {
    let named = proved_client(cx, io, head);
    let shown = Shown {
        operator: is_awaited(cx, io, head)
            || head.authorization().is_some_and(|field| cx.router.is_operator(field)),
        controller: named.is_some(),
    };
    io.peer = named.unwrap_or(io.ticket.peer());
    io.trusted = shown.controller || io.ticket.trusted();
    let forwarded = named.or_else(|| io.ticket.trusted().then(|| last_untrusted(io, head)).flatten());
    let client = forwarded.unwrap_or(io.peer);
    io.client = client;
    let exempt = shown.operator || client.is_loopback() || io.ticket.trusts(client);
    io.network = (!exempt).then(|| network_of(client));
    let was_on_trial = io.ticket.on_trial().is_some();
    io.ticket.review(shown).map_err(|limit| Turned { reply: limit.reply(), closes: true })?;
    if was_on_trial {
        // Its new seat has no bell yet: who is pushed out of it later must hear of that.
        io.ticket.settle(io.key);
    }
    if let Err(wait) = io.ticket.pace(cx.now, io.network) {
        cx.warn(io.network, &format_args!("{client} sends more than edge.rate_limit_per_address"));
        let reply = Reply::too_fast(wait, "edge.rate_limit_per_address");
        return Err(Turned { reply, closes: false });
    }
    // A connection of the client itself counts for its address already.
    let network = io.network.filter(|_| forwarded.is_some());
    let session = if shown.operator { None } else { cx.router.session_of(head.path) };
    let flight = io.ticket.begin(network, session);
    io.flight = Some(flight.map_err(|limit| Turned { reply: limit.reply(), closes: false })?);
    Ok(())
}

/// Whether an authority comes because we asked it to.
fn is_awaited(cx: &Context, io: &ClientIo, head: &RequestHead<'_, '_>) -> bool {
    io.entrance == Entrance::Plain && cx.router.is_awaited(head.path)
}

/// The client that a controller of ours names.
fn proved_client(cx: &mut Context, io: &ClientIo, head: &RequestHead<'_, '_>) -> Option<IpAddr> {
    let field = head.fields.iter().find(|field| known(field.name) == Known::NeckForwarded)?;
    let claim = Claim::parse(field.value).filter(|claim| cx.router.is_proof(claim.proof));
    if claim.is_none() {
        let peer = io.ticket.peer();
        let words = "sends Neck-Forwarded without a good proof; if it is the controller, their tokens differ";
        cx.warn(Some(network_of(peer)), &format_args!("{peer} {words}"));
    }
    claim.map(|claim| claim.client)
}

/// The client that trusted proxies name: the last address that is not one of them.
fn last_untrusted(io: &ClientIo, head: &RequestHead<'_, '_>) -> Option<IpAddr> {
    let fields = head.fields.iter().filter(|field| known(field.name) == Known::XForwardedFor);
    let addresses = fields
        .flat_map(|field| members(field.value))
        .filter_map(|member| std::str::from_utf8(member).ok()?.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical());
    addresses.filter(|address| !io.ticket.trusts(*address)).last()
}
