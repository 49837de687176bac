//! Wanted failures, for tests: fail, repeat or crash at one moment of one step.
//!
//! Without the `failpoints` feature (and outside unit tests) nothing here can be set, and every moment passes.

#[cfg(any(test, feature = "failpoints"))]
use std::sync::{Arc, Mutex};

/// A moment in the life of a step. Between two log events the process may die at any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Before the log says that the step starts.
    BeforeStart,
    /// The start is on the disk, nothing was done yet.
    AfterStart,
    /// Everything was done, the log does not know.
    AfterRun,
    BeforeUndo,
    AfterUndo,
    /// Before the transaction that closes the task; the step is the last one.
    BeforeClose,
    AfterClose,
}

impl Moment {
    pub const ALL: [Self; 7] = [
        Self::BeforeStart,
        Self::AfterStart,
        Self::AfterRun,
        Self::BeforeUndo,
        Self::AfterUndo,
        Self::BeforeClose,
        Self::AfterClose,
    ];

    #[cfg(feature = "failpoints")]
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|moment| format!("{moment:?}") == text)
    }
}

/// What is wanted at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The step (or its undo) fails.
    Fail,
    /// The step (or its undo) runs a second time at once.
    Repeat,
    /// The engine stops dead, as if the process had been killed: nothing more is written.
    Halt,
    /// The process kills itself with SIGKILL.
    Kill,
}

/// One wanted failure. It is used up when it is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failpoint {
    pub workflow: String,
    pub step: String,
    pub moment: Moment,
    pub effect: Effect,
}

/// The failures that are wanted from one engine.
#[derive(Clone, Default)]
pub struct Failpoints {
    #[cfg(any(test, feature = "failpoints"))]
    wanted: Arc<Mutex<Vec<Failpoint>>>,
}

impl Failpoints {
    /// Those that the environment variable `DWARFNOVA_FAILPOINTS` names:
    /// `workflow/step/Moment=kill|fail|repeat`, several with commas.
    #[cfg(feature = "failpoints")]
    pub fn from_environment() -> Self {
        let points = Self::default();
        for entry in std::env::var("DWARFNOVA_FAILPOINTS").unwrap_or_default().split(',') {
            let Some((place, effect)) = entry.split_once('=') else { continue };
            let mut parts = place.split('/');
            let (Some(workflow), Some(step), Some(moment)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let effect = match effect {
                "kill" => Effect::Kill,
                "fail" => Effect::Fail,
                "repeat" => Effect::Repeat,
                _ => continue,
            };
            if let Some(moment) = Moment::parse(moment) {
                points.want(Failpoint { workflow: workflow.into(), step: step.into(), moment, effect });
            }
        }
        points
    }

    /// None.
    #[cfg(not(feature = "failpoints"))]
    pub fn from_environment() -> Self {
        Self::default()
    }

    #[cfg(any(test, feature = "failpoints"))]
    pub fn want(&self, point: Failpoint) {
        self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(point);
    }

    /// Forgets what was not met.
    #[cfg(test)]
    pub fn clear(&self) {
        self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// Whether every wanted failure was met.
    #[cfg(any(test, feature = "failpoints"))]
    pub fn all_met(&self) -> bool {
        self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_empty()
    }

    /// What is wanted here and now.
    #[cfg(any(test, feature = "failpoints"))]
    pub(super) fn meet(&self, workflow: &str, step: &str, moment: Moment) -> Option<Effect> {
        let mut wanted = self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let index =
            wanted.iter().position(|p| p.workflow == workflow && p.step == step && p.moment == moment)?;
        let effect = wanted.swap_remove(index).effect;
        drop(wanted);
        if effect == Effect::Kill {
            // Never returns when the signal is delivered; if it cannot be, halting is the nearest thing.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            return Some(Effect::Halt);
        }
        Some(effect)
    }

    #[cfg(not(any(test, feature = "failpoints")))]
    #[expect(clippy::unused_self, reason = "the same signature as with failures")]
    pub(super) fn meet(&self, _workflow: &str, _step: &str, _moment: Moment) -> Option<Effect> {
        None
    }
}
