//! The server and command line.

fn main() {}
