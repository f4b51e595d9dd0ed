//! Build and test chores: `cargo xtask --help`.

fn main() {}
