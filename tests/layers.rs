//! Layers of a publisher and what a viewer's network carries, over real sockets. A program of its own: it measures a network's
//! delays, which tests that run beside it would make.

#[path = "whep/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "whep/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "whep/layers.rs"]
mod layers;
#[path = "whep/narrow_link.rs"]
mod narrow_link;
#[path = "whep/simulcast.rs"]
#[allow(dead_code)]
mod simulcast;
#[path = "whep/studio.rs"]
#[allow(dead_code)]
mod studio;
