//! Work beside the answers in short stretches with rests between, so that an answer seldom waits for more than a part of a millisecond where both
//! want the same processor. A lower priority alone does not do it: a scheduler lets who runs finish a turn of some milliseconds.
//!
//! Invariant: only threads that asked for it rest, so whoever calls the same code to have it done (a test, a subcommand, a stop) does not wait. Nobody
//! rests while holding a lock that an answer takes.

use std::cell::Cell;
use std::marker::PhantomData;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Computing that is followed by a rest.
const STRETCH: Duration = Duration::from_micros(300);

/// Longest rest: long enough for a stretch of a second to be followed by nine.
const REST_MAX: Duration = Duration::from_secs(10);

thread_local! {
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Pace {
    /// In lengths of the stretch before.
    rest: f64,
    /// The thread's CPU time when the stretch began.
    since: Duration,
}

/// While it lives, the thread that made it rests.
#[must_use = "the thread rests for as long as this lives"]
pub struct Resting {
    /// It stays on its thread.
    thread: PhantomData<*const ()>,
}

/// From now on this thread rests after each stretch for so many times its length, wherever it [breathes](breathe).
pub fn rest(times: f64) -> Resting {
    PACE.set(Some(Pace {
        rest: times,
        since: computed(),
    }));
    Resting {
        thread: PhantomData,
    }
}

/// Rests for another number of times from now on, if this thread is one that does.
pub fn change(times: f64) {
    let pace = PACE.get();
    PACE.set(pace.map(|pace| Pace {
        rest: times,
        ..pace
    }));
}

/// Rests if this thread is one that does, and has computed for a stretch.
pub fn breathe() {
    let Some(pace) = PACE.get() else { return };
    let stretch = computed().saturating_sub(pace.since);
    if stretch < STRETCH {
        return;
    }
    if let Some(pause) = pause(stretch, pace.rest) {
        thread::sleep(pause);
    }
    PACE.set(Some(Pace {
        since: computed(),
        ..pace
    }));
}

/// How long to rest after a stretch; nothing for less than that.
fn pause(stretch: Duration, times: f64) -> Option<Duration> {
    let pause = Duration::try_from_secs_f64(stretch.as_secs_f64() * times).ok()?;
    (!pause.is_zero()).then(|| pause.min(REST_MAX))
}

/// CPU time of this thread.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

// === impl Resting ===

impl Drop for Resting {
    fn drop(&mut self) {
        PACE.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compute(time: Duration) {
        let begun = computed();
        while computed() < begun + time {
            std::hint::black_box(begun);
        }
    }

    #[test]
    fn rests_are_so_many_times_what_was_computed_and_bounded() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(2), 9.0), Some(ms(18)));
        assert_eq!(pause(ms(2), 0.0), None);
        assert_eq!(pause(ms(2), -1.0), None);
        assert_eq!(pause(ms(2), f64::NAN), None);
        assert_eq!(pause(ms(2), f64::INFINITY), None);
        assert_eq!(pause(ms(900), 9.0), Some(ms(8_100)));
        assert_eq!(pause(ms(1_200), 9.0), Some(REST_MAX));
    }

    #[test]
    fn a_stretch_begins_anew_only_after_it_was_long_enough_and_the_thread_is_one_that_rests() {
        let since = || PACE.get().map(|pace| pace.since);
        breathe();
        assert_eq!(since(), None, "nobody asked");
        change(2.0);
        assert_eq!(since(), None, "still nobody");
        let resting = rest(0.0);
        let begun = since();
        breathe();
        assert_eq!(since(), begun, "too short");
        compute(STRETCH);
        breathe();
        assert!(since() > begun);
        change(2.0);
        assert!(PACE.get().is_some_and(|pace| pace.rest == 2.0));
        drop(resting);
        assert_eq!(since(), None);
    }
}
