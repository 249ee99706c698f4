//! Doors without a history: tokens, stored records, backups, exports, configuration and keys, each from valid samples.
//!
//! Invariant: an input is refused with an error or taken, and what is taken is written and read again alike.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hermod::app::{Checker, export, import};
use hermod::domain::cell::{Context, Lane};
use hermod::domain::name::{ExperimentUid, RecipientKey, TenantId, VariantIndex};
use hermod::domain::token::{DecisionToken, TokenKey, TokenKeys};
use hermod::ops::config::{Config, Sources};
use hermod::ops::secrets::Keys;
use hermod::store::backup::{BackupReader, BackupWriter, Manifest};
use hermod::store::records::MergeRecords;
use hermod::store::records::kinds::{KINDS, kind_of};
use hermod::store::{MemoryEngine, Merge as _, Partition, SnapshotRow, Stored, envelope};
use tempfile::TempDir;

use super::mutation::{Chance, from_hex};

/// Valid inputs of every door.
pub struct Samples {
    tokens: Vec<Vec<u8>>,
    records: Vec<Vec<u8>>,
    backup: Vec<u8>,
    export: Vec<u8>,
    configs: Vec<Vec<u8>>,
    keys: Vec<u8>,
    signer: TokenKeys,
    folder: TempDir,
}

fn signer() -> TokenKeys {
    let key = |id| TokenKey {
        id,
        secret: [id; 32],
    };
    TokenKeys::new(key(1), vec![key(2)])
}

fn token(number: u64) -> DecisionToken {
    let at = |seconds| jiff::Timestamp::from_second(seconds).expect("an instant");
    DecisionToken {
        tenant: TenantId(number as u32),
        experiment: ExperimentUid(number),
        variant: VariantIndex(2),
        context: Context::default(),
        lane: Lane::Policy,
        recipient: RecipientKey([number as u8; 16]),
        propensity: 0.25,
        decided_at: at(1_772_366_400),
        send_at: at(1_772_370_000),
        occasion: number,
        decision: number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        trial_on_decision: true,
        measurable: true,
        exposure_recorded: true,
    }
}

impl Samples {
    /// Those of this program, from the kept samples of records.
    pub fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths: Vec<PathBuf> = fs::read_dir(root.join("tests/samples"))
            .expect("the kept samples")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        paths.sort();
        let records: Vec<Vec<u8>> = paths
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .map(|text| from_hex(&text))
            .collect();
        let backup = backup(&records);
        let export = lines(&backup);
        let folder = TempDir::new().expect("a temporary directory");
        let path = folder.path().join("sample.keys");
        Keys::create(&path).expect("new keys");
        let whole = Config::load(&Sources::default()).expect("the defaults");
        let whole = whole.to_toml().expect("the defaults as text");
        let short = b"[server]\ngrpc_listen = \"127.0.0.1:0\"\n[store]\npartitions = 8\n".to_vec();
        let signer = signer();
        Self {
            tokens: (0..8)
                .map(|number| signer.sign(&token(number)).into_bytes())
                .collect(),
            records,
            backup,
            export,
            configs: vec![whole.into_bytes(), short],
            keys: fs::read(path).expect("the keys just written"),
            signer,
            folder,
        }
    }

    pub fn token(&self, chance: &mut Chance) -> Vec<u8> {
        let token = chance.of(&self.tokens).clone();
        chance.changed(&token, &self.tokens)
    }

    /// A key, then a record whose payload was changed and sealed again, so that it is the payload that is read.
    pub fn record(&self, chance: &mut Chance) -> Vec<u8> {
        let record = chance.of(&self.records).clone();
        let kind = KINDS[chance.below(KINDS.len())];
        let (number, version) = match chance.below(20) {
            0 => (kind.kind, record[1]),
            1 => (record[0], chance.any() as u8),
            2 => (chance.any() as u8, 1),
            _ => (record[0], record[1]),
        };
        let payload = record.get(envelope::HEADER_BYTES..).unwrap_or_default();
        let payloads = std::slice::from_ref(&record);
        let changed = chance.changed(payload, payloads);
        let of = KINDS
            .iter()
            .find(|of| of.kind == number)
            .copied()
            .unwrap_or(kind);
        let mut key = chance.of(of.prefixes).to_vec();
        key.extend((0..chance.below(30)).map(|_| chance.any() as u8));
        let mut input = vec![key.len() as u8];
        input.extend(key);
        input.extend(envelope::seal(number, version, &changed));
        input
    }

    pub fn backup(&self, chance: &mut Chance) -> Vec<u8> {
        let mut changed = chance.changed(&self.backup, &self.records);
        if chance.in_hundred(70) {
            reseal(&mut changed);
        }
        changed
    }

    pub fn export(&self, chance: &mut Chance) -> Vec<u8> {
        chance.changed(&self.export, &self.configs)
    }

    pub fn config(&self, chance: &mut Chance) -> Vec<u8> {
        let config = chance.of(&self.configs).clone();
        chance.changed(&config, &self.configs)
    }

    pub fn keys(&self, chance: &mut Chance) -> Vec<u8> {
        chance.changed(&self.keys, &self.configs)
    }

    /// What verifies was signed by us.
    pub fn try_token(&self, input: &[u8]) {
        let text = String::from_utf8_lossy(input);
        if let Ok(token) = self.signer.verify(&text) {
            let ours = self.tokens.iter().any(|ours| ours == input);
            assert!(ours, "{text} verifies and was not signed: {token:?}");
        }
    }

    pub fn try_config(&self, input: &[u8]) {
        let path = self.folder.path().join("hermod.toml");
        fs::write(&path, input).expect("a temporary file");
        let sources = Sources {
            file: Some(path),
            ..Sources::default()
        };
        if let Ok(loaded) = Config::load(&sources) {
            let text = loaded.to_toml().expect("a checked configuration as text");
            assert!(!text.is_empty());
        } else {
            let problems = Config::load(&sources).expect_err("refused as before");
            assert!(!problems.to_string().is_empty());
        }
    }

    pub fn try_keys(&self, input: &[u8]) {
        let path = self.folder.path().join("tried.keys");
        // A file of keys is readable by its owner alone.
        if !path.exists() {
            Keys::create(&path).expect("new keys");
        }
        fs::write(&path, input).expect("a temporary file");
        let _ = Keys::load(&path).map(|keys| keys.token_keys().count());
    }
}

fn row(number: usize, value: &[u8]) -> SnapshotRow {
    let kind = kind_of(value).expect("a kept sample");
    let mut key = kind.prefixes[0].to_vec();
    key.extend([0; 4]);
    key.extend(number.to_be_bytes());
    SnapshotRow {
        partition: Partition((number % 3) as u16),
        key: key.as_slice().into(),
        stored: Stored {
            version: number as u64 + 1,
            value: value.into(),
        },
    }
}

fn manifest() -> Manifest {
    Manifest {
        format: hermod::store::backup::FORMAT,
        name: "fuzz".to_owned(),
        program: "0".to_owned(),
        created_at_ms: 0,
        partitions: 3,
        sequences: vec![9; 3],
        recipient_key_fingerprint: String::new(),
    }
}

fn backup(records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BackupWriter::new(&mut bytes, &manifest()).expect("a backup in memory");
    for (number, record) in records.iter().enumerate() {
        writer
            .push(&row(number, record))
            .expect("a backup in memory");
    }
    writer.finish().expect("a backup in memory");
    bytes
}

fn lines(backup: &[u8]) -> Vec<u8> {
    let mut reader = BackupReader::open(backup).expect("a whole backup");
    let mut bytes = Vec::new();
    let manifest = reader.manifest().clone();
    let next = || Ok(reader.next_block()?.unwrap_or_default());
    export(&manifest, next, &mut bytes).expect("lines in memory");
    bytes
}

/// Gives frames whose payload was changed the checksum that they would have, so that it is the payload that is read.
fn reseal(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(head) = bytes.get(at..at + 9) {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&head[..5]);
        let Some(payload) = bytes.get(at + 9..at + 9 + length) else {
            return;
        };
        hasher.update(payload);
        let checksum = hasher.finalize().to_le_bytes();
        bytes[at + 5..at + 9].copy_from_slice(&checksum);
        at += 9 + length;
    }
}

/// Reads a record by every way there is; what can be read is written again and means the same.
pub fn try_record(input: &[u8]) {
    let Some((length, rest)) = input.split_first() else {
        return;
    };
    let Some((key, stored)) = rest.split_at_checked(usize::from(*length)) else {
        return;
    };
    let mut checker = Checker::new(3);
    checker.take(&SnapshotRow {
        partition: Partition(0),
        key: key.into(),
        stored: Stored {
            version: 1,
            value: stored.into(),
        },
    });
    let _ = checker.finish();
    let merged = MergeRecords.merge(key, Some(stored), stored);
    let Ok(kind) = kind_of(stored) else {
        return;
    };
    if let Ok(Some(merged)) = merged {
        let _ = kind.check(&merged);
    }
    if kind.check(stored).is_err() {
        return;
    }
    // Numbers that JSON cannot hold do not come back; everything else does.
    if let Ok(value) = kind.to_json(stored)
        && let Ok(again) = kind.from_json(value.clone())
    {
        kind.check(&again).expect("what was just written");
        assert_eq!(kind.to_json(&again).ok(), Some(value), "{}", kind.name);
    }
}

/// Verifies a backup, and reads its rows as a restore does.
pub fn try_backup(input: &[u8]) {
    let verified = BackupReader::open(input).and_then(BackupReader::verify);
    let Ok(mut reader) = BackupReader::open(input) else {
        assert!(verified.is_err());
        return;
    };
    let mut rows = 0;
    let read = loop {
        match reader.next_block() {
            Ok(Some(block)) => rows += block.len() as u64,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    match verified {
        Ok((_, totals)) => assert!(read.is_ok() && totals.rows == rows),
        Err(_) => assert!(
            read.is_err(),
            "{rows} rows of a backup that does not verify"
        ),
    }
}

/// Imports lines into an empty store.
pub fn try_import(input: &[u8]) {
    let engine = MemoryEngine::new(3, Arc::new(MergeRecords));
    let _ = import(input, &engine);
}
