//! `signet serve`: a trained model behind a page for the browser and `POST /predict` for programs.
//!
//! | file | subject |
//! |---|---|
//! | `connections.rs` | accepting and closing connections, stopping |
//! | `endpoint.rs` | one connection, of whatever kind: its limits, and HTTP |
//! | `router.rs` | which path is answered by what, and the headers of every answer |
//! | `linger.rs` | closing a connection so that the last answer arrives |
//! | `access.rs` | refusing what other web pages send |
//! | `origin.rs` | the addresses that the page has in browsers behind a proxy |
//! | `drain.rs` | reading the rest of a body whose request is answered |
//! | `predict.rs` | `POST /predict`: an image comes, JSON goes |
//! | `worker.rs` | the one thread that computes, and the queue before it |
//! | `failure.rs` | what is answered when something is wrong |
//! | `about.rs` | what the model is, and the hand shapes of the alphabet |
//! | `page.rs`, `page/` | the page: HTML, CSS and JavaScript, as they are |
//!
//! Two threads talk with the network and never compute; the thread that called [`Server::run`]
//! computes and never talks. Whatever a client sends or leaves out, it costs the others nothing but
//! a place in a queue:
//!
//! | limit | |
//! |---|---|
//! | connections at a time | [`CONNECTIONS`]; more wait at the system's door |
//! | waiting for a request and its header | [`HEADER_TIME`] |
//! | the body of a request | [`MAX_BODY`] bytes within [`BODY_TIME`] |
//! | a client that does not take its answer | [`WRITE_TIME`] |
//! | requests that wait to be computed | [`QUEUE`]; more are answered with 503 |
//! | ending, once asked to stop | [`GRACE`] |
#![forbid(unsafe_code)]

mod about;
mod access;
mod connections;
mod drain;
mod endpoint;
mod failure;
mod linger;
mod origin;
mod page;
mod predict;
mod router;
mod worker;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

pub use about::About;
pub use access::Access;
pub use endpoint::Endpoint;
pub use origin::Origin;
pub use worker::Worker;

use crate::photo::Crop;
use signet::data::Image;
use signet::{Error, Result};

/// How many connections are served at a time.
pub const CONNECTIONS: usize = 64;

/// How long a client may take to send the header of a request, or to begin with one.
pub const HEADER_TIME: Duration = Duration::from_secs(10);

/// How long it may take to send the body.
pub const BODY_TIME: Duration = Duration::from_secs(10);

/// How long it may leave an answer lying.
pub const WRITE_TIME: Duration = Duration::from_secs(10);

/// The largest body, in bytes: 10 MiB, a photograph of any telephone.
pub const MAX_BODY: usize = 10 << 20;

/// How much of a refused body is read and thrown away, in bytes, so that the client finds the reason.
const LINGER: usize = 4 * MAX_BODY;

/// How many requests wait to be computed, beside the one that is. Those of clients that have gone
/// meanwhile are among them until it is their turn.
pub const QUEUE: usize = 48;

/// How long requests under way have once the server is to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// Tells a [`Server`] to stop, from anywhere.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Stops it: requests under way are still answered.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// What is served, and where.
#[derive(Debug)]
pub struct Server {
    /// Where clients come in.
    pub listener: TcpListener,
    /// What the model is, the names of its classes among it.
    pub about: About,
    /// The part of an image to look at where a request does not say.
    pub crop: Crop,
    /// The addresses of the page behind a proxy.
    pub origins: Vec<Origin>,
    /// Who ends it.
    pub stop: Stop,
}

impl Server {
    /// Serves until it is told to stop. `model` gives the probabilities of the classes for an
    /// image; it is called by this thread alone, for one image after the other.
    ///
    /// # Errors
    /// When the system refuses the threads or the socket.
    pub fn run(self, model: impl FnMut(Image) -> Result<Vec<f64>>) -> Result<()> {
        let refused = |message: String| Error::Device { device: "network".into(), message };
        let Self { listener, about, crop, origins, stop } = self;
        let classes = about.classes.clone();
        let address = listener.local_addr().map_err(|e| refused(e.to_string()))?;
        listener.set_nonblocking(true).map_err(|e| refused(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("signet-http")
            .enable_all()
            .build()
            .map_err(|e| refused(format!("cannot start the threads: {e}")))?;
        let access = Access { loopback_only: address.ip().is_loopback(), origins };
        let (endpoint, worker) = Endpoint::new(about, crop, access);
        std::thread::scope(|scope| {
            // The queue's only sender is the endpoint's, so the worker ends when that has ended.
            let network =
                scope.spawn(move || runtime.block_on(connections::serve(listener, endpoint, stop)));
            worker.work(&classes, model);
            let ended = network.join();
            ended.unwrap_or_else(|_| Err(std::io::Error::other("a thread panicked")))
        })
        .map_err(|e| refused(e.to_string()))
    }
}
