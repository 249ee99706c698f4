//! The one place where failures become gRPC statuses, with google.rpc details: ErrorInfo always, BadRequest with all bad fields,
//! RetryInfo where a retry helps. Defects are logged here, once; what the client did wrong is not.
use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::app::{AppError, Kind, Violation};

use super::wire;

/// The domain of ErrorInfo.
pub const ERROR_DOMAIN: &str = "hermod.v1";

/// A status travels in headers, of which clients take 8 to 16 KiB in all (8 KiB: grpc-java and grpc-core; 16 KiB: hyper);
/// a larger one reaches them as a broken stream. So texts that repeat what the caller sent are cut.
const TEXT_BYTES_MAX: usize = 512;
/// Bytes of all bad fields together.
const VIOLATIONS_BYTES_MAX: usize = 3_072;

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
    let error = bounded(error);
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
    let error = bounded(error);
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
        retry_delay: error.retry_after.and_then(|after| after.try_into().ok()),
    }
}

/// The same failure, small enough for a header: long texts are cut, and of very many bad fields the first are named.
fn bounded(error: AppError) -> AppError {
    let count = error.violations.len();
    let mut bytes = 0;
    let mut violations: Vec<Violation> = error
        .violations
        .into_iter()
        .map(|violation| Violation {
            field: cut(violation.field),
            description: cut(violation.description),
        })
        .take_while(|violation| {
            bytes += violation.field.len() + violation.description.len();
            bytes <= VIOLATIONS_BYTES_MAX
        })
        .collect();
    let left_out = count - violations.len();
    if left_out > 0 {
        violations.push(Violation {
            field: "...".to_owned(),
            description: format!("and {left_out} more; correct those named here first"),
        });
    }
    AppError {
        message: cut(error.message),
        violations,
        ..error
    }
}

fn cut(mut text: String) -> String {
    let end = text
        .char_indices()
        .map(|(at, character)| at + character.len_utf8())
        .take_while(|end| *end <= TEXT_BYTES_MAX)
        .last()
        .unwrap_or(0);
    if end < text.len() {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn log(error: &AppError) {
    match error.kind {
        Kind::Internal | Kind::DataLoss => tracing::error!(reason = error.reason, "{error}"),
        Kind::Unavailable => tracing::warn!(reason = error.reason, "{error}"),
        // The message may repeat what the caller sent, such as an address in the wrong field; that is for the caller alone.
        _ => tracing::debug!(reason = error.reason, "refused"),
    }
}
