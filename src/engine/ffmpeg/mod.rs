//! The engine `ffmpeg`: a media process by an operator's template. [`recipe`] is what a request makes of the template,
//! [`command`] the whole command line, [`description`] what it reads of a publisher, [`inspect`] a look at the inputs before.

pub mod command;
pub mod description;
pub mod inspect;
pub mod recipe;
pub mod streams;

/// The process's log, in the session's directory.
pub const LOG_NAME: &str = "engine.log";
