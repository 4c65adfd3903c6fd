//! The operating system: processes, directories, clocks, signals, systemd. No policy.

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod private_dir;
pub mod process;
pub mod process_table;
pub mod state_file;
pub mod wake;
pub mod wireguard;
//! The operating system: signals, systemd, progress of threads.

pub mod notify;
pub mod pulse;
pub mod signals;
