//! Calls in flight, moved on one step at a time in an order that a stream of random numbers chooses.
//!
//! Invariant: nothing runs by itself, so the same stream interleaves the same calls in the same way.
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::lab::streams::Stream;

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Calls in flight, each with what is known of it.
pub struct Crew<'a, C, T> {
    calls: Vec<(C, Running<'a, T>)>,
}

impl<'a, C, T> Crew<'a, C, T> {
    /// Nobody yet.
    pub fn new() -> Self {
        Self { calls: Vec::new() }
    }

    /// Calls in flight.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// One more call, which has not begun yet.
    pub fn send(&mut self, call: C, running: impl Future<Output = T> + 'a) {
        self.calls.push((call, Box::pin(running)));
    }

    /// Moves one call on by one step; what it came to if it ended.
    pub fn step(&mut self, luck: &mut Stream) -> Option<(C, T)> {
        if self.calls.is_empty() {
            return None;
        }
        let at = luck.below(self.calls.len());
        let (_, running) = self.calls.get_mut(at)?;
        match running
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => None,
            Poll::Ready(outcome) => {
                let (call, _) = self.calls.swap_remove(at);
                Some((call, outcome))
            }
        }
    }

    /// Ends all calls where they are, as a crash does.
    pub fn drop_all(self) -> impl Iterator<Item = C> {
        self.calls.into_iter().map(|(call, _)| call)
    }
}
