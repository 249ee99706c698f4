//! The answer of an engine: ready at once, or a boxed future.
//!
//! Invariant: a ready answer allocates nothing and resolves at its first poll, so local engines pay nothing for the trait being asynchronous.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

/// A future of `T` that a local engine gives without allocating. Polled after completion it stays pending.
pub enum Answer<'a, T> {
    /// Known already; empty once taken.
    Ready(Option<T>),
    /// Still being worked out.
    Pending(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
}

impl<'a, T> Answer<'a, T> {
    /// An answer that is already known.
    pub fn ready(value: T) -> Self {
        Answer::Ready(Some(value))
    }

    /// An answer that a future will give.
    pub fn pending(future: impl Future<Output = T> + Send + 'a) -> Self {
        Answer::Pending(Box::pin(future))
    }
}

impl<T: Unpin> Answer<'_, T> {
    /// Blocks this thread until the answer is there; for plain threads, never inside an async task.
    pub fn wait(self) -> T {
        match self {
            Answer::Ready(Some(value)) => value,
            other => block_on(other),
        }
    }
}

impl<T: Unpin> Future for Answer<'_, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Answer::Ready(value) => value.take().map_or(Poll::Pending, Poll::Ready),
            Answer::Pending(future) => future.as_mut().poll(context),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_answer_is_given_without_a_runtime() {
        assert_eq!(Answer::ready(7).wait(), 7);
    }

    #[test]
    fn a_pending_answer_wakes_a_plain_thread_from_another() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = std::thread::spawn(move || sender.send(5));
        let answer: Answer<'_, i32> = Answer::pending(async move { receiver.await.unwrap_or(-1) });
        assert_eq!(answer.wait(), 5);
        assert!(other.join().is_ok());
    }
}
