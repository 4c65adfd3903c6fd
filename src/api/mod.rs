//! The control API and what the browser is given besides its page.

pub mod overlay;
