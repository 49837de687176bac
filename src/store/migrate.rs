//! Forward-only schema migrations on `PRAGMA user_version`.
//!
//! A released migration is never edited: later changes are new files. A database that is newer than this binary is refused.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};

/// The migrations in order; the schema version is how many of them have run.
const MIGRATIONS: [&str; KNOWN as usize] =
    [include_str!("migrations/0001_foundation.sql"), include_str!("migrations/0002_server_life.sql")];

/// The schema version that this program works with.
const KNOWN: u32 = 2;

/// Brings the database to the newest schema, each step in one transaction.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;

    if found > KNOWN {
        return Err(StoreError::Newer { found, known: KNOWN });
    }
    for (version, sql) in (1u32..).zip(MIGRATIONS).skip(found as usize) {
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
}
