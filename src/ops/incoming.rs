//! The connections of a port: accepted, with TLS where there is some, and handed on once they may speak.
//!
//! Invariant: nothing a client does or leaves undone keeps another from being accepted: each handshake is a task of its own with a time
//! limit, and of too many the oldest is given up, since an honest one takes milliseconds. The listener is closed as soon as this is dropped.
//! How many connections there may be is left to [`super::connections`].
mod connection;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::server::TlsStream;

use super::auth::PeerCertificate;
use super::connections::{Connections, Rules};
use super::tls::Tls;

pub use connection::{Connection, Peer, Place};

use connection::Transport;

/// Handshakes at one time on one port; they are short, so more are an attack or a storm of reconnections.
const HANDSHAKES_MAX: usize = 256;
/// Connections accepted and not yet taken over by the port.
const BACKLOG: usize = 64;
/// The pause after an accept that failed for want of something, such as file descriptors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How a port's connections are secured.
#[derive(Clone)]
pub struct Handshakes {
    /// The port's TLS.
    pub tls: Arc<Tls>,
    /// Longest time from accepting to a finished handshake.
    pub timeout: Duration,
}

/// The connections of one port.
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

/// What accepts on behalf of one port.
struct Acceptor {
    listener: TcpListener,
    handshakes: Option<Handshakes>,
    lanes: Vec<Lane>,
    connections: Arc<Connections>,
    port: &'static str,
}

/// A runtime that connections are handed to.
struct Lane {
    runtime: Handle,
    accepted: mpsc::Sender<Connection>,
    place: Place,
}

/// Handshakes under way.
#[derive(Default)]
struct Pending {
    tasks: JoinSet<()>,
    /// In the order in which they began, with some that have ended.
    begun: VecDeque<AbortHandle>,
}

// === impl Pending ===

impl Pending {
    /// Begins one; answers how many had to be given up for it.
    fn begin(
        &mut self,
        handshake: impl Future<Output = ()> + Send + 'static,
        runtime: &Handle,
    ) -> u64 {
        let mut given_up = 0;
        while self.begun.front().is_some_and(AbortHandle::is_finished) {
            self.begun.pop_front();
        }
        // Those given up are still in the set until they have been joined.
        if self.tasks.len() >= HANDSHAKES_MAX
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.abort();
            given_up += 1;
        }
        let begun = self.tasks.spawn_on(handshake, runtime);
        self.begun.push_back(begun);
        given_up
    }

    /// Takes one that has ended out; never resolves while there is none.
    async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Incoming ===

impl Incoming {
    /// The connections of a bound listener, on the runtime of the caller; `port` is for metrics.
    ///
    /// # Errors
    /// The listener's address cannot be told.
    pub fn new(
        listener: TcpListener,
        handshakes: Option<Handshakes>,
        rules: Rules,
        port: &'static str,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (lane, incoming) = lane(Handle::current(), address);
        let connections = Connections::new(port, rules);
        start(listener, handshakes, connections, port, vec![lane]);
        Ok(incoming)
    }

    /// The connections of a bound listener, spread over runtimes: each goes to the one with the fewest at the time.
    ///
    /// # Errors
    /// The listener's address cannot be told.
    pub fn spread(
        listener: TcpListener,
        handshakes: Option<Handshakes>,
        rules: Rules,
        port: &'static str,
        runtimes: Vec<Handle>,
    ) -> io::Result<Vec<Self>> {
        let address = listener.local_addr()?;
        let both = runtimes.into_iter().map(|runtime| lane(runtime, address));
        let (lanes, incoming) = both.unzip();
        let connections = Connections::new(port, rules);
        start(listener, handshakes, connections, port, lanes);
        Ok(incoming)
    }
}

fn lane(runtime: Handle, address: SocketAddr) -> (Lane, Incoming) {
    let (accepted, connections) = mpsc::channel(BACKLOG);
    let lane = Lane {
        runtime,
        accepted,
        place: Place::default(),
    };
    let incoming = Incoming {
        connections,
        address,
    };
    (lane, incoming)
}

fn start(
    listener: TcpListener,
    handshakes: Option<Handshakes>,
    connections: Arc<Connections>,
    port: &'static str,
    lanes: Vec<Lane>,
) {
    let acceptor = Acceptor {
        listener,
        handshakes,
        lanes,
        connections,
        port,
    };
    tokio::spawn(acceptor.run());
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.connections.recv().await {
            Some(connection) => {
                let address = connection.peer().address;
                (connection, address)
            }
            // The acceptor ends only with this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

// === impl Lane ===

impl Lane {
    /// The same connection, woken by this lane's runtime.
    fn own(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let stream = stream.into_std()?;
        let _entered = self.runtime.enter();
        TcpStream::from_std(stream)
    }

    /// A plain connection, whose time limits are this lane's runtime's to watch.
    fn connection(&self, stream: TcpStream, peer: Peer) -> Connection {
        let _entered = self.runtime.enter();
        Connection::new(Transport::Plain(stream), peer)
    }
}

// === impl Acceptor ===

impl Acceptor {
    async fn run(self) {
        let mut handshakes = Pending::default();
        // All lanes of a port end together.
        let Some(first) = self.lanes.first() else {
            return;
        };
        loop {
            tokio::select! {
                () = first.accepted.closed() => return,
                () = handshakes.ended() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => self.take(stream, address, &mut handshakes).await,
                    Err(error) => self.pause(&error).await,
                },
            }
        }
    }

    async fn take(&self, stream: TcpStream, address: SocketAddr, handshakes: &mut Pending) {
        // Without it every small answer waits some 40 ms for the acknowledgement of its first half.
        let _ = stream.set_nodelay(true);
        let fewest = |lane: &&Lane| Arc::strong_count(&lane.place);
        let Some(lane) = self.lanes.iter().min_by_key(fewest) else {
            return;
        };
        let Some(presence) = self.connections.admit(address.ip(), Instant::now()) else {
            return;
        };
        let stream = match lane.own(stream) {
            Ok(stream) => stream,
            Err(error) => return self.pause(&error).await,
        };
        let peer = Peer {
            address,
            certificate: None,
            presence,
            place: lane.place.clone(),
        };
        match &self.handshakes {
            None => {
                let connection = lane.connection(stream, peer);
                let _ = lane.accepted.send(connection).await;
            }
            Some(settings) => {
                let accepted = lane.accepted.clone();
                let port = self.port;
                let shaken = shake_hands(settings.clone(), stream, peer);
                let handshake = async move {
                    let (result, connection) = shaken.await;
                    count(port, result, 1);
                    if let Some(connection) = connection {
                        let _ = accepted.send(connection).await;
                    }
                };
                let given_up = handshakes.begin(handshake, &lane.runtime);
                count(port, "given_up", given_up);
            }
        }
    }

    async fn pause(&self, error: &io::Error) {
        // A client that went away before it was accepted is no reason to wait.
        let is_passing = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        );
        if !is_passing {
            tracing::warn!(port = self.port, %error, "no connection can be accepted now");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

fn count(port: &'static str, result: &'static str, times: u64) {
    metrics::counter!("hermod_tls_handshakes_total", "port" => port, "result" => result)
        .increment(times);
}

async fn shake_hands(
    settings: Handshakes,
    stream: TcpStream,
    peer: Peer,
) -> (&'static str, Option<Connection>) {
    let handshake = settings.tls.acceptor().accept(stream);
    match tokio::time::timeout(settings.timeout, handshake).await {
        Ok(Ok(stream)) => ("ok", Some(secured(stream, peer))),
        Ok(Err(error)) => {
            tracing::debug!(address = %peer.address, %error, "a TLS handshake failed");
            ("failed", None)
        }
        Err(_) => ("timeout", None),
    }
}

fn secured(stream: TlsStream<TcpStream>, peer: Peer) -> Connection {
    let (_, session) = stream.get_ref();
    let presented = session.peer_certificates().and_then(<[_]>::first);
    let certificate = presented.map(|certificate| Arc::new(PeerCertificate::of(certificate)));
    let peer = Peer {
        certificate,
        ..peer
    };
    Connection::new(Transport::Tls(Box::new(stream)), peer)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn rules() -> Rules {
        Rules {
            connections_max: 8,
            per_address_max: None,
            first_bytes: 24,
            first_bytes_timeout: Duration::from_millis(1),
            idle_max: None,
            stalled_max: None,
            age_max: None,
        }
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_fails_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut incoming = Incoming::new(listener, None, rules(), "grpc").unwrap();
        let mut client = TcpStream::connect(incoming.address).await.unwrap();
        client.write_all(b"PRI * HTTP/2.0").await.unwrap();
        let mut connection = incoming.next().await.unwrap().unwrap();
        let mut heard = Vec::new();
        let error = connection.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "silent");
    }

    #[tokio::test]
    async fn accepted_connections_send_small_answers_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut incoming = Incoming::new(listener, None, rules(), "grpc").unwrap();
        let client = TcpStream::connect(incoming.address).await.unwrap();
        let connection = incoming.next().await.unwrap().unwrap();
        assert_eq!(connection.peer().address, client.local_addr().unwrap());
        let Transport::Plain(stream) = connection.stream() else {
            panic!("there is no TLS here")
        };
        assert!(stream.nodelay().unwrap());
    }
}
