//! Single values that the program keeps about itself.

use super::StoreError;
use rusqlite::{Connection, OptionalExtension};

pub fn get(c: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    Ok(c.prepare_cached("SELECT value FROM setting WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?)
}

pub fn set(c: &Connection, key: &str, value: &str) -> Result<(), StoreError> {
    c.prepare_cached("INSERT OR REPLACE INTO setting VALUES (?1, ?2)")?.execute([key, value])?;
    Ok(())
}
