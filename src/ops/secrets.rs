//! The keys: one hashes recipients' ids, the others sign decision tokens.
//!
//! They live in a file of their own that only its owner may read, and are never printed or logged. Losing the recipient
//! key orphans every recipient record, so [`Keys::create`] is for a new store only and never replaces a file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::TryRng;
use rand::rngs::SysRng;
use serde::Deserialize;

use super::private_file;

const FORMAT_VERSION: u32 = 1;

/// A key of 32 bytes that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

/// All keys of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    recipient: SecretKey,
    signing: SigningKey,
    token_keys: BTreeMap<u8, SecretKey>,
}

/// The key that signs new tokens, with the id that goes into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// The id, unique within the keys file.
    pub id: u8,
    /// The key.
    pub key: SecretKey,
}

/// Why there are no keys. The texts name the file and the next step, never a key.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is no such file.
    #[error(
        "the keys file {0} does not exist; without the keys the store was created with its recipients cannot be found \
         again: restore the file from its backup, or set privacy.keys_file to where it is"
    )]
    Missing(PathBuf),
    /// The file exists already; it is never replaced.
    #[error("the keys file {0} exists already and is not replaced")]
    Exists(PathBuf),
    /// Others than the owner may read or write the file.
    #[error("the keys file {path} is open to other users (mode {mode:04o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or written.
    #[error("the keys file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The content is not a keys file.
    #[error(
        "the keys file {path} cannot be used: {violation}; correct it or restore it from its backup"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        violation: String,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    NoRandomness(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    version: u32,
    recipient_key: String,
    signing_key_id: u8,
    token_key: Vec<TokenKeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenKeyEntry {
    id: u8,
    key: String,
}

// === impl Keys ===

impl Keys {
    /// New random keys that are kept nowhere, for a store in memory.
    ///
    /// # Errors
    /// [`KeysError::NoRandomness`].
    pub fn generate() -> Result<Self, KeysError> {
        let signing = SigningKey {
            id: 1,
            key: SecretKey::random()?,
        };
        let token_keys = BTreeMap::from([(signing.id, signing.key.clone())]);
        Ok(Self {
            recipient: SecretKey::random()?,
            signing,
            token_keys,
        })
    }

    /// Writes new random keys to a new file, mode 0600. For a new store only.
    ///
    /// # Errors
    /// [`KeysError::Exists`], [`KeysError::Io`], [`KeysError::NoRandomness`].
    pub fn create(path: &Path) -> Result<Self, KeysError> {
        let keys = Self::generate()?;
        match private_file::create(path, keys.to_toml().as_bytes()) {
            Ok(()) => Ok(keys),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KeysError::Exists(path.to_owned()))
            }
            Err(source) => Err(KeysError::Io {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Reads the keys of an existing store.
    ///
    /// # Errors
    /// [`KeysError::Missing`], [`KeysError::Exposed`], [`KeysError::Malformed`], [`KeysError::Io`].
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeysError::Missing(path.to_owned()),
            _ => KeysError::Io {
                path: path.to_owned(),
                source,
            },
        };
        refuse_exposed(path, &fs::metadata(path).map_err(io_error)?)?;
        let text = fs::read_to_string(path).map_err(io_error)?;
        Self::parse(&text).map_err(|violation| KeysError::Malformed {
            path: path.to_owned(),
            violation,
        })
    }

    /// Reads the keys, or creates them if the file is missing. For a store that may be new; an existing one wants
    /// [`Keys::load`], lest new keys be made for old records.
    ///
    /// # Errors
    /// As [`Keys::load`] and [`Keys::create`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeysError> {
        match Self::load(path) {
            Err(KeysError::Missing(_)) => match Self::create(path) {
                // Another process was faster; its keys count.
                Err(KeysError::Exists(_)) => Self::load(path),
                created => created,
            },
            loaded => loaded,
        }
    }

    /// The key under which recipients' ids are hashed.
    pub fn recipient(&self) -> &SecretKey {
        &self.recipient
    }

    /// The key that signs new tokens.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The key that verifies tokens signed under `id`, if it is known.
    pub fn token_key(&self, id: u8) -> Option<&SecretKey> {
        self.token_keys.get(&id)
    }

    /// All keys that verify tokens, by id.
    pub fn token_keys(&self) -> impl Iterator<Item = (u8, &SecretKey)> {
        self.token_keys.iter().map(|(id, key)| (*id, key))
    }

    fn to_toml(&self) -> String {
        let mut text = format!(
            "# hermod's keys. Keep a copy apart from the data: without recipient_key no recipient is found again.\n\
             # To rotate: add a [[token_key]], then set signing_key_id to it; remove the old one after 30 days.\n\
             version = {FORMAT_VERSION}\n\
             recipient_key = \"{}\"\n\
             signing_key_id = {}\n",
            self.recipient.to_base64(),
            self.signing.id
        );
        for (id, key) in &self.token_keys {
            text += &format!(
                "\n[[token_key]]\nid = {id}\nkey = \"{}\"\n",
                key.to_base64()
            );
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: KeysFile = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        if file.version != FORMAT_VERSION {
            return Err(format!(
                "its version is {}, and only {FORMAT_VERSION} is known",
                file.version
            ));
        }
        let recipient = SecretKey::from_base64(&file.recipient_key, "recipient_key")?;
        let mut token_keys = BTreeMap::new();
        for entry in &file.token_key {
            let key = SecretKey::from_base64(&entry.key, &format!("token_key {}", entry.id))?;
            if token_keys.insert(entry.id, key).is_some() {
                return Err(format!("token_key {} is there twice", entry.id));
            }
        }
        let id = file.signing_key_id;
        let key = token_keys.get(&id).cloned();
        let key = key.ok_or_else(|| format!("there is no token_key with signing_key_id {id}"))?;
        Ok(Self {
            recipient,
            signing: SigningKey { id, key },
            token_keys,
        })
    }
}

/// Where the file is wrong. The parser's own message may quote the content, so it is not passed on.
fn at_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.unwrap_or_default().matches('\n').count() + 1;
    format!(
        "line {line} is malformed, misplaced or incomplete (a keys file has version, recipient_key, \
         signing_key_id, and [[token_key]] with id and key)"
    )
}

// === impl SecretKey ===

impl SecretKey {
    /// The bytes, for the one place that hashes or signs with them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn random() -> Result<Self, KeysError> {
        let mut bytes = [0; 32];
        SysRng
            .try_fill_bytes(&mut bytes)
            .map_err(|error| KeysError::NoRandomness(error.to_string()))?;
        Ok(Self(bytes))
    }

    fn to_base64(&self) -> String {
        BASE64.encode(self.0)
    }

    fn from_base64(text: &str, name: &str) -> Result<Self, String> {
        let bytes = BASE64
            .decode(text)
            .map_err(|_| format!("{name} is not base64"))?;
        let count = bytes.len();
        let bytes = <[u8; 32]>::try_from(bytes)
            .map_err(|_| format!("{name} has {count} bytes instead of 32"))?;
        if bytes == [0; 32] {
            Err(format!("{name} is all zeros"))
        } else {
            Ok(Self(bytes))
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

fn refuse_exposed(path: &Path, metadata: &fs::Metadata) -> Result<(), KeysError> {
    match private_file::exposed_mode(metadata) {
        None => Ok(()),
        Some(mode) => Err(KeysError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests;
