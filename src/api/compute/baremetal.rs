//! `/os-baremetal-nodes`: a proxy of a bare metal service, of which there is none. What the proxy never did is refused with
//! the words that name the service's own command.

use super::request;
use super::schema::{query, single_key};
use crate::api::call::{Call, Outcome};
use crate::core::Error;

pub async fn list(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    Err(Error::not_found("The resource could not be found.").into())
}

pub async fn show(mut call: Call) -> Outcome {
    request::query(&mut call, &query::NONE)?;
    request::authorize(&call)?;
    let id = call.params.get("id");
    Err(Error::not_found(format!("Node {id} could not be found.")).into())
}

fn elsewhere(command: &str) -> Error {
    Error::invalid(format!(
        "Command Not supported. Please use Ironic command {command} to perform this action."
    ))
}

pub async fn create(_: Call) -> Outcome {
    Err(elsewhere("node-create").into())
}

pub async fn delete(_: Call) -> Outcome {
    Err(elsewhere("node-delete").into())
}

/// `add_interface` and `remove_interface`.
pub async fn act(mut call: Call) -> Outcome {
    let body = request::json(&mut call).await?;
    Err(match single_key(&body)? {
        "add_interface" => elsewhere("port-create"),
        "remove_interface" => elsewhere("port-delete"),
        other => Error::invalid(format!("There is no such action: {other}")),
    }
    .into())
}
