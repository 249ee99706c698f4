//! The places a configuration is read from, as plain data: the one file that reads the environment.
//!
//! Tests build [`Sources`] by hand; the process calls [`Sources::from_process`]. What the values mean is decided in the
//! parts, not here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::origin::Origin;
use super::reader::Problem;

const PREFIX: &str = "HERMOD_";
const FILE_VARIABLE: &str = "HERMOD_CONFIG";
const LOCAL_FILE: &str = "hermod.toml";

/// One setting from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the user knows it, such as `--grpc-listen`.
    pub name: String,
    /// The key it sets, such as `server.grpc_listen`.
    pub key: String,
    /// The value as written.
    pub value: String,
}

/// All sources besides the defaults. An empty one gives the default configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The configuration file, if there is one; it must exist.
    pub file: Option<PathBuf>,
    /// Environment variables, name and value; those that are not hermod's are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags in the order given; later ones win.
    pub flags: Vec<Flag>,
}

/// What one source says, for figment to merge.
struct Layer {
    origin: Origin,
    values: Dict,
}

// === impl Sources ===

impl Sources {
    /// The sources of this process: the given file, else that named by `HERMOD_CONFIG`, else `hermod.toml` in the working
    /// directory if it exists; all `HERMOD_` variables; the given flags.
    pub fn from_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let variables = std::env::vars_os();
        Self::from_variables(file, variables, flags)
    }

    fn from_variables(
        file: Option<PathBuf>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        flags: Vec<Flag>,
    ) -> Self {
        let environment: Vec<(String, String)> = variables
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let named = || {
            environment
                .iter()
                .find(|(name, _)| name == FILE_VARIABLE)
                .map(|(_, path)| PathBuf::from(path))
        };
        let local = || {
            Path::new(LOCAL_FILE)
                .exists()
                .then(|| PathBuf::from(LOCAL_FILE))
        };
        let file = file.or_else(named).or_else(local);
        Self {
            file,
            environment,
            flags,
        }
    }

    /// Merges file, environment and flags. A file that cannot be read or parsed is a problem, and then counts as empty.
    pub(super) fn merge(&self, problems: &mut Vec<Problem>) -> Figment {
        let mut figment = Figment::new();
        if let Some(path) = &self.file {
            match read_file(path) {
                Ok(layer) => figment = figment.merge(layer),
                Err(problem) => problems.push(*problem),
            }
        }
        for (name, value) in &self.environment {
            if let Some(key) = key_of_variable(name) {
                figment =
                    figment.merge(Layer::text(Origin::Environment(name.clone()), &key, value));
            }
        }
        for flag in &self.flags {
            figment = figment.merge(Layer::text(
                Origin::Flag(flag.name.clone()),
                &flag.key,
                &flag.value,
            ));
        }
        figment
    }

    /// Variables that would set one of `keys` if their levels were separated by two underscores instead of one.
    ///
    /// Other variables without a double underscore are left alone: container platforms set such names by themselves
    /// (`HERMOD_SERVICE_HOST`).
    pub(super) fn near_misses(&self, keys: &[(String, Origin)]) -> Vec<Problem> {
        let miss = |(name, value): &(String, String)| {
            let (key, _) = keys
                .iter()
                .find(|(key, _)| *name == format!("{PREFIX}{}", underscored(key, "_")))?;
            Some(Problem {
                key: key.clone(),
                value: Some(format!("{value:?}")),
                origin: Origin::Environment(name.clone()),
                violation: "the levels of a key are separated by two underscores".into(),
                next_step: format!("Name the variable {}", variable_of_key(key)),
            })
        };
        self.environment.iter().filter_map(miss).collect()
    }
}

/// The environment variable that sets `key`.
pub(super) fn variable_of_key(key: &str) -> String {
    format!("{PREFIX}{}", underscored(key, "__"))
}

fn underscored(key: &str, separator: &str) -> String {
    key.replace('.', separator).to_uppercase()
}

fn key_of_variable(name: &str) -> Option<String> {
    let path = name.strip_prefix(PREFIX)?;
    path.contains("__")
        .then(|| path.replace("__", ".").to_lowercase())
}

fn read_file(path: &Path) -> Result<Layer, Box<Problem>> {
    let problem = |violation: String, next_step: &str| {
        Box::new(Problem {
            key: "the configuration file".into(),
            value: None,
            origin: Origin::File(path.to_owned()),
            violation,
            next_step: next_step.into(),
        })
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        problem(
            format!("cannot be read: {error}"),
            "Check --config, HERMOD_CONFIG and its permissions",
        )
    })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        problem(
            format!("is not valid TOML:\n{}", error.to_string().trim_end()),
            "Correct that line",
        )
    })?;
    let values = Value::serialize(table)
        .ok()
        .and_then(Value::into_dict)
        .unwrap_or_default();
    Ok(Layer {
        origin: Origin::File(path.to_owned()),
        values,
    })
}

// === impl Layer ===

impl Layer {
    fn text(origin: Origin, key: &str, value: &str) -> Self {
        let values = figment::util::nest(key, Value::from(value))
            .into_dict()
            .unwrap_or_default();
        Self { origin, values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.origin.to_metadata()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_flag_wins_over_the_file_variable() {
        let variables =
            || [(OsString::from("HERMOD_CONFIG"), OsString::from("b.toml"))].into_iter();
        let flagged = Sources::from_variables(Some("a.toml".into()), variables(), Vec::new());
        assert_eq!(flagged.file, Some("a.toml".into()));
        let named = Sources::from_variables(None, variables(), Vec::new());
        assert_eq!(named.file, Some("b.toml".into()));
    }

    #[test]
    fn only_a_double_underscore_makes_a_variable_a_key() {
        assert_eq!(
            key_of_variable("HERMOD_SERVER__GRPC_LISTEN").as_deref(),
            Some("server.grpc_listen")
        );
        assert_eq!(key_of_variable("HERMOD_SERVICE_HOST"), None);
        assert_eq!(key_of_variable("HERMOD_CONFIG"), None);
        assert_eq!(key_of_variable("PATH__X"), None);
        assert_eq!(
            variable_of_key("server.grpc_listen"),
            "HERMOD_SERVER__GRPC_LISTEN"
        );
    }
}
