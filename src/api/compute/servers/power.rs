//! The actions that let a guest stand still, sleep on the disk, or dump its memory. Their values say nothing.

use super::actions::accepted;
use crate::api::call::{Call, Outcome};
use crate::core::ids::ServerId;
use serde_json::Value;

pub async fn pause(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.pause(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn unpause(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.unpause(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn suspend(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.suspend(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn resume(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.resume(call.actor()?, id).await?;
    Ok(accepted())
}

pub async fn trigger_crash_dump(call: Call, id: ServerId, _value: Value) -> Outcome {
    call.state.services.servers.trigger_crash_dump(call.actor()?, id).await?;
    Ok(accepted())
}
