//! Black-box tests: the built program, real guests, real clients. One binary, so that it is linked once.
//!
//! What starts guests or networks runs only inside `tests/hermetic` and says so when it is skipped.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "tests run clients and look at the host by themselves")]

mod actions;
mod architecture;
mod checker;
mod clients;
mod crash;
mod harness;
mod host;
mod metadata;
mod ordinary_user;
mod packaging;
mod placement;
mod refusals;
mod walk;
