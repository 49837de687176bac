//! The bytes of images over HTTP: upload, stage, import, download.

use super::{body, image_id, no_image, views};
use crate::api::call::{Call, Outcome, Reply};
use crate::api::error::Fault;
use crate::core::service::images::Purpose;
use crate::core::{Error, Result};
use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::web::Payload;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::ops::Range;
use std::time::Duration;

/// How much of a refused upload is read, in bytes, and for how long.
const DRAIN_LIMIT: usize = 256 << 20;
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

pub async fn upload(call: Call) -> Outcome {
    receive(call, Purpose::Use).await
}

pub async fn stage(call: Call) -> Outcome {
    receive(call, Purpose::Import).await
}

async fn receive(mut call: Call, purpose: Purpose) -> Outcome {
    let Some(mut payload) = call.take_payload() else {
        return Err(Error::invalid("Body expected in request.").into());
    };
    let taken = take(&call, purpose, &mut payload).await;
    if taken.is_err() {
        drain(payload).await;
    }
    taken.map(|()| Reply::empty(StatusCode::NO_CONTENT))
}

async fn take(call: &Call, purpose: Purpose, payload: &mut Payload) -> Result<(), Fault> {
    let media_type = call.header("content-type").map(str::trim).unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some("application/octet-stream") {
        let given = if media_type.is_empty() { "None" } else { media_type };
        return Err(Fault::Status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!(
                "The request media type {media_type} is not supported by this server.\n<br /><br />\nInvalid \
                 content type {given}"
            ),
        ));
    }
    let announced = announced_size(call)?;
    let id = image_id(call, no_image)?;
    let mut upload = call.state.services.images.begin_upload(call.actor()?, id, purpose, announced).await?;
    while let Some(chunk) = payload.next().await {
        match chunk {
            Ok(bytes) => upload.write(bytes).await?,
            Err(error) => {
                let why = Error::invalid("The upload broke off.").with_source(error.to_string());
                return Err(upload.give_up(why).await.into());
            }
        }
    }
    Ok(upload.finish().await?)
}

/// Reads on for a while after a refusal: most clients look for the answer only when they have sent everything, and take a
/// closed connection for a broken one.
async fn drain(mut payload: Payload) {
    let mut left = DRAIN_LIMIT;
    let reading = async {
        while let Some(Ok(bytes)) = payload.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    };
    if tokio::time::timeout(DRAIN_PATIENCE, reading).await.is_err() {
        tracing::debug!("the sender of a refused image is too slow to be listened to");
    }
}

/// The size that the sender says the image has, in bytes.
fn announced_size(call: &Call) -> Result<Option<u64>> {
    let text = call.header("x-openstack-image-size").or_else(|| call.header("content-length"));
    text.map(|text| {
        text.trim().parse().map_err(|_| Error::invalid("Invalid or missing image size in request headers."))
    })
    .transpose()
}

pub async fn import(mut call: Call) -> Outcome {
    let body = body(&mut call).await?;
    check_import(&body)?;
    let id = image_id(&call, no_image)?;
    call.state.services.images.import(call.actor()?, id, body).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn check_import(body: &Value) -> Result<()> {
    let method =
        body.get("method").ok_or_else(|| Error::invalid("Import request requires a 'method' field."))?;
    let name = method.get("name").ok_or_else(|| Error::invalid("Import request requires a 'name' field."))?;
    if name != super::info::IMPORT_METHODS {
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        return Err(Error::invalid(format!("Unknown import method name '{name}'.")));
    }
    for key in ["all_stores_must_succeed", "all_stores"] {
        if body.get(key).is_some_and(|value| !value.is_boolean()) {
            return Err(Error::invalid(format!("'{key}' must be boolean value only")));
        }
    }
    if body.get("all_stores_must_succeed") == Some(&Value::Bool(false)) {
        return Err(Error::invalid("All_stores_must_succeed can only be set with enabled_backends None"));
    }
    Ok(())
}

pub async fn tasks(call: Call) -> Outcome {
    let id = image_id(&call, no_image)?;
    let imports = call.state.services.images.imports(call.actor()?, id).await?;
    let tasks: Vec<Value> = imports.iter().map(views::task).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"tasks": tasks}))?)
}

pub async fn download(call: Call) -> Outcome {
    let id = image_id(&call, no_image)?;
    let Some(content) = call.state.services.images.content(call.actor()?, id).await? else {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    };
    let range = call.header("range").map(|text| byte_range(text, content.size)).transpose()?;
    let bytes = range.clone().unwrap_or(0..content.size);
    let mut response =
        HttpResponse::build(if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK });
    response.content_type("application/octet-stream");
    if range.is_some() {
        response.insert_header((
            "content-range",
            format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), content.size),
        ));
    }
    if let Some(md5) = &content.md5 {
        response.insert_header(("content-md5", md5.as_str()));
    }
    let length = bytes.end - bytes.start;
    let stream = content.reader.stream(bytes).map(|chunk| {
        chunk.map_err(|error| {
            tracing::error!(%error, "an image could not be read to its end");
            // The connection is cut, which is how the client learns of it.
            std::io::Error::other(error)
        })
    });
    Ok(response.body(SizedStream::new(length, stream)).into())
}

/// The bytes that a `Range` header asks for.
fn byte_range(text: &str, size: u64) -> Result<Range<u64>, Fault> {
    if text.contains(',') {
        return Err(Fault::Error(Error::invalid(
            "Requests with multiple ranges are not supported in Glance. You may make multiple single-range requests \
             instead.",
        )));
    }
    let unsatisfiable = |why: String| Fault::Status(StatusCode::RANGE_NOT_SATISFIABLE, why);
    let malformed = || unsatisfiable("Invalid Range header.".into());
    let (unit, range) = text.split_once('=').ok_or_else(malformed)?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Err(malformed());
    }
    let (first, last) = range.trim().split_once('-').ok_or_else(malformed)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| malformed());
    if first.trim().is_empty() {
        // The last so many bytes.
        let count = number(last)?;
        return Ok(size.saturating_sub(count)..size);
    }
    let start = number(first)?;
    let end = if last.trim().is_empty() { size } else { number(last)?.saturating_add(1) };
    if end <= start && !last.trim().is_empty() {
        return Err(malformed());
    }
    if start >= size {
        return Err(unsatisfiable(format!(
            "Invalid start position in Range header. Start position MUST be in the inclusive range [0, {}].",
            size.saturating_sub(1)
        )));
    }
    Ok(start..end.min(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::Dialect;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-4", 0..5),
            ("bytes=3-", 3..10),
            ("bytes=-2", 8..10),
            ("bytes=-20", 0..10),
            ("bytes=8-99", 8..10),
        ] {
            assert_eq!(byte_range(text, 10).unwrap(), expected, "{text}");
        }
        for (text, status) in [
            ("bytes=10-", 416),
            ("bytes=5-3", 416),
            ("items=0-1", 416),
            ("bytes=x-", 416),
            ("bytes=0-1,3-4", 400),
        ] {
            let fault = byte_range(text, 10).unwrap_err();
            assert_eq!(fault.status(Dialect::Image).as_u16(), status, "{text}");
        }
    }

    #[test]
    fn imports_name_a_method_that_there_is() {
        assert!(check_import(&json!({"method": {"name": "glance-direct"}})).is_ok());
        for body in [
            json!({}),
            json!({"method": {}}),
            json!({"method": {"name": "web-download", "uri": "http://example.org/"}}),
            json!({"method": {"name": "glance-direct"}, "all_stores": "yes"}),
        ] {
            assert!(check_import(&body).is_err(), "{body}");
        }
    }
}
