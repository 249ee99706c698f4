//! Names made of content: what is kept under such a name cannot change without the name no longer fitting.
//!
//! Invariant: equal bytes have equal names; different bytes share one with probability 2^-128. What is named is left to others.
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The first 16 bytes of the BLAKE3 hash of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentId(pub [u8; 16]);

/// The name of a value that does not change, found at most once.
#[derive(Clone, Debug, Default)]
pub struct LazyId(OnceLock<ContentId>);

// === impl ContentId ===

impl ContentId {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        Self(*hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]))
    }
}

impl std::fmt::Display for ContentId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

// === impl LazyId ===

impl LazyId {
    /// The name, if it was found before.
    pub fn get(&self) -> Option<ContentId> {
        self.0.get().copied()
    }

    /// Keeps the name of the value; the first one stays.
    pub fn keep(&self, id: ContentId) {
        // A second one is the same.
        let _ = self.0.set(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_its_content_and_no_other() {
        assert_eq!(ContentId::of(b"hermod"), ContentId::of(b"hermod"));
        assert_ne!(ContentId::of(b"hermod"), ContentId::of(b"hermoe"));
        assert_eq!(
            ContentId::of(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc949"
        );
    }

    #[test]
    fn a_kept_name_is_found_again() {
        let lazy = LazyId::default();
        assert_eq!(lazy.get(), None);
        lazy.keep(ContentId::of(b"a"));
        assert_eq!(lazy.get(), Some(ContentId::of(b"a")));
    }
}
