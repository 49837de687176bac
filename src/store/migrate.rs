//! Forward-only schema migrations on `PRAGMA user_version`.
//!
//! A released migration is never edited: later changes are new files. A database that is newer than this binary is refused.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};

/// The migrations in order; the schema version is how many of them have run.
const MIGRATIONS: [&str; KNOWN as usize] = [
    include_str!("migrations/0001_foundation.sql"),
    include_str!("migrations/0002_server_life.sql"),
    include_str!("migrations/0003_due_confirmations.sql"),
    include_str!("migrations/0004_port_filter.sql"),
    include_str!("migrations/0005_own_disks.sql"),
    include_str!("migrations/0006_administration.sql"),
    include_str!("migrations/0007_server_groups.sql"),
];

/// The schema version that this program works with.
const KNOWN: u32 = 7;

/// Brings the database to the newest schema, each step in one transaction.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;

    if found > KNOWN {
        return Err(StoreError::Newer { found, known: KNOWN });
    }
    advance(connection, found, &MIGRATIONS)
}

/// Runs those of the first migrations that come after version `found`.
fn advance(connection: &mut Connection, found: u32, first: &[&str]) -> Result<(), StoreError> {
    for (version, sql) in (1u32..).zip(first).skip(found as usize) {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
        tracing::info!(version, "the database was migrated");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 1_000).unwrap();
        assert!(matches!(run(&mut connection), Err(StoreError::Newer { .. })));
    }

    #[test]
    fn running_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        run(&mut connection).unwrap();
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version as usize, MIGRATIONS.len());
    }

    /// A database with the schema of an earlier version.
    fn of_version(version: usize) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        advance(&mut connection, 0, &MIGRATIONS[..version]).unwrap();
        connection
    }

    #[test]
    fn servers_of_earlier_versions_are_what_they_were() {
        for version in 1..MIGRATIONS.len() {
            let mut connection = of_version(version);
            let server = "INSERT INTO server (id, project_id, user_id, name, hostname, vm_state, flavor_id, flavor_name, \
                    vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, rxtx_factor, reservation_id, created_at, updated_at) \
                VALUES ('00000000-0000-0000-0000-000000000001', 'p', 'u', 'n', 'n', 'active', 'f', 'f', 1, 1, 1, 2, 64, 1, \
                    'r', 0, 0)";
            connection.execute(server, []).unwrap();
            run(&mut connection).unwrap();
            let id = "00000000-0000-0000-0000-000000000001".parse().unwrap();
            let server = crate::store::servers::get(&connection, id).unwrap().unwrap();
            assert_eq!((server.ephemeral_gib(), server.swap_mib()), (vec![2], 64), "from version {version}");
            assert_eq!(server.disks.tags().count(), 0);
        }
    }

    #[test]
    fn a_resize_that_waits_to_confirm_itself_goes_on_waiting() {
        let mut connection = of_version(2);
        let server = "INSERT INTO server (id, project_id, user_id, name, hostname, vm_state, flavor_id, flavor_name, \
                vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, rxtx_factor, reservation_id, created_at, updated_at, \
                resize) \
            VALUES (?1, 'p', 'u', 'n', 'n', 'resized', 'f', 'f', 1, 1, 1, 0, 0, 1, 'r', 0, 0, \
                json_object('number', 1, 'finished_at', ?2))";
        let task = "INSERT INTO task (workflow, subject, status, state, request_id, not_before, created_at, updated_at) \
            VALUES ('server_resize_window', 'resize-1', ?1, ?2, 'req-1', 9, 7, 8)";
        let waits = [
            ("a", Some("2023-11-14T22:13:20Z"), 1_700_000_000_000_000_i64),
            ("b", Some("2023-11-14T22:13:20.25Z"), 1_700_000_000_250_000),
            ("c", Some("2023-11-14T22:13:20.000001Z"), 1_700_000_000_000_001),
            // Decided meanwhile: what waits will find nothing to do.
            ("d", None, 0),
        ];
        for (id, finished, _) in waits {
            connection.execute(server, (id, finished)).unwrap();
            let state = format!(r#"{{"server":"{id}","migration":1}}"#);
            connection.execute(task, ("pending", state)).unwrap();
        }
        connection.execute(task, ("done", "{}")).unwrap();
        run(&mut connection).unwrap();
        let mut rows =
            connection.prepare("SELECT workflow, subject, status, state, not_before FROM task").unwrap();
        let rows: Vec<(String, String, String, String, i64)> = rows
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for ((id, _, since), row) in waits.iter().zip(&rows) {
            let state = format!(r#"{{"server":"{id}","occasion":"Confirm","since":{since}}}"#);
            let subject = format!("confirm {id} {since}");
            assert_eq!(*row, ("due".into(), subject, "pending".into(), state, 9));
        }
        assert_eq!(rows[waits.len()].0, "server_resize_window");
    }
}
