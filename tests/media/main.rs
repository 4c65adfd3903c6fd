//! WebRTC peers of a worker and its microphone, against a browser made of str0m and a UDP socket that plays the body.

#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;
#[path = "../spoofer/mod.rs"]
mod spoofer;

mod browser;
mod crowd;
mod data;
mod hostile;
mod mic;
mod reflection;
mod studio;
mod transports;
