//! Calls into sled, and letting go of it.
//!
//! Invariant: no panic of sled unwinds into anything else, and none of them looks like a defect of this program.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::store::StoreError;

thread_local! {
    /// Whether this thread is in a call of sled.
    static IN_SLED: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of sled, which are how it reports some damage, from being printed as if they were defects of this program.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            let is_sleds = name.starts_with("sled") || name == "log flusher";
            if is_sleds || IN_SLED.get() {
                tracing::debug!(%panic, "sled gave up");
            } else {
                before(panic);
            }
        }));
    });
}

/// Calls sled. It reports damage by an error or by a panic; both become a [`StoreError`].
pub(super) fn guarded<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
    quiet_panics();
    let outer = IN_SLED.replace(true);
    let called = catch_unwind(AssertUnwindSafe(call));
    IN_SLED.set(outer);
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(::sled::Error::Io(error))) => Err(StoreError::of_io("the disk answered", &error)),
        Ok(Err(error @ ::sled::Error::Corruption { .. })) => Err(damaged(error.to_string())),
        Ok(Err(::sled::Error::Unsupported(_))) => Err(damaged(
            "they claim a version that was never written".into(),
        )),
        Ok(Err(error)) => Err(StoreError::passing(error.to_string())),
        Err(panic) => Err(damaged(panic_text(&*panic))),
    }
}

fn damaged(what: String) -> StoreError {
    StoreError::Corrupt {
        what,
        place: "the store's files".into(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("sled gave up: {}", text.unwrap_or("no reason given"))
}

/// Lets go of what may hold sled's files: the last to do so syncs them, and sled gives up aloud where that fails.
pub(super) fn let_go<T>(holder: T) {
    // There is nobody left to be told.
    let _ = guarded(|| {
        drop(holder);
        Ok(())
    });
}
