//! Time as a parameter, and the timestamp forms that the APIs use.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::Offset;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Where "now" comes from. Code that decides anything by time takes a clock; tests pass a manual one.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System,
    Manual(AtomicI64),
}

impl Clock {
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that stands still at `start` until [`Clock::advance`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(AtomicI64::new(start.as_microsecond()))))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System => from_micros(Timestamp::now().as_microsecond()),
            Source::Manual(micros) => from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock by `seconds`; a system clock ignores it.
    pub fn advance(&self, seconds: i64) {
        if let Source::Manual(micros) = &*self.0 {
            micros.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }
}

/// Microseconds since the epoch, the store's form, as a timestamp. Out-of-range values clamp.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `2026-01-02T03:04:05Z`: servers, images, networks.
pub fn seconds_z(at: Timestamp) -> String {
    format!("{}Z", printed(at, 0))
}

/// `2026-01-02T03:04:05.000000`: most of compute, and volumes. UTC without saying so.
pub fn micros_naive(at: Timestamp) -> String {
    printed(at, 6)
}

/// `2026-01-02T03:04:05.000000Z`: identity tokens.
pub fn micros_z(at: Timestamp) -> String {
    format!("{}Z", printed(at, 6))
}

/// Without a format to be read each time, as `strftime` has one.
fn printed(at: Timestamp, digits: u8) -> String {
    DateTimePrinter::new().precision(Some(digits)).datetime_to_string(&Offset::UTC.to_datetime(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let at = from_micros(1_700_000_000_000_042);
        assert_eq!(seconds_z(at), "2023-11-14T22:13:20Z");
        assert_eq!(micros_naive(at), "2023-11-14T22:13:20.000042");
        assert_eq!(micros_z(at), "2023-11-14T22:13:20.000042Z");
    }
}
