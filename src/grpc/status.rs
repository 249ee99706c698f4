//! The one place where failures become gRPC statuses, with google.rpc details: ErrorInfo always, BadRequest with all bad fields,
//! RetryInfo where a retry helps. Defects are logged here, once; what the client did wrong is not.
use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::app::{AppError, Kind};

use super::wire;

/// The domain of ErrorInfo.
pub const ERROR_DOMAIN: &str = "hermod.v1";

/// The gRPC code of a kind of failure.
pub fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DataLoss => Code::DataLoss,
        Kind::Internal => Code::Internal,
    }
}

/// The status of a failed call.
pub fn status(error: AppError) -> Status {
    log(&error);
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason, ERROR_DOMAIN, HashMap::new());
    for violation in &error.violations {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    if let Some(after) = error.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code(error.kind), error.message, details)
}

/// The same facts for one item of a batch or stream.
pub fn problem(error: AppError) -> wire::Problem {
    log(&error);
    let fields = error
        .violations
        .into_iter()
        .map(|violation| wire::FieldProblem {
            field: violation.field,
            description: violation.description,
        });
    wire::Problem {
        code: code(error.kind) as i32,
        reason: error.reason.to_owned(),
        message: error.message,
        fields: fields.collect(),
    }
}

fn log(error: &AppError) {
    match error.kind {
        Kind::Internal | Kind::DataLoss => tracing::error!(reason = error.reason, "{error}"),
        Kind::Unavailable => tracing::warn!(reason = error.reason, "{error}"),
        _ => tracing::debug!(reason = error.reason, "{error}"),
    }
}
