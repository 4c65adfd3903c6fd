//! What `demo` and the tests put in the place of programs we do not own: moonlight-web-stream and a body.
//!
//! moonlight-web-stream is two programs, `web-server` and its grandchild of ours `streamer`, with a directory of
//! pages. The stand-ins behave as the real v2.6 was measured to (`tests/stand_in.rs` holds them to it): paths, prefix,
//! authentication, NDJSON, keep-alive, exit codes, signals. They do no WebRTC: the stream is a small clip that
//! arrives as binary frames over the signalling WebSocket, which is the real program's own media fallback.
//!
//! A body is Sunshine and hydrabody ([`sunshine`], held to it by `tests/stand_in_body`); the demo's is one where everybody
//! is paired already ([`body`]).
//!
//! The same modules are programs in two ways: `tests/support/*.rs` are thin `main`s around them, and our own binary
//! becomes one of them when it is started under its name ([`run_as`]), through the links that
//! [`install::create`] makes. So `demo` needs nothing but the one binary.
//!
//! The verb itself is [`role`], with its way back, [`door`].
//!
//! Never: nothing outside `demo` and tests may depend on the stand-ins, and they never use a module of the product, so
//! that a mistake there cannot hide itself here.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

pub mod body;
pub mod clip;
pub mod door;
pub mod ear;
pub mod faults;
mod http;
pub mod install;
pub mod reach;
pub mod role;
pub mod room;
pub mod streamer;
pub mod sunshine;
pub mod web_server;

/// Runs the stand-in that `argv0` names, if it names one. Our `main` calls this before it looks at any argument.
pub fn run_as(argv0: &OsStr) -> Option<ExitCode> {
    match Path::new(argv0).file_name()?.to_str()? {
        install::WEB_SERVER => Some(web_server::main()),
        install::STREAMER => Some(streamer::main()),
        _ => None,
    }
}
