use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::QUEUE;
use super::failure::Failure;
use crate::photo::{Crop, decode};
use crate::predict::Prediction;
use signet::Result;
use signet::data::Image;

/// A request that waits to be computed.
pub(super) struct Job {
    bytes: Bytes,
    crop: Crop,
    seen: bool,
    answer: oneshot::Sender<Result<String, Failure>>,
}

/// The way to the worker.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<Job>);

/// The end of the queue, where images are computed.
#[derive(Debug)]
pub struct Worker(mpsc::Receiver<Job>);

/// A queue, and its end.
pub(super) fn queue() -> (Queue, Worker) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Queue(sender), Worker(receiver))
}

impl Queue {
    /// What the model says of the image file `bytes`, as JSON.
    pub async fn predict(&self, bytes: Bytes, crop: Crop, seen: bool) -> Result<String, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = Job { bytes, crop, seen, answer };
        self.0.try_send(job).map_err(|_| Failure::busy())?;
        answered.await.unwrap_or_else(|_| Err(Failure::busy()))
    }
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    prediction: Prediction,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Vec<u8>>,
}

impl Worker {
    /// Computes what comes through the queue, until there is nobody left to send. `model` gives the
    /// probabilities of the `classes` for an image.
    pub fn work(mut self, classes: &[String], mut model: impl FnMut(Image) -> Result<Vec<f64>>) {
        while let Some(job) = self.0.blocking_recv() {
            // The client has gone meanwhile.
            if job.answer.is_closed() {
                continue;
            }
            // The model's values are only read, so a panic leaves nothing half done.
            let computed = catch_unwind(AssertUnwindSafe(|| {
                let image = job.crop.image(&decode(&job.bytes)?);
                let probabilities = model(image).map_err(|e| failed(e.to_string()))?;
                let prediction = Prediction::new(classes, &probabilities);
                let answer = Answer { prediction, seen: job.seen.then(|| image.to_vec()) };
                serde_json::to_string(&answer).map_err(|e| failed(e.to_string()))
            }));
            let computed =
                computed.unwrap_or_else(|_| Err(failed("the prediction panicked".into())));
            // Nobody waits for it any more: then it was in vain.
            _ = job.answer.send(computed);
        }
    }
}

fn failed(message: String) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}
