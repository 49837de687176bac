//! `/v2/tasks`: the imports of all images, for administrators. Tasks begin with an import and in no other way.

use super::list::{DEFAULT_LIMIT, limit, page_link};
use super::views;
use crate::api::call::{Call, Outcome, Reply};
use crate::core::image::Import;
use crate::core::service::images::PAGE_LIMIT;
use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

pub async fn list(call: Call) -> Outcome {
    let limit = call.query.get("limit").map_or(Ok(DEFAULT_LIMIT), limit)?.min(PAGE_LIMIT);
    let kept = |key: &str, only: &str| call.query.get(key).is_none_or(|value| value == only);
    // All imports are done when they are recorded, so a filter lets all of them through or none.
    let tasks = if kept("status", views::TASK_STATUS) && kept("type", views::TASK_TYPE) {
        call.state.services.images.import_tasks(call.query.get("marker"), limit).await?
    } else {
        Vec::new()
    };
    let mut body = Map::new();
    body.insert("tasks".into(), tasks.iter().map(summary).collect());
    body.insert("first".into(), page_link("/v2/tasks", &call.query, None).into());
    if let Some(last) = tasks.last().filter(|_| tasks.len() == limit) {
        body.insert("next".into(), page_link("/v2/tasks", &call.query, Some(&last.id.to_string())).into());
    }
    body.insert("schema".into(), "/v2/schemas/tasks".into());
    Ok(Reply::json(StatusCode::OK, &body)?)
}

pub async fn show(call: Call) -> Outcome {
    let import = call.state.services.images.import_task(call.params.get("task_id")).await?;
    let mut task = views::task(&import);
    if let Value::Object(task) = &mut task {
        for key in ["deleted", "deleted_at", "expires_at"] {
            task.remove(key);
        }
    }
    task["self"] = path(&import).into();
    task["schema"] = "/v2/schemas/task".into();
    Ok(Reply::json(StatusCode::OK, &task)?)
}

/// A task without its input and result.
fn summary(import: &Import) -> Value {
    let task = views::task(import);
    json!({
        "id": task["id"],
        "type": task["type"],
        "status": task["status"],
        "owner": task["owner"],
        "created_at": task["created_at"],
        "updated_at": task["updated_at"],
        "image_id": task["image_id"],
        "request_id": task["request_id"],
        "user_id": task["user_id"],
        "self": path(import),
        "schema": "/v2/schemas/task",
    })
}

fn path(import: &Import) -> String {
    format!("/v2/tasks/{}", import.id)
}
