//! Reads the database, in SQL of its own.

use crate::facts::{Action, Event, Group, Image, Port, Rows, Rule, Server, ServerGroup, Subnet, Task, Usage};
use anyhow::Context;
use ipnet::Ipv4Net;
use rusqlite::{Connection, OpenFlags, Row};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

/// Opens the database without the means to change it.
pub fn open(state: &Path) -> anyhow::Result<Connection> {
    let path = state.join("dwarfnova.db");
    anyhow::ensure!(path.is_file(), "there is no database {}", path.display());
    // A database that was closed well has no log beside it. Opened as usual it would get one, and nobody to remove it.
    let immutable = if state.join("dwarfnova.db-wal").exists() { "" } else { "&immutable=1" };
    let mut escaped = String::new();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                escaped.push(char::from(byte));
            }
            other => escaped.push_str(&format!("%{other:02x}")),
        }
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{escaped}?mode=ro{immutable}"), flags)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// A number that changes when another process commits.
pub fn data_version(connection: &Connection) -> anyhow::Result<i64> {
    Ok(connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
}

/// Reads all in one transaction. SQLite's own checks, which read every page, are made when `thorough`.
pub fn read(connection: &Connection, state: &Path, thorough: bool) -> anyhow::Result<Rows> {
    connection.execute_batch("BEGIN")?;
    let result = read_all(connection, state, thorough);
    connection.execute_batch("COMMIT")?;
    result.context("the database cannot be read")
}

fn read_all(connection: &Connection, state: &Path, thorough: bool) -> anyhow::Result<Rows> {
    let installation =
        connection.query_row("SELECT value FROM setting WHERE key = 'installation'", [], |row| row.get(0))?;
    Ok(Rows {
        installation,
        damage: if thorough { damage(connection)? } else { Vec::new() },
        schema: connection.query_row("PRAGMA user_version", [], |row| row.get(0))?,
        wal_bytes: std::fs::metadata(state.join("dwarfnova.db-wal")).map_or(0, |facts| facts.len()),
        servers: servers(connection)?,
        ports: ports(connection)?,
        groups: groups(connection)?,
        subnets: subnets(connection)?,
        images: images(connection)?,
        tasks: tasks(connection)?,
        actions: actions(connection)?,
        usage: all(connection, "SELECT * FROM server_usage", |row| {
            Ok(Usage {
                scope: row.get("scope")?,
                id: row.get("id")?,
                instances: row.get("instances")?,
                cores: row.get("cores")?,
                ram_mib: row.get("ram_mib")?,
                disk_mib: row.get("disk_mib")?,
            })
        })?,
        server_groups: server_groups(connection)?,
        console_tokens: all(connection, "SELECT server_id FROM console_token", |row| row.get(0))?,
        lost_tokens: connection.query_row(
            "SELECT count(*) FROM token WHERE user_id NOT IN (SELECT id FROM user) \
                 OR scope_kind = 'project' AND scope_id NOT IN (SELECT id FROM project)",
            [],
            |row| row.get(0),
        )?,
    })
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| read(row))?;
    rows.collect::<rusqlite::Result<_>>().with_context(|| sql.to_owned())
}

fn damage(connection: &Connection) -> anyhow::Result<Vec<String>> {
    let mut found = all(connection, "PRAGMA integrity_check", |row| row.get::<_, String>(0))?;
    found.retain(|line| line != "ok");
    found.extend(all(connection, "PRAGMA foreign_key_check", |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a row of {table} names a row of {parent} that does not exist"))
    })?);
    Ok(found)
}

fn servers(connection: &Connection) -> anyhow::Result<Vec<Server>> {
    let json = |text: Option<String>| text.map(|text| serde_json::from_str(&text).unwrap_or_default());
    let sql = "SELECT server.*, EXISTS (SELECT 1 FROM server_fault WHERE server_id = server.id) AS has_fault FROM server";
    all(connection, sql, |row| {
        let properties: String = row.get("image_properties")?;
        Ok(Server {
            number: row.get("number")?,
            id: row.get("id")?,
            project: row.get("project_id")?,
            hostname: row.get("hostname")?,
            vm_state: row.get("vm_state")?,
            task_state: row.get("task_state")?,
            power_state: row.get("power_state")?,
            host: row.get("host")?,
            image: row.get("image_id")?,
            image_format: row.get("image_format")?,
            properties: serde_json::from_str(&properties).unwrap_or_default(),
            vcpus: row.get("vcpus")?,
            ram_mib: row.get("ram_mib")?,
            disk_gib: row.get("disk_gib")?,
            ephemeral_gib: row.get("ephemeral_gib")?,
            swap_mib: row.get("swap_mib")?,
            config_drive: row.get("config_drive")?,
            disks: json(Some(row.get("disks")?)).unwrap_or_default(),
            resize: json(row.get("resize")?),
            rescue: json(row.get("rescue")?),
            shelved: json(row.get("shelved")?),
            soft_deleted: row.get::<_, Option<i64>>("soft_deleted_at")?.is_some(),
            launched: row.get::<_, Option<i64>>("launched_at")?.is_some(),
            has_fault: row.get("has_fault")?,
            deleted_at: row.get("deleted_at")?,
        })
    })
}

fn server_groups(connection: &Connection) -> anyhow::Result<Vec<ServerGroup>> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, server) in all(connection, "SELECT group_id, server_id FROM server_group_member", |row| {
        Ok((row.get(0)?, row.get(1)?))
    })? {
        members.entry(group).or_default().push(server);
    }
    let sql =
        "SELECT id, iif(policy = 'anti-affinity', ifnull(max_server_per_host, 1), NULL) FROM server_group";
    all(connection, sql, |row| {
        let id: String = row.get(0)?;
        let members = members.get(&id).cloned().unwrap_or_default();
        Ok(ServerGroup { most_on_a_host: row.get(1)?, members, id })
    })
}

fn ports(connection: &Connection) -> anyhow::Result<Vec<Port>> {
    let mut addresses: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
    let sql = "SELECT port_id, ip_address FROM port_address ORDER BY port_id, position";
    for (port, address) in all(connection, sql, |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))? {
        addresses.entry(port).or_default().extend(address.parse::<Ipv4Addr>());
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let sql = "SELECT port_id, security_group_id FROM port_security_group ORDER BY port_id";
    for (port, group) in all(connection, sql, |row| Ok((row.get(0)?, row.get(1)?)))? {
        groups.entry(port).or_default().push(group);
    }
    all(connection, "SELECT * FROM port", |row| {
        let id: String = row.get("id")?;
        let pairs: Vec<BTreeMap<String, String>> =
            serde_json::from_str(&row.get::<_, String>("allowed_pairs")?).unwrap_or_default();
        let pair = |pair: &BTreeMap<String, String>| {
            Some((pair.get("mac")?.clone(), pair.get("range")?.parse::<Ipv4Net>().ok()?))
        };
        Ok(Port {
            network: row.get("network_id")?,
            mac: row.get("mac_address")?,
            addresses: addresses.get(&id).cloned().unwrap_or_default(),
            device: row.get("device_id")?,
            device_owner: row.get("device_owner")?,
            nic_index: row.get("nic_index")?,
            bound: !row.get::<_, String>("host_id")?.is_empty(),
            secured: row.get("port_security_enabled")?,
            pairs: pairs.iter().filter_map(pair).collect(),
            groups: groups.get(&id).cloned().unwrap_or_default(),
            id,
        })
    })
}

fn groups(connection: &Connection) -> anyhow::Result<Vec<Group>> {
    let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for (group, rule) in all(connection, "SELECT * FROM security_group_rule", |row| {
        let rule = Rule {
            direction: row.get("direction")?,
            ethertype: row.get("ethertype")?,
            protocol: row.get("protocol")?,
            port_min: row.get("port_range_min")?,
            port_max: row.get("port_range_max")?,
            remote_prefix: row.get("remote_ip_prefix")?,
            remote_group: row.get("remote_group_id")?,
        };
        Ok((row.get("security_group_id")?, rule))
    })? {
        rules.entry(group).or_default().push(rule);
    }
    all(connection, "SELECT * FROM security_group", |row| {
        let id: String = row.get("id")?;
        let rules = rules.get(&id).cloned().unwrap_or_default();
        Ok(Group { stateful: row.get("stateful")?, rules, id })
    })
}

fn subnets(connection: &Connection) -> anyhow::Result<Vec<Subnet>> {
    all(connection, "SELECT * FROM subnet WHERE ip_version = 4 ORDER BY created_at, id", |row| {
        Ok(Subnet {
            network: row.get("network_id")?,
            cidr: row.get("cidr")?,
            gateway: row.get::<_, Option<String>>("gateway_ip")?.and_then(|text| text.parse().ok()),
            dhcp: row.get("enable_dhcp")?,
        })
    })
}

fn images(connection: &Connection) -> anyhow::Result<Vec<Image>> {
    all(connection, "SELECT * FROM image", |row| {
        Ok(Image {
            id: row.get("id")?,
            status: row.get("status")?,
            file_format: row.get("file_format")?,
            size: row.get("size_bytes")?,
            sha512: row.get("sha512")?,
            deleted_at: row.get("deleted_at")?,
        })
    })
}

fn tasks(connection: &Connection) -> anyhow::Result<Vec<Task>> {
    let sql = "SELECT * FROM task WHERE status IN ('pending', 'running', 'unwinding', 'stuck')";
    all(connection, sql, |row| {
        Ok(Task {
            id: row.get("id")?,
            workflow: row.get("workflow")?,
            subject: row.get("subject")?,
            status: row.get("status")?,
            state: row.get("state")?,
            not_before: row.get("not_before")?,
            updated_at: row.get("updated_at")?,
        })
    })
}

fn actions(connection: &Connection) -> anyhow::Result<Vec<Action>> {
    let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    let sql = "SELECT * FROM server_action_event ORDER BY number";
    for (action, event) in all(connection, sql, |row| {
        let event = Event {
            event: row.get("event")?,
            started_at: row.get("started_at")?,
            finished_at: row.get("finished_at")?,
            result: row.get("result")?,
        };
        Ok((row.get("action_number")?, event))
    })? {
        events.entry(action).or_default().push(event);
    }
    all(connection, "SELECT * FROM server_action ORDER BY number", |row| {
        let number = row.get("number")?;
        Ok(Action {
            number,
            server: row.get("server_id")?,
            action: row.get("action")?,
            message: row.get("message")?,
            started_at: row.get("started_at")?,
            events: events.get(&number).cloned().unwrap_or_default(),
        })
    })
}
