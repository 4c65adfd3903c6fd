//! Automatic certificates against a real authority, pebble, in network namespaces of their own.
//!
//! Each test runs itself again inside a namespace where ports 443 and 80 are free and `neck.test` is this host. Needs root, `ip`,
//! pebble and pebble-challtestsrv (Debian's `pebble`); where one is missing it says so and passes. What pebble does not do, or not when it
//! is wanted, an authority of our own does (`tests/support/fake_authority`).

mod authority;
mod cases;
mod failures;
#[path = "../support/fake_authority/mod.rs"]
mod fake_authority;
mod here;
#[allow(dead_code)]
#[path = "../behaviour/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../behaviour/lab.rs"]
mod lab;
mod newer;
mod place;
mod renewal;
mod says;
mod silent;
