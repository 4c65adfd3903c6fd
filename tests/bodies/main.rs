//! Bodies, good and bad: pairing, experiences, reachability, against the stand-in Sunshine and hydrabody with their real
//! quirks and delays.

#[path = "../support/collector.rs"]
#[allow(dead_code)]
mod collector;
#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;

mod apps;
mod cases;
mod farm;
mod late;
mod leaves;
mod many;
mod many_sessions;
mod moves;
mod pins;
mod secrets;
