//! `migrate`, `os-migrateLive`, `evacuate`, and the moves of running servers that are going on: on one host there are none.

use super::actions::accepted;
use super::{authorize, id};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::compute::changes::Input;
use crate::api::compute::request;
use crate::api::compute::schema::Rule::{Object as Keys, OneOfLiterals, Types};
use crate::api::compute::schema::query::NONE;
use crate::api::compute::schema::types::{ANYTHING, BOOLEAN, FQDN, NULL, STRING};
use crate::api::compute::schema::{self, Literal, Object, Property, Schema, Type, property, wire};
use crate::core::Error;
use crate::core::ids::ServerId;
use crate::core::service::servers::{Among, LiveMigration};
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A body with one key, whose value the ledger may change.
macro_rules! action {
    ($name:literal, $($form:expr),+) => {
        Schema(&[
            Types(&[Type::Object]),
            Keys(&Object {
                input: Some(Input::ServerAction),
                properties: &[property($name, &[$($form),+])],
                required: &[$name],
                open: false,
            }),
        ])
    };
}

const HOST: Property = property("host", &[&Schema(&[schema::Rule::AnyOf(&[FQDN, NULL])])]);

pub static MIGRATE: Schema = action!("migrate", &ANYTHING, &MIGRATE_TO);
const MIGRATE_TO: Schema = Schema(&[
    Types(&[Type::Object, Type::Null]),
    Keys(&Object { input: None, properties: &[HOST], required: &[], open: false }),
]);

pub static MIGRATE_LIVE: Schema = action!("os-migrateLive", &LIVE_ON_ORDER, &LIVE);
/// Up to 2.24.
const LIVE_ON_ORDER: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[
            property("block_migration", &[&BOOLEAN]),
            property("disk_over_commit", &[&BOOLEAN]),
            HOST,
        ],
        required: &["block_migration", "disk_over_commit", "host"],
        open: false,
    }),
]);
const LIVE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::LiveMigration),
        properties: &[
            property(
                "block_migration",
                &[&Schema(&[schema::Rule::AnyOf(&[
                    BOOLEAN,
                    Schema(&[Types(&[Type::Text]), OneOfLiterals(&[Literal::Text("auto")])]),
                ])])],
            ),
            HOST,
            property("force", &[&BOOLEAN]),
        ],
        required: &["block_migration", "host"],
        open: false,
    }),
]);

pub static EVACUATE: Schema = action!("evacuate", &EVACUATE_FROM, &EVACUATE_TO);
/// Up to 2.13.
const EVACUATE_FROM: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[
            property("host", &[&FQDN]),
            property("onSharedStorage", &[&BOOLEAN]),
            property("adminPass", &[&STRING]),
        ],
        required: &["onSharedStorage"],
        open: false,
    }),
]);
const EVACUATE_TO: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: Some(Input::Evacuation),
        properties: &[
            property("host", &[&FQDN]),
            property("adminPass", &[&STRING]),
            property("force", &[&BOOLEAN]),
        ],
        required: &[],
        open: false,
    }),
]);

static FORCE_COMPLETE: Schema = Schema(&[
    Types(&[Type::Object]),
    Keys(&Object {
        input: None,
        properties: &[property("force_complete", &[&NULL])],
        required: &["force_complete"],
        open: false,
    }),
]);

#[derive(Deserialize, Default)]
struct Target {
    #[serde(default)]
    host: Option<String>,
    #[serde(default, deserialize_with = "wire::maybe_flag")]
    force: Option<bool>,
    #[serde(default, rename = "onSharedStorage", deserialize_with = "wire::maybe_flag")]
    shared: Option<bool>,
    #[serde(default, rename = "adminPass")]
    password: Option<String>,
}

impl Target {
    /// Whether the host is forced.
    fn forced(&self) -> Result<bool, Error> {
        match self.force {
            Some(true) if self.host.is_none() => {
                Err(Error::invalid("Can't force to a non-provided destination"))
            }
            force => Ok(force == Some(true)),
        }
    }
}

pub async fn migrate(call: Call, id: ServerId, value: Value) -> Outcome {
    // Before 2.56 the value says nothing, whatever it is.
    let target =
        if call.minor >= 56 && !value.is_null() { wire::read::<Target>(value)? } else { Target::default() };
    call.state.services.servers.migrate(call.actor()?, id, target.host).await?;
    Ok(accepted())
}

pub async fn migrate_live(call: Call, id: ServerId, value: Value) -> Outcome {
    let target: Target = wire::read(value)?;
    // Before 2.30 a host that was named was taken.
    let forced = target.forced()? || (call.minor < 30 && target.host.is_some());
    let wanted = LiveMigration { forced, host: target.host, waits: call.minor < 34 };
    call.state.services.servers.live_migrate(call.actor()?, id, wanted).await?;
    Ok(accepted())
}

pub async fn evacuate(call: Call, id: ServerId, value: Value) -> Outcome {
    let target: Target = wire::read(value)?;
    target.forced()?;
    if target.shared == Some(true) && target.password.is_some() {
        return Err(Error::invalid("admin password can't be changed on existing disk").into());
    }
    match call.state.services.servers.evacuate(call.actor()?, id, target.host).await? {}
}

#[derive(Serialize)]
struct Page {
    migrations: [(); 0],
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    call.state.services.servers.find(call.actor()?, id, Among::Living).await?;
    Ok(Reply::json(StatusCode::OK, &Page { migrations: [] })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &NONE)?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let migration = call.params.get("migration");
    match call.state.services.servers.migration_in_progress(call.actor()?, id, migration).await? {}
}

pub async fn force_complete(mut call: Call) -> Outcome {
    let mut body = request::json(&mut call).await?;
    let name = schema::single_key(&body)?;
    if name != "force_complete" {
        return Err(Error::invalid(format!("There is no such action: {name}")).into());
    }
    schema::body(&FORCE_COMPLETE, &mut body, request::context(&call))?;
    let id = id(&call)?;
    authorize(&call, id).await?;
    let migration = call.params.get("migration");
    match call.state.services.servers.force_complete(call.actor()?, id, migration).await? {}
}

pub async fn abort(call: Call) -> Outcome {
    let id = id(&call)?;
    authorize(&call, id).await?;
    let migration = call.params.get("migration");
    match call.state.services.servers.abort_migration(call.actor()?, id, migration).await? {}
}
