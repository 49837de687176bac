//! Scripted faults for the in-memory hypervisor and network: the n-th call of a kind fails, hangs or is slow.
//!
//! For tests only: nothing in the configuration leads here. Holds no state of the host itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// The calls of both host interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Facts,
    Define,
    Start,
    RequestShutdown,
    Pause,
    Unpause,
    Save,
    DiscardSaved,
    InjectNmi,
    Statistics,
    Destroy,
    Undefine,
    State,
    DeviceAddresses,
    AttachNic,
    DetachNic,
    Domains,
    OpenDisplay,
    OpenSerial,
    HasAgent,
    SetUserPassword,
    BeginCopy,
    LookAtCopy,
    AbortCopy,
    Freeze,
    Thaw,
    FreeRange,
    EnsureNetwork,
    RemoveNetwork,
    EnsurePort,
    RemovePort,
    EnsureRules,
    EnsureMetadataAddress,
}

impl Call {
    pub fn name(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Define => "define",
            Self::Start => "start",
            Self::RequestShutdown => "request_shutdown",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Save => "save",
            Self::DiscardSaved => "discard_saved",
            Self::InjectNmi => "inject_nmi",
            Self::Statistics => "statistics",
            Self::Destroy => "destroy",
            Self::Undefine => "undefine",
            Self::State => "state",
            Self::DeviceAddresses => "device_addresses",
            Self::AttachNic => "attach_nic",
            Self::DetachNic => "detach_nic",
            Self::Domains => "domains",
            Self::OpenDisplay => "open_display",
            Self::OpenSerial => "open_serial",
            Self::HasAgent => "has_agent",
            Self::SetUserPassword => "set_user_password",
            Self::BeginCopy => "begin_copy",
            Self::LookAtCopy => "look_at_copy",
            Self::AbortCopy => "abort_copy",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::FreeRange => "free_range",
            Self::EnsureNetwork => "ensure_network",
            Self::RemoveNetwork => "remove_network",
            Self::EnsurePort => "ensure_port",
            Self::RemovePort => "remove_port",
            Self::EnsureRules => "ensure_rules",
            Self::EnsureMetadataAddress => "ensure_metadata_address",
        }
    }
}

/// What a faulty call reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A plain failure.
    Failed,
    /// The link broke: the caller cannot know whether the work was done.
    Unreachable,
    /// No answer in time: the caller cannot know whether the work was done.
    Deadline,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the failure is reported.
    FailBefore(Failure),
    /// The work is done, and nevertheless the failure is reported.
    FailAfter(Failure),
    /// No answer until [`FaultScript::release`]; then the call goes on as usual.
    Hang,
    /// The work is done after this time.
    Delay(Duration),
}

/// Which calls of a kind a rule concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// The call with this number, counted from the first one that was ever made.
    Number(u64),
    Always,
}

#[derive(Default)]
struct Inner {
    made: BTreeMap<Call, u64>,
    rules: Vec<(Call, When, Fault)>,
}

/// The faults of one fake host, and the count of the calls it has answered.
pub struct FaultScript {
    inner: Mutex<Inner>,
    released: watch::Sender<u64>,
}

impl Default for FaultScript {
    fn default() -> Self {
        Self { inner: Mutex::default(), released: watch::Sender::new(0) }
    }
}

impl FaultScript {
    /// Makes the `nth` call of this kind from now on faulty; 1 is the next one.
    pub fn nth(&self, call: Call, nth: u64, fault: Fault) {
        let mut inner = self.lock();
        let made = inner.made.get(&call).copied().unwrap_or_default();
        inner.rules.push((call, When::Number(made + nth), fault));
    }

    /// Makes every call of this kind faulty until [`FaultScript::clear`].
    pub fn always(&self, call: Call, fault: Fault) {
        self.lock().rules.push((call, When::Always, fault));
    }

    /// Forgets all rules and lets hanging calls go on.
    pub fn clear(&self) {
        self.lock().rules.clear();
        self.release();
    }

    /// Lets the calls that hang now go on.
    pub fn release(&self) {
        self.released.send_modify(|round| *round += 1);
    }

    /// How many calls of this kind were made, faulty ones included.
    pub fn made(&self, call: Call) -> u64 {
        self.lock().made.get(&call).copied().unwrap_or_default()
    }

    /// How many one-time rules have not met their call yet: a test whose script was never reached proves nothing.
    pub fn unmet(&self) -> usize {
        self.lock().rules.iter().filter(|(_, when, _)| *when != When::Always).count()
    }

    /// Counts a call and lives through its delay or hang. Gives the failures to report before and after the work.
    pub(crate) async fn meet(&self, call: Call) -> Met {
        let mut hanging = self.released.subscribe();
        hanging.mark_unchanged();
        let faults = self.take(call);
        let mut met = Met::default();
        for fault in faults {
            match fault {
                Fault::FailBefore(failure) => met.before = Some(failure),
                Fault::FailAfter(failure) => met.after = Some(failure),
                Fault::Delay(time) => tokio::time::sleep(time).await,
                // The sender lives in `self`, so the wait ends only with a release.
                Fault::Hang => hanging.changed().await.unwrap_or_default(),
            }
        }
        met
    }

    fn take(&self, call: Call) -> Vec<Fault> {
        let mut inner = self.lock();
        let number = {
            let made = inner.made.entry(call).or_default();
            *made += 1;
            *made
        };
        let mut faults = Vec::new();
        inner.rules.retain(|(kind, when, fault)| {
            let hit = *kind == call && (*when == When::Always || *when == When::Number(number));
            if hit {
                faults.push(*fault);
            }
            !hit || *when == When::Always
        });
        faults
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`FaultScript::meet`] found for one call.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Met {
    pub before: Option<Failure>,
    pub after: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_chosen_call_fails_and_the_rule_is_used_up() {
        let script = FaultScript::default();
        script.meet(Call::Start).await;
        script.nth(Call::Start, 2, Fault::FailBefore(Failure::Failed));
        assert_eq!(script.meet(Call::Start).await.before, None);
        assert_eq!(script.unmet(), 1);
        assert_eq!(script.meet(Call::Start).await.before, Some(Failure::Failed));
        assert_eq!(script.meet(Call::Start).await.before, None);
        assert_eq!(script.unmet(), 0);
        assert_eq!(script.made(Call::Start), 4);
    }

    #[tokio::test]
    async fn a_hanging_call_goes_on_when_released() {
        let script = FaultScript::default();
        script.nth(Call::State, 1, Fault::Hang);
        let call = script.meet(Call::State);
        tokio::pin!(call);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut call).await.is_err());
        script.release();
        assert_eq!(call.await.after, None);
    }
}
