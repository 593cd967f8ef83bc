//! Reads what a request's body still has when its answer is there.
//!
//! Most programs look for an answer only when they have sent all. One who refuses a request by its
//! header and closes leaves them with a broken connection instead of the reason; and who does not
//! close takes the rest of the body for the next request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use super::{BODY_TIME, LINGER};

/// Answers when the body is read to its end, [`LINGER`] bytes within [`BODY_TIME`] at most; where it
/// has no end by then, the answer says that the connection ends with it.
pub(super) async fn drain(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let latest = Instant::now() + BODY_TIME;
    let waits = request.headers().contains_key(header::EXPECT);
    let (head, body) = request.into_parts();
    let lent = Lent(Arc::new(Mutex::new(Reading { body, received: 0, began: false })));
    let body = Body::new(Lent(Arc::clone(&lent.0)));
    let mut response = next.run(Request::from_parts(head, body)).await;
    // To begin would be to ask a client that waits to send.
    let is_wanted = !waits || lent.with(|reading| reading.began);
    let is_whole = is_wanted && timeout_at(latest, lent.read_on()).await.unwrap_or(false);
    if !is_whole {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A body that comes back when whoever got it is done.
struct Lent(Arc<Mutex<Reading>>);

struct Reading {
    body: Body,
    /// Bytes so far.
    received: usize,
    began: bool,
}

impl Lent {
    fn with<R>(&self, work: impl FnOnce(&mut Reading) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the rest, and says whether that was all.
    async fn read_on(mut self) -> bool {
        loop {
            let expected = self.size_hint().lower();
            let received = self.with(|reading| reading.received) as u64;
            if received.saturating_add(expected) > LINGER as u64 {
                return false;
            }
            match self.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|reading| {
            reading.began = true;
            let frame = Pin::new(&mut reading.body).poll_frame(context);
            if let Poll::Ready(Some(Ok(frame))) = &frame {
                reading.received += frame.data_ref().map_or(0, Bytes::len);
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|reading| reading.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|reading| reading.body.size_hint())
    }
}
