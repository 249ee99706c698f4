//! An engine that fails on purpose: it takes its time, refuses, conflicts without a reason, fails to flush, and loses at a crash what no flush
//! had reached.
//!
//! Invariant: what survives a crash is a prefix of the commits in their order, and holds every commit that a flush has acknowledged. All luck
//! comes from one stream, so a history repeats exactly.
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use crate::lab::LabError;
use crate::lab::streams::Stream;
use crate::store::records::MergeRecords;
use crate::store::{
    Answer, Batch, Change, Engine, EngineStatistics, MemoryEngine, Outcome, Partition, Rows, Scan,
    Snapshot, StoreError, Stored, Ticket,
};

/// How often an operation goes wrong, and how long it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Chance that a commit is refused.
    pub refused: f64,
    /// Chance that a conditional commit is told of a conflict that is none.
    pub conflict: f64,
    /// Chance that a flush fails.
    pub flush_fails: f64,
    /// Most turns that an operation waits, so that others come in between.
    pub turns_max: usize,
}

/// What a crash leaves behind: the commits in their order, and how many of them a flush has reached.
#[derive(Default)]
pub struct Disk(Mutex<Written>);

#[derive(Default)]
struct Written {
    commits: Vec<(Ticket, Partition, Batch)>,
    flushed: usize,
}

/// How often faults struck.
#[derive(Debug, Default)]
pub struct Struck {
    refused: AtomicU64,
    conflicts: AtomicU64,
    flushes: AtomicU64,
}

/// The engine in memory over such a disk.
pub struct FaultyEngine {
    memory: MemoryEngine,
    disk: Arc<Disk>,
    faults: Mutex<Faults>,
    luck: Mutex<Stream>,
    struck: Arc<Struck>,
}

/// Lets others come in between so many times.
struct Turns(usize);

// === impl Faults ===

impl Faults {
    /// Nothing goes wrong and nothing takes time.
    pub const NONE: Self = Self {
        refused: 0.0,
        conflict: 0.0,
        flush_fails: 0.0,
        turns_max: 0,
    };
}

// === impl Disk ===

impl Disk {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits so far.
    pub fn commits(&self) -> usize {
        self.written().commits.len()
    }

    /// Loses the commits that no flush has reached, but for a few that had luck; how many are left.
    pub fn crash(&self, luck: &mut Stream) -> usize {
        let mut written = self.written();
        let at_risk = written.commits.len() - written.flushed;
        let kept = written.flushed + luck.below(at_risk + 1);
        written.commits.truncate(kept);
        kept
    }
}

// === impl Struck ===

impl Struck {
    /// Refused commits, made-up conflicts, failed flushes.
    pub fn counts(&self) -> [u64; 3] {
        [&self.refused, &self.conflicts, &self.flushes].map(|count| count.load(Ordering::Relaxed))
    }
}

// === impl FaultyEngine ===

impl FaultyEngine {
    /// Opens what is on the disk; nothing goes wrong until it is told to.
    ///
    /// # Errors
    /// The commits do not repeat, which would be a defect of the engine in memory.
    pub fn open(
        disk: Arc<Disk>,
        luck: Stream,
        struck: Arc<Struck>,
        partitions: u16,
    ) -> Result<Self, LabError> {
        let memory = MemoryEngine::new(partitions, Arc::new(MergeRecords));
        let mut written = disk.written();
        for (ticket, partition, batch) in &mut written.commits {
            match memory.commit(*partition, batch.clone()).wait() {
                Ok(Outcome::Committed(again)) => *ticket = again,
                _ => return Err(LabError::Defect("a commit did not repeat")),
            }
        }
        written.flushed = written.commits.len();
        drop(written);
        Ok(Self {
            memory,
            disk,
            faults: Mutex::new(Faults::NONE),
            luck: Mutex::new(luck),
            struck,
        })
    }

    /// From now on this goes wrong.
    pub fn suffer(&self, faults: Faults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn luck(&self) -> MutexGuard<'_, Stream> {
        self.luck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strikes(&self, chance: f64, counter: &AtomicU64) -> bool {
        let strikes = chance > 0.0 && self.luck().unit() < chance;
        counter.fetch_add(u64::from(strikes), Ordering::Relaxed);
        strikes
    }

    fn turns(&self, factor: usize) -> Turns {
        let turns_max = self.faults().turns_max * factor;
        Turns(if turns_max == 0 {
            0
        } else {
            self.luck().below(turns_max + 1)
        })
    }

    fn apply(&self, partition: Partition, batch: Batch) -> Result<Outcome, StoreError> {
        let faults = self.faults();
        if self.strikes(faults.refused, &self.struck.refused) {
            return Err(failing("a commit was refused on purpose"));
        }
        if let Some(key) = conditional(&batch).map(<[u8]>::to_vec)
            && self.strikes(faults.conflict, &self.struck.conflicts)
        {
            return Ok(Outcome::Conflict { key });
        }
        let mut written = self.disk.written();
        let outcome = self.memory.commit(partition, batch.clone()).wait()?;
        if let Outcome::Committed(ticket) = &outcome {
            written.commits.push((*ticket, partition, batch));
        }
        Ok(outcome)
    }

    /// A flush up to a ticket, or of everything.
    fn flush_to(&self, ticket: Option<Ticket>) -> Result<(), StoreError> {
        if self.strikes(self.faults().flush_fails, &self.struck.flushes) {
            return Err(failing("a flush failed on purpose"));
        }
        let mut written = self.disk.written();
        let reached = match ticket {
            Some(ticket) => written.commits.partition_point(|(of, ..)| *of <= ticket),
            None => written.commits.len(),
        };
        written.flushed = written.flushed.max(reached);
        Ok(())
    }
}

fn failing(reason: &str) -> StoreError {
    StoreError::Unavailable {
        reason: reason.to_owned(),
        retryable: true,
    }
}

/// The first key that the batch expects a version of.
fn conditional(batch: &Batch) -> Option<&[u8]> {
    let expects = |change: &&Change| {
        matches!(
            change,
            Change::Put {
                expected: Some(_),
                ..
            } | Change::Delete {
                expected: Some(_),
                ..
            }
        )
    };
    batch.changes.iter().find(expects).map(Change::key)
}

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Engine for FaultyEngine {
    fn partitions(&self) -> u16 {
        self.memory.partitions()
    }

    fn read<'a>(
        &'a self,
        partition: Partition,
        key: &'a [u8],
    ) -> Answer<'a, Result<Option<Stored>, StoreError>> {
        let turns = self.turns(1);
        Answer::pending(async move {
            turns.await;
            self.memory.read(partition, key).await
        })
    }

    fn commit<'a>(
        &'a self,
        partition: Partition,
        batch: Batch,
    ) -> Answer<'a, Result<Outcome, StoreError>> {
        let turns = self.turns(1);
        Answer::pending(async move {
            turns.await;
            self.apply(partition, batch)
        })
    }

    fn scan<'a>(
        &'a self,
        partition: Partition,
        request: Scan,
    ) -> Answer<'a, Result<Rows, StoreError>> {
        let turns = self.turns(1);
        Answer::pending(async move {
            turns.await;
            self.memory.scan(partition, request).await
        })
    }

    fn durable<'a>(&'a self, ticket: Ticket) -> Answer<'a, Result<(), StoreError>> {
        let turns = self.turns(4);
        Answer::pending(async move {
            turns.await;
            self.flush_to(Some(ticket))
        })
    }

    fn flush<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        let turns = self.turns(4);
        Answer::pending(async move {
            turns.await;
            self.flush_to(None)
        })
    }

    fn snapshot<'a>(&'a self) -> Answer<'a, Result<Snapshot, StoreError>> {
        self.memory.snapshot()
    }

    fn health(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn statistics(&self) -> EngineStatistics {
        self.memory.statistics()
    }

    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        self.memory.close()
    }
}
