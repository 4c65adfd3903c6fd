//! The operating system: processes, directories, clocks, signals, systemd, progress of threads. No policy.

pub mod activation;
pub mod clock;
pub mod crypto;
pub mod descriptors;
pub mod disk;
pub mod entropy;
pub mod http_client;
pub mod identity_key;
pub mod interfaces;
pub mod join;
pub mod local;
pub mod notify;
pub mod pipe;
pub mod ports;
pub mod private_dir;
pub mod private_socket;
pub mod process;
pub mod process_table;
pub mod public_address;
pub mod pulse;
pub mod sandbox;
pub mod signals;
pub mod state_file;
pub mod stun;
pub mod wake;
pub mod wireguard;
