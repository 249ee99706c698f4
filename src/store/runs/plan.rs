//! Which runs to merge: those at the young end that are no larger than all the younger ones together.
//!
//! Invariant: what is merged is always a stretch of neighbours, so that of two values of a key the younger stays the one that counts. With the rule the
//! number of runs grows with the logarithm of the store, each byte is written again as often, and what is out of date comes to the size of the
//! oldest run at most. It is the "universal" or size-tiered compaction of the log-structured stores.

/// Fewest runs worth merging.
const RUNS_MIN: usize = 4;
/// Runs up to this size are merged whatever the younger ones come to, bytes: it costs next to nothing.
const SMALL_BYTES: u64 = 8 * 1024 * 1024;

/// The stretch to merge, of runs whose sizes are given oldest first; nothing where there is none.
pub(super) fn to_merge(sizes: &[u64]) -> Option<(usize, usize)> {
    let (mut from, mut younger) = (sizes.len(), 0_u64);
    for (at, size) in sizes.iter().enumerate().rev() {
        if from < sizes.len() && *size > younger.max(SMALL_BYTES) {
            break;
        }
        from = at;
        younger = younger.saturating_add(*size);
    }
    (sizes.len() - from >= RUNS_MIN).then_some((from, sizes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 4 * SMALL_BYTES;

    #[test]
    fn runs_of_a_size_are_merged_once_there_are_enough() {
        let merged = |sizes: &[u64]| {
            let sizes: Vec<u64> = sizes.iter().map(|size| size * LARGE).collect();
            to_merge(&sizes)
        };
        assert_eq!(merged(&[]), None);
        assert_eq!(merged(&[5, 5, 5]), None);
        assert_eq!(merged(&[5, 5, 5, 5]), Some((0, 4)));
        assert_eq!(merged(&[21, 5, 5, 5, 5]), Some((1, 5)));
        assert_eq!(merged(&[20, 5, 5, 5, 5]), Some((0, 5)));
        assert_eq!(
            merged(&[20, 9, 6, 2]),
            None,
            "each is larger than the younger"
        );
    }

    #[test]
    fn small_runs_are_merged_however_they_compare() {
        let sizes = [LARGE, 8, 4, 2, 1].map(|size| size * 1_000_000);
        assert_eq!(to_merge(&sizes), Some((1, 5)));
    }

    #[test]
    fn over_a_long_time_there_are_few_runs_and_each_byte_is_written_few_times() {
        let (mut sizes, mut written, mut most) = (Vec::new(), 0_u64, 0);
        for _ in 0..10_000 {
            sizes.push(LARGE);
            written += 1;
            while let Some((from, to)) = to_merge(&sizes) {
                let merged: u64 = sizes.drain(from..to).sum();
                written += merged / LARGE;
                sizes.insert(from, merged);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 16, "{most} runs");
        assert!(written <= 8 * 10_000, "{written}");
    }
}
