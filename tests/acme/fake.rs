//! An authority that says what pebble does not.
