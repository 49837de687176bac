//! Black-box tests: the built program, real guests, real clients. One binary, so that it is linked once.
//!
//! What starts guests or networks runs only inside `tests/hermetic` and says so when it is skipped.

mod host;
