//! The access list in service: read from its file, its tenants numbered, replaced when the file changes.
//!
//! Invariant: a list is in service only when it parsed and every tenant it names has its number; otherwise the one before it stays.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::app::{App, AppError};
use crate::domain::name::{Slug, TenantId};
use crate::ops::private_file::{self, PrivateFileError};
use crate::ops::watched::{Reloaded, Watched};

use super::access_list::AccessList;

/// Why an access file cannot be put into service. The texts quote nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It is open to others or cannot be read.
    #[error("the access file {0}")]
    File(#[from] PrivateFileError),
    /// Its content is no access list.
    #[error("the access file {} cannot be used: {violation}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        violation: String,
    },
    /// A tenant could not be numbered.
    #[error("a tenant of the access file could not be numbered: {0}")]
    Tenant(#[from] AppError),
}

/// A list with its tenants' numbers.
#[derive(Debug, Default)]
pub(super) struct Access {
    pub list: AccessList,
    pub tenants: BTreeMap<Slug, TenantId>,
}

/// The access list in service.
pub struct AccessBook {
    path: PathBuf,
    watched: Watched,
    current: ArcSwap<Access>,
    looked: watch::Sender<()>,
}

// === impl AccessList ===

impl AccessList {
    /// Reads an access file.
    ///
    /// # Errors
    /// [`AccessError::File`], [`AccessError::Malformed`].
    pub fn load(path: &Path) -> Result<Self, AccessError> {
        let content = private_file::read(path)?;
        let malformed = |violation| AccessError::Malformed {
            path: path.to_owned(),
            violation,
        };
        let text =
            std::str::from_utf8(&content).map_err(|_| malformed("it is not UTF-8".into()))?;
        Self::parse(text).map_err(malformed)
    }
}

// === impl AccessBook ===

impl AccessBook {
    /// Reads the file and numbers its tenants.
    ///
    /// # Errors
    /// As listed in [`AccessError`].
    pub async fn open(path: &Path, app: &App) -> Result<Self, AccessError> {
        let book = Self {
            path: path.to_owned(),
            watched: Watched::new("access", vec![path.to_owned()]),
            current: ArcSwap::default(),
            looked: watch::Sender::new(()),
        };
        let seen = book.watched.changed();
        book.replace(app).await?;
        if let Some(seen) = seen {
            book.watched.settle(seen, &Ok::<(), AccessError>(()));
        }
        Ok(book)
    }

    /// Reads the file again if it has changed. What it grants counts from the next call on, also on connections that are open; streams
    /// that are open are checked again, whether it has changed or not, since a key may have expired meanwhile.
    pub async fn reload(&self, app: &App) -> Option<Reloaded> {
        let reloaded = self.read_again(app).await;
        self.looked.send_replace(());
        reloaded
    }

    /// Says when credentials are to be checked again.
    pub(super) fn checks(&self) -> WatchStream<()> {
        WatchStream::from_changes(self.looked.subscribe())
    }

    async fn read_again(&self, app: &App) -> Option<Reloaded> {
        let seen = self.watched.changed()?;
        Some(match self.replace(app).await {
            // The file may be good; it is tried again when the store can be written.
            Err(AccessError::Tenant(error)) => self.watched.postpone(AccessError::Tenant(error)),
            outcome => self.watched.settle(seen, &outcome),
        })
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Access>> {
        self.current.load()
    }

    async fn replace(&self, app: &App) -> Result<(), AccessError> {
        let list = AccessList::load(&self.path)?;
        let mut tenants = BTreeMap::new();
        for name in &list.tenants {
            tenants.insert(name.clone(), app.tenant(name.as_str()).await?);
        }
        self.current.store(Arc::new(Access { list, tenants }));
        Ok(())
    }
}
