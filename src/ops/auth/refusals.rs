//! What becomes of a refused call: its status, a count, and a line in the log, of which there is at most one a second.
//!
//! Invariant: nothing a stranger presented is repeated, neither to the stranger nor in the log; names are those of recognised credentials.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::admission::Refusal;

const ERROR_DOMAIN: &str = "hermod.v1";

/// The log of refusals, thinned out.
#[derive(Debug)]
pub(super) struct RefusalLog {
    /// The second in which a line was last written.
    last_second: AtomicI64,
    /// Refusals since then without a line.
    untold: AtomicU64,
}

// === impl RefusalLog ===

impl Default for RefusalLog {
    fn default() -> Self {
        Self {
            last_second: AtomicI64::new(i64::MIN),
            untold: AtomicU64::new(0),
        }
    }
}

impl RefusalLog {
    /// Counts a refusal; answers whether it was its turn to be told.
    pub fn record(
        &self,
        refusal: &Refusal,
        method: &str,
        peer: Option<SocketAddr>,
        now: Timestamp,
    ) -> bool {
        let reason = refusal.reason();
        metrics::counter!("hermod_auth_failures_total", "reason" => reason).increment(1);
        let Some(untold) = self.turn(now.as_second()) else {
            return false;
        };
        tracing::warn!(
            reason,
            method,
            caller = refusal.name().unwrap_or("unknown"),
            peer = %peer.map_or_else(|| "unknown".to_owned(), |peer| peer.ip().to_string()),
            untold_before = untold,
            "a call was refused"
        );
        true
    }

    /// How many went untold before, if it is this one's turn.
    fn turn(&self, second: i64) -> Option<u64> {
        let last = self.last_second.swap(second, Ordering::Relaxed);
        if last == second {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

/// The answer to a refused call.
pub(super) fn status(refusal: &Refusal) -> Status {
    let (code, message) = match refusal {
        Refusal::Missing => (
            Code::Unauthenticated,
            "this call needs credentials; send the metadata \"authorization: Bearer hm_...\" or present a client certificate".to_owned(),
        ),
        Refusal::Invalid => (
            Code::Unauthenticated,
            "these credentials are not known here; `hermod key check` says whether a token is in the access file".to_owned(),
        ),
        Refusal::Expired { name } => (
            Code::Unauthenticated,
            format!("{name} has expired; use its successor, or have a new one made with `hermod key new`"),
        ),
        Refusal::NotYetValid { name } => (
            Code::Unauthenticated,
            format!("{name} is not valid yet; use its predecessor until it is"),
        ),
        Refusal::ScopeMissing { name, needed } => (
            Code::PermissionDenied,
            format!("{name} lacks the scope \"{}\", which this call needs", needed.as_str()),
        ),
    };
    let metadata = match refusal {
        Refusal::ScopeMissing { needed, .. } => {
            HashMap::from([("scope".to_owned(), needed.as_str().to_owned())])
        }
        _ => HashMap::new(),
    };
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason(), ERROR_DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::super::scope::Scope;
    use super::*;

    #[test]
    fn one_refusal_a_second_is_told_with_the_number_of_the_others() {
        let log = RefusalLog::default();
        assert_eq!(log.turn(10), Some(0));
        assert_eq!(log.turn(10), None);
        assert_eq!(log.turn(10), None);
        assert_eq!(log.turn(11), Some(2));
        assert_eq!(log.turn(12), Some(0));
    }

    #[test]
    fn a_missing_scope_is_named_for_people_and_machines() {
        let refused = status(&Refusal::ScopeMissing {
            name: "key:k1".into(),
            needed: Scope::Admin,
        });
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("\"admin\""), "{refused:?}");
        let details = refused.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, "SCOPE_MISSING");
        assert_eq!(info.metadata["scope"], "admin");
    }
}
