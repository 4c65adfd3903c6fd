//! Which role a configuration is for.

/// Which role a configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Routes requests to workers.
    Controller,
    /// Runs sessions.
    Worker,
}

impl Role {
    /// The verb and the value of `mode:`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Controller => "controller",
            Role::Worker => "worker",
        }
    }
}
