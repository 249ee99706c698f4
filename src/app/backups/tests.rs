//! Backups as callers see them: begun once, listed, read in pieces, deleted, expired.

use std::sync::Arc;

use super::*;
use crate::app::{
    AppKeys, AppSettings, Clock as _, DecisionLogSettings, LimitSettings, RetentionSettings,
    VirtualClock,
};
use crate::domain::civil::Zone;
use crate::domain::draws::Seed;
use crate::domain::recipient::ConsentLevel;
use crate::domain::token::{TokenKey, TokenKeys};
use crate::store::Engine;
use crate::store::backup::BackupReader;
use crate::store::records::MergeRecords;
use crate::store::{MemoryEngine, Scan};

const DAY_MS: i64 = 86_400_000;

fn open(directory: &std::path::Path) -> (App, Arc<VirtualClock>, Arc<dyn Engine>) {
    let clock = Arc::new(VirtualClock::at("2026-03-01T12:00:00Z".parse().unwrap()));
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new(4, Arc::new(MergeRecords)));
    let keys = AppKeys {
        recipient: [1; 32],
        tokens: TokenKeys::new(
            TokenKey {
                id: 1,
                secret: [2; 32],
            },
            Vec::new(),
        ),
    };
    let settings = AppSettings {
        default_zone: Zone::utc(),
        default_consent: ConsentLevel::Individual,
        default_holdout_share: 0.0,
        default_floor: 0.0,
        default_exploration_share: 0.0,
        decision_log: DecisionLogSettings {
            enabled: true,
            retention_ms: DAY_MS,
        },
        limits: LimitSettings::default(),
        retention: RetentionSettings::default(),
    };
    let opening = App::open(
        engine.clone(),
        clock.clone(),
        keys,
        Seed::from_number(1),
        settings,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (app, _) = runtime.unwrap().block_on(opening).unwrap();
    let app = app.with_backups(BackupSettings {
        shelf: Shelf::open(directory),
        retention_ms: 7 * DAY_MS,
    });
    (app, clock, engine)
}

fn rows(engine: &dyn Engine) -> Vec<(u16, Vec<u8>, Vec<u8>)> {
    let scan = |partition| {
        let request = Scan {
            limit: 1_000,
            ..Scan::default()
        };
        let rows = engine.scan(Partition(partition), request).wait().unwrap();
        rows.into_iter()
            .map(move |(key, stored)| (partition, key, stored.value.to_vec()))
    };
    (0..engine.partitions()).flat_map(scan).collect()
}

use crate::store::Partition;

#[test]
fn a_backup_is_prepared_listed_read_in_pieces_and_restored() {
    let directory = tempfile::tempdir().unwrap();
    let (app, _, engine) = open(directory.path());
    let preparation = app.begin_backup().unwrap();
    let name = app.backups()[0].name.clone();
    assert_eq!(app.backups()[0].state, BackupState::Preparing(0));
    assert_eq!(app.begin_backup().unwrap_err().reason, "BACKUP_IN_PROGRESS");
    assert_eq!(
        app.delete_backup(&name).unwrap_err().reason,
        "BACKUP_IN_PROGRESS"
    );
    app.prepare_backup(preparation);
    let (view, state) = app.backup(&name).unwrap();
    assert_eq!((view.state, state.is_none()), (BackupState::Ready, true));
    assert_eq!(view.expires_at_ms - view.created_at_ms, 7 * DAY_MS);
    let mut bytes = Vec::new();
    loop {
        let piece = app.read_backup(&name, bytes.len() as u64, 7).unwrap();
        if piece.is_empty() {
            break;
        }
        bytes.extend(piece);
    }
    assert_eq!(bytes.len() as u64, view.bytes);
    let reader = BackupReader::open(bytes.as_slice()).unwrap();
    assert_eq!(
        reader.manifest().recipient_key_fingerprint,
        fingerprint_text(&[1; 32])
    );
    let restored = MemoryEngine::new(4, Arc::new(MergeRecords));
    let totals = restore(&restored, reader, |_| {}).unwrap();
    assert_eq!(totals.rows as usize, rows(engine.as_ref()).len());
    assert_eq!(rows(&restored), rows(engine.as_ref()));
}

#[test]
fn backups_expire_and_can_be_deleted_and_names_never_lead_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (app, clock, _) = open(directory.path());
    app.prepare_backup(app.begin_backup().unwrap());
    app.prepare_backup(app.begin_backup().unwrap());
    let names: Vec<String> = app.backups().into_iter().map(|view| view.name).collect();
    assert_eq!(names, ["20260301-120000-2", "20260301-120000"]);
    assert!(app.backup_statistics().last_at_ms.is_some());
    app.delete_backup(&names[0]).unwrap();
    for missing in [names[0].as_str(), "../keys", ""] {
        assert_eq!(
            app.delete_backup(missing).unwrap_err().reason,
            "BACKUP_NOT_FOUND"
        );
        assert_eq!(
            app.read_backup(missing, 0, 9).unwrap_err().reason,
            "BACKUP_NOT_FOUND"
        );
    }
    assert_eq!(app.expire_backups(), 0);
    clock.set(clock.now() + jiff::SignedDuration::from_hours(7 * 24 + 1));
    assert_eq!((app.expire_backups(), app.backups().len()), (1, 0));
    assert_eq!(app.backup_statistics().last_at_ms, None);
}

#[test]
fn a_backup_that_cannot_be_written_says_so_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (app, _, _) = open(directory.path());
    let preparation = app.begin_backup().unwrap();
    app.engine.close().wait().unwrap();
    app.prepare_backup(preparation);
    assert!(matches!(app.backups()[0].state, BackupState::Failed(_)));
    assert_eq!(app.backup_statistics().failures, 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
