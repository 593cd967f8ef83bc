use std::any::Any;
use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::about::{self, About};
use super::access::{self, Access};
use super::failure::Failure;
use super::worker::Queue;
use super::{drain, page, predict};
use crate::photo::Crop;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct App {
    pub queue: Queue,
    pub crop: Crop,
}

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    // The page needs nothing but its own files; `blob:` is a picture that was dropped on it.
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    // Predictions are nobody's to keep, and the page's files must fit the program that runs.
    (header::CACHE_CONTROL, "no-store"),
];

/// The whole of the server: every request gets an answer, in JSON unless it is a file of the page.
pub(super) fn router(about: About, queue: Queue, crop: Crop, access: Access) -> Router {
    let health = || async { Json(serde_json::json!({ "status": "ok" })) };
    let missing = || async { Failure::new(StatusCode::NOT_FOUND, "there is nothing here") };
    let wrong_method =
        || async { Failure::new(StatusCode::METHOD_NOT_ALLOWED, "another method is needed here") };
    Router::new()
        .route("/predict", post(predict::predict))
        .route("/healthz", get(health))
        .merge(page::routes())
        .merge(about::routes(about))
        .fallback(missing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(App { queue, crop })
        // The last is the first to see a request, and the last to see its answer.
        .layer(middleware::from_fn_with_state(Arc::new(access), access::guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(drain::drain))
        .layer(middleware::map_response(with_headers))
}

async fn with_headers(mut response: Response) -> Response {
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the server panicked").into_response()
}
