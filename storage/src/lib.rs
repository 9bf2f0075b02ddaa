//! Carrick.
