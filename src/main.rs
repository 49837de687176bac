//! The `dwarfnova` program.

fn main() {}
