//! Files that are read again when they change, without a restart.
//!
//! Invariant: what cannot be used leaves what was read before in service, is logged once per change, and shows in the metrics until it is
//! corrected. Contents are compared, not times of change: a mount may replace files without touching those.
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The state of the files as last looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen(blake3::Hash);

/// What became of files that had changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The word for them.
    pub file: &'static str,
    /// Why the old content stays in service, if it does.
    pub error: Option<String>,
}

/// A set of files that are loaded together.
pub struct Watched {
    /// The word for logs and metrics, of a closed set.
    name: &'static str,
    paths: Vec<PathBuf>,
    seen: Mutex<Option<Seen>>,
}

// === impl Watched ===

impl Watched {
    /// These files, under a name for logs and metrics.
    pub fn new(name: &'static str, paths: Vec<PathBuf>) -> Self {
        Self {
            name,
            paths,
            seen: Mutex::new(None),
        }
    }

    /// The files' state if it is not the one last [taken note of](Self::settle).
    pub fn changed(&self) -> Option<Seen> {
        let now = self.look();
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen != Some(now)).then_some(now)
    }

    /// Takes note of a state and says what became of it: loaded, or kept out for a reason.
    pub fn settle<E: std::fmt::Display>(&self, seen: Seen, outcome: &Result<(), E>) -> Reloaded {
        let first = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(seen)
            .is_none();
        self.report(first, outcome)
    }

    /// Says that a change could not be followed now; it is tried again at the next look.
    pub fn postpone<E: std::fmt::Display>(&self, error: E) -> Reloaded {
        self.report(false, &Err(error))
    }

    fn report<E: std::fmt::Display>(&self, first: bool, outcome: &Result<(), E>) -> Reloaded {
        let file = self.name;
        let (result, unusable) = match outcome {
            Ok(()) => ("loaded", 0.0),
            Err(_) => ("failed", 1.0),
        };
        metrics::counter!("hermod_reloads_total", "file" => file, "result" => result).increment(1);
        metrics::gauge!("hermod_files_unusable", "file" => file).set(unusable);
        match outcome {
            Ok(()) if first => {}
            Ok(()) => tracing::info!(
                file,
                "changed and read again; the new content is in service"
            ),
            Err(error) => {
                tracing::error!(file, %error, "changed and cannot be used; THE OLD CONTENT STAYS IN SERVICE until this is corrected");
            }
        }
        Reloaded {
            file,
            error: outcome.as_ref().err().map(ToString::to_string),
        }
    }

    /// A digest over contents and permissions; a file that cannot be read counts as its error.
    fn look(&self) -> Seen {
        let mut hasher = blake3::Hasher::new();
        for path in &self.paths {
            match std::fs::read(path) {
                Ok(content) => hasher.update(blake3::hash(&content).as_bytes()),
                Err(error) => hasher.update(error.to_string().as_bytes()),
            };
            let mode = std::fs::metadata(path).map(|metadata| {
                super::private_file::exposed_mode(&metadata).map_or(0, |mode| mode + 1)
            });
            hasher.update(&mode.unwrap_or(u32::MAX).to_le_bytes());
        }
        Seen(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once_whatever_becomes_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let watched = Watched::new("access", vec![path.clone()]);
        let missing = watched.changed().unwrap();
        watched.settle(missing, &Err::<(), _>("missing"));
        assert!(watched.changed().is_none());
        std::fs::write(&path, "one").unwrap();
        let one = watched.changed().unwrap();
        assert!(watched.changed().is_some(), "not settled yet");
        watched.settle(one, &Ok::<(), String>(()));
        std::fs::write(&path, "one").unwrap();
        assert!(watched.changed().is_none(), "the same content again");
        std::fs::write(&path, "two").unwrap();
        assert!(watched.changed().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn corrected_permissions_are_a_change() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o644);
        let watched = Watched::new("access", vec![path.clone()]);
        let open = watched.changed().unwrap();
        watched.settle(open, &Err::<(), _>("open to others"));
        mode(0o600);
        assert!(watched.changed().is_some());
    }
}
