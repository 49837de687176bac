//! What follows from seeing a guest in some state: pure, from (server, sight) to the new power state and what to do.
//!
//! | vm_state | guest seen as | do |
//! |---|---|---|
//! | active | shut down, crashed, suspended | stop |
//! | active | paused, missing | nothing |
//! | stopped | anything that runs or is suspended | force off |
//! | paused | shut down, crashed | force off |
//! | soft-delete, deleted | running | report |
//! | all others | any | nothing |
//!
//! A server with a task is left to the task: it sees the host for itself.

use super::state::{PowerState, TaskState, VmState};

/// What is to be done about a sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    Nothing,
    /// Look again, and if it is still so, run the stop that the owner did not ask for.
    Stop,
    /// Say in the log that a guest runs which should not.
    Report,
}

/// What a sight means for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    pub power_state: PowerState,
    pub follow: Follow,
}

/// What follows when the guest of a server is seen in the power state `seen`; `None` while a task has it.
pub fn observe(vm: VmState, task: Option<TaskState>, seen: PowerState) -> Option<Observation> {
    if task.is_some() {
        return None;
    }
    // How it once ended says nothing about a server that was stopped since.
    let settled = vm == VmState::Stopped && seen == PowerState::Crashed;
    let power_state = if settled { PowerState::Shutdown } else { seen };
    Some(Observation { power_state, follow: follow(vm, seen) })
}

fn follow(vm: VmState, seen: PowerState) -> Follow {
    match vm {
        VmState::Active => match seen {
            PowerState::Shutdown | PowerState::Crashed | PowerState::Suspended => Follow::Stop,
            PowerState::Running | PowerState::Paused | PowerState::NoState => Follow::Nothing,
        },
        VmState::Stopped => match seen {
            PowerState::Running | PowerState::Paused | PowerState::Suspended => Follow::Stop,
            PowerState::NoState | PowerState::Shutdown | PowerState::Crashed => Follow::Nothing,
        },
        VmState::Paused => match seen {
            PowerState::Shutdown | PowerState::Crashed => Follow::Stop,
            PowerState::NoState | PowerState::Running | PowerState::Paused | PowerState::Suspended => {
                Follow::Nothing
            }
        },
        VmState::SoftDelete | VmState::Deleted => match seen {
            PowerState::Running => Follow::Report,
            PowerState::NoState
            | PowerState::Paused
            | PowerState::Shutdown
            | PowerState::Crashed
            | PowerState::Suspended => Follow::Nothing,
        },
        VmState::Building
        | VmState::Suspended
        | VmState::Rescued
        | VmState::Resized
        | VmState::Error
        | VmState::Shelved
        | VmState::ShelvedOffloaded => Follow::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sights_of_idle_servers() {
        let stops = |vm| -> Vec<PowerState> {
            PowerState::ALL.into_iter().filter(|seen| follow(vm, *seen) == Follow::Stop).collect()
        };
        for vm in VmState::ALL.iter().copied() {
            let expected: &[PowerState] = match vm {
                VmState::Active => &[PowerState::Shutdown, PowerState::Crashed, PowerState::Suspended],
                VmState::Stopped => &[PowerState::Running, PowerState::Paused, PowerState::Suspended],
                VmState::Paused => &[PowerState::Shutdown, PowerState::Crashed],
                _ => &[],
            };
            assert_eq!(stops(vm), expected, "{vm}");
        }
    }

    #[test]
    fn a_task_is_left_alone() {
        let shown = |vm| observe(vm, None, PowerState::Crashed).unwrap().power_state;
        assert_eq!(
            (shown(VmState::Active), shown(VmState::Stopped)),
            (PowerState::Crashed, PowerState::Shutdown)
        );
        let seen = PowerState::Shutdown;
        assert_eq!(observe(VmState::Active, None, seen).unwrap().follow, Follow::Stop);
        assert_eq!(observe(VmState::Active, Some(TaskState::RebootStarted), seen), None);
    }
}
