//! The bearer token that a scrape of the metrics presents, from a file of its own.
//!
//! Only its hash is held, and compared in constant time; a file that becomes unusable leaves the token before it in service.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::ops::private_file::{self, PrivateFileError};
use crate::ops::watched::{Reloaded, Watched};

use super::admission::bearer;

/// Fewest characters of a token; shorter ones can be guessed.
const CHARACTERS_MIN: usize = 16;

/// Why there is no token for the metrics.
#[derive(Debug, thiserror::Error)]
pub enum MetricsTokenError {
    /// The file is open to others or cannot be read.
    #[error("the metrics token file {0}")]
    File(#[from] PrivateFileError),
    /// The file holds no token.
    #[error("the metrics token file {} must hold one line of {CHARACTERS_MIN} or more visible characters, such as openssl rand -hex 32 prints", .0.display())]
    NoToken(PathBuf),
}

/// The token in service.
pub struct MetricsToken {
    path: PathBuf,
    watched: Watched,
    current: ArcSwap<blake3::Hash>,
}

// === impl MetricsToken ===

impl MetricsToken {
    /// Reads the file.
    ///
    /// # Errors
    /// As listed in [`MetricsTokenError`].
    pub fn open(path: &Path) -> Result<Self, MetricsTokenError> {
        let watched = Watched::new("metrics_token", vec![path.to_owned()]);
        let seen = watched.changed();
        let current = ArcSwap::from_pointee(load(path)?);
        if let Some(seen) = seen {
            watched.settle(seen, &Ok::<(), MetricsTokenError>(()));
        }
        Ok(Self {
            path: path.to_owned(),
            watched,
            current,
        })
    }

    /// Reads the file again if it has changed.
    pub fn reload(&self) -> Option<Reloaded> {
        let seen = self.watched.changed()?;
        let outcome = load(&self.path).map(|hash| self.current.store(Arc::new(hash)));
        Some(self.watched.settle(seen, &outcome))
    }

    /// Whether an `authorization` header carries the token.
    pub fn fits(&self, authorization: Option<&[u8]>) -> bool {
        let presented = authorization.and_then(bearer);
        // Comparing two hashes of BLAKE3 takes the same time wherever they differ.
        presented.is_some_and(|token| blake3::hash(token.as_bytes()) == **self.current.load())
    }
}

fn load(path: &Path) -> Result<blake3::Hash, MetricsTokenError> {
    let content = private_file::read(path)?;
    let token = std::str::from_utf8(&content).unwrap_or_default().trim();
    let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && token.len() >= CHARACTERS_MIN {
        Ok(blake3::hash(token.as_bytes()))
    } else {
        Err(MetricsTokenError::NoToken(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_the_token_of_the_file_fits_and_a_new_one_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        private_file::create(&path, format!("{TOKEN}\n").as_bytes()).unwrap();
        let token = MetricsToken::open(&path).unwrap();
        let fits = |token: &MetricsToken, text: &str| token.fits(Some(text.as_bytes()));
        let right = format!("Bearer {TOKEN}");
        assert!(fits(&token, &right));
        for wrong in [
            TOKEN,
            "Bearer ",
            "Bearer x",
            &format!("{right}0"),
            &format!("Basic {TOKEN}"),
        ] {
            assert!(!fits(&token, wrong), "{wrong}");
        }
        assert!(!token.fits(None));
        std::fs::write(&path, "too short").unwrap();
        let error = token.reload().unwrap().error.unwrap();
        assert!(
            error.contains("16 or more") && !error.contains("too short"),
            "{error}"
        );
        assert!(fits(&token, &right), "the old one stays in service");
        std::fs::write(&path, TOKEN.to_uppercase()).unwrap();
        assert_eq!(token.reload().unwrap().error, None);
        assert!(!fits(&token, &right));
        assert_eq!(token.reload(), None);
    }
}
