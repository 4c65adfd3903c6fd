//! What operators run on their hosts: the built binary, with real services beside it.

#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;

#[path = "../coturn/mod.rs"]
mod coturn;
mod doctor;
mod setup;
mod stopped;
