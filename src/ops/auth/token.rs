//! Bearer tokens of callers: `hm_<id>_<secret>`, of which only a hash of the secret is kept.
//!
//! Invariant: a secret is 256 random bits and shows itself only through [`NewToken::text`]. Because it cannot be guessed however fast a hash is
//! tried, a fast hash keeps it as safe as a slow one would (slow hashes exist for passwords that people choose), and checking a call costs a
//! microsecond. Hashes are compared in constant time.
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rand::TryRng;
use rand::rngs::SysRng;

/// What every token begins with, so that scanners for leaked secrets find it.
const PREFIX: &str = "hm_";
/// Separates this hash from every other use of BLAKE3 (key derivation mode, BLAKE3 paper, section 2.5).
const CONTEXT: &str = "hermod 2026-11-22 hash of an API key";
const ID_CHARACTERS_MAX: usize = 32;
const ID_ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const NEW_ID_CHARACTERS: usize = 10;

/// The public name of a key: 1 to 32 letters `a` to `z` and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A token as somebody presents it.
pub struct Token {
    id: KeyId,
    secret: [u8; 32],
}

/// The hash of a secret together with its key's id; compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

/// A token just made, before it is handed over.
pub struct NewToken(Token);

// === impl KeyId ===

impl KeyId {
    /// Checks and takes a text.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=ID_CHARACTERS_MAX).contains(&text.len());
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        (fits && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Token ===

impl Token {
    /// Reads a token; `None` if it has not the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let secret = BASE64.decode(secret).ok()?;
        Some(Self {
            id: KeyId::parse(id)?,
            secret: secret.try_into().ok()?,
        })
    }

    /// The public name of its key.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        // The separator cannot be part of an id, so no two pairs hash the same bytes.
        hasher
            .update(self.id.0.as_bytes())
            .update(b"_")
            .update(&self.secret);
        TokenHash(hasher.finalize())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, redacted)", self.id)
    }
}

// === impl NewToken ===

impl NewToken {
    /// A new random token, under this id or a random one.
    ///
    /// # Errors
    /// The operating system gave no random bytes.
    pub fn random(id: Option<KeyId>) -> Result<Self, String> {
        let mut bytes = [0; 32 + NEW_ID_CHARACTERS];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| error.to_string())?;
        let (id_bytes, secret) = bytes.split_at(NEW_ID_CHARACTERS);
        let letter = |byte: &u8| ID_ALPHABET.get(usize::from(byte % 32)).copied();
        let random_id = || id_bytes.iter().filter_map(letter).map(char::from).collect();
        Ok(Self(Token {
            id: id.unwrap_or_else(|| KeyId(random_id())),
            secret: secret.try_into().unwrap_or_default(),
        }))
    }

    /// The public name of its key.
    pub fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        self.0.hash()
    }

    /// The token itself, for the one who will present it.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}_{}", self.0.id, BASE64.encode(self.0.secret))
    }
}

// === impl TokenHash ===

impl TokenHash {
    /// A hash that no token has.
    pub(super) fn of_nothing() -> Self {
        Self(blake3::Hash::from_bytes([0; 32]))
    }

    /// Reads what [`fmt::Display`] writes; `None` if it is no such hash.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text.strip_prefix("blake3:")?)
            .ok()
            .map(Self)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.0.to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_reads_back_to_the_same_id_and_hash() {
        let new = NewToken::random(None).unwrap();
        let text = new.text();
        assert_eq!(
            text.len(),
            3 + NEW_ID_CHARACTERS + 1 + 43,
            "256 bits in base64"
        );
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.id(), new.id());
        assert_eq!(token.hash(), new.hash());
        assert_eq!(
            TokenHash::parse(&new.hash().to_string()),
            Some(token.hash())
        );
        assert_ne!(NewToken::random(None).unwrap().text(), text);
    }

    #[test]
    fn the_hash_depends_on_every_part_of_the_token() {
        let token = |id: &str, byte| Token {
            id: KeyId::parse(id).unwrap(),
            secret: [byte; 32],
        };
        assert_eq!(token("a", 1).hash(), token("a", 1).hash());
        assert_ne!(token("a", 1).hash(), token("b", 1).hash());
        assert_ne!(token("a", 1).hash(), token("a", 2).hash());
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused() {
        let good = NewToken::random(KeyId::parse("k1")).unwrap().text();
        assert!(good.starts_with("hm_k1_"));
        assert!(Token::parse(&good).is_some());
        let short = good.get(..good.len() - 1).unwrap();
        for bad in [
            "",
            "hm_",
            "hm__",
            "k1_x",
            short,
            &format!("{good}A"),
            &good.replace("hm_k1", "hm_K1"),
            &good.replace("hm_k1", "hm_"),
            &format!(" {good}"),
        ] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn neither_token_nor_hash_shows_itself() {
        let token = Token::parse(&NewToken::random(None).unwrap().text()).unwrap();
        let shown = format!("{token:?} {:?}", token.hash());
        assert!(!shown.contains(&BASE64.encode(token.secret)), "{shown}");
        assert!(shown.contains("redacted"), "{shown}");
    }
}
