//! `/os-keypairs`: each user's own; administrators may name another user from 2.10 on.

use super::changes::{Input, Resource, shape};
use super::links::{self, NextLink};
use super::request;
use super::schema::query::{LIMIT, MARKER, Parameters, parameter};
use super::schema::types::STRING;
use super::schema::{Format, Literal, Object, Rule, Schema, Type, property, property_with_legacy};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::version::shape::{Shape, Writer};
use crate::core::clock::micros_naive;
use crate::core::ids::UserId;
use crate::core::keypair::{Keypair, KeypairKind, KeypairQuery};
use crate::core::service::keypairs::NewKeypair;
use crate::core::{Error, Result};
use actix_web::http::StatusCode;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};

const NAME: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::MinLength(1),
    Rule::MaxLength(255),
    Rule::Format(Format::Name),
    Rule::Format(Format::KeypairName),
]);
const WIDE_NAME: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::MinLength(1),
    Rule::MaxLength(255),
    Rule::Format(Format::Name),
    Rule::Format(Format::WideKeypairName),
]);
const LEGACY_NAME: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::MinLength(1),
    Rule::MaxLength(255),
    Rule::Format(Format::PaddedName),
    Rule::Format(Format::KeypairName),
]);
const KIND: Schema = Schema(&[
    Rule::Types(&[Type::Text]),
    Rule::OneOfLiterals(&[Literal::Text("ssh"), Literal::Text("x509")]),
]);

pub static CREATE: Schema = Schema(&[
    Rule::Types(&[Type::Object]),
    Rule::Object(&Object {
        input: None,
        properties: &[property(
            "keypair",
            &[&Schema(&[
                Rule::Types(&[Type::Object]),
                Rule::Object(&Object {
                    input: Some(Input::KeypairCreate),
                    properties: &[
                        property_with_legacy("name", &[&NAME, &WIDE_NAME], &LEGACY_NAME),
                        property("type", &[&KIND]),
                        property("public_key", &[&STRING]),
                        property("user_id", &[&STRING]),
                    ],
                    required: &["name"],
                    open: false,
                }),
            ])],
        )],
        required: &["keypair"],
        open: false,
    }),
]);

static LIST: Parameters = Parameters {
    input: Input::KeypairsQuery,
    known: &[parameter("user_id", &[&STRING]), LIMIT, MARKER],
    kept_prefix: None,
};

static ONE: Parameters =
    Parameters { input: Input::KeypairQuery, known: &[parameter("user_id", &[&STRING])], kept_prefix: None };

/// How much of a key pair an answer tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Listed,
    Created,
    Shown,
}

pub(super) struct KeypairView<'a> {
    pub keypair: &'a Keypair,
    pub private_key: Option<&'a str>,
    pub extent: Extent,
    pub shape: &'static Shape,
}

impl Serialize for KeypairView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keypair = self.keypair;
        let mut out = Writer::new(serializer.serialize_map(None)?, self.shape);
        out.field("name", &keypair.name)?;
        out.field("public_key", &keypair.public_key)?;
        out.field("fingerprint", &keypair.fingerprint)?;
        out.field("type", keypair.kind.as_str())?;
        if self.extent != Extent::Listed {
            out.field("user_id", &keypair.user_id)?;
        }
        out.optional("private_key", self.private_key.as_ref())?;
        if self.extent == Extent::Shown {
            out.field("id", &keypair.number)?;
            out.field("created_at", &micros_naive(keypair.created_at))?;
            // A key pair never changes, and a deleted one is gone.
            out.field("updated_at", &None::<()>)?;
            out.field("deleted", &false)?;
            out.field("deleted_at", &None::<()>)?;
        }
        out.end()
    }
}

/// `{"keypair": ...}`, which wraps each one in lists too.
pub(super) struct Wrapped<'a>(pub KeypairView<'a>);

impl Serialize for Wrapped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("keypair", &self.0)?;
        map.end()
    }
}

pub(super) struct Page<'a> {
    pub keypairs: &'a [Keypair],
    pub links: Option<[NextLink; 1]>,
    pub minor: u16,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = shape(Resource::Keypair, self.minor);
        let view =
            |keypair| Wrapped(KeypairView { keypair, private_key: None, extent: Extent::Listed, shape: one });
        let list = shape(Resource::KeypairList, self.minor);
        let mut out = Writer::new(serializer.serialize_map(None)?, list);
        out.field("keypairs", &self.keypairs.iter().map(view).collect::<Vec<_>>())?;
        out.optional("keypairs_links", self.links.as_ref())?;
        out.end()
    }
}

/// Whose key pairs the call is about; others than the caller's own are for administrators.
fn owner(call: &Call, named: Option<&str>) -> Result<UserId> {
    let actor = call.actor()?;
    let user = named.map_or_else(|| actor.user_id.clone(), UserId::from);
    if user != actor.user_id && !actor.is_admin() {
        let name = call.rule.name();
        return Err(Error::forbidden(format!("Policy doesn't allow {name} to be performed.")));
    }
    Ok(user)
}

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &LIST)?;
    request::authorize(&call)?;
    let user_id = owner(&call, call.query.get("user_id"))?;
    let (limit, marker) = request::page(&call)?;
    let keypairs = call.state.services.keypairs.list(KeypairQuery { user_id, limit, marker }).await?;
    let last = keypairs.last().map(|keypair| keypair.name.as_str());
    let links = links::next(&call, keypairs.len(), limit, last);
    Ok(Reply::json(StatusCode::OK, &Page { keypairs: &keypairs, links, minor: call.minor })?)
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &ONE)?;
    request::authorize(&call)?;
    let user = owner(&call, call.query.get("user_id"))?;
    let name = call.params.get("name").to_owned();
    let keypair = call.state.services.keypairs.get(user, name).await?;
    answer(&call, StatusCode::OK, &keypair, None, Extent::Shown)
}

fn answer(
    call: &Call,
    status: StatusCode,
    keypair: &Keypair,
    private_key: Option<&str>,
    extent: Extent,
) -> Outcome {
    let view = KeypairView { keypair, private_key, extent, shape: shape(Resource::Keypair, call.minor) };
    Ok(Reply::json(status, &Wrapped(view))?)
}

#[derive(Deserialize)]
struct Body {
    keypair: New,
}

#[derive(Deserialize)]
struct New {
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    public_key: Option<String>,
    user_id: Option<String>,
}

pub async fn create_with_200(call: Call) -> Outcome {
    create(call, StatusCode::OK).await
}

pub async fn create_with_201(call: Call) -> Outcome {
    create(call, StatusCode::CREATED).await
}

async fn create(mut call: Call, status: StatusCode) -> Outcome {
    let body: Body = request::body(&mut call, &CREATE).await?;
    request::authorize(&call)?;
    let new = body.keypair;
    let user_id = owner(&call, new.user_id.as_deref())?;
    let name = if call.legacy { new.name.trim().to_owned() } else { new.name };
    let kind = new.kind.as_deref().and_then(KeypairKind::from_name).unwrap_or(KeypairKind::Ssh);
    let wanted = NewKeypair { user_id, name, kind, public_key: new.public_key };
    let (keypair, private) = call.state.services.keypairs.create(call.actor()?, wanted).await?;
    answer(&call, status, &keypair, private.as_deref(), Extent::Created)
}

pub async fn delete_with_202(call: Call) -> Outcome {
    delete(call, StatusCode::ACCEPTED).await
}

pub async fn delete_with_204(call: Call) -> Outcome {
    delete(call, StatusCode::NO_CONTENT).await
}

async fn delete(mut call: Call, status: StatusCode) -> Outcome {
    request::query(&mut call, &ONE)?;
    request::authorize(&call)?;
    let user = owner(&call, call.query.get("user_id"))?;
    let name = call.params.get("name").to_owned();
    call.state.services.keypairs.delete(user, name).await?;
    Ok(Reply::empty(status))
}
