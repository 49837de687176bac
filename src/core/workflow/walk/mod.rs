//! A random walk: actions of owners, events of the host, crashes and faults in any order, against a small model.
//!
//! After each move everything is let come to rest, and then: no row is in an illegal state, a task state is set exactly
//! while a task is open, and the host has exactly what the living servers should have. Deleted servers own nothing.

mod model;

use self::model::{Expected, MOMENTS, Model, Move, Verb};
use super::testing::{Bench, FLAVOR, Process, WIDE, owner};
use crate::core::ids::{PortId, ServerId};
use crate::core::port::NicRequest;
use crate::core::reconcile::power_sync::sync_all;
use crate::core::server::node::Node;
use crate::core::server::state::{PowerState, VmState};
use crate::core::service::servers::{Destination, NewImage};
use crate::core::{Kind, Result};
use crate::host::faults::{Call, Failure, Fault};
use crate::host::hypervisor::DomainState;
use crate::host::hypervisor::fake::Manners;
use crate::store::{StoreError, server_ports, servers, tasks};
use crate::task::failpoint::Effect;
use proptest::prelude::*;
use proptest_state_machine::{StateMachineTest, prop_state_machine};
use std::collections::BTreeMap;

/// The compute service with its machine.
struct System {
    runtime: tokio::runtime::Runtime,
    bench: Bench,
    process: Option<Process>,
    ids: Vec<ServerId>,
}

impl System {
    fn process(&self) -> &Process {
        self.process.as_ref().unwrap()
    }

    fn create(&mut self) {
        let command = self.bench.command("web");
        let id = self.runtime.block_on(self.process().create(command));
        self.ids.push(id);
    }

    fn ask(&self, id: usize, verb: Verb) -> Result<()> {
        let (servers, owner, id) = (&self.process().servers, owner(), self.ids[id]);
        self.runtime.block_on(async {
            match verb {
                Verb::Start => servers.start(&owner, id).await,
                Verb::Stop => servers.stop(&owner, id).await,
                Verb::RebootSoft => servers.reboot(&owner, id, false).await,
                Verb::RebootHard => servers.reboot(&owner, id, true).await,
                Verb::Pause => servers.pause(&owner, id).await,
                Verb::Unpause => servers.unpause(&owner, id).await,
                Verb::Suspend => servers.suspend(&owner, id).await,
                Verb::Resume => servers.resume(&owner, id).await,
                Verb::CrashDump => servers.trigger_crash_dump(&owner, id).await,
                Verb::Rebuild => {
                    let command = super::tests::rebuild(&self.bench);
                    servers.rebuild(&owner, id, command).await.map(drop)
                }
                Verb::Rescue => servers.rescue(&owner, id, None, None).await.map(drop),
                Verb::Unrescue => servers.unrescue(&owner, id).await,
                Verb::Snapshot => {
                    let wanted = NewImage { name: "image".into(), metadata: BTreeMap::new(), limited: false };
                    servers.create_image(&owner, id, wanted).await.map(drop)
                }
                Verb::Shelve => servers.shelve(&owner, id).await,
                Verb::Unshelve => servers.unshelve(&owner, id, Destination::default()).await,
                Verb::Resize => {
                    let row = self.process().row(id).await;
                    let other = if row.flavor.id == FLAVOR { WIDE } else { FLAVOR };
                    servers.resize(&owner, id, other.into(), None).await
                }
                Verb::Confirm => servers.confirm_resize(&owner, id).await,
                Verb::Revert => servers.revert_resize(&owner, id).await,
                Verb::AttachInterface => {
                    match servers.attach_interface(&owner, id, NicRequest::default()).await {
                        // What was accepted and failed leaves the server as it was.
                        Err(error) if error.kind() == Kind::Internal => Ok(()),
                        attached => attached.map(drop),
                    }
                }
                Verb::DetachInterface => {
                    let ports = servers.interfaces(&owner, id).await?;
                    let port = ports.last().map_or_else(PortId::random, |port| port.id);
                    servers.detach_interface(&owner, id, &port.to_string()).await
                }
                Verb::SoftDelete => servers.delete(&owner, id, false).await,
                Verb::Restore => servers.restore(&owner, id).await,
                Verb::Delete => servers.delete(&owner, id, true).await,
            }
        })
    }

    /// Lets everything come to rest, through crashes, and follows what the host did.
    fn rest(&mut self) {
        for _ in 0..2 {
            let process = self.process.take().unwrap();
            let process = self.runtime.block_on(self.bench.settle(process));
            self.bench.points.clear();
            self.bench.hypervisor.faults().clear();
            self.bench.network.faults().clear();
            self.runtime.block_on(async {
                sync_all(&process.env, &std::collections::BTreeSet::new(), process.clock.now())
                    .await
                    .unwrap();
            });
            self.process = Some(process);
        }
        let process = self.process.take().unwrap();
        self.process = Some(self.runtime.block_on(self.bench.settle(process)));
    }

    fn fail_next(&self, call: Call, failure: Failure) {
        let fault = Fault::FailBefore(failure);
        if call == Call::EnsurePort {
            self.bench.network.faults().nth(call, 1, fault);
        } else {
            self.bench.hypervisor.faults().nth(call, 1, fault);
        }
    }
}

struct Walk;

impl StateMachineTest for Walk {
    type SystemUnderTest = System;
    type Reference = Model;

    fn init_test(_: &Vec<Expected>) -> System {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Longer than any time that can be told: nothing is ever due.
        let bench = Bench::with_node(Node { reclaim_seconds: i64::MAX, ..Node::roomy() });
        let process = Some(runtime.block_on(bench.start()));
        System { runtime, bench, process, ids: Vec::new() }
    }

    fn apply(mut system: System, expected: &Vec<Expected>, transition: Move) -> System {
        match transition {
            Move::Create => system.create(),
            Move::CreateCrashing(step, moment) => {
                let step = ["networking", "block_device_mapping", "spawning"][step];
                system.bench.want("server_create", step, MOMENTS[moment], Effect::Halt);
                system.create();
            }
            Move::CreateFailing(call, failure) => {
                system.fail_next(call, failure);
                system.create();
            }
            Move::CreateThenDelete => {
                system.create();
                system.ask(system.ids.len() - 1, Verb::Delete).unwrap();
            }
            Move::Act(id, verb) => check(system.ask(id, verb), expected[id]),
            Move::ActCrashing(id, verb, step, moment) => {
                let (workflow, steps) = verb.workflow();
                let step = steps[step.min(steps.len() - 1)];
                system.bench.want(workflow, step, MOMENTS[moment], Effect::Halt);
                check(system.ask(id, verb), expected[id]);
            }
            Move::ActFailing(id, verb, call, failure) => {
                system.fail_next(call, failure);
                check(system.ask(id, verb), expected[id]);
            }
            Move::ActThenDelete(id, verb) => {
                // Whether the first is admitted depends on the state; the second always is while there is a server.
                let _first = system.ask(id, verb);
                let second = system.ask(id, Verb::Delete);
                assert!(second.as_ref().is_ok() || second.is_err_and(|e| e.kind() == Kind::NotFound));
            }
            Move::GuestGoesOff(id, state) => system.bench.hypervisor.set_state(system.ids[id], state),
            Move::GuestIsStarted(id) => {
                system.bench.hypervisor.set_state(system.ids[id], DomainState::Running);
            }
            Move::BecomeDeaf(id) => system.bench.hypervisor.set_manners(system.ids[id], Manners::Deaf),
            Move::Restart => {
                let process = system.process.take().unwrap();
                system.runtime.block_on(process.kill());
                system.process = Some(system.runtime.block_on(system.bench.start()));
            }
        }
        system.rest();
        system
    }

    fn check_invariants(system: &System, expected: &Vec<Expected>) {
        let process = system.process();
        let (rows, open, mut nics) = system.runtime.block_on(async {
            let ids = system.ids.clone();
            process
                .store
                .read::<_, StoreError, _>(move |c| {
                    let rows: Vec<_> = ids
                        .iter()
                        .map(|id| servers::get_any(c, *id))
                        .collect::<std::result::Result<_, _>>()?;
                    Ok((rows, tasks::runnable(c)?, server_ports::server_nics(c, &ids)?))
                })
                .await
                .unwrap()
        });
        assert!(open.is_empty());
        let host = system.bench.on_host();
        assert!(host.domains.copies.is_empty() && host.domains.frozen.is_empty() && host.captures.is_empty());
        let layers = system.bench.storage.layers();
        let (mut living, mut plugged) = (0, 0);
        for (row, expected) in rows.into_iter().zip(expected) {
            let row = row.unwrap();
            let domain = host.domains.domains.get(&row.id).map(|domain| domain.state);
            let has_files = host.files.contains_key(&row.id);
            assert_eq!(row.task_state, None, "{row:?}");
            assert_eq!(row.vm_state == VmState::Deleted, row.deleted_at.is_some());
            assert_eq!(row.vm_state == VmState::Rescued, row.rescue.is_some() && row.deleted_at.is_none());
            match expected {
                Expected::Deleted => {
                    assert!(row.deleted_at.is_some(), "{row:?}");
                    assert!(domain.is_none() && !has_files, "{row:?} {domain:?}");
                    assert!(!layers.contains(&row.id), "{row:?}");
                    continue;
                }
                Expected::Active => {
                    assert_eq!((row.vm_state, domain), (VmState::Active, Some(DomainState::Running)));
                    assert_eq!(row.power_state, PowerState::Running);
                }
                Expected::Stopped => {
                    assert_eq!(row.vm_state, VmState::Stopped, "{row:?}");
                    assert!(
                        matches!(domain, Some(DomainState::ShutOff | DomainState::Crashed)),
                        "{domain:?}"
                    );
                }
                Expected::Paused => {
                    assert_eq!(row.vm_state, VmState::Paused, "{row:?}");
                    // Somebody may have let it go on behind our back.
                    assert!(matches!(domain, Some(DomainState::Paused | DomainState::Running)), "{domain:?}");
                }
                Expected::Suspended => {
                    assert_eq!((row.vm_state, domain), (VmState::Suspended, Some(DomainState::Saved)));
                    assert_eq!(row.power_state, PowerState::Shutdown);
                }
                Expected::Rescued => {
                    assert_eq!(row.vm_state, VmState::Rescued, "{row:?}");
                    assert!(host.files.get(&row.id).is_some_and(|plan| plan.rescue.is_some()));
                }
                Expected::Shelved => {
                    assert_eq!(row.vm_state, VmState::ShelvedOffloaded, "{row:?}");
                    assert!(row.host.is_none() && domain.is_none() && !has_files, "{row:?} {domain:?}");
                }
                Expected::SoftDeleted => {
                    assert_eq!(row.vm_state, VmState::SoftDelete, "{row:?}");
                    assert!(row.soft_deleted_at.is_some() && domain.is_some() && has_files, "{row:?}");
                }
                Expected::Resized { on, .. } => {
                    assert_eq!(row.vm_state, VmState::Resized, "{row:?}");
                    assert_eq!(domain == Some(DomainState::Running), *on, "{row:?} {domain:?}");
                    assert!(layers.contains(&row.id) && row.resize.is_some(), "{row:?}");
                }
                Expected::Unsure => match row.vm_state {
                    VmState::ShelvedOffloaded => assert!(domain.is_none() && !has_files),
                    VmState::Resized => assert!(domain.is_some() && row.resize.is_some()),
                    VmState::Active => assert_eq!(domain, Some(DomainState::Running)),
                    VmState::Stopped => {
                        assert!(matches!(domain, Some(DomainState::ShutOff | DomainState::Crashed)));
                    }
                    VmState::Deleted => {
                        assert!(domain.is_none() && !has_files);
                        continue;
                    }
                    VmState::SoftDelete => assert!(domain.is_some() && has_files),
                    VmState::Error if row.host.is_none() => assert!(domain.is_none() && !has_files),
                    VmState::Error | VmState::Paused | VmState::Suspended | VmState::Rescued => {}
                    other => panic!("{other} after a fault"),
                },
            }
            if *expected != Expected::Unsure {
                assert_eq!(row.resize.is_some(), row.vm_state == VmState::Resized, "{row:?}");
            }
            if row.host.is_some() {
                let nics = nics.remove(&row.id).unwrap_or_default().len();
                let defined = host.domains.domains.get(&row.id).map_or(nics, |domain| domain.spec.nics.len());
                assert!(defined == nics || *expected == Expected::Unsure, "{row:?} {defined} {nics}");
                (living, plugged) = (living + 1, plugged + nics);
            }
        }
        let reservations: usize = host.networks.networks.values().map(|network| network.ports.len()).sum();
        assert_eq!(reservations, plugged, "a reservation for each NIC of living servers, and no other");
        assert!(host.domains.domains.len() <= living && host.files.len() <= living);
    }
}

fn check(result: Result<()>, expected: Expected) {
    match result {
        Ok(()) => {}
        Err(error) => assert!(
            matches!(error.kind(), Kind::InvalidState | Kind::NotFound),
            "{error:?} where {expected:?} is expected"
        ),
    }
}

/// `DWARFNOVA_WALKS` makes it longer: each walk is about forty moves.
fn walks() -> u32 {
    std::env::var("DWARFNOVA_WALKS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: walks(),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn a_random_walk_never_leaves_the_map(sequential 1..40 => Walk);
}
