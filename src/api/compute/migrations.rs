//! `/os-migrations`: every attempt to give a server another size or another host.

use super::changes::{Input, Resource, shape};
use super::links::{self, NextLink};
use super::request;
use super::schema::iso8601;
use super::schema::query::{LIMIT, MARKER, Parameters, parameter, single};
use super::schema::types::{DATE_TIME, STRING};
use super::schema::wire::truth;
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::Error;
use crate::core::clock::micros_naive;
use crate::core::server::migration::{Migration, MigrationQuery};
use actix_web::http::StatusCode;
use serde::ser::{Serialize, Serializer};

static LIST: Parameters = Parameters {
    input: Input::MigrationsQuery,
    known: &[
        parameter("hidden", &[&STRING]),
        parameter("host", &[&STRING]),
        parameter("instance_uuid", &[&STRING]),
        parameter("source_compute", &[&STRING]),
        parameter("status", &[&STRING]),
        parameter("migration_type", &[&STRING]),
        LIMIT,
        MARKER,
        single("changes-since", &[&DATE_TIME]),
        single("changes-before", &[&DATE_TIME]),
        single("user_id", &[&STRING]),
        single("project_id", &[&STRING]),
    ],
    kept_prefix: None,
};

pub struct MigrationView<'a> {
    pub migration: &'a Migration,
    /// Only administrators are told of hosts.
    pub hosts: bool,
    pub shape: &'static Shape,
}

impl Serialize for MigrationView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let migration = self.migration;
        let source = migration.source.as_deref().filter(|_| self.hosts);
        let destination = migration.destination.as_deref().filter(|_| self.hosts);
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("id", &migration.number)?;
        out.field("uuid", &migration.uuid)?;
        out.field("instance_uuid", &migration.server)?;
        out.field("status", migration.status.as_str())?;
        out.field("migration_type", migration.kind.as_str())?;
        out.field("source_compute", &source)?;
        out.field("source_node", &source)?;
        out.field("dest_compute", &destination)?;
        out.field("dest_node", &destination)?;
        // The address that hypervisors show, too.
        out.field("dest_host", &destination.map(|_| "127.0.0.1"))?;
        out.field("old_instance_type_id", &migration.old_flavor)?;
        out.field("new_instance_type_id", &migration.new_flavor)?;
        out.field("created_at", &micros_naive(migration.created_at))?;
        out.field("updated_at", &micros_naive(migration.updated_at))?;
        out.field("user_id", &migration.user_id)?;
        out.field("project_id", &migration.project_id)?;
        out.end()
    }
}

pub struct Page<'a> {
    pub migrations: Vec<MigrationView<'a>>,
    pub links: Option<[NextLink; 1]>,
    pub shape: &'static Shape,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("migrations", &self.migrations)?;
        out.optional("migrations_links", self.links.as_ref())?;
        out.end()
    }
}

fn wanted(call: &Call) -> Result<MigrationQuery, Error> {
    let text = |name: &str| call.query.get(name).map(str::to_owned);
    let time = |name: &str| call.query.get(name).and_then(iso8601::parse);
    // Before there were pages, the list was whole and began with the oldest.
    let pages = call.minor >= 59;
    let (limit, marker) = if pages { request::page(call)? } else { (usize::MAX, None) };
    let (changes_since, changes_before) = (time("changes-since"), time("changes-before"));
    if let (Some(since), Some(before)) = (changes_since, changes_before)
        && since > before
    {
        return Err(Error::invalid(
            "The value of changes-since must be less than or equal to changes-before.",
        ));
    }
    Ok(MigrationQuery {
        server: text("instance_uuid"),
        host: text("host"),
        source: text("source_compute"),
        status: text("status"),
        kind: text("migration_type"),
        user_id: text("user_id"),
        project_id: text("project_id"),
        changes_since,
        changes_before,
        newest_first: pages,
        limit,
        marker,
    })
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let query = wanted(&call)?;
    let limit = query.limit;
    let actor = call.actor()?;
    let mut found = call.state.services.servers.migrations(actor, query).await?;
    // None is ever hidden.
    if call.query.get("hidden").is_some_and(|word| truth(word) == Some(true)) {
        found.clear();
    }
    let last = found.last().map(|migration| migration.uuid.to_string());
    let links = links::next(&call, found.len(), limit, last.as_deref());
    let shape_of_one = shape(Resource::Migration, call.minor);
    let hosts = actor.is_admin();
    let migrations =
        found.iter().map(|migration| MigrationView { migration, hosts, shape: shape_of_one }).collect();
    let page = Page { migrations, links, shape: shape(Resource::MigrationList, call.minor) };
    Ok(Reply::json(StatusCode::OK, &page)?)
}
