//! Layers of one picture, and which of them a viewer gets. Pure.

pub mod estimator;
pub mod layer_choice;
pub mod layers;
