//! Stopping: the signals that ask for it, and a drain with a hard time limit.
//!
//! The first SIGTERM or SIGINT asks for an orderly stop, a second one for an immediate stop. A graceful server shutdown
//! may never end by itself (one silent connection is enough, hyper issue 4170), so no drain here is without a limit.

use std::future::Future;
use std::io;
use std::time::Duration;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals that stop the process.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
}

/// Listens for SIGHUP, which asks to read files again and stops nothing.
#[derive(Debug)]
pub struct HangUps {
    #[cfg(unix)]
    hang_up: Signal,
}

/// A bounded wait for work to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Longest wait.
    pub limit: Duration,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained<T> {
    /// The work finished by itself.
    Finished(T),
    /// The limit passed first; the work was dropped.
    LimitReached,
    /// An immediate stop was asked for; the work was dropped.
    Interrupted,
}

// === impl StopSignals ===

impl StopSignals {
    /// Takes over the signals from the operating system; from now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// The operating system's refusal. Panics outside a tokio runtime with IO enabled, as tokio's own function does.
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        return Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        });
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Resolves at the next signal with its name: the first call for the orderly stop, the second for the immediate one.
    #[cfg(unix)]
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Resolves at the next Ctrl-C: the first call for the orderly stop, the second for the immediate one.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

// === impl HangUps ===

impl HangUps {
    /// Takes the signal over from the operating system; from now on it no longer ends the process.
    ///
    /// # Errors
    /// The operating system's refusal.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at the next signal; false when there will be none.
    pub async fn next(&mut self) -> bool {
        #[cfg(unix)]
        return self.hang_up.recv().await.is_some();
        #[cfg(not(unix))]
        false
    }
}

// === impl Drain ===

impl Drain {
    /// Waits for `work`, but not beyond the limit nor beyond `immediate`. Work that is ready at once always finishes.
    pub async fn run<T>(self, work: impl Future<Output = T>, immediate: impl Future) -> Drained<T> {
        tokio::select! {
            biased;
            output = work => Drained::Finished(output),
            _ = immediate => Drained::Interrupted,
            () = tokio::time::sleep(self.limit) => Drained::LimitReached,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const LONG: Drain = Drain {
        limit: Duration::from_secs(3_600),
    };

    #[tokio::test]
    async fn work_that_finishes_is_handed_back() {
        assert_eq!(
            LONG.run(ready(7), pending::<()>()).await,
            Drained::Finished(7)
        );
    }

    #[tokio::test]
    async fn work_that_never_ends_is_dropped_at_the_limit() {
        let drain = Drain {
            limit: Duration::ZERO,
        };
        assert_eq!(
            drain.run(pending::<()>(), pending::<()>()).await,
            Drained::LimitReached
        );
    }

    #[tokio::test]
    async fn an_immediate_stop_cuts_the_wait_short() {
        assert_eq!(
            LONG.run(pending::<()>(), ready(())).await,
            Drained::Interrupted
        );
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_first_and_the_second_signal_are_told_apart() {
        let mut signals = StopSignals::listen().unwrap();
        for (option, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
            let process = std::process::id().to_string();
            let sent = std::process::Command::new("kill")
                .args([option, &process])
                .status()
                .unwrap();
            assert!(sent.success());
            assert_eq!(signals.next().await, name);
        }
    }
}
