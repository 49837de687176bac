//! A state that is forced while something goes on: it shows at once, it is the last word, and it is no lie.

use super::super::testing::admin;
use super::cases::Case;
use crate::core::server::state::VmState;
use crate::core::service::servers::ResetTo;
use crate::task::failpoint::{Effect, Moment};

#[tokio::test]
async fn a_forced_state_is_what_remains_whatever_was_going_on() {
    let deletes = [Case::Delete, Case::DeleteSuspended, Case::SoftDelete];
    for case in Case::ALL.into_iter().filter(|case| !deletes.contains(case)) {
        for (number, step) in case.workflow().1.iter().enumerate() {
            for (turn, moment) in
                [Moment::BeforeStart, Moment::AfterStart, Moment::AfterRun].into_iter().enumerate()
            {
                let to = if (number + turn) % 2 == 0 { ResetTo::Active } else { ResetTo::Error };
                let what = format!("{case:?} {step} {moment:?} {to:?}");
                let bench = case.bench();
                let (process, id) = case.prepare(&bench).await;
                bench.want(case.workflow().0, step, moment, Effect::Halt);
                let id = case.ask(&bench, &process, id).await;
                process.tasks.settled().await.unwrap();
                assert!(process.tasks.halted(), "{what}");

                process.servers.reset_state(&admin(), id, to).await.unwrap();
                let shown = process.row(id).await;
                let wanted = if to == ResetTo::Active { VmState::Active } else { VmState::Error };
                assert_eq!((shown.vm_state, shown.task_state), (wanted, None), "{what}");

                // Once more at its own work, which changes nothing.
                bench.want("server_reset", "look", moment, Effect::Halt);
                process.kill().await;
                let process = bench.start().await;
                let process = bench.settle(process).await;
                assert!(bench.points.all_met(), "{what}");
                let row = process.row(id).await;
                let there = bench.on_host().domains.domains.contains_key(&id);
                let remains = if there { wanted } else { VmState::Error };
                assert_eq!((row.vm_state, row.task_state), (remains, None), "{what}");
            }
        }
    }
}
