//! How the process ends and what the service manager hears of it.
//!
//! The first SIGTERM or SIGINT asks everything to stop; a second one, or too long a wait, ends the process. Guests go on.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two wishes to stop.
#[derive(Clone, Default)]
pub struct Shutdown {
    /// Finish what runs, accept nothing new.
    pub soft: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Listens to signals for as long as the process lives.
    ///
    /// # Errors
    /// When the signals cannot be listened to.
    pub fn listen(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            for token in [&shutdown.soft, &shutdown.hard] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(())
    }
}

/// Tells the service manager, if there is one, that requests are served.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells the service manager that the process is about to end.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Answers the service manager's watchdog, if it has one, until the process stops.
pub fn watchdog(shutdown: &Shutdown) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let soft = shutdown.soft.clone();
    let half = (period / 2).max(Duration::from_secs(1));
    tokio::spawn(async move {
        while !soft.is_cancelled() {
            notify(&[NotifyState::Watchdog]);
            tokio::select! {
                () = tokio::time::sleep(half) => {}
                () = soft.cancelled() => {}
            }
        }
    });
}
