//! `POST /predict`: the body is a PNG, JPEG, WebP, GIF, BMP or TIFF file; the answer what `signet
//! predict --json` prints of it, without the path.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use super::failure::Failure;
use super::router::App;
use super::{BODY_TIME, MAX_BODY};
use crate::photo::Crop;

/// The query of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// The part of the image to look at; the server's own choice where it is missing.
    crop: Option<Crop>,
    /// Whether to answer with what the network saw, too: `"seen"`, 784 greys, row by row.
    #[serde(default)]
    seen: bool,
}

pub(super) async fn predict(
    State(app): State<App>,
    options: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Query(options) =
        options.map_err(|e| Failure::new(StatusCode::BAD_REQUEST, e.body_text()))?;
    let bytes = timeout(BODY_TIME, read(body)).await.map_err(|_| {
        let message = format!("the body took longer than {} seconds", BODY_TIME.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    let crop = options.crop.unwrap_or(app.crop);
    let answer = app.queue.predict(bytes, crop, options.seen).await;
    let json = answer.map_err(|failure| failure.for_request(&headers))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// The whole body.
async fn read(mut body: Body) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("the body is larger than {} MiB", MAX_BODY >> 20);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        // The client has gone, so nobody will read this; or it sent no chunks where it promised some.
        let frame = frame.map_err(|e| Failure::new(StatusCode::BAD_REQUEST, e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.into())
}
