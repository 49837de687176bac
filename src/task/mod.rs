//! The task engine: carries out workflows that survive a crash. Knows nothing of servers.
//!
//! ```text
//!            all steps ran                    hooks: done
//!  pending -> running ----------------------------------> done
//!                |  a step failed, or pre-empted
//!                v                            hooks: unwound
//!            unwinding ---------------------------------> unwound
//!                |  an undo kept failing      hooks: stuck
//!                +--------------------------------------> stuck
//! ```
//!
//! A workflow that goes `Forward` (delete, detach) never unwinds: a failed step is tried again, later and later, until
//! it succeeds. Before a step runs, the log says so; a step found started but not ended after a crash runs again.

pub mod failpoint;
mod log;
mod run;
mod runner;
#[cfg(test)]
mod tests;
pub mod workflow;

pub use runner::{EndedTasks, Engine, Now, Tasks, Tuning};
pub use workflow::{Cause, Direction, Step, StepContext, StepError, StepFuture, TaskInfo, Workflow};
