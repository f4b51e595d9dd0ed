//! The `occm` program.

fn main() {}
