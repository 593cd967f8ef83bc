use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::LINGER;

/// How long nothing may come before the client has sent all it was sending.
const QUIET: Duration = Duration::from_secs(1);

/// How long what comes is read at most.
const LONGEST: Duration = Duration::from_secs(5);

/// A connection that says it has nothing more to say, and listens on until it is dropped.
///
/// A system that drops a connection with bytes unread, or gets more, tells the client's system to
/// forget it: and with it an answer that the client has not read yet. So what still comes after the
/// last answer is read and thrown away for a while.
pub(super) struct Lingering<S> {
    stream: S,
    since_shutdown: Option<Since>,
}

struct Since {
    discarded: usize,
    latest: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl<S> Lingering<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, since_shutdown: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, since_shutdown } = &mut *self;
        if since_shutdown.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let since = since_shutdown.get_or_insert_with(|| {
            let now = Instant::now();
            Since { discarded: 0, latest: now + LONGEST, quiet: Box::pin(sleep_until(now + QUIET)) }
        });
        let mut bytes = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    since.discarded += buffer.filled().len();
                    if since.discarded > LINGER || Instant::now() >= since.latest {
                        return Poll::Ready(Ok(()));
                    }
                    let until = (Instant::now() + QUIET).min(since.latest);
                    since.quiet.as_mut().reset(until);
                }
                // The client has closed too, or has gone.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return since.quiet.as_mut().poll(context).map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_last_word_is_read_for_a_while() {
        let (mut client, server) = tokio::io::duplex(64);
        let begin = Instant::now();
        let closing = tokio::spawn(async move {
            let mut server = Lingering::new(server);
            server.write_all(b"no").await.unwrap();
            server.shutdown().await
        });
        // Far more than fits the way, in pieces.
        for _ in 0..3 {
            client.write_all(&[0; 1000]).await.expect("it is read on");
            tokio::time::sleep(QUIET / 2).await;
        }
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"no");
        closing.await.unwrap().unwrap();
        assert!(begin.elapsed() <= 3 * QUIET, "{:?}", begin.elapsed());
        assert!(client.write_all(&[0; 1000]).await.is_err(), "it was never dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_closed_is_not_waited_for_and_one_that_drips_not_for_ever() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        let begin = Instant::now();
        Lingering::new(server).shutdown().await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);

        let (mut client, server) = tokio::io::duplex(64);
        let closing = tokio::spawn(async move { Lingering::new(server).shutdown().await });
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(QUIET / 2).await;
        }
        closing.await.unwrap().unwrap();
        assert!(begin.elapsed() <= LONGEST + QUIET, "{:?}", begin.elapsed());
    }
}
