//! The stand-in body: that it behaves as Sunshine and hydrabody were read and measured to, and that the stand-in
//! web-server pairs with it for real.

mod certificate;
mod client;
mod faults;
mod interfaces;
mod pairing;

#[allow(dead_code, reason = "shared with tests/stand_in.rs, which uses the rest")]
#[path = "../stand_in_support/mod.rs"]
mod stand_in_support;
