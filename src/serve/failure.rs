use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
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

    /// The queue is full, or the server stops.
    pub fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait already; try again")
    }
}

impl From<PhotoError> for Failure {
    fn from(error: PhotoError) -> Self {
        let status = match error {
            PhotoError::Format => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            PhotoError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        let help = match status {
            // Forms are what many programs send unless told otherwise.
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "; the body is the bytes of the file, not a form",
            _ => "",
        };
        Self::new(status, format!("{error}{help}"))
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
