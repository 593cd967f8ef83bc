use std::future::Future;
use std::pin::Pin;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;

use super::about::About;
use super::access::Access;
use super::linger::Lingering;
use super::router::router;
use super::worker::{Worker, queue};
use super::{HEADER_TIME, WRITE_TIME};
use crate::photo::Crop;

/// The largest header of a request, in bytes.
const MAX_HEADER: usize = 16 << 10;

/// One client's connection, with its time limits.
pub(super) type Connection<S> =
    http1::Connection<TokioIo<Lingering<Pin<Box<TimeoutStream<S>>>>>, TowerToHyperService<Router>>;

/// What answers the clients of a [`Server`](super::Server), whatever they come in by.
#[derive(Debug)]
pub struct Endpoint {
    http: http1::Builder,
    app: Router,
}

impl Endpoint {
    /// An endpoint, and the worker that computes for it until the endpoint and its connections are
    /// gone. `crop` is the part of an image to look at where a request does not say; `about` is what
    /// the page says of the model.
    pub fn new(about: About, crop: Crop, access: Access) -> (Self, Worker) {
        let (queue, worker) = queue();
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_HEADER);
        // Each answer goes out in one piece. While the second of two still waits, hyper puts its
        // answer to a next request that makes no sense before it, or panics in a debug build.
        http.writev(false);
        (Self { http, app: router(about, queue, crop, access) }, worker)
    }

    /// Answers one client, until it has gone or has kept us waiting too long. Runs on a `tokio`
    /// runtime with its clock enabled.
    pub fn answer<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let connection = self.connection(stream);
        // What ends it early is the client's doing, and nobody is left to be told.
        async { _ = connection.await }
    }

    pub(super) fn connection<S>(&self, stream: S) -> Connection<S>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(WRITE_TIME));
        let service = TowerToHyperService::new(self.app.clone());
        self.http.serve_connection(TokioIo::new(Lingering::new(stream)), service)
    }
}
