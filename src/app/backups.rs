//! Backups: one is prepared off to the side while everything goes on, kept under a name for a while, and read from any offset.
//!
//! Invariant: at most one is being prepared; a backup is listed as ready only once its file is whole and durable. What a file looks like is
//! left to `store::backup`. Preparing and reading block: callers give them a thread of their own.
mod restore;
mod view;

use std::io::Read as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::store::backup::shelf::{self, Shelf, Shelved};
use crate::store::backup::{BackupError, write_snapshot};

use super::{App, AppError, Kind};

pub use restore::{Loader, restore};
pub use view::{BackupState, BackupStatistics, BackupView, backup_manifest, fingerprint_text};

/// Where backups are kept, and for how long.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// Their directory.
    pub shelf: Shelf,
    /// How long a backup is kept, milliseconds.
    pub retention_ms: i64,
}

/// A backup that is about to be prepared; hand it to [`App::prepare_backup`].
#[derive(Debug)]
pub struct Preparation {
    name: String,
    created_at_ms: i64,
    state: watch::Sender<BackupState>,
}

/// What is known of backups.
#[derive(Default)]
pub(super) struct Backups {
    settings: Option<BackupSettings>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// The last one begun.
    last: Option<Begun>,
    statistics: BackupStatistics,
}

struct Begun {
    name: String,
    created_at_ms: i64,
    state: watch::Receiver<BackupState>,
}

// === impl Preparation ===

impl Preparation {
    /// The name that the backup will have.
    pub fn name(&self) -> &str {
        &self.name
    }
}

// === impl Begun ===

impl Begun {
    fn state(&self) -> BackupState {
        let state = self.state.borrow().clone();
        // Its writer is gone without a word.
        let broken_off = self.state.has_changed().is_err();
        match state {
            BackupState::Preparing(_) if broken_off => {
                BackupState::Failed("it was broken off".to_owned())
            }
            state => state,
        }
    }
}

// === impl Backups ===

impl Backups {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Result<&BackupSettings, AppError> {
        self.settings.as_ref().ok_or_else(|| {
            AppError::new(
                Kind::FailedPrecondition,
                "NO_BACKUPS",
                "this server keeps its state in memory only and has nowhere to keep backups",
            )
        })
    }

    fn view(&self, settings: &BackupSettings, shelved: &Shelved) -> BackupView {
        let created_at_ms = shelved.manifest.created_at_ms;
        BackupView {
            name: shelved.manifest.name.clone(),
            state: BackupState::Ready,
            created_at_ms,
            expires_at_ms: created_at_ms.saturating_add(settings.retention_ms),
            bytes: shelved.bytes,
        }
    }

    /// The one that is being prepared, or that failed last.
    fn unfinished(&self, settings: &BackupSettings) -> Option<BackupView> {
        let inside = self.inside();
        let begun = inside.last.as_ref()?;
        let state = begun.state();
        (state != BackupState::Ready).then(|| BackupView {
            name: begun.name.clone(),
            state,
            created_at_ms: begun.created_at_ms,
            expires_at_ms: begun.created_at_ms.saturating_add(settings.retention_ms),
            bytes: 0,
        })
    }

    fn count(&self) {
        let newest = self
            .settings
            .as_ref()
            .and_then(|settings| settings.shelf.list().into_iter().next());
        let mut inside = self.inside();
        inside.statistics.last_at_ms = newest
            .as_ref()
            .map(|shelved| shelved.manifest.created_at_ms);
        inside.statistics.last_bytes = newest.map_or(0, |shelved| shelved.bytes);
    }
}

// === impl App ===

impl App {
    /// Keeps backups there from now on.
    #[must_use]
    pub fn with_backups(mut self, settings: BackupSettings) -> Self {
        self.backups.settings = Some(settings);
        self.backups.count();
        self
    }

    /// Reserves the name of a new backup.
    ///
    /// Errors while another is being prepared, which can be asked for by its name, and when there is nowhere to keep it.
    pub fn begin_backup(&self) -> Result<Preparation, AppError> {
        let settings = self.backups.settings()?;
        let now = self.now();
        let mut inside = self.backups.inside();
        if let Some(begun) = &inside.last
            && matches!(begun.state(), BackupState::Preparing(_))
        {
            return Err(in_progress(&begun.name));
        }
        let stem = now.strftime("%Y%m%d-%H%M%S").to_string();
        let mut name = stem.clone();
        let mut number = 2;
        while settings.shelf.get(&name).is_some()
            || inside.last.as_ref().is_some_and(|begun| begun.name == name)
        {
            name = format!("{stem}-{number}");
            number += 1;
        }
        let (state, watched) = watch::channel(BackupState::Preparing(0));
        inside.last = Some(Begun {
            name: name.clone(),
            created_at_ms: now.as_millisecond(),
            state: watched,
        });
        Ok(Preparation {
            name,
            created_at_ms: now.as_millisecond(),
            state,
        })
    }

    /// Writes the backup; blocks until it is ready or has failed, which its watchers are told.
    pub fn prepare_backup(&self, preparation: Preparation) {
        let Preparation {
            name,
            created_at_ms,
            state,
        } = preparation;
        let written = self.write_backup(&name, created_at_ms, &state);
        self.backups.count();
        match written {
            Ok((bytes, held_up_seconds)) => {
                tracing::info!(name, bytes, held_up_seconds, "a backup is ready");
                state.send_replace(BackupState::Ready);
            }
            Err(error) => {
                tracing::error!(name, %error, "a backup could not be written");
                self.backups.inside().statistics.failures += 1;
                state.send_replace(BackupState::Failed(error.to_string()));
            }
        }
    }

    fn write_backup(
        &self,
        name: &str,
        created_at_ms: i64,
        state: &watch::Sender<BackupState>,
    ) -> Result<(u64, f64), BackupError> {
        let Ok(settings) = self.backups.settings() else {
            return Err(BackupError::Stopped);
        };
        let manifest = backup_manifest(self.engine.as_ref(), name, created_at_ms)?;
        let engine = self.engine.as_ref();
        let (_, _, held_up) = settings.shelf.put(name, |sink| {
            write_snapshot(engine, manifest, sink, |rows| {
                state.send_replace(BackupState::Preparing(rows));
                true
            })
        })?;
        let bytes = settings.shelf.get(name).map_or(0, |shelved| shelved.bytes);
        Ok((bytes, held_up))
    }

    /// All backups, the newest first, one in preparation or failed included.
    pub fn backups(&self) -> Vec<BackupView> {
        let Ok(settings) = self.backups.settings() else {
            return Vec::new();
        };
        let ready = settings.shelf.list();
        self.backups
            .unfinished(settings)
            .into_iter()
            .chain(
                ready
                    .iter()
                    .map(|shelved| self.backups.view(settings, shelved)),
            )
            .collect()
    }

    /// One backup, and how it goes on while it is being prepared.
    ///
    /// Errors when there is none of this name.
    pub fn backup(
        &self,
        name: &str,
    ) -> Result<(BackupView, Option<watch::Receiver<BackupState>>), AppError> {
        let settings = self.backups.settings()?;
        if let Some(view) = self.backups.unfinished(settings)
            && view.name == name
        {
            let inside = self.backups.inside();
            let state = inside.last.as_ref().map(|begun| begun.state.clone());
            return Ok((view, state));
        }
        let shelved = settings.shelf.get(name).ok_or_else(|| no_backup(name))?;
        Ok((self.backups.view(settings, &shelved), None))
    }

    /// Bytes of a ready backup from an offset on, at most so many; none at its end. Blocks.
    pub fn read_backup(&self, name: &str, offset: u64, most: usize) -> Result<Vec<u8>, AppError> {
        let settings = self.backups.settings()?;
        let file = settings.shelf.read_from(name, offset);
        let read = file.and_then(|file| {
            let mut bytes = Vec::with_capacity(most);
            file.take(most as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        read.map_err(|error| match error {
            BackupError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                no_backup(name)
            }
            other => AppError::new(Kind::Unavailable, "BACKUP_UNREADABLE", other.to_string()),
        })
    }

    /// Removes a ready backup.
    ///
    /// Errors when there is none of this name, or it is still being prepared.
    pub fn delete_backup(&self, name: &str) -> Result<(), AppError> {
        let settings = self.backups.settings()?;
        let removed = if shelf::is_name(name) {
            settings.shelf.remove(name)
        } else {
            Ok(false)
        };
        self.backups.count();
        match removed {
            Ok(true) => Ok(()),
            Ok(false) => Err(match self.backups.unfinished(settings) {
                Some(view)
                    if view.name == name && matches!(view.state, BackupState::Preparing(_)) =>
                {
                    in_progress(name)
                }
                _ => no_backup(name),
            }),
            Err(error) => Err(AppError::new(
                Kind::Unavailable,
                "BACKUP_UNREADABLE",
                error.to_string(),
            )),
        }
    }

    /// Removes backups that are past their time; answers how many.
    pub fn expire_backups(&self) -> usize {
        let Ok(settings) = self.backups.settings() else {
            return 0;
        };
        let until_ms = self
            .now()
            .as_millisecond()
            .saturating_sub(settings.retention_ms);
        let past = settings.shelf.list().into_iter();
        let removed = past
            .filter(|shelved| shelved.manifest.created_at_ms < until_ms)
            .filter(|shelved| matches!(settings.shelf.remove(&shelved.manifest.name), Ok(true)))
            .count();
        if removed > 0 {
            self.backups.count();
        }
        removed
    }

    /// Counts of backups.
    pub fn backup_statistics(&self) -> BackupStatistics {
        self.backups.inside().statistics
    }
}

fn no_backup(name: &str) -> AppError {
    AppError::new(
        Kind::NotFound,
        "BACKUP_NOT_FOUND",
        format!("backups/{name} does not exist or has expired; ListBackups shows those that do"),
    )
}

fn in_progress(name: &str) -> AppError {
    let error = AppError::new(
        Kind::Aborted,
        "BACKUP_IN_PROGRESS",
        format!("backups/{name} is being prepared; ask for it by this name"),
    );
    AppError {
        retry_after: Some(Duration::from_secs(1)),
        ..error
    }
}

#[cfg(test)]
mod tests;
