//! Tests of one try.
