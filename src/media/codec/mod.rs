//! What is inside of pictures and sound, as far as forwarding needs it. Pure.

pub mod ffmpeg_description;
pub mod nal_units;
pub mod opus;
pub mod parameter_sets;
pub mod picture_ids;
pub mod set_inserter;
