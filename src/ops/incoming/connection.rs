//! One connection: plain or with TLS, and closed from this side when its time has come.
//!
//! Invariant: the connection's task is woken when the connection is due, however silent the client is; it then fails as if the client had gone.
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::ops::auth::PeerCertificate;
use crate::ops::connections::{Closing, Presence};

/// A connection that may speak: plain, or with its handshake done.
pub struct Connection {
    stream: Transport,
    peer: Peer,
    /// Bytes until the client has said what it wants.
    unheard: usize,
    look: Pin<Box<Sleep>>,
    closed: Option<Closing>,
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The other end of a connection; in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its certificate, if it presented one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Its place among the connections of the port.
    pub presence: Arc<Presence>,
    /// Its place on the thread that serves it.
    pub place: Place,
}

/// Each connection of a thread holds one, so that they are counted by counting these.
pub type Place = Arc<()>;

// === impl Connection ===

impl Connection {
    pub(super) fn new(stream: Transport, peer: Peer) -> Self {
        Self {
            stream,
            unheard: peer.presence.connections().rules().first_bytes,
            // The first look is due at once and says when the next one is.
            look: Box::pin(tokio::time::sleep_until(Instant::now().into())),
            closed: None,
            peer,
        }
    }

    /// The other end.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    #[cfg(test)]
    pub(super) fn stream(&self) -> &Transport {
        &self.stream
    }

    /// Fails once the connection is to be closed, and has the task woken for that.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(closing) = self.closed {
            return Err(io::Error::new(io::ErrorKind::TimedOut, closing));
        }
        let presence = &self.peer.presence;
        presence.wake_when_evicted(context.waker());
        while presence.is_evicted() || self.look.as_mut().poll(context).is_ready() {
            match presence.verdict(Instant::now()) {
                Ok(next) => self.look.as_mut().reset(next.into()),
                Err(closing) => {
                    presence.connections().count(closing.as_str());
                    tracing::debug!(address = %self.peer.address, reason = closing.as_str(), "a connection is closed");
                    self.closed = Some(closing);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, closing));
                }
            }
        }
        Ok(())
    }

    fn heard(&mut self, bytes: usize) {
        if self.unheard > 0 {
            self.unheard = self.unheard.saturating_sub(bytes);
            if self.unheard == 0 {
                self.peer.presence.spoke();
                // The time limit that was waited for is not the one that holds now.
                self.look.as_mut().reset(Instant::now().into());
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.look(context)?;
        let before = buffer.filled().len();
        ready!(match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        })?;
        self.heard(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(context)?;
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(context)?;
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
