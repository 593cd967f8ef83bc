use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::photo::PhotoError;

/// Why a request is not answered; in the answer it is `{"error": "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub status: StatusCode,
    pub message: String,
}

impl Failure {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// What a client needs to know beside it that sent a form instead of a picture, as many programs
    /// do unless told otherwise.
    pub fn for_request(mut self, headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_form = [&b"multipart/form-data"[..], b"application/x-www-form-urlencoded"]
            .iter()
            .any(|form| kind.starts_with(form));
        if is_form && self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            self.message += "; the body is the bytes of the file, not a form";
        }
        self
    }

    /// The queue is full, or the server stops.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait already; try again")
    }
}

impl From<PhotoError> for Failure {
    fn from(error: PhotoError) -> Self {
        let status = match error {
            PhotoError::Format | PhotoError::Kind { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            PhotoError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.message }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            // Seconds; a prediction takes milliseconds.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
