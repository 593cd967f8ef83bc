use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::endpoint::Endpoint;
use super::{CONNECTIONS, GRACE, Stop};

/// How long to wait when the system has no more file handles, say.
const REFUSED_TIME: Duration = Duration::from_millis(100);

/// Serves clients until `stop`, and then until the requests under way are answered.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    endpoint: Endpoint,
    stop: Stop,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let under_way = GracefulShutdown::new();
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => accepted?,
            () = stop.0.notified() => break,
        };
        // Answers are small, and a client waits for the last packet of one.
        _ = stream.set_nodelay(true);
        let connection = under_way.watch(endpoint.connection(stream));
        tokio::spawn(async move {
            // What ends it early is the client's doing, and nobody is left to be told.
            _ = connection.await;
            drop(slot);
        });
    }
    // From here on, the system refuses who comes.
    drop(listener);
    // Those that take longer are cut off.
    _ = tokio::time::timeout(GRACE, under_way.shutdown()).await;
    Ok(())
}

/// The next client, once there is room for one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok((stream, slot)),
            // The client has gone again, or the system lacks something: later it may not.
            Err(_) => tokio::time::sleep(REFUSED_TIME).await,
        }
    }
}
