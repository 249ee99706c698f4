//! The decision id: a signed token that by itself names tenant, experiment, variant, cell, recipient key, propensity and times.
//!
//! Invariant: what verifies was made by a holder of the key, bit for bit; nothing is believed before that. 73 bytes and a
//! 16-byte keyed BLAKE3 tag, in URL-safe base64 without padding.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::domain::cell::{Context, Lane};
use crate::domain::name::{ExperimentUid, RecipientKey, TenantId, VariantIndex};

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const BODY_BYTES: usize = 73;

/// Most characters of a token; anything longer is refused unread.
pub const TOKEN_CHARACTERS_MAX: usize = 512;

/// What a decision id says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionToken {
    /// The tenant.
    pub tenant: TenantId,
    /// The experiment.
    pub experiment: ExperimentUid,
    /// The variant.
    pub variant: VariantIndex,
    /// Segment and daypart.
    pub context: Context,
    /// Policy or holdout.
    pub lane: Lane,
    /// The recipient.
    pub recipient: RecipientKey,
    /// Probability with which the variant was chosen.
    pub propensity: f64,
    /// When it was decided, to the millisecond.
    pub decided_at: Timestamp,
    /// When the mail was planned to leave, to the millisecond.
    pub send_at: Timestamp,
    /// Fingerprint of the occasion; 0 for none.
    pub occasion: u64,
    /// Fingerprint of the decision, which its touch carries too.
    pub decision: u64,
    /// Whether the trial counted with the decision.
    pub trial_on_decision: bool,
    /// Whether the trial counts for opens.
    pub measurable: bool,
    /// Whether the waiting time counts for the person's hours.
    pub exposure_recorded: bool,
}

/// A signing key and its number, which the token carries so that keys can be replaced.
#[derive(Clone)]
pub struct TokenKey {
    /// Number of the key.
    pub id: u8,
    /// The secret.
    pub secret: [u8; 32],
}

/// The key that signs, and those that verify.
#[derive(Clone)]
pub struct TokenKeys {
    signing: TokenKey,
    retired: Vec<TokenKey>,
}

/// Why a text is not a decision id of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not the shape of a token.
    #[error("is not a decision_id; pass the text of a decision unchanged")]
    Malformed,
    /// Of a format or key that is not known here.
    #[error("was made by another server or with a key that is no longer accepted")]
    UnknownKey,
    /// The tag does not fit: forged, damaged or foreign.
    #[error("does not verify: it was changed, or made by another server")]
    Forged,
}

// === impl TokenKeys ===

impl TokenKeys {
    /// Signs with one key, and verifies with it and the retired ones.
    pub fn new(signing: TokenKey, retired: Vec<TokenKey>) -> Self {
        Self { signing, retired }
    }

    /// The token's text, 119 characters.
    pub fn sign(&self, token: &DecisionToken) -> String {
        let mut bytes = token.encode(self.signing.id);
        let tag = tag(&self.signing.secret, &bytes);
        bytes.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Verifies a text and reads it.
    pub fn verify(&self, text: &str) -> Result<DecisionToken, TokenError> {
        if text.len() > TOKEN_CHARACTERS_MAX {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| TokenError::Malformed)?;
        let (body, found) = bytes
            .split_at_checked(BODY_BYTES)
            .ok_or(TokenError::Malformed)?;
        let found: [u8; TAG_BYTES] = found.try_into().map_err(|_| TokenError::Malformed)?;
        let [format, key_id, ..] = *body else {
            return Err(TokenError::Malformed);
        };
        if format != FORMAT {
            return Err(TokenError::UnknownKey);
        }
        let key = std::iter::once(&self.signing)
            .chain(&self.retired)
            .find(|key| key.id == key_id)
            .ok_or(TokenError::UnknownKey)?;
        if !equal_in_constant_time(&tag(&key.secret, body), &found) {
            return Err(TokenError::Forged);
        }
        DecisionToken::decode(body).ok_or(TokenError::Malformed)
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TokenKeys(signing {}, {} retired)",
            self.signing.id,
            self.retired.len()
        )
    }
}

fn tag(secret: &[u8; 32], body: &[u8]) -> [u8; TAG_BYTES] {
    let mut tag = [0; TAG_BYTES];
    blake3::Hasher::new_keyed(secret)
        .update(body)
        .finalize_xof()
        .fill(&mut tag);
    tag
}

/// Comparing hashes of both sides tells nothing of where they differ: BLAKE3 hashes compare in constant time.
fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    blake3::hash(one) == blake3::hash(other)
}

// === impl DecisionToken ===

impl DecisionToken {
    fn encode(&self, key_id: u8) -> Vec<u8> {
        let flags = u8::from(self.lane == Lane::Holdout)
            | u8::from(self.trial_on_decision) << 1
            | u8::from(self.measurable) << 2
            | u8::from(self.exposure_recorded) << 3;
        let mut bytes = Vec::with_capacity(BODY_BYTES + TAG_BYTES);
        bytes.extend_from_slice(&[
            FORMAT,
            key_id,
            flags,
            self.context.segment,
            self.context.daypart,
        ]);
        bytes.extend_from_slice(&self.tenant.0.to_le_bytes());
        bytes.extend_from_slice(&self.experiment.0.to_le_bytes());
        bytes.extend_from_slice(&self.variant.0.to_le_bytes());
        bytes.extend_from_slice(&self.recipient.0);
        bytes.extend_from_slice(&self.propensity.to_le_bytes());
        bytes.extend_from_slice(&self.decided_at.as_millisecond().to_le_bytes()[..7]);
        bytes.extend_from_slice(&self.send_at.as_millisecond().to_le_bytes()[..7]);
        bytes.extend_from_slice(&self.occasion.to_le_bytes());
        bytes.extend_from_slice(&self.decision.to_le_bytes());
        bytes
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let [_format, _key, flags, segment, daypart] = reader.take::<5>()?;
        Some(Self {
            tenant: TenantId(u32::from_le_bytes(reader.take()?)),
            experiment: ExperimentUid(u64::from_le_bytes(reader.take()?)),
            variant: VariantIndex(u16::from_le_bytes(reader.take()?)),
            recipient: RecipientKey(reader.take()?),
            propensity: f64::from_le_bytes(reader.take()?),
            decided_at: reader.instant()?,
            send_at: reader.instant()?,
            occasion: u64::from_le_bytes(reader.take()?),
            decision: u64::from_le_bytes(reader.take()?),
            context: Context { segment, daypart },
            lane: if flags & 1 == 0 {
                Lane::Policy
            } else {
                Lane::Holdout
            },
            trial_on_decision: flags & 2 != 0,
            measurable: flags & 4 != 0,
            exposure_recorded: flags & 8 != 0,
        })
    }
}

/// Takes fixed pieces off the front of a body.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (piece, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*piece)
    }

    /// Seven bytes of a signed count of milliseconds: enough for a million years.
    fn instant(&mut self) -> Option<Timestamp> {
        let seven = self.take::<7>()?;
        let mut eight = [0; 8];
        eight[1..].copy_from_slice(&seven);
        Timestamp::from_millisecond(i64::from_le_bytes(eight) >> 8).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(id: u8) -> TokenKeys {
        TokenKeys::new(
            TokenKey {
                id,
                secret: [id; 32],
            },
            Vec::new(),
        )
    }

    fn token() -> DecisionToken {
        DecisionToken {
            tenant: TenantId(1),
            experiment: ExperimentUid(0xfeed),
            variant: VariantIndex(999),
            context: Context {
                segment: 64,
                daypart: 8,
            },
            lane: Lane::Holdout,
            recipient: RecipientKey([9; 16]),
            propensity: 0.1234567890123,
            decided_at: Timestamp::from_millisecond(1_795_000_000_123).unwrap(),
            send_at: Timestamp::from_millisecond(-5).unwrap(),
            occasion: 3,
            decision: u64::MAX,
            trial_on_decision: true,
            measurable: false,
            exposure_recorded: true,
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let text = keys(1).sign(&token());
        assert_eq!(text.len(), 119);
        assert_eq!(keys(1).verify(&text), Ok(token()));
    }

    #[test]
    fn no_single_changed_bit_verifies() {
        let bytes = URL_SAFE_NO_PAD.decode(keys(1).sign(&token())).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                keys(1).verify(&URL_SAFE_NO_PAD.encode(forged)).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn retired_keys_verify_and_unknown_ones_do_not() {
        let old = keys(1).sign(&token());
        let rotated = TokenKeys::new(
            TokenKey {
                id: 2,
                secret: [2; 32],
            },
            vec![TokenKey {
                id: 1,
                secret: [1; 32],
            }],
        );
        assert!(rotated.verify(&old).is_ok());
        assert_eq!(keys(2).verify(&old), Err(TokenError::UnknownKey));
    }

    proptest! {
        #[test]
        fn no_text_makes_verification_panic(text in ".{0,600}") {
            prop_assert!(keys(1).verify(&text).is_err());
        }
    }
}
