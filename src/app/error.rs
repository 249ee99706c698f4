//! What a use case can answer besides its result: one closed set of kinds, a stable reason, and what to do next.
//!
//! Invariant: the message is for the client and holds nothing secret; nothing here knows of gRPC.
use std::time::Duration;

use crate::domain::experiment::LifecycleError;
use crate::store::StoreError;

/// When to try again what a full disk refused: somebody has to make room first.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The kinds of failure, as many as the interface has statuses for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong.
    InvalidArgument,
    /// There is no such thing.
    NotFound,
    /// There is such a thing already.
    AlreadyExists,
    /// The thing is not in a state for this.
    FailedPrecondition,
    /// Somebody else changed it at the same time.
    Aborted,
    /// A limit is reached.
    ResourceExhausted,
    /// The store cannot serve now.
    Unavailable,
    /// A stored record is damaged.
    DataLoss,
    /// A defect of hermod.
    Internal,
}

/// One bad field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong and what to do.
    pub description: String,
}

/// Why a use case did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppError {
    /// Its kind.
    pub kind: Kind,
    /// Stable UPPER_SNAKE reason.
    pub reason: &'static str,
    /// For people: what is wrong and what to do next.
    pub message: String,
    /// All bad fields at once.
    pub violations: Vec<Violation>,
    /// When to try again, where that helps.
    pub retry_after: Option<Duration>,
}

// === impl AppError ===

impl AppError {
    /// Whether the store refuses changes for now, through no fault of the request.
    pub fn is_refusing(&self) -> bool {
        self.kind == Kind::Unavailable || self.reason == "STORE_FULL"
    }

    /// An error of a kind, with its reason and message.
    pub fn new(kind: Kind, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            reason,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// A request with bad fields.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let fields: Vec<&str> = violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        let message = format!(
            "{} bad field(s): {}; correct them and send the request again",
            violations.len(),
            fields.join(", ")
        );
        Self {
            violations,
            ..Self::new(Kind::InvalidArgument, "INVALID_FIELDS", message)
        }
    }

    /// A request with one bad field and a reason of its own.
    pub fn invalid_field(
        reason: &'static str,
        field: &str,
        description: impl Into<String>,
    ) -> Self {
        let description = description.into();
        let violation = Violation {
            field: field.to_owned(),
            description: description.clone(),
        };
        Self {
            violations: vec![violation],
            ..Self::new(
                Kind::InvalidArgument,
                reason,
                format!("{field}: {description}"),
            )
        }
    }

    /// No such experiment.
    pub fn no_experiment(id: &str) -> Self {
        Self::new(
            Kind::NotFound,
            "EXPERIMENT_NOT_FOUND",
            format!("experiments/{id} does not exist; ListExperiments shows those that do"),
        )
    }

    /// The keys are not those that the store was created with.
    pub fn foreign_keys() -> Self {
        let message = "the keys file is not the one this store was created with, so no recipient could be found again; start with the original keys file";
        Self::new(Kind::FailedPrecondition, "FOREIGN_KEYS", message)
    }

    /// Too many writers changed one record at the same time.
    pub fn contended() -> Self {
        let error = Self::new(
            Kind::Aborted,
            "CONTENDED",
            "the record kept changing under this request; try again",
        );
        Self {
            retry_after: Some(Duration::from_millis(50)),
            ..error
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { .. } => Self::contended(),
            StoreError::Corrupt { .. } => Self::new(
                Kind::DataLoss,
                "RECORD_UNREADABLE",
                format!(
                    "{error}; nothing else is affected. Erase the recipient or delete the experiment it belongs to, or restore a backup"
                ),
            ),
            StoreError::Unavailable { retryable, .. } => {
                let failure = Self::new(
                    Kind::Unavailable,
                    "STORE_UNAVAILABLE",
                    format!("{error}; nothing was acknowledged, try again"),
                );
                Self {
                    retry_after: retryable.then_some(Duration::from_secs(1)),
                    ..failure
                }
            }
            StoreError::Full { .. } => {
                let failure = Self::new(
                    Kind::ResourceExhausted,
                    "STORE_FULL",
                    format!("{error}; nothing was acknowledged, try again"),
                );
                Self {
                    retry_after: Some(FULL_RETRY_AFTER),
                    ..failure
                }
            }
            StoreError::NewerFormat { .. } => {
                Self::new(Kind::FailedPrecondition, "NEWER_FORMAT", error.to_string())
            }
            StoreError::TooLarge { .. } => {
                Self::new(Kind::ResourceExhausted, "TOO_LARGE", error.to_string())
            }
            StoreError::UnknownPartition { .. } => {
                Self::new(Kind::Internal, "INTERNAL", error.to_string())
            }
        }
    }
}

impl From<LifecycleError> for AppError {
    fn from(error: LifecycleError) -> Self {
        let (kind, reason) = match &error {
            LifecycleError::WrongState { .. } => (Kind::FailedPrecondition, "WRONG_STATE"),
            LifecycleError::WrongVariantState { .. } => {
                (Kind::FailedPrecondition, "WRONG_VARIANT_STATE")
            }
            LifecycleError::UnknownVariant { .. } => (Kind::NotFound, "VARIANT_NOT_FOUND"),
            LifecycleError::VariantExists { .. } => (Kind::AlreadyExists, "VARIANT_EXISTS"),
            LifecycleError::TooManyVariants => (Kind::ResourceExhausted, "TOO_MANY_VARIANTS"),
        };
        Self::new(kind, reason, error.to_string())
    }
}
