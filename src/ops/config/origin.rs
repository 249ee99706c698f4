//! Where a configuration value came from, and how that is said to a person.
//!
//! An origin travels through the merge as figment metadata and comes back unchanged.

use std::fmt;
use std::path::PathBuf;

use figment::{Metadata, Source};

/// The source of one configuration value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable, by its full name.
    Environment(String),
    /// A flag on the command line, as written in the help text.
    Flag(String),
}

const ENVIRONMENT: &str = "environment";

// === impl Origin ===

impl Origin {
    /// Whether values from here arrive as bare text, so that numbers and booleans must be read out of it.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::Flag(_))
    }

    pub(super) fn to_metadata(&self) -> Metadata {
        match self {
            Self::Default => Metadata::named("default"),
            Self::File(path) => Metadata::from("file", path.as_path()),
            Self::Environment(name) => {
                Metadata::from(name.clone(), Source::Custom(ENVIRONMENT.into()))
            }
            Self::Flag(name) => Metadata::from(name.clone(), Source::Custom("flag".into())),
        }
    }

    pub(super) fn from_metadata(metadata: Option<&Metadata>) -> Self {
        let Some(metadata) = metadata else {
            return Self::Default;
        };
        match &metadata.source {
            Some(Source::File(path)) => Self::File(path.clone()),
            Some(Source::Custom(kind)) if kind == ENVIRONMENT => {
                Self::Environment(metadata.name.to_string())
            }
            Some(Source::Custom(_)) => Self::Flag(metadata.name.to_string()),
            _ => Self::Default,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
