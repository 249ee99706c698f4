//! The composition root: from a checked configuration to keys, engine and use cases.
//!
//! Invariant: new keys are made only where there is no store yet, so that no old record is orphaned. Every subcommand that
//! opens a store does it here, and only here an engine is named. Serving and stopping are left to the callers.

use std::path::PathBuf;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;

use super::config::{Config, Consent, Engine as EngineChoice};
use super::secrets::{Keys, KeysError};
use crate::app::{App, AppError, AppKeys, AppSettings, BackupSettings, Clock, Kind, LoadReport};
use crate::domain::civil::Zone;
use crate::domain::draws::Seed;
use crate::domain::recipient::ConsentLevel;
use crate::domain::token::{TokenKey, TokenKeys};
use crate::store::backup::shelf::Shelf;
use crate::store::records::{MergeRecords, key};
use crate::store::{
    Engine, MemoryEngine, Salvaged, SledEngine, SledOptions, SnapshotRow, StoreError,
    lock_directory, salvage,
};

/// Why the use cases could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The keys file cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The engine does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's content does not fit the keys or this program.
    #[error(transparent)]
    App(#[from] AppError),
    /// The store is damaged where a server cannot do without.
    #[error(
        "{reason}\nThe store in {} is damaged. Keep a copy of it, then restore the last backup (hermod restore), or take what can still be read: hermod repair --data-dir {} --output NEW_DIRECTORY",
        path.display(),
        path.display()
    )]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The operating system gave no random bytes for a seed.
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(String),
}

/// The use cases over an open engine.
pub struct Opened {
    /// The use cases.
    pub app: App,
    /// The engine under them, to be closed last.
    pub engine: Arc<dyn Engine>,
    /// What was read at the start, and what could not be.
    pub report: LoadReport,
}

/// Where the store's files are: `store` in the data directory.
pub fn store_path(config: &Config) -> PathBuf {
    config.store.path.join("store")
}

/// Whether the data directory holds a store already; never for the engine in memory.
pub fn holds_store(config: &Config) -> bool {
    config.store.engine == EngineChoice::Sled && store_path(config).join("sled").exists()
}

/// The keys: those of the existing store, or for a new one those of the keys file, which is created if missing.
/// A store in memory without a configured keys file gets keys that are kept nowhere.
///
/// # Errors
/// As [`Keys::load`] and [`Keys::create`].
pub fn open_keys(config: &Config) -> Result<Keys, KeysError> {
    let path = config.keys_path();
    let forgets = config.store.engine == EngineChoice::Memory;
    if forgets && config.privacy.keys_file.is_none() {
        Keys::generate()
    } else if holds_store(config) {
        Keys::load(&path)
    } else {
        Keys::load_or_create(&path)
    }
}

/// Memory that the store's own rows can use; there are few of them.
const OWN_ROWS_CACHE_BYTES_MAX: u64 = 1 << 20;

/// Opens the configured engine, creating the store if there is none.
///
/// # Errors
/// As [`SledEngine::open`]: a directory in use or unusable, a damaged store, a newer format.
pub fn open_engine(config: &Config) -> Result<Arc<dyn Engine>, StoreError> {
    let merge = Arc::new(MergeRecords);
    // The configuration allows at most 4,096 of them.
    let partitions = u16::try_from(config.store.partitions).unwrap_or(u16::MAX);
    Ok(match config.store.engine {
        EngineChoice::Memory => Arc::new(MemoryEngine::new(partitions, merge)),
        EngineChoice::Sled => {
            let own_rows_bytes = (config.store.cache_bytes / 4).min(OWN_ROWS_CACHE_BYTES_MAX);
            let options = SledOptions {
                partitions,
                cache_bytes: own_rows_bytes,
                records_bytes: config.store.cache_bytes - own_rows_bytes,
                fold_interval: config.store.fold_interval.get(),
                free_bytes_min: config.store.free_bytes_min,
                warm_prefix: key::RECIPIENTS.to_vec(),
                passing_prefix: key::PLANNED.to_vec(),
                ..SledOptions::new(store_path(config))
            };
            Arc::new(SledEngine::open(options, merge)?)
        }
    })
}

/// The keys as the use cases want them; keys that no longer sign still verify.
pub fn app_keys(keys: &Keys) -> AppKeys {
    let token_key = |id, secret: &super::secrets::SecretKey| TokenKey {
        id,
        secret: *secret.expose(),
    };
    let signing = keys.signing();
    let retired = keys
        .token_keys()
        .filter(|(id, _)| *id != signing.id)
        .map(|(id, key)| token_key(id, key))
        .collect();
    AppKeys {
        recipient: *keys.recipient().expose(),
        tokens: TokenKeys::new(token_key(signing.id, &signing.key), retired),
    }
}

/// The defaults of decisions as the use cases want them.
pub fn app_settings(config: &Config) -> AppSettings {
    let decisions = &config.decisions;
    AppSettings {
        // A loaded configuration holds no unknown zone.
        default_zone: Zone::parse(&decisions.default_time_zone).unwrap_or_else(|_| Zone::utc()),
        default_consent: consent_level(config.privacy.default_consent),
        default_holdout_share: decisions.holdout_share,
        default_floor: decisions.probability_floor,
        default_exploration_share: decisions.exploration_share,
        decision_log: config.decision_log.settings(),
        limits: config.limits.settings(),
        retention: config.privacy.retention(),
    }
}

/// Where a server keeps its backups; nowhere if it keeps nothing else either.
pub fn backup_settings(config: &Config) -> Option<BackupSettings> {
    let path = match (&config.backup.path, config.store.engine) {
        (Some(path), _) => path.clone(),
        (None, EngineChoice::Sled) => config.store.path.join("backups"),
        (None, EngineChoice::Memory) => return None,
    };
    Some(BackupSettings {
        shelf: Shelf::open(path),
        retention_ms: i64::try_from(config.backup.retention.get().as_millis()).unwrap_or(i64::MAX),
    })
}

/// Creates or opens a store on disk at a path, with so many partitions if it is new.
///
/// # Errors
/// As [`SledEngine::open`].
pub fn open_store_at(path: PathBuf, partitions: u16) -> Result<Arc<dyn Engine>, StoreError> {
    let options = SledOptions {
        partitions,
        ..SledOptions::new(path)
    };
    Ok(Arc::new(SledEngine::open(options, Arc::new(MergeRecords))?))
}

/// Reads what can still be read from a copy of a damaged store's directory.
///
/// # Errors
/// As [`salvage`].
pub fn salvage_store(
    copy: &std::path::Path,
    take: impl FnMut(SnapshotRow) -> Result<(), StoreError>,
) -> Result<Salvaged, StoreError> {
    salvage(copy, take)
}

/// Holds the store's directory against anybody else's opening it, until the answer is dropped.
///
/// # Errors
/// It is in use, or cannot be locked.
pub fn lock_store(config: &Config) -> Result<std::fs::File, StoreError> {
    lock_directory(&store_path(config))
}

/// The seed for a new store: the configured one or a random one. An existing store keeps its own.
///
/// # Errors
/// [`OpenError::NoRandomness`].
pub fn new_seed(config: &Config) -> Result<Seed, OpenError> {
    if let Some(number) = config.decisions.seed {
        return Ok(Seed::from_number(number));
    }
    let mut bytes = [0; 32];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| OpenError::NoRandomness(error.to_string()))?;
    Ok(Seed(bytes))
}

/// Opens keys, engine and use cases, in this order: a new store never exists without its keys.
///
/// # Errors
/// As listed in [`OpenError`].
pub async fn open_app(config: &Config, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
    let keys = app_keys(&open_keys(config)?);
    let seed = new_seed(config)?;
    let damaged = |reason: String| OpenError::Damaged {
        path: config.store.path.clone(),
        reason,
    };
    let engine = open_engine(config).map_err(|error| match error {
        StoreError::Corrupt { .. } => damaged(error.to_string()),
        error => error.into(),
    })?;
    let settings = app_settings(config);
    let opened = App::open(Arc::clone(&engine), clock, keys, seed, settings).await;
    let (app, report) = opened.map_err(|error| match error.kind {
        Kind::DataLoss => damaged(error.message),
        _ => error.into(),
    })?;
    let app = match backup_settings(config) {
        Some(settings) => app.with_backups(settings),
        None => app,
    };
    Ok(Opened {
        app,
        engine,
        report,
    })
}

fn consent_level(consent: Consent) -> ConsentLevel {
    match consent {
        Consent::None => ConsentLevel::None,
        Consent::Aggregate => ConsentLevel::Aggregate,
        Consent::Segment => ConsentLevel::Segment,
        Consent::Individual => ConsentLevel::Individual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SystemClock;

    fn config(directory: &std::path::Path) -> Config {
        let mut config = Config::default();
        config.store.path = directory.join("data");
        config.store.cache_bytes = 1 << 20;
        config.store.partitions = 2;
        config
    }

    async fn open(config: &Config) -> Result<Opened, OpenError> {
        open_app(config, Arc::new(SystemClock)).await
    }

    #[tokio::test]
    async fn a_store_opens_again_with_the_keys_it_was_created_with() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        assert!(!holds_store(&config));
        open(&config).await.unwrap().engine.close().await.unwrap();
        assert!(holds_store(&config));
        open(&config).await.unwrap().engine.close().await.unwrap();
    }

    #[tokio::test]
    async fn no_new_keys_are_made_for_an_existing_store() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        open(&config).await.unwrap().engine.close().await.unwrap();
        std::fs::remove_file(config.keys_path()).unwrap();
        let refused = open(&config).await.err().unwrap();
        assert!(
            matches!(refused, OpenError::Keys(KeysError::Missing(_))),
            "{refused}"
        );
        assert!(!config.keys_path().exists());
    }

    #[tokio::test]
    async fn other_keys_than_the_stores_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        open(&config).await.unwrap().engine.close().await.unwrap();
        std::fs::remove_file(config.keys_path()).unwrap();
        Keys::create(&config.keys_path()).unwrap();
        let refused = open(&config).await.err().unwrap();
        assert!(matches!(refused, OpenError::App(_)), "{refused}");
    }

    #[tokio::test]
    async fn a_store_in_memory_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        config.store.engine = EngineChoice::Memory;
        open(&config).await.unwrap();
        assert!(!config.store.path.exists());
    }

    #[test]
    fn every_level_of_consent_keeps_its_meaning() {
        let mut config = Config::default();
        for (said, meant) in [
            (Consent::None, ConsentLevel::None),
            (Consent::Aggregate, ConsentLevel::Aggregate),
            (Consent::Segment, ConsentLevel::Segment),
            (Consent::Individual, ConsentLevel::Individual),
        ] {
            config.privacy.default_consent = said;
            assert_eq!(app_settings(&config).default_consent, meant);
        }
    }
}
