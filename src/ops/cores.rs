//! A thread a core, each with a runtime of its own, on which connections live from their first byte to their last.
//!
//! A call is then answered on the thread that read it: no other thread is woken, nothing is stolen, and caches stay warm. Work that blocks still goes
//! to the blocking threads of the runtime. Which connection goes where is decided when it is accepted.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{oneshot, watch};

use super::incoming::Incoming;

/// Name of the threads that serve.
pub const THREAD_NAME: &str = "grpc";

/// Runtimes that have no thread yet.
pub struct Cores {
    runtimes: Vec<Runtime>,
}

/// A thread that serves; it stops at once when this is dropped, which waits for it: whoever serves no more holds nothing any more.
struct Core {
    ended: oneshot::Receiver<Result<(), tonic::transport::Error>>,
    stop_at_once: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop_at_once.take();
        if let Some(thread) = self.thread.take() {
            // A thread that ended in a defect has said so.
            let _ = thread.join();
        }
    }
}

// === impl Cores ===

impl Cores {
    /// So many runtimes; 0 means one a core.
    ///
    /// # Errors
    /// A runtime cannot be made.
    pub fn new(threads: usize) -> io::Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        let runtime = |_| Builder::new_current_thread().enable_all().build();
        let runtimes = (0..threads).map(runtime).collect::<io::Result<_>>()?;
        Ok(Self { runtimes })
    }

    /// The runtimes, for those who hand connections to them.
    pub fn handles(&self) -> Vec<Handle> {
        let handle = |runtime: &Runtime| runtime.handle().clone();
        self.runtimes.iter().map(handle).collect()
    }

    /// Starts the threads, each with its connections and services; what is answered resolves once all have ended, which is when they were told to
    /// stop and every call is answered. Dropped before, it cuts the calls off.
    ///
    /// They are started by whoever calls this and not by whoever waits for it: threads take their priority from the one that starts them.
    ///
    /// # Errors
    /// A thread does not start; later, the transport fails on one.
    pub fn serve<S, F>(
        self,
        lanes: Vec<Incoming>,
        services: Vec<S>,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<impl Future<Output = Result<(), ServeError>> + Send + use<S, F>>
    where
        S: FnOnce(Incoming, watch::Receiver<bool>) -> F + Send + 'static,
        F: Future<Output = Result<(), tonic::transport::Error>>,
    {
        let mut cores = Vec::new();
        for ((runtime, lane), service) in self.runtimes.into_iter().zip(lanes).zip(services) {
            let stopped = stopped.clone();
            cores.push(start(runtime, move || service(lane, stopped))?);
        }
        Ok(async move {
            for core in &mut cores {
                // A thread that ended without a word did so in a defect, which has been printed.
                let lost = |_| io::Error::other("a serving thread ended in a defect");
                (&mut core.ended).await.map_err(lost)??;
            }
            Ok(())
        })
    }
}

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// A thread.
    #[error(transparent)]
    Thread(#[from] io::Error),
}

fn start<F>(runtime: Runtime, serve: impl FnOnce() -> F + Send + 'static) -> io::Result<Core>
where
    F: Future<Output = Result<(), tonic::transport::Error>>,
{
    let (tell, ended) = oneshot::channel();
    let (stop_at_once, told) = oneshot::channel::<()>();
    // What happens on the thread is logged where whoever starts it logs.
    let log = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || {
            let _logging = tracing::dispatcher::set_default(&log);
            let result = runtime.block_on(async move {
                tokio::select! {
                    result = serve() => Some(result),
                    _ = told => None,
                }
            });
            // What blocks on this runtime's behalf is not waited for: calls that need it have been cut off.
            runtime.shutdown_background();
            if let Some(result) = result {
                let _ = tell.send(result);
            }
        })?;
    Ok(Core {
        ended,
        stop_at_once: Some(stop_at_once),
        thread: Some(thread),
    })
}
