//! Reads values out of the merged sources one by one, so that all problems are found and not only the first.
//!
//! A value that cannot be used is noted as a [`Problem`] and replaced by its default; [`Reader::finish`] then refuses the
//! whole. Keys that no part has asked for are unknown and refused as well.

use std::fmt;

use figment::error::Kind;
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use serde::de::DeserializeOwned;

use super::origin::Origin;
use super::sources::Sources;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `server.grpc_listen`.
    pub key: String,
    /// The value as written, where there is one.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
    /// What is wrong with it.
    pub violation: String,
    /// What to do about it.
    pub next_step: String,
}

/// All problems of a configuration; never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// What a key accepts: in words for the user, and as a test of the value.
pub(super) struct Rule<T> {
    /// Completes the sentence "Write ...".
    pub expects: &'static str,
    /// Whether a value of the right type is within its limits.
    pub accepts: fn(&T) -> bool,
}

/// The merged sources and what has been found in them so far.
pub(super) struct Reader<'s> {
    sources: &'s Sources,
    figment: Figment,
    read: Vec<(String, Origin)>,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl<'s> Reader<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        let mut problems = Vec::new();
        let figment = sources.merge(&mut problems);
        Self {
            sources,
            figment,
            read: Vec::new(),
            problems,
        }
    }

    /// The value of `key` if it is set and within `rule`, otherwise the default.
    pub(super) fn value<T: DeserializeOwned>(&mut self, key: &str, default: T, rule: Rule<T>) -> T {
        let Ok(found) = self.figment.find_value(key) else {
            self.read.push((key.to_owned(), Origin::Default));
            return default;
        };
        let origin = self.origin(&found);
        self.read.push((key.to_owned(), origin.clone()));
        let violation = match self.extract::<T>(&found, &origin) {
            Ok(value) if (rule.accepts)(&value) => return value,
            Ok(_) => "is not accepted".to_owned(),
            Err(violation) => violation,
        };
        let next_step = format!("Write {}", rule.expects);
        self.problems.push(Problem {
            key: key.to_owned(),
            value: Some(shown(&found)),
            origin,
            violation,
            next_step,
        });
        default
    }

    /// Refuses the value of a key that has been read, for a reason that involves other keys.
    pub(super) fn refuse(
        &mut self,
        key: &str,
        value: &dyn fmt::Display,
        violation: &str,
        next_step: &str,
    ) {
        let origin = self
            .read
            .iter()
            .find(|(read, _)| read == key)
            .map(|(_, origin)| origin.clone());
        self.problems.push(Problem {
            key: key.to_owned(),
            value: Some(format!("\"{value}\"")),
            origin: origin.unwrap_or(Origin::Default),
            violation: violation.to_owned(),
            next_step: next_step.to_owned(),
        });
    }

    /// All keys with their origins in the order they were read, or all problems.
    pub(super) fn finish(mut self) -> Result<Vec<(String, Origin)>, Problems> {
        let data = self.figment.data().unwrap_or_default();
        let set = data.get(&Profile::Default).cloned().unwrap_or_default();
        self.refuse_unknown("", &set);
        let near_misses = self.sources.near_misses(&self.read);
        self.problems.extend(near_misses);
        if self.problems.is_empty() {
            Ok(self.read)
        } else {
            Err(Problems(self.problems))
        }
    }

    /// The value as `T`, or what is wrong with it. Text is taken as it is where `T` is text, else as a number or boolean.
    fn extract<T: DeserializeOwned>(&self, found: &Value, origin: &Origin) -> Result<T, String> {
        let extracted = found.deserialize::<T>();
        let scalar = found.as_str().filter(|_| origin.is_text()).and_then(scalar);
        match (extracted, scalar) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(scalar)) => scalar.deserialize().map_err(violation),
            (Err(error), None) => Err(violation(error)),
        }
    }

    fn origin(&self, value: &Value) -> Origin {
        Origin::from_metadata(self.figment.get_metadata(value.tag()))
    }

    fn refuse_unknown(&mut self, prefix: &str, values: &Dict) {
        for (name, value) in values {
            let key = format!("{prefix}{name}");
            if self.read.iter().any(|(read, _)| *read == key) {
                continue;
            }
            match value {
                Value::Dict(_, entries) if self.is_section(&key) || !entries.is_empty() => {
                    self.refuse_unknown(&format!("{key}."), entries);
                }
                _ => self.refuse_key(key, value),
            }
        }
    }

    fn refuse_key(&mut self, key: String, value: &Value) {
        let (violation, next_step) = if self.is_section(&key) {
            (
                "is a section, not a value".to_owned(),
                format!("Write [{key}] on a line of its own and its keys below"),
            )
        } else {
            (
                "there is no such key".to_owned(),
                format!("Use one of {}", self.neighbours(&key)),
            )
        };
        let origin = self.origin(value);
        let value = Some(if sounds_secret(&key) {
            "(not shown)".to_owned()
        } else {
            shown(value)
        });
        self.problems.push(Problem {
            key,
            value,
            origin,
            violation,
            next_step,
        });
    }

    fn is_section(&self, key: &str) -> bool {
        self.read
            .iter()
            .any(|(read, _)| read.split('.').next() == Some(key))
    }

    /// The keys of the same section, or the sections if there is no such section.
    fn neighbours(&self, key: &str) -> String {
        let section = key.split('.').next().unwrap_or_default();
        if self.is_section(section) {
            let same = |read: &&str| read.split('.').next() == Some(section);
            return self
                .read
                .iter()
                .map(|(read, _)| read.as_str())
                .filter(same)
                .collect::<Vec<_>>()
                .join(", ");
        }
        let mut sections: Vec<&str> = self
            .read
            .iter()
            .filter_map(|(read, _)| read.split('.').next())
            .collect();
        sections.dedup();
        format!("the sections {}", sections.join(", "))
    }
}

/// The number or boolean that `text` spells, if it does. (figment's own lossy reading rounds to 32 bits.)
fn scalar(text: &str) -> Option<Value> {
    let boolean = text.parse::<bool>().map(Value::from).ok();
    let unsigned = || text.parse::<u64>().map(Value::from).ok();
    let signed = || text.parse::<i64>().map(Value::from).ok();
    let float = || text.parse::<f64>().map(Value::from).ok();
    boolean.or_else(unsigned).or_else(signed).or_else(float)
}

fn violation(error: figment::Error) -> String {
    match error.kind {
        Kind::Message(message) => message,
        Kind::UnknownVariant(..) => "is not one of the known words".to_owned(),
        _ => "is of the wrong type".to_owned(),
    }
}

/// Whether an unknown key may have been meant for a secret, which must not end up in a log.
fn sounds_secret(key: &str) -> bool {
    ["key", "secret", "token", "password", "credential"]
        .iter()
        .any(|word| key.contains(word))
}

/// A value as one would write it in the file.
fn shown(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| "a value".to_owned(), |value| value.to_string())
}

// === impl Problems ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            origin,
            violation,
            next_step,
        } = self;
        f.write_str(key)?;
        if let Some(value) = value {
            write!(f, " = {value}")?;
        }
        write!(f, " ({origin}): {violation}. {next_step}.")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {count} {noun}:")?;
        self.0.iter().try_for_each(|problem| {
            write!(f, "\n  - {}", problem.to_string().replace('\n', "\n    "))
        })
    }
}
