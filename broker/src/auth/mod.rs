//! Who a client is, by what it knows or shows.

#![allow(
    dead_code,
    unused_imports,
    reason = "listeners that ask for a login are being built"
)]

pub mod oauth;
