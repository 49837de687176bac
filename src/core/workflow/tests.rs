//! Every workflow under every fault: each step repeated, each step failed, each undo repeated, and a crash before and
//! after each entry of the log. Then the rows and the host are compared with those of a twin that nothing happened to.

use super::testing::{Bench, OnHost, Process, everything, owner};
use crate::core::ids::ServerId;
use crate::core::server::Server;
use crate::core::server::state::{PowerState, VmState};
use crate::host::hypervisor::fake::Manners;
use crate::task::failpoint::{Effect, Moment};

/// One workflow: its steps, what comes before it, and how it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Create,
    Delete,
    Start,
    Stop,
    StopDeaf,
    RebootSoft,
    RebootDeaf,
    RebootHard,
    RebootPaused,
    RebootSuspended,
    Pause,
    Unpause,
    Suspend,
    Resume,
    DeleteSuspended,
    CrashDump,
}

impl Case {
    const ALL: [Self; 16] = [
        Self::Create,
        Self::Delete,
        Self::Start,
        Self::Stop,
        Self::StopDeaf,
        Self::RebootSoft,
        Self::RebootDeaf,
        Self::RebootHard,
        Self::RebootPaused,
        Self::RebootSuspended,
        Self::Pause,
        Self::Unpause,
        Self::Suspend,
        Self::Resume,
        Self::DeleteSuspended,
        Self::CrashDump,
    ];

    fn workflow(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Create => ("server_create", &["networking", "block_device_mapping", "spawning"]),
            Self::Pause => ("server_pause", &["pause"]),
            Self::Unpause => ("server_unpause", &["unpause"]),
            Self::Suspend => ("server_suspend", &["save"]),
            Self::Resume => ("server_resume", &["restore"]),
            Self::CrashDump => ("server_crash_dump", &["interrupt"]),
            Self::Delete | Self::DeleteSuspended => ("server_delete", &["domain", "remains"]),
            Self::Start => ("server_start", &["power_on"]),
            Self::Stop | Self::StopDeaf => ("server_stop", &["power_off"]),
            Self::RebootSoft
            | Self::RebootDeaf
            | Self::RebootHard
            | Self::RebootPaused
            | Self::RebootSuspended => ("server_reboot", &["pending", "started"]),
        }
    }

    /// A server in the state that the workflow begins with.
    async fn prepare(self, bench: &Bench) -> (Process, Option<ServerId>) {
        let process = bench.start().await;
        if self == Self::Create {
            return (process, None);
        }
        let id = process.create(bench.command("web")).await;
        process.tasks.settled().await.unwrap();
        match self {
            Self::Start => process.servers.stop(&owner(), id).await.unwrap(),
            Self::Unpause | Self::RebootPaused => process.servers.pause(&owner(), id).await.unwrap(),
            Self::Resume | Self::RebootSuspended | Self::DeleteSuspended => {
                process.servers.suspend(&owner(), id).await.unwrap();
            }
            _ => {}
        }
        process.tasks.settled().await.unwrap();
        if matches!(self, Self::StopDeaf | Self::RebootDeaf) {
            bench.hypervisor.set_manners(id, Manners::Deaf);
        }
        (process, Some(id))
    }

    async fn ask(self, bench: &Bench, process: &Process, id: Option<ServerId>) -> ServerId {
        let owner = owner();
        let Some(id) = id else { return process.create(bench.command("web")).await };
        match self {
            Self::Create => {}
            Self::Delete | Self::DeleteSuspended => process.servers.delete(&owner, id, false).await.unwrap(),
            Self::Pause => process.servers.pause(&owner, id).await.unwrap(),
            Self::Unpause => process.servers.unpause(&owner, id).await.unwrap(),
            Self::Suspend => process.servers.suspend(&owner, id).await.unwrap(),
            Self::Resume => process.servers.resume(&owner, id).await.unwrap(),
            Self::CrashDump => process.servers.trigger_crash_dump(&owner, id).await.unwrap(),
            Self::Start => process.servers.start(&owner, id).await.unwrap(),
            Self::Stop | Self::StopDeaf => process.servers.stop(&owner, id).await.unwrap(),
            Self::RebootSoft | Self::RebootDeaf => process.servers.reboot(&owner, id, false).await.unwrap(),
            Self::RebootHard | Self::RebootPaused | Self::RebootSuspended => {
                process.servers.reboot(&owner, id, true).await.unwrap();
            }
        }
        id
    }
}

/// What is compared: ids, addresses and times differ between twins.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    vm_state: VmState,
    task: Option<crate::core::server::state::TaskState>,
    power: PowerState,
    placed: bool,
    launched: bool,
    deleted: bool,
    fault: bool,
    nics: usize,
    /// What the guest does, and how often it began from its disk.
    domain: Option<(crate::host::hypervisor::DomainState, u32)>,
    files: bool,
    reservations: usize,
    actions: Vec<(String, Option<String>, Vec<(String, Option<String>)>)>,
}

async fn outcome(bench: &Bench, process: &Process, id: ServerId) -> Outcome {
    let row: Server = process.row(id).await;
    let store = &process.store;
    let (fault, nics, actions) = store
        .read::<_, crate::store::StoreError, _>(move |c| {
            use crate::store::{server_actions as rows, server_ports};
            let fault = rows::fault(c, id)?.is_some();
            let nics = server_ports::server_nics(c, &[id])?.remove(&id).map_or(0, |nics| nics.len());
            let page = rows::ActionPage { limit: 100, ..rows::ActionPage::default() };
            let mut actions = Vec::new();
            for action in rows::list(c, id, &page)? {
                let events = rows::events(c, action.number)?;
                let events = events.into_iter().map(|event| (event.event, event.result)).collect();
                actions.push((action.action, action.message, events));
            }
            Ok((fault, nics, actions))
        })
        .await
        .unwrap();
    let OnHost { domains, networks, files } = bench.on_host();
    Outcome {
        vm_state: row.vm_state,
        task: row.task_state,
        power: row.power_state,
        placed: row.host.is_some(),
        launched: row.launched_at.is_some(),
        deleted: row.deleted_at.is_some(),
        fault,
        nics,
        domain: domains.domains.get(&id).map(|domain| (domain.state, domain.boots)),
        files: files.contains_key(&id),
        reservations: networks.networks.values().map(|network| network.ports.len()).sum(),
        actions,
    }
}

/// Runs a case with a fault wanted, restarts as often as it takes, and tells what came of it.
async fn run(case: Case, fault: Option<(&str, Moment, Effect)>) -> (Outcome, bool) {
    run_with(case, fault.into_iter().collect()).await
}

async fn run_with(case: Case, faults: Vec<(&str, Moment, Effect)>) -> (Outcome, bool) {
    let bench = Bench::new();
    let (process, id) = case.prepare(&bench).await;
    for (step, moment, effect) in faults {
        bench.want(case.workflow().0, step, moment, effect);
    }
    let id = case.ask(&bench, &process, id).await;
    let process = bench.settle(process).await;
    let outcome = outcome(&bench, &process, id).await;
    (outcome, bench.points.all_met())
}

#[tokio::test]
async fn twins_end_where_the_table_says() {
    for case in Case::ALL {
        let (outcome, _) = run(case, None).await;
        let vm = match case {
            Case::Stop | Case::StopDeaf => VmState::Stopped,
            Case::Delete | Case::DeleteSuspended => VmState::Deleted,
            Case::Pause => VmState::Paused,
            Case::Suspend => VmState::Suspended,
            _ => VmState::Active,
        };
        let boots = match case {
            Case::Start
            | Case::RebootSoft
            | Case::RebootDeaf
            | Case::RebootHard
            | Case::RebootPaused
            | Case::RebootSuspended => 2,
            // What was in the guest's memory is still there.
            _ => 1,
        };
        assert_eq!(outcome.vm_state, vm, "{case:?}");
        assert_eq!(outcome.task, None, "{case:?}");
        assert!(!outcome.fault, "{case:?}");
        let there = vm != VmState::Deleted;
        assert!(outcome.domain.is_none_or(|(_, begun)| begun == boots), "{case:?} {outcome:?}");
        assert_eq!(
            (outcome.domain.is_some(), outcome.files, outcome.reservations == 1, outcome.nics == 1),
            (there, there, there, there),
            "{case:?}"
        );
        for (action, message, events) in &outcome.actions {
            assert_eq!(*message, None, "{case:?} {action}");
            assert!(
                events.len() == 1 && events.iter().all(|(_, result)| result.as_deref() == Some("Success")),
                "{case:?} {action} {events:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_step_changes_nothing() {
    for case in Case::ALL {
        let (twin, _) = run(case, None).await;
        for step in case.workflow().1 {
            let (outcome, met) = run(case, Some((step, Moment::AfterStart, Effect::Repeat))).await;
            assert!(met, "{case:?} {step}");
            assert_eq!(outcome, twin, "{case:?} {step}");
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_moment_changes_nothing_in_the_end() {
    let moments = [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun];
    for case in Case::ALL {
        let (twin, _) = run(case, None).await;
        let steps = case.workflow().1;
        let last = steps[steps.len() - 1];
        let closing = [(last, Moment::BeforeClose), (last, Moment::AfterClose)];
        let all = steps.iter().flat_map(|step| moments.map(|moment| (*step, moment))).chain(closing);
        for (step, moment) in all {
            let (outcome, met) = run(case, Some((step, moment, Effect::Halt))).await;
            assert!(met, "{case:?} {step} {moment:?}");
            assert_eq!(outcome, twin, "{case:?} {step} {moment:?}");
        }
    }
}

#[tokio::test]
async fn a_failed_create_leaves_nothing_but_its_fault() {
    let steps = Case::Create.workflow().1;
    let mut outcomes = Vec::new();
    for step in steps {
        for moment in [Moment::AfterStart, Moment::AfterRun] {
            outcomes.push(run(Case::Create, Some((step, moment, Effect::Fail))).await);
        }
    }
    // Each undo twice, and a crash on both sides of each undo.
    let failed = (steps[steps.len() - 1], Moment::AfterRun, Effect::Fail);
    for step in steps {
        for fault in [
            (*step, Moment::AfterUndo, Effect::Repeat),
            (*step, Moment::AfterUndo, Effect::Fail),
            (*step, Moment::BeforeUndo, Effect::Halt),
            (*step, Moment::AfterUndo, Effect::Halt),
        ] {
            outcomes.push(run_with(Case::Create, vec![failed, fault]).await);
        }
    }
    for (outcome, met) in outcomes {
        assert!(met);
        assert_eq!(outcome.vm_state, VmState::Error);
        assert_eq!(outcome.task, None);
        assert!(outcome.fault && !outcome.placed && !outcome.launched && !outcome.files, "{outcome:?}");
        assert_eq!((outcome.domain, outcome.nics, outcome.reservations), (None, 0, 0));
        assert_eq!(outcome.actions[0].1.as_deref(), Some("Error"));
    }
}

#[tokio::test]
async fn a_failed_action_leaves_the_server_as_the_table_says() {
    for case in [
        Case::Start,
        Case::Stop,
        Case::StopDeaf,
        Case::RebootSoft,
        Case::RebootHard,
        Case::Pause,
        Case::Unpause,
        Case::Suspend,
        Case::Resume,
        Case::CrashDump,
    ] {
        for step in case.workflow().1 {
            for moment in [Moment::AfterStart, Moment::AfterRun] {
                let (outcome, met) = run(case, Some((step, moment, Effect::Fail))).await;
                assert!(met, "{case:?} {step}");
                assert_eq!(outcome.task, None, "{case:?} {step}");
                assert!(outcome.fault, "{case:?} {step}");
                let vm = match case {
                    Case::Start => VmState::Stopped,
                    Case::Stop | Case::StopDeaf | Case::Pause | Case::CrashDump => VmState::Active,
                    Case::Unpause => VmState::Paused,
                    // The failpoint is the engine's: the step had no chance to see that the guest runs.
                    _ => VmState::Error,
                };
                assert_eq!(outcome.vm_state, vm, "{case:?} {step} {moment:?}");
                assert_eq!(outcome.actions[0].1.as_deref(), Some("Error"), "{case:?} {step}");
            }
        }
    }
}

#[tokio::test]
async fn a_resume_whose_memory_is_damaged_says_how_to_go_on() {
    let bench = Bench::new();
    let (process, id) = Case::Resume.prepare(&bench).await;
    let id = id.unwrap();
    bench.hypervisor.damage_saved(id);
    process.servers.resume(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Error);
    let detail = process.servers.show(&owner(), id).await.unwrap();
    let words = detail.fault.unwrap().message;
    assert!(
        words.starts_with("Restoring the guest's memory failed") && words.contains("Reboot the server hard"),
        "{words}"
    );
    process.servers.reboot(&owner(), id, true).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
    assert_eq!(bench.hypervisor.inventory().domains[&id].boots, 2);
}

#[tokio::test]
async fn a_guest_that_was_saved_behind_our_back_goes_on_where_it_was() {
    let bench = Bench::new();
    let (process, id) = Case::Stop.prepare(&bench).await;
    let id = id.unwrap();
    bench.hypervisor.set_state(id, crate::host::hypervisor::DomainState::Saved);
    process.servers.stop(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    process.servers.start(&owner(), id).await.unwrap();
    process.tasks.settled().await.unwrap();
    assert_eq!(process.row(id).await.vm_state, VmState::Active);
    assert_eq!(bench.hypervisor.inventory().domains[&id].boots, 1);
}

#[tokio::test]
async fn a_delete_that_fails_goes_on_until_it_is_done() {
    let (twin, _) = run(Case::Delete, None).await;
    for step in Case::Delete.workflow().1 {
        let faults = vec![(*step, Moment::AfterRun, Effect::Fail); 4];
        let (outcome, met) = run_with(Case::Delete, faults).await;
        assert!(met, "{step}");
        assert_eq!(outcome, twin, "{step}");
    }
}

#[tokio::test]
async fn a_delete_takes_the_place_of_a_create_at_any_moment() {
    for step in Case::Create.workflow().1 {
        for moment in [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun] {
            let bench = Bench::new();
            let clean = {
                let process = bench.start().await;
                let clean = bench.on_host();
                bench.want("server_create", step, moment, Effect::Halt);
                let id = process.create(bench.command("web")).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted());
                process.servers.delete(&owner(), id, false).await.unwrap();
                process.kill().await;
                clean
            };
            let process = bench.start().await;
            process.tasks.settled().await.unwrap();
            assert_eq!(bench.on_host(), clean, "{step} {moment:?}");
            assert!(process.servers.list_detail(everything()).await.unwrap().is_empty());
        }
    }
}
