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
}

impl Case {
    const ALL: [Self; 8] = [
        Self::Create,
        Self::Delete,
        Self::Start,
        Self::Stop,
        Self::StopDeaf,
        Self::RebootSoft,
        Self::RebootDeaf,
        Self::RebootHard,
    ];

    fn workflow(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Create => ("server_create", &["networking", "block_device_mapping", "spawning"]),
            Self::Delete => ("server_delete", &["domain", "remains"]),
            Self::Start => ("server_start", &["power_on"]),
            Self::Stop | Self::StopDeaf => ("server_stop", &["power_off"]),
            Self::RebootSoft | Self::RebootDeaf | Self::RebootHard => {
                ("server_reboot", &["pending", "started"])
            }
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
        if self == Self::Start {
            process.servers.stop(&owner(), id).await.unwrap();
            process.tasks.settled().await.unwrap();
        }
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
            Self::Delete => process.servers.delete(&owner, id, false).await.unwrap(),
            Self::Start => process.servers.start(&owner, id).await.unwrap(),
            Self::Stop | Self::StopDeaf => process.servers.stop(&owner, id).await.unwrap(),
            Self::RebootSoft | Self::RebootDeaf => process.servers.reboot(&owner, id, false).await.unwrap(),
            Self::RebootHard => process.servers.reboot(&owner, id, true).await.unwrap(),
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
    domain: Option<crate::host::hypervisor::DomainState>,
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
        domain: domains.domains.get(&id).map(|domain| domain.state),
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
            Case::Create | Case::Start | Case::RebootSoft | Case::RebootDeaf | Case::RebootHard => {
                VmState::Active
            }
            Case::Stop | Case::StopDeaf => VmState::Stopped,
            Case::Delete => VmState::Deleted,
        };
        assert_eq!(outcome.vm_state, vm, "{case:?}");
        assert_eq!(outcome.task, None, "{case:?}");
        assert!(!outcome.fault, "{case:?}");
        let there = case != Case::Delete;
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
    for case in [Case::Start, Case::Stop, Case::StopDeaf, Case::RebootSoft, Case::RebootHard] {
        for step in case.workflow().1 {
            for moment in [Moment::AfterStart, Moment::AfterRun] {
                let (outcome, met) = run(case, Some((step, moment, Effect::Fail))).await;
                assert!(met, "{case:?} {step}");
                assert_eq!(outcome.task, None, "{case:?} {step}");
                assert!(outcome.fault, "{case:?} {step}");
                let vm = match case {
                    Case::Start => VmState::Stopped,
                    Case::Stop | Case::StopDeaf => VmState::Active,
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
