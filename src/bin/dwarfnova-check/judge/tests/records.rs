//! What the database says of itself, counters, and the host around it.

use super::*;

#[test]
fn i12_and_i13_counters() {
    finds(12, |facts| facts.rows.usage[0].cores = 2);
    finds(12, |facts| drop(facts.rows.usage.remove(0)));
    finds(12, |facts| {
        facts.rows.usage.push(Usage {
            scope: "project".into(),
            id: "q".into(),
            instances: -1,
            ..Usage::default()
        });
    });
    finds(13, |facts| facts.rows.usage[1].ram_mib = 0);
    let old = json!({"vcpus": 3, "ram_mib": 32, "disk_gib": 2, "ephemeral_gib": 1, "swap_mib": 5});
    finds(13, |facts| facts.rows.servers[0].resize = Some(json!({"old_flavor": old})));
}

/// A resize that waits is paid for by the host alone, a server that can be restored by no project.
#[test]
fn what_waits_is_counted_where_it_is() {
    let found = broken(|facts| {
        let old = json!({"vcpus": 3, "ram_mib": 32, "disk_gib": 2, "ephemeral_gib": 1, "swap_mib": 5});
        facts.rows.servers[0].resize = Some(json!({"old_flavor": old}));
        facts.rows.servers[0].vm_state = "soft-delete".into();
        let host = &mut facts.rows.usage[1];
        (host.cores, host.disk_mib) = (host.cores + 2, host.disk_mib + 3 * 1024 + 5);
        facts.rows.usage[0] = Usage { scope: "project".into(), id: "p".into(), ..Usage::default() };
    });
    assert!(!found.contains(&12) && !found.contains(&13), "{found:?}");
}

#[test]
fn i14_tasks() {
    let task = |workflow: &str, subject: &str, status: &str| Task {
        id: 1,
        workflow: workflow.into(),
        subject: subject.into(),
        status: status.into(),
        updated_at: NOW,
        ..Task::default()
    };
    finds(14, |facts| facts.rows.servers[0].task_state = Some("powering-off".into()));
    finds(14, |facts| facts.rows.tasks.push(task("server_stop", "nobody", "running")));
    finds(14, |facts| facts.rows.tasks.push(task("server_stop", SERVER, "stuck")));
    finds(14, |facts| {
        facts.rows.tasks.push(Task { updated_at: 0, ..task("server_stop", SERVER, "running") });
    });
    assert_eq!(broken(|facts| facts.rows.tasks.push(task("server_stop", SERVER, "running"))), [].into());
}

#[test]
fn i16_server_groups() {
    let group = |most_on_a_host: Option<u64>, members: &[&str]| ServerGroup {
        id: "g".into(),
        most_on_a_host,
        members: members.iter().map(|id| (*id).to_owned()).collect(),
    };
    finds(27, |facts| facts.rows.server_groups.push(group(None, &[GONE])));
    finds(27, |facts| facts.rows.server_groups.push(group(Some(0), &[SERVER])));
    assert_eq!(broken(|facts| facts.rows.server_groups.push(group(Some(1), &[SERVER]))), [].into());
}

#[test]
fn i15_records() {
    finds(15, |facts| facts.rows.servers[0].vm_state = "error".into());
    finds(15, |facts| facts.rows.actions[0].server = "nobody".into());
    let event = |facts: &mut Facts, how: fn(&mut Event)| how(&mut facts.rows.actions[0].events[0]);
    finds(15, |facts| event(facts, |event| event.finished_at = None));
    finds(15, |facts| event(facts, |event| event.result = None));
    finds(15, |facts| event(facts, |event| event.result = Some("Error".into())));
    finds(15, |facts| event(facts, |event| event.started_at = 5));
    finds(15, |facts| event(facts, |event| event.finished_at = Some(5)));
}

#[test]
fn i18_the_database() {
    finds(18, |facts| facts.rows.damage.push("row 1 missing from index".into()));
    finds(18, |facts| facts.rows.schema = 99);
    finds(18, |facts| facts.rows.wal_bytes = 1 << 30);
    finds(18, |facts| facts.rows.lost_tokens = 1);
    finds(18, |facts| facts.host.openers.insert(101, false).map_or((), drop));
    finds(18, |facts| facts.host.openers.insert(100, true).map_or((), drop));
}

#[test]
fn i19_the_host() {
    let process = |command: &[&str]| Process {
        pid: 7,
        parent: 100,
        zombie: false,
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    };
    finds(19, |facts| facts.host.processes.push(Process { zombie: true, ..process(&[]) }));
    finds(19, |facts| facts.host.processes.push(process(&["qemu-img", "convert", "/state/images/x"])));
    finds(19, |facts| {
        let words =
            ["/usr/bin/qemu-system-x86_64", "-uuid", "nobody", "-drive", "file=/state/servers/x/disk"];
        facts.host.processes.push(process(&words));
    });
    finds(19, |facts| facts.host.mounts.push("/dev/loop0 on /state/images/x".into()));
    finds(19, |facts| facts.host.bridges.get_mut("dn-22222222333").unwrap().extend(["tap-stray".into()]));
    finds(19, |facts| {
        let twin = Domain { name: "instance-00000007".into(), uuid: "x".into(), ..domain(facts).clone() };
        facts.host.domains.push(twin);
    });
}
