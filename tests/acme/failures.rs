//! What goes wrong, each with its words.
