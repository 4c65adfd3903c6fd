//! Behaviour of the built binary: roles as processes, one behaviour per file.

mod fleet;
mod http;
mod lab;
