//! The control API: JSON behind the edge. Nothing here knows a socket of the outside world.

pub mod auth;
pub mod origin;
pub mod overlay;
pub mod pages;
pub mod reply;
pub mod routes;
pub mod server;
pub mod types;
//! The control API and what the browser is given besides its page.

pub mod overlay;
