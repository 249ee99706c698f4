//! Backups over the wire: what is prepared is told every second, then its bytes go out as fast as the caller takes them.
//!
//! Invariant: one chunk is held in memory at a time; a caller that goes away stops its stream, not the preparation.
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::Status;

use crate::app::{App, AppError, BackupState, BackupView, Kind};
use crate::grpc::check::{Checks, timestamp};
use crate::grpc::status::status;
use crate::grpc::{Services, wire};

/// Bytes of one message.
const CHUNK_BYTES: usize = 256 * 1024;
/// Time between two messages while a backup is prepared.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The answer of Backup.
pub(super) type BackupStream =
    Pin<Box<dyn Stream<Item = Result<wire::BackupResponse, Status>> + Send>>;

/// Where the fetching of one backup is.
pub(super) struct Download {
    app: Arc<App>,
    name: String,
    offset: u64,
    told: Told,
    stopping: watch::Receiver<bool>,
}

/// What the caller was told of the backup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Preparing,
    Ready,
    End,
}

// === impl Download ===

impl Download {
    /// Finds the backup, or begins a new one.
    pub(super) fn begin(
        services: &Services,
        request: wire::BackupRequest,
    ) -> Result<Self, AppError> {
        let (name, offset) = checked(request)?;
        let app = services.app.clone();
        let name = match name {
            Some(name) => {
                let (view, _) = app.backup(&name)?;
                if view.state == BackupState::Ready && offset > view.bytes {
                    return Err(beyond_end(view.bytes));
                }
                name
            }
            None => begin_new(&app)?,
        };
        Ok(Self {
            app,
            name,
            offset,
            told: Told::Nothing,
            stopping: services.stopping.clone(),
        })
    }

    /// The messages to come.
    pub(super) fn stream(self) -> BackupStream {
        Box::pin(stream::unfold(self, |mut download| async move {
            let message = match download.next().await {
                Ok(message) => Ok(message?),
                Err(error) => {
                    download.told = Told::End;
                    Err(status(error))
                }
            };
            Some((message, download))
        }))
    }

    async fn next(&mut self) -> Result<Option<wire::BackupResponse>, AppError> {
        match self.told {
            Told::End => return Ok(None),
            Told::Ready => return self.chunk().await,
            Told::Preparing => self.wait().await?,
            Told::Nothing => {}
        }
        let (view, _) = self.app.backup(&self.name)?;
        self.told = match &view.state {
            BackupState::Preparing(_) => Told::Preparing,
            BackupState::Ready => Told::Ready,
            BackupState::Failed(why) => {
                let message = format!("the backup could not be written: {why}; try again");
                return Err(AppError::new(Kind::Unavailable, "BACKUP_FAILED", message));
            }
        };
        Ok(Some(wire::BackupResponse {
            backup: Some(wire_of(view)),
            ..wire::BackupResponse::default()
        }))
    }

    /// Waits until there is something new to tell, at most until the next message is due.
    async fn wait(&mut self) -> Result<(), AppError> {
        let (_, state) = self.app.backup(&self.name)?;
        let Some(mut state) = state else {
            return Ok(());
        };
        let ended = state.wait_for(|state| !matches!(state, BackupState::Preparing(_)));
        tokio::select! {
            // Whichever it was, the next look at the backup tells.
            _ = ended => Ok(()),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => Ok(()),
            _ = self.stopping.wait_for(|stopping| *stopping) => Err(stopped()),
        }
    }

    async fn chunk(&mut self) -> Result<Option<wire::BackupResponse>, AppError> {
        if *self.stopping.borrow() {
            return Err(stopped());
        }
        let (app, name, offset) = (self.app.clone(), self.name.clone(), self.offset);
        let reading =
            tokio::task::spawn_blocking(move || app.read_backup(&name, offset, CHUNK_BYTES));
        let data = reading.await.map_err(|error| {
            AppError::new(Kind::Internal, "INTERNAL", format!("a defect: {error}"))
        })??;
        self.offset += data.len() as u64;
        Ok((!data.is_empty()).then(|| wire::BackupResponse {
            backup: None,
            offset: signed(offset),
            data,
        }))
    }
}

/// Begins a backup on a thread of its own; its name.
fn begin_new(app: &Arc<App>) -> Result<String, AppError> {
    let preparation = app.begin_backup()?;
    let name = preparation.name().to_owned();
    let app = Arc::clone(app);
    tokio::task::spawn_blocking(move || app.prepare_backup(preparation));
    Ok(name)
}

fn checked(request: wire::BackupRequest) -> Result<(Option<String>, u64), AppError> {
    let wire::BackupRequest { name, offset } = request;
    let mut checks = Checks::default();
    let id = (!name.is_empty()).then(|| resource(&mut checks, &name));
    let start = u64::try_from(offset);
    if start.is_err() {
        checks.wrong("offset", "must not be negative");
    } else if name.is_empty() && offset > 0 {
        checks.wrong("offset", "needs the name of the backup it belongs to");
    }
    checks.finish()?;
    Ok((id.flatten(), start.unwrap_or(0)))
}

/// The name of a backup to be deleted.
pub(super) fn name_of(request: wire::DeleteBackupRequest) -> Result<String, AppError> {
    let wire::DeleteBackupRequest { name } = request;
    let mut checks = Checks::default();
    let id = resource(&mut checks, &name);
    checks.finish()?;
    Ok(id.unwrap_or_default())
}

fn resource(checks: &mut Checks, name: &str) -> Option<String> {
    let id = name
        .strip_prefix("backups/")
        .filter(|id| (1..=63).contains(&id.len()));
    if id.is_none() {
        checks.wrong("name", "must be backups/{backup}, as ListBackups has it");
    }
    id.map(str::to_owned)
}

/// A backup as the wire has it.
pub(super) fn wire_of(view: BackupView) -> wire::StoredBackup {
    let BackupView {
        name,
        state,
        created_at_ms,
        expires_at_ms,
        bytes,
    } = view;
    let instant = |at_ms| Timestamp::from_millisecond(at_ms).ok().map(timestamp);
    let (state, prepared_records, failure) = match state {
        BackupState::Preparing(rows) => (wire::BackupState::Preparing, signed(rows), String::new()),
        BackupState::Ready => (wire::BackupState::Ready, 0, String::new()),
        BackupState::Failed(why) => (wire::BackupState::Failed, 0, why),
    };
    wire::StoredBackup {
        name: format!("backups/{name}"),
        state: state.into(),
        create_time: instant(created_at_ms),
        expire_time: instant(expires_at_ms),
        size_bytes: signed(bytes),
        prepared_records,
        failure,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn beyond_end(bytes: u64) -> AppError {
    AppError::invalid_field(
        "OFFSET_BEYOND_END",
        "offset",
        format!("is behind the end of the backup, which has {bytes} bytes"),
    )
}

fn stopped() -> AppError {
    let error = AppError::new(
        Kind::Unavailable,
        "STOPPING",
        "the server is stopping; go on with this backup when it is back",
    );
    AppError {
        retry_after: Some(Duration::from_secs(1)),
        ..error
    }
}
