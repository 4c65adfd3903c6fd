//! Pure policy. Time, entropy and settings come in as values; values and actions go out.
//!
//! Nothing below this module may use a clock, a socket, a thread, a file, the environment or randomness;
//! `tests/rules` reads the sources and enforces it.

pub mod api_fields;
pub mod bad_json;
pub mod command_template;
pub mod confinement;
pub mod dial_policy;
pub mod doctor;
pub mod fingerprint;
pub mod fleet;
pub mod http_date;
pub mod ice;
pub mod ids;
pub mod ip_forms;
pub mod limits;
pub mod namespaces;
pub mod outside_prefix;
pub mod records;
pub mod rooms;
pub mod session;
pub mod time;
pub mod turn;
pub mod url_target;
pub mod version;
pub mod wall_time;
pub mod webhook;
