//! WHIP and WHEP of the built binary: the conformance table over HTTP, directly and through a controller, with WebRTC clients
//! of str0m behind the offers, and real FFmpeg as the source.

#[path = "../aiortc/mod.rs"]
mod aiortc;
#[path = "../whep/client.rs"]
#[allow(dead_code)]
mod client;
mod conformance;
mod engines;
mod ffmpeg_client;
mod figures;
mod film;
mod foreign_client;
mod hostile;
#[path = "../behaviour/http.rs"]
#[allow(dead_code)]
mod http;
mod ingest;
mod ingest_trouble;
#[path = "../behaviour/lab.rs"]
#[allow(dead_code)]
mod lab;
mod offer_table;
mod offers;
mod one_transport;
mod playable;
mod restart;
mod shares;
#[path = "../whep/simulcast.rs"]
#[allow(dead_code)]
mod simulcast;
mod stage;
mod takeover;
