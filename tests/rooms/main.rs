//! Members of rooms on the media threads, over real sockets: str0m on both ends.

mod alone;
mod guest;
mod hall;
mod hostile;
mod hostile_frames;
mod joining;
mod media;
mod meet;
mod orders;
mod signalled;
