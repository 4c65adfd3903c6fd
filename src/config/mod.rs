//! Configuration: raw text → checked [`settings`]. Everything else sees checked values only.
//!
//! ```text
//! file, variables, secret files ─ Source ─ document (YAML with lines) ─ keys (the table) ─ check ─→ Settings
//!                                                     └────────── problems, all at once ─────────→ Problems
//! ```
//!
//! Nothing here reads the environment of the process, logs, or repeats a value of the file in a message.

mod acme_directory;
mod acme_settings;
mod addresses;
mod check;
mod contradiction;
mod defaults;
mod deliveries;
mod document;
mod duration;
mod edge_settings;
mod engine_parameters;
mod engines;
mod ice;
pub mod keys;
mod kinds;
pub mod live;
mod load;
pub mod local;
mod pins;
mod print;
mod problems;
mod reach;
pub mod reload;
mod report;
mod rooms;
pub mod secret;
mod secret_file;
pub mod settings;
mod shown;
mod slips;
mod source;
mod strength;
#[cfg(test)]
mod tests;
pub mod tls_files;
mod transport;
mod update_kinds;
mod update_settings;
mod weakness;
mod webhooks;

pub use addresses::{listen_address, network};
pub use duration::parse as parse_duration;
pub use kinds::Secrets;
pub use load::{Mode, load, parse_mode};
pub use print::print;
pub use problems::Problems;
pub use report::{Place, Problem};
pub use secret_file::read_own as read_secret;
pub use source::{Environment, Source, find_path, variable_of};
