//! Carrick.

pub mod meta;
