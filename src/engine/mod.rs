//! Engines: what feeds a session's page. Today there is one, [`moonlight`].

pub mod moonlight;
