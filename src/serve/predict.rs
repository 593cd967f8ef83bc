//! `POST /predict`: the body is a PNG, JPEG, WebP, GIF, BMP or TIFF file; the answer what `signet predict --json`
//! prints of it, without the path.

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

/// How much of a body that is too large is read and thrown away, in bytes. Most programs look for an
/// answer only when they have sent all, and would find a closed connection instead of the reason.
const LINGER: usize = 4 * MAX_BODY;

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
    let waits = headers.contains_key(header::EXPECT);
    let bytes = timeout(BODY_TIME, read(body, waits)).await.map_err(|_| {
        let message = format!("the body took longer than {} seconds", BODY_TIME.as_secs());
        Failure::new(StatusCode::REQUEST_TIMEOUT, message)
    })??;
    let crop = options.crop.unwrap_or(app.crop);
    let answer = app.queue.predict(bytes, crop, options.seen).await;
    let json = answer.map_err(|failure| failure.for_request(&headers))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// The whole body. A client that `waits` for a word from us before it sends is told at once that its
/// body is too large.
async fn read(mut body: Body, waits: bool) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("the body is larger than {} MiB", MAX_BODY >> 20);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = body.size_hint().lower();
    let refused_from = if waits { MAX_BODY } else { LINGER };
    if announced > refused_from as u64 {
        return Err(too_large());
    }
    let (mut bytes, mut received) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        // The client has gone, so nobody will read this; or it sent no chunks where it promised some.
        let frame = frame.map_err(|e| Failure::new(StatusCode::BAD_REQUEST, e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > LINGER {
            break;
        }
        if received > MAX_BODY {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if received > MAX_BODY { Err(too_large()) } else { Ok(bytes.into()) }
}
