//! Asking a guest to shut down, and waiting until it is off. Listens to the host's events; looks now and then, since an
//! event can be lost.

use super::{Blame, ServerEnv, bring_up};
use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::host::hypervisor::{DomainState, HostEvent};
use crate::task::{StepContext, StepError};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// How often the guest is looked at while nothing is heard of it.
const LOOK: Duration = Duration::from_secs(2);
/// How often the guest is asked again: one that still boots does not hear the first time.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How long this guest may take to shut down.
pub fn patience(env: &ServerEnv, server: &Server) -> Duration {
    server
        .image_properties
        .get("os_shutdown_timeout")
        .and_then(|seconds| seconds.parse().ok())
        .map_or(env.node.shutdown_timeout, Duration::from_secs)
}

/// Asks the guest to shut down and waits. Says whether it is off.
pub async fn shut_down(
    env: &ServerEnv,
    id: ServerId,
    patience: Duration,
    context: &StepContext,
) -> Result<bool, StepError> {
    let mut events = env.hypervisor.events();
    let deadline = Instant::now() + patience;
    let mut ask_at = Instant::now();
    loop {
        if !runs(env, id).await? {
            return Ok(true);
        }
        let now = Instant::now();
        if now >= deadline || context.preempted.is_cancelled() {
            return Ok(false);
        }
        if now >= ask_at {
            ask_at = now + ASK_AGAIN;
            if let Err(error) = env.hypervisor.request_shutdown(id).await {
                // It may have gone off meanwhile, be paused, or not listen; the power is cut in the end.
                tracing::debug!(server = %id, %error, "the guest could not be asked to shut down");
            }
            // A prompt guest is off by now.
            if !runs(env, id).await? {
                return Ok(true);
            }
        }
        tokio::select! {
            () = changed(&mut events, id) => {}
            () = tokio::time::sleep_until(deadline.min(Instant::now() + LOOK)) => {}
            () = context.preempted.cancelled() => {}
        }
    }
}

/// Ensures that the guest is off: it is asked first and has its time, then its power is cut. Fails when a later task takes
/// this one's place meanwhile.
pub async fn turn_off(env: &ServerEnv, id: ServerId, context: &StepContext) -> Result<(), StepError> {
    let server = env.load(id).await?.server;
    if shut_down(env, id, patience(env, &server), context).await? {
        return Ok(());
    }
    gave_way(context)?;
    bring_up::cut_power(env, id).await
}

/// Whether there is a guest whose vCPUs exist.
pub async fn runs(env: &ServerEnv, id: ServerId) -> Result<bool, StepError> {
    let state = env.hypervisor.state(id).await.blame("Looking at the guest")?;
    Ok(match state {
        Some(
            DomainState::Running
            | DomainState::Paused
            | DomainState::PausedOnIoError
            | DomainState::ShuttingDown,
        ) => true,
        Some(DomainState::ShutOff | DomainState::Crashed | DomainState::Saved) | None => false,
    })
}

/// Fails when a later task wants this one to stop: that one decides what becomes of the guest.
pub fn gave_way(context: &StepContext) -> Result<(), StepError> {
    if context.preempted.is_cancelled() {
        return Err(StepError::new(409, "Another request took the place of this one."));
    }
    Ok(())
}

/// Does this, which may take a guest its time, but no longer than until a later task wants this one to stop.
pub async fn unless_preempted(
    context: &StepContext,
    work: impl Future<Output = Result<(), StepError>>,
) -> Result<(), StepError> {
    tokio::select! {
        done = work => done,
        () = context.preempted.cancelled() => gave_way(context),
    }
}

/// Returns when something may have happened to the guest.
pub async fn changed(events: &mut Receiver<HostEvent>, id: ServerId) {
    loop {
        match events.recv().await {
            Ok(HostEvent::DomainChanged(changed)) if changed == id => return,
            Ok(HostEvent::Reconnected) | Err(RecvError::Lagged(_)) => return,
            Ok(HostEvent::DomainChanged(_) | HostEvent::DomainRebooted(_) | HostEvent::Disconnected) => {}
            // Without events the caller's own looks have to do.
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
