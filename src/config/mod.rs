//! Configuration: raw text → checked [`settings`]. Everything else sees checked values only.

pub mod live;
pub mod secret;
pub mod settings;
