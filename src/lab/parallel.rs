//! Runs independent jobs on all cores and tells how far they are.
//!
//! Invariant: results come in the order of the jobs, and of several errors the first job's is answered, whatever the threads do.
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::LabError;

/// Is told how far a measurement has come.
pub trait Progress: Sync {
    /// A part of the work begins, with so many steps.
    fn begin(&self, what: &str, steps: u64);
    /// So many steps of it are done.
    fn advance(&self, steps: u64);
}

/// Nobody is watching.
impl Progress for () {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// Does the work for every job on as many threads as there are cores; stops early when one fails.
pub fn in_parallel<J: Sync, R: Send>(
    jobs: &[J],
    work: impl Fn(&J) -> Result<R, LabError> + Sync,
) -> Result<Vec<R>, LabError> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done: Mutex<Vec<(usize, Result<R, LabError>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Acquire) {
                    let at = next.fetch_add(1, Ordering::AcqRel);
                    let Some(job) = jobs.get(at) else { return };
                    let result = work(job);
                    failed.fetch_or(result.is_err(), Ordering::AcqRel);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let jobs: Vec<u64> = (0..500).collect();
        let squares = in_parallel(&jobs, |job| Ok(job * job)).unwrap();
        assert!(
            squares
                .iter()
                .zip(&jobs)
                .all(|(square, job)| *square == job * job)
        );
    }

    #[test]
    fn a_failure_is_answered() {
        let fails = |job: &u32| {
            if *job == 3 {
                Err(LabError::Waited)
            } else {
                Ok(())
            }
        };
        assert!(in_parallel(&[1, 2, 3, 4], fails).is_err());
    }
}
