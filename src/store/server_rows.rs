//! One row to one [`Server`].

use crate::core::clock::from_micros;
use crate::core::server::state::{PowerState, TaskState, VmState};
use crate::core::server::{DiskConfig, Lock, LockHolder, Server, ServerFlavor, ServerKey};
use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::de::DeserializeOwned;

/// In the order in which [`from_row`] takes them.
pub(super) const COLUMNS: &str = "server.number, server.id, server.project_id, server.user_id, server.name, server.description, \
     server.hostname, server.vm_state, server.task_state, server.power_state, server.progress, server.host, server.image_id, server.image_format, \
     server.image_properties, server.kernel_id, server.ramdisk_id, server.flavor_id, server.flavor_name, server.vcpus, \
     server.ram_mib, server.disk_gib, server.ephemeral_gib, server.swap_mib, server.rxtx_factor, server.extra_specs, \
     server.key_name, server.key_type, server.key_public, server.pinned_zone, server.metadata, server.tags, \
     server.config_drive, server.user_data, server.personality, server.security_groups, server.access_ip_v4, \
     server.access_ip_v6, server.disk_config, server.reservation_id, server.launch_index, server.root_device_name, \
     server.locked_by, server.locked_reason, server.scheduler_hints, server.trusted_certificates, server.guest_password, \
     server.resize, server.rescue, server.shelved, server.soft_deleted_at, server.min_disk_gib, server.min_ram_mib, server.disks, \
     server.created_at, server.updated_at, server.launched_at, server.terminated_at, server.deleted_at";

macro_rules! state_columns {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.as_str()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(|e| FromSqlError::Other(Box::new(e)))
            }
        }
    )*};
}

state_columns!(VmState, TaskState);

impl ToSql for PowerState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.number()))
    }
}

impl FromSql for PowerState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = u8::column_result(value)?;
        Self::try_from(number).map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}

impl FromSql for DiskConfig {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "AUTO" => Ok(Self::Auto),
            _ => Ok(Self::Manual),
        }
    }
}

impl FromSql for LockHolder {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "owner" => Ok(Self::Owner),
            _ => Ok(Self::Admin),
        }
    }
}

/// Takes the columns of a row one after another: looking each up by its name is what long lists would pay for.
struct Cells<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl Cells<'_, '_> {
    fn get<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        self.row.get(self.next - 1)
    }

    fn json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<T> {
        self.next += 1;
        let text = self.row.get_ref(self.next - 1)?.as_str()?;
        serde_json::from_str(text).map_err(|e| FromSqlError::Other(Box::new(e)).into())
    }

    fn maybe_json<T: DeserializeOwned>(&mut self) -> rusqlite::Result<Option<T>> {
        self.next += 1;
        let text = self.row.get_ref(self.next - 1)?.as_str_or_null()?;
        text.map(|text| serde_json::from_str(text).map_err(|e| FromSqlError::Other(Box::new(e)).into()))
            .transpose()
    }

    fn time(&mut self) -> rusqlite::Result<Timestamp> {
        Ok(from_micros(self.get()?))
    }

    fn maybe_time(&mut self) -> rusqlite::Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>()?.map(from_micros))
    }

    fn address<T: std::str::FromStr>(&mut self) -> rusqlite::Result<Option<T>> {
        Ok(self.get::<Option<String>>()?.and_then(|text| text.parse().ok()))
    }

    fn key(&mut self) -> rusqlite::Result<Option<ServerKey>> {
        let (name, kind, public): (Option<String>, Option<String>, Option<String>) =
            (self.get()?, self.get()?, self.get()?);
        Ok(name.map(|name| ServerKey {
            name,
            kind: kind.unwrap_or_else(|| "ssh".into()),
            public: public.unwrap_or_default(),
        }))
    }

    fn lock(&mut self) -> rusqlite::Result<Option<Lock>> {
        let (by, reason): (Option<LockHolder>, Option<String>) = (self.get()?, self.get()?);
        Ok(by.map(|by| Lock { by, reason }))
    }
}

/// A row that begins with [`COLUMNS`].
pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Server> {
    let mut cells = Cells { row, next: 0 };
    let cells = &mut cells;
    Ok(Server {
        number: cells.get()?,
        id: cells.get()?,
        project_id: cells.get()?,
        user_id: cells.get()?,
        name: cells.get()?,
        description: cells.get()?,
        hostname: cells.get()?,
        vm_state: cells.get()?,
        task_state: cells.get()?,
        power_state: cells.get()?,
        progress: cells.get()?,
        host: cells.get()?,
        image_id: cells.get()?,
        image_format: cells.get()?,
        image_properties: cells.json()?,
        kernel_id: cells.get()?,
        ramdisk_id: cells.get()?,
        flavor: ServerFlavor {
            id: cells.get()?,
            name: cells.get()?,
            vcpus: cells.get()?,
            ram_mib: cells.get()?,
            disk_gib: cells.get()?,
            ephemeral_gib: cells.get()?,
            swap_mib: cells.get()?,
            rxtx_factor: cells.get()?,
            extra_specs: cells.json()?,
        },
        key: cells.key()?,
        pinned_zone: cells.get()?,
        metadata: cells.json()?,
        tags: cells.json()?,
        config_drive: cells.get()?,
        user_data: cells.get()?,
        personality: cells.json()?,
        security_groups: cells.json()?,
        access_ip_v4: cells.address()?,
        access_ip_v6: cells.address()?,
        disk_config: cells.get()?,
        reservation_id: cells.get()?,
        launch_index: cells.get()?,
        root_device_name: cells.get()?,
        lock: cells.lock()?,
        scheduler_hints: cells.get()?,
        trusted_certificates: cells.maybe_json()?,
        guest_password: cells.get()?,
        resize: cells.maybe_json()?,
        rescue: cells.maybe_json()?,
        shelved: cells.maybe_json()?,
        soft_deleted_at: cells.maybe_time()?,
        min_disk_gib: cells.get()?,
        min_ram_mib: cells.get()?,
        disks: cells.json()?,
        created_at: cells.time()?,
        updated_at: cells.time()?,
        launched_at: cells.maybe_time()?,
        terminated_at: cells.maybe_time()?,
        deleted_at: cells.maybe_time()?,
    })
}
