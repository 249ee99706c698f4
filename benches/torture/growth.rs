//! How much disk a store takes as its records are rewritten again and again: the one fault of sled that no restart mends.
//!
//! Invariant: the engine is used as the server uses it, journal and folding included; sizes are blocks that the file system gave.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hermod::store::records::MergeRecords;
use hermod::store::{Batch, Change, Engine, Partition, SledEngine, SledOptions, StoreError};

/// Records of one commit.
const BATCH: usize = 200;

/// What is written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Growth {
    /// Records
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// Bytes of each
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Times that every record is written anew
    #[arg(long, default_value_t = 20)]
    rewrites: usize,
    /// Records rewritten between two folding passes, times their number: 1 folds once per round
    #[arg(long, default_value_t = 1)]
    folds_per_rewrite: usize,
}

impl Growth {
    /// Prints a row per round.
    ///
    /// # Errors
    /// The engine's.
    pub fn run(&self, directory: &Path) -> Result<(), StoreError> {
        let options = SledOptions {
            partitions: 8,
            ..SledOptions::new(directory)
        };
        println!("rewrites  journal+records MiB  times the live bytes  seconds");
        let live = (self.records * (self.bytes + 24)) as f64;
        for round in 0..=self.rewrites {
            let started = Instant::now();
            let per_fold = self.records.div_ceil(self.folds_per_rewrite.max(1));
            for first in (0..self.records).step_by(per_fold.max(1)) {
                let engine = SledEngine::open(options.clone(), Arc::new(MergeRecords))?;
                let last = (first + per_fold).min(self.records);
                self.write(&engine, first..last, round)?;
                // Folds whatever is left, as an orderly stop does.
                engine.close().wait()?;
            }
            let bytes = on_disk(directory) as f64;
            println!(
                "{round:>8}  {:>19.1}  {:>20.2}  {:>7.1}",
                bytes / f64::from(1 << 20),
                bytes / live,
                started.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    fn write(
        &self,
        engine: &SledEngine,
        records: std::ops::Range<usize>,
        round: usize,
    ) -> Result<(), StoreError> {
        let records: Vec<usize> = records.collect();
        for (at, part) in records.chunks(BATCH).enumerate() {
            let partition = Partition((at % 8) as u16);
            let put = |number: &usize| Change::Put {
                // Spread as keyed hashes are.
                key: blake(*number, 0, 16),
                value: blake(*number, round + 1, self.bytes),
                expected: None,
            };
            let changes = part.iter().map(put).collect();
            engine.commit(partition, Batch { changes }).wait()?;
        }
        engine.flush().wait()
    }
}

/// Bytes that do not compress, the same for the same number and round.
fn blake(number: usize, round: usize, bytes: usize) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(number as u64).to_le_bytes());
    hasher.update(&(round as u64).to_le_bytes());
    let mut value = vec![0; bytes];
    hasher.finalize_xof().fill(&mut value);
    value
}

/// Bytes of all files below a directory, as blocks.
fn on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, metadata)| match metadata.is_dir() {
            true => on_disk(&path),
            false => metadata.blocks() * 512,
        })
        .sum()
}
