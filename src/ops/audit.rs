//! The audit log: who did what to experiments and recipients, one JSON object a line, on the disk before the call is made.
//!
//! Invariant: an administrative call that cannot be recorded is not made. A recipient appears as a keyed hash only, an experiment only where
//! its name is one, so that an address in a wrong field is written nowhere; no credential appears but by its public name.

mod call;
mod file;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

pub use call::AuditedCall;
pub use file::Rotation;

use file::{LogFile, Waiting};

use super::auth::{Method, Refusal};
use super::watched::Reloaded;

/// Why an entry is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened.
    #[error("the audit log {path}: {source}")]
    Open {
        /// The file.
        path: String,
        /// What the file system answered.
        source: std::io::Error,
    },
    /// The entry could not be written and synced.
    #[error("the audit log cannot be written: {0}")]
    Write(String),
}

/// One line of the log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Entry<'a> {
    at: String,
    /// `asked` before a call is made, `answered` with its code, `refused`, `reloaded`.
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The log. Entries that come together share one sync.
pub struct Audit {
    queue: mpsc::Sender<Waiting>,
    /// Distinguishes the calls of this process from those before it.
    started_ms: i64,
    calls: AtomicU64,
}

// === impl Audit ===

impl Audit {
    /// Opens or creates the file, readable by its owner only, and begins to write.
    ///
    /// # Errors
    /// [`AuditError::Open`].
    pub fn open(path: &Path, rotation: Rotation, now: Timestamp) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open {
            path: path.display().to_string(),
            source,
        };
        let file = LogFile::open(path, rotation).map_err(failed)?;
        let (queue, waiting) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || file.run(&waiting))
            .map_err(failed)?;
        Ok(Self {
            queue,
            started_ms: now.as_millisecond(),
            calls: AtomicU64::new(0),
        })
    }

    /// Records a call that was not let in. It is refused in any case, so a failure is only counted.
    pub async fn refused(
        &self,
        method: &Method,
        refusal: &Refusal,
        peer: Option<SocketAddr>,
        now: Timestamp,
    ) {
        let entry = Entry {
            at: now.to_string(),
            event: "refused",
            caller: refusal.name(),
            peer: peer.map(|peer| peer.ip().to_string()),
            method: Some(method.path),
            reason: Some(refusal.reason()),
            ..Entry::default()
        };
        let _ = self.write(&entry).await;
    }

    /// Records that files were read again, or why not.
    pub async fn reloaded(&self, reloaded: &Reloaded, now: Timestamp) {
        let entry = Entry {
            at: now.to_string(),
            event: "reloaded",
            resource: Some(reloaded.file),
            code: Some(
                if reloaded.error.is_none() {
                    "Ok"
                } else {
                    "Failed"
                }
                .to_owned(),
            ),
            reason: reloaded.error.as_deref(),
            ..Entry::default()
        };
        let _ = self.write(&entry).await;
    }

    /// Writes an entry and waits until it is on the disk.
    async fn write(&self, entry: &Entry<'_>) -> Result<(), AuditError> {
        let written = match self.enqueue(entry) {
            Ok(written) => written.await.map_err(|_| gone()),
            Err(error) => Err(error),
        };
        let outcome = written.and_then(|written| written.map_err(AuditError::Write));
        if let Err(error) = &outcome {
            metrics::counter!("hermod_audit_failures_total").increment(1);
            tracing::error!(%error, event = entry.event, "an entry of the audit log was not written");
        }
        outcome
    }

    /// Hands an entry to the writer; the receiver hears what became of it.
    fn enqueue(
        &self,
        entry: &Entry<'_>,
    ) -> Result<oneshot::Receiver<Result<(), String>>, AuditError> {
        let mut line =
            serde_json::to_vec(entry).map_err(|error| AuditError::Write(error.to_string()))?;
        line.push(b'\n');
        let (done, written) = oneshot::channel();
        let queued = self.queue.send(Waiting { line, done });
        queued.map_err(|_| gone())?;
        Ok(written)
    }

    fn next_call(&self) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{number}", self.started_ms)
    }
}

fn gone() -> AuditError {
    AuditError::Write("its writer has ended".to_owned())
}
