//! The log of a task as a pure fold: from what happened to what comes next.

use crate::store::tasks::LogEvent;

/// How far a task has come.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Steps that ran to their end, in order.
    pub succeeded: usize,
    /// Steps that were begun (each of them is undone on the way back), in order.
    pub started: Vec<String>,
    /// Begun steps that were already undone.
    pub undone: Vec<String>,
}

/// A log that no engine writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task log is out of order at {step}: {event:?}")]
pub struct OutOfOrder {
    step: String,
    event: LogEvent,
}

impl Progress {
    /// Folds a log.
    pub fn of(log: &[(String, LogEvent)]) -> Result<Self, OutOfOrder> {
        let mut progress = Self::default();
        for (step, event) in log {
            progress.apply(step, *event)?;
        }
        Ok(progress)
    }

    fn apply(&mut self, step: &str, event: LogEvent) -> Result<(), OutOfOrder> {
        let is_current = self.started.last().is_some_and(|last| last == step);
        let is_started = self.started.iter().any(|name| name == step);
        let legal = match event {
            LogEvent::Started => is_current || !is_started,
            LogEvent::Succeeded | LogEvent::Failed => is_current,
            LogEvent::UndoStarted | LogEvent::UndoFinished | LogEvent::UndoFailed => is_started,
        };
        if !legal {
            return Err(OutOfOrder { step: step.to_owned(), event });
        }
        match event {
            LogEvent::Started => {
                if !is_current {
                    self.started.push(step.to_owned());
                }
            }
            LogEvent::Succeeded => self.succeeded += 1,
            LogEvent::UndoFinished => self.undone.push(step.to_owned()),
            LogEvent::Failed | LogEvent::UndoStarted | LogEvent::UndoFailed => {}
        }
        Ok(())
    }

    /// The begun steps that still have to be undone, last first.
    pub fn to_undo(&self) -> impl Iterator<Item = &str> {
        self.started.iter().rev().filter(|step| !self.undone.contains(step)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::LogEvent::{Failed, Started, Succeeded, UndoFinished, UndoStarted};
    use super::*;

    fn log(events: &[(&str, LogEvent)]) -> Vec<(String, LogEvent)> {
        events.iter().map(|(step, event)| ((*step).to_owned(), *event)).collect()
    }

    #[test]
    fn a_step_begun_twice_counts_once() {
        let progress =
            Progress::of(&log(&[("a", Started), ("a", Succeeded), ("b", Started), ("b", Started)])).unwrap();
        assert_eq!(progress.succeeded, 1);
        assert_eq!(progress.started, ["a", "b"]);
    }

    #[test]
    fn the_failed_step_is_undone_first() {
        let progress = Progress::of(&log(&[
            ("a", Started),
            ("a", Succeeded),
            ("b", Started),
            ("b", Failed),
            ("b", UndoStarted),
            ("b", UndoFinished),
        ]))
        .unwrap();
        assert_eq!(progress.to_undo().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_log_out_of_order_is_refused() {
        assert!(Progress::of(&log(&[("a", Succeeded)])).is_err());
        assert!(
            Progress::of(&log(&[("a", Started), ("a", Succeeded), ("b", Started), ("a", Started)])).is_err()
        );
        assert!(Progress::of(&log(&[("a", UndoStarted)])).is_err());
    }
}
