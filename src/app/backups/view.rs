//! What is told of backups: to callers, to operators, and in the manifest of a backup itself.
//!
//! Plain facts; preparing, keeping and removing backups is left to the parent.
use crate::app::{HOME, recipient_key_fingerprint};
use crate::store::backup::{FORMAT, Manifest};
use crate::store::records::{self, StoreIdentity, key};
use crate::store::{Engine, StoreError};

/// How far a backup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupState {
    /// Records written so far.
    Preparing(u64),
    /// It can be read.
    Ready,
    /// It could not be written, and why.
    Failed(String),
}

/// A backup as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupView {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: BackupState,
    /// The moment it holds, or its beginning, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it will be removed, milliseconds since 1970.
    pub expires_at_ms: i64,
    /// Size of its file; 0 before it is ready.
    pub bytes: u64,
}

/// Counts of backups since the start, and the newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupStatistics {
    /// The moment of the newest backup on the shelf, milliseconds since 1970.
    pub last_at_ms: Option<i64>,
    /// Size of that one.
    pub last_bytes: u64,
    /// Backups that could not be written.
    pub failures: u64,
}

/// What a backup of this engine will say of itself.
///
/// # Errors
/// The engine cannot be read.
pub fn backup_manifest(
    engine: &dyn Engine,
    name: &str,
    created_at_ms: i64,
) -> Result<Manifest, StoreError> {
    let identity = engine.read(HOME, key::IDENTITY).wait()?;
    // A damaged identity is copied like every other record; only the fingerprint is then not known.
    let fingerprint = identity
        .and_then(|stored| records::decode::<StoreIdentity>(&stored.value).ok())
        .map(|identity| hex(&identity.recipient_key_fingerprint))
        .unwrap_or_default();
    Ok(Manifest {
        format: FORMAT,
        name: name.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        created_at_ms,
        partitions: engine.partitions(),
        sequences: Vec::new(),
        recipient_key_fingerprint: fingerprint,
    })
}

/// The fingerprint of a recipient key, as manifests have it.
pub fn fingerprint_text(recipient_key: &[u8; 32]) -> String {
    hex(&recipient_key_fingerprint(recipient_key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
