//! The control API: JSON behind the edge. Nothing here knows a socket of the outside world.

pub mod answer;
pub mod auth;
pub mod call;
pub mod cors;
pub mod counters;
pub mod gate;
pub mod media_form;
pub mod origin;
pub mod overlay;
pub mod page_files;
pub mod pages;
pub mod player;
pub mod reply;
pub mod room_page;
pub mod rooms;
pub mod rooms_form;
pub mod routes;
pub mod server;
pub mod session_path;
pub mod sessions;
pub mod token_use;
pub mod types;
pub mod whip;
pub mod words;
pub mod wrong_tokens;
