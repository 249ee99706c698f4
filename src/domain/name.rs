//! The names things go by: slugs that callers give, and the compact keys that hermod gives in their place.
//!
//! A slug that exists is valid. A recipient exists here only as a keyed hash; the caller's id stays outside.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most bytes of an identifier given by a caller, such as a recipient id or a request id.
pub const IDENTIFIER_BYTES_MAX: usize = 256;

/// Most characters of a slug.
pub const SLUG_CHARACTERS_MAX: usize = 63;

/// A short name of letters `a` to `z`, digits, `_` and `-`, 1 to 63 long, first a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slug(String);

/// Why a text is not a slug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 characters of a-z, 0-9, '_' and '-', the first a letter or digit")]
pub struct NotASlug;

impl Slug {
    /// Checks and takes a text.
    pub fn parse(text: &str) -> Result<Self, NotASlug> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= SLUG_CHARACTERS_MAX
            && bytes.first().is_some_and(|c| first(*c))
            && bytes.iter().all(|c| inner(*c));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASlug)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A valid slug that stands in for one that was refused.
    pub fn placeholder() -> Self {
        Self("none".to_owned())
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A tenant, numbered within one store; 1 is `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

impl TenantId {
    /// The one tenant there is while no authentication is configured.
    pub const DEFAULT: Self = Self(1);
}

/// An experiment's number, never used again after its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExperimentUid(pub u64);

impl ExperimentUid {
    /// A tenant's n-th experiment, of at most 2^32 - 1: each tenant counts for itself, so that nobody's draws depend on the experiments of others.
    pub fn nth(tenant: TenantId, number: u64) -> Option<Self> {
        let space = match tenant {
            TenantId::DEFAULT => 0,
            TenantId(of) => u64::from(of) << 32,
        };
        let is_within = number <= u64::from(u32::MAX);
        is_within.then_some(Self(space | number))
    }

    /// Which experiment of the tenant it is; `None` for a number that the tenant is never given.
    pub fn number_of(self, tenant: TenantId) -> Option<u64> {
        let number = self.0 & u64::from(u32::MAX);
        (Self::nth(tenant, number) == Some(self)).then_some(number)
    }
}

impl fmt::Display for ExperimentUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A variant's position in its experiment; positions are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VariantIndex(pub u16);

/// The keyed hash of a caller's recipient id within a tenant: 16 bytes of keyed BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecipientKey(pub [u8; 16]);

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl RecipientKey {
    /// Hashes a caller's id with the secret that lives outside the store.
    pub fn derive(secret: &[u8; 32], tenant: TenantId, recipient_id: &str) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher
            .update(&tenant.0.to_le_bytes())
            .update(recipient_id.as_bytes());
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        Self(key)
    }

    /// The logical partition of this recipient, of `partitions` in all.
    pub fn partition(&self, partitions: u16) -> u16 {
        u16::from_le_bytes([self.0[0], self.0[1]]) % partitions.max(1)
    }
}

/// A 64-bit fingerprint of a text that callers give for retries or occasions; 0 stands for the empty text.
pub fn fingerprint(text: &str) -> u64 {
    if text.is_empty() {
        return 0;
    }
    let hash = blake3::hash(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_take_only_their_alphabet_and_length() {
        for good in ["a", "9-lives", "welcome_2026", &"x".repeat(63)] {
            assert_eq!(Slug::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "_a", "A", "ä", "a b", "a/b", &"x".repeat(64)] {
            assert_eq!(Slug::parse(bad), Err(NotASlug), "{bad}");
        }
    }

    #[test]
    fn recipient_keys_depend_on_secret_tenant_and_id() {
        let key =
            |secret: u8, tenant, id| RecipientKey::derive(&[secret; 32], TenantId(tenant), id);
        assert_eq!(key(1, 1, "ann"), key(1, 1, "ann"));
        assert_ne!(key(1, 1, "ann"), key(2, 1, "ann"));
        assert_ne!(key(1, 1, "ann"), key(1, 2, "ann"));
        assert_ne!(key(1, 1, "ann"), key(1, 1, "bob"));
        assert!(!format!("{:?}", key(1, 1, "ann")).contains("ann"));
    }

    #[test]
    fn the_empty_text_has_fingerprint_zero_and_no_other_has() {
        assert_eq!(fingerprint(""), 0);
        assert_ne!(fingerprint("a"), 0);
        assert_ne!(fingerprint("a"), fingerprint("b"));
    }
}
