//! The rules of the house.
fn main() {}
