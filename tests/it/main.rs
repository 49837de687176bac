//! Black-box tests, in one binary.

mod host;
