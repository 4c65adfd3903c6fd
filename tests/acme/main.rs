//! Automatic certificates against a real authority, pebble, in network namespaces of their own.
//!
//! Each test runs itself again inside a namespace where ports 443 and 80 are free and `neck.test` is this host. Needs root, `ip`,
//! pebble and pebble-challtestsrv (Debian's `pebble`); where one is missing it says so and passes.

mod authority;
mod cases;
mod failures;
mod place;
