//! Counters, tasks, records of actions, the database itself, processes.

use super::Verdict;
use crate::facts::{Action, Facts, Usage};
use std::collections::BTreeMap;

/// The newest schema that this checker knows.
const SCHEMA: u32 = 7;
const WAL_BYTES: u64 = 64 << 20;
/// The longest that a task may go without a step ending, in microseconds. The longest deadline of a step is a day.
const TASK_PATIENCE: i64 = 25 * 3600 * 1_000_000;

pub fn live(facts: &Facts, verdict: &mut Verdict) {
    counters(facts, "project", 12, verdict);
    tasks(facts, verdict);
    server_groups(facts, verdict);
    database(facts, verdict);
}

pub fn settled(facts: &Facts, verdict: &mut Verdict) {
    counters(facts, "host", 13, verdict);
    let rows = &facts.rows;
    verdict.unless(rows.wal_bytes < WAL_BYTES, 18, "dwarfnova.db-wal", || {
        format!("{} bytes large", rows.wal_bytes)
    });
    verdict.unless(rows.lost_tokens == 0, 18, "token", || {
        format!("{} of users or projects that do not exist", rows.lost_tokens)
    });
    for server in rows.living().filter(|server| server.vm_state == "error") {
        verdict.unless(server.has_fault, 15, &server.id, || "in ERROR without a fault".into());
    }
    for action in &rows.actions {
        record(facts, action, verdict);
    }
    host(facts, verdict);
}

fn counters(facts: &Facts, scope: &str, invariant: u8, verdict: &mut Verdict) {
    let mut sums: BTreeMap<&str, Usage> = BTreeMap::new();
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    for server in facts.rows.living() {
        let is_project = scope == "project";
        // One that can still be restored costs its project nothing.
        let pays = is_project && server.vm_state != "soft-delete";
        let id = if is_project { pays.then_some(server.project.as_str()) } else { server.host.as_deref() };
        let Some(id) = id else { continue };
        let sum = sums.entry(id).or_insert_with(|| Usage {
            scope: scope.to_owned(),
            id: id.to_owned(),
            ..Usage::default()
        });
        sum.instances += 1;
        sum.cores += number(server.vcpus);
        sum.ram_mib += number(server.ram_mib);
        sum.disk_mib += number((server.disk_gib + server.ephemeral_gib) * 1024 + server.swap_mib);
        if let Some(resize) = server.resize.as_ref().filter(|_| !is_project) {
            // The host keeps room for the way back: both disks are there, and either guest may run.
            let old = |name: &str| resize["old_flavor"][name].as_u64().unwrap_or_default();
            sum.cores += number(old("vcpus").saturating_sub(server.vcpus));
            sum.ram_mib += number(old("ram_mib").saturating_sub(server.ram_mib));
            sum.disk_mib += number((old("disk_gib") + old("ephemeral_gib")) * 1024 + old("swap_mib"));
        }
    }
    for counted in facts.rows.usage.iter().filter(|counted| counted.scope == scope) {
        let nothing = Usage { scope: counted.scope.clone(), id: counted.id.clone(), ..Usage::default() };
        let sum = sums.remove(counted.id.as_str()).unwrap_or(nothing);
        verdict.unless(*counted == sum, invariant, &counted.id, || {
            format!("counted {counted:?}, there is {sum:?}")
        });
    }
    for (id, sum) in sums {
        verdict.add(invariant, id, format!("nothing counted, there is {sum:?}"));
    }
}

fn tasks(facts: &Facts, verdict: &mut Verdict) {
    let rows = &facts.rows;
    for server in rows.living() {
        let Some(state) = &server.task_state else { continue };
        verdict.unless(rows.open_task(&server.id).is_some(), 14, &server.id, || {
            format!("{state}, and no task is open")
        });
    }
    for task in &rows.tasks {
        let object = format!("task {}", task.id);
        verdict.unless(task.status != "stuck", 14, &object, || {
            format!("{} of {} is stuck", task.workflow, task.subject)
        });
        let open = task.status != "stuck";
        // What waits for a time has a subject of its own, and finds out by itself whether it is still wanted.
        if open && task.workflow.starts_with("server_") && !task.subject.contains(' ') {
            let living = rows.living().any(|server| server.id == task.subject);
            verdict.unless(living, 14, &object, || {
                format!("{} of server {}, which does not exist", task.workflow, task.subject)
            });
        }
        let since = task.updated_at.max(task.not_before);
        // Without a daemon tasks rest.
        let worked_on = !facts.host.openers.is_empty();
        verdict.unless(!open || !worked_on || since > facts.now - TASK_PATIENCE, 14, &object, || {
            format!("{} of {} does not get on", task.workflow, task.subject)
        });
    }
}

fn server_groups(facts: &Facts, verdict: &mut Verdict) {
    for group in &facts.rows.server_groups {
        let mut on_hosts: BTreeMap<&str, u64> = BTreeMap::new();
        for member in &group.members {
            let server = facts.rows.living().find(|server| server.id == *member);
            verdict.unless(server.is_some(), 27, &group.id, || format!("{member} in it does not exist"));
            if let Some(host) = server.and_then(|server| server.host.as_deref()) {
                *on_hosts.entry(host).or_default() += 1;
            }
        }
        let Some(most) = group.most_on_a_host else { continue };
        for (host, count) in on_hosts {
            verdict.unless(count <= most, 27, &group.id, || {
                format!("{count} of its servers are on {host}, it allows {most}")
            });
        }
    }
}

fn record(facts: &Facts, action: &Action, verdict: &mut Verdict) {
    let object = format!("action {} ({}) of {}", action.number, action.action, action.server);
    verdict.unless(facts.rows.server(&action.server).is_some(), 15, &object, || "of no server".into());
    let failed = action.events.iter().any(|event| event.result.as_deref() == Some("Error"));
    if failed {
        verdict.unless(action.message.is_some(), 15, &object, || {
            "an event failed, and it does not say so".into()
        });
    }
    for event in &action.events {
        let name = &event.event;
        verdict
            .unless(event.started_at >= action.started_at, 15, &object, || format!("{name} began before it"));
        match event.finished_at {
            None => verdict.unless(facts.rows.open_task(&action.server).is_some(), 15, &object, || {
                format!("{name} never ended, and no task is open")
            }),
            Some(at) => {
                verdict
                    .unless(at >= event.started_at, 15, &object, || format!("{name} ended before it began"));
                verdict
                    .unless(event.result.is_some(), 15, &object, || format!("{name} ended without a result"));
            }
        }
    }
}

fn database(facts: &Facts, verdict: &mut Verdict) {
    let rows = &facts.rows;
    for words in &rows.damage {
        verdict.add(18, "dwarfnova.db", words);
    }
    verdict.unless((1..=SCHEMA).contains(&rows.schema), 18, "dwarfnova.db", || {
        format!("schema {}, up to {SCHEMA} is known", rows.schema)
    });
    let openers = &facts.host.openers;
    verdict.unless(openers.len() <= 1, 18, "dwarfnova.db", || {
        format!("open in processes {:?}", openers.keys().collect::<Vec<_>>())
    });
    for (pid, _) in openers.iter().filter(|(_, removed)| **removed) {
        verdict.add(18, format!("process {pid}"), "works on a database that was removed");
    }
}

fn host(facts: &Facts, verdict: &mut Verdict) {
    let host = &facts.host;
    let root = facts.tree.root.to_string_lossy();
    for process in &host.processes {
        let name =
            process.command.first().map(|word| word.rsplit('/').next().unwrap_or(word)).unwrap_or_default();
        let object = format!("process {}", process.pid);
        let child = host.openers.contains_key(&process.parent);
        verdict.unless(!(process.zombie && child), 19, &object, || "a zombie of the daemon's".into());
        let about_us = !root.is_empty() && process.command.iter().any(|word| word.contains(root.as_ref()));
        if !about_us {
            continue;
        }
        let tool = matches!(name, "qemu-img" | "qemu-nbd" | "mkfs.ext4");
        verdict.unless(!tool, 19, &object, || format!("{name} still runs"));
        if name.starts_with("qemu-system") || name == "qemu-kvm" {
            let uuid = process.command.iter().skip_while(|word| *word != "-uuid").nth(1);
            let known = uuid.and_then(|uuid| host.domain(uuid)).is_some_and(|domain| domain.live.is_some());
            verdict.unless(known, 19, &object, || format!("a guest that libvirt does not know: {uuid:?}"));
        }
    }
    let mut endpoints: BTreeMap<&str, &str> = BTreeMap::new();
    for domain in host.domains.iter().filter(|domain| domain.owner.as_ref() == Some(&facts.rows.installation))
    {
        for endpoint in &domain.live.as_ref().unwrap_or(&domain.stored).endpoints {
            if let Some(other) = endpoints.insert(endpoint, &domain.name) {
                verdict.add(19, &domain.name, format!("has {endpoint} like {other}"));
            }
        }
    }
    for mount in &host.mounts {
        verdict.add(19, mount, "left over");
    }
}
