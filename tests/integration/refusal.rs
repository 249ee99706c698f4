//! What a refused call must say: its code, a stable reason in our domain, and all bad fields at once.
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// What is expected of a refusal.
pub struct Expected<'a> {
    pub code: Code,
    pub reason: &'a str,
    /// Bad fields in the order in which they are named; empty when it is not a matter of fields.
    pub fields: &'a [&'a str],
}

/// A request whose fields are bad.
pub fn bad_fields<'a>(fields: &'a [&'a str]) -> Expected<'a> {
    bad_field("INVALID_FIELDS", fields)
}

/// A request with a bad field that has a reason of its own.
pub fn bad_field<'a>(reason: &'a str, fields: &'a [&'a str]) -> Expected<'a> {
    Expected {
        code: Code::InvalidArgument,
        reason,
        fields,
    }
}

/// A request that asks for what is not there, or is not possible now.
pub fn refused(code: Code, reason: &str) -> Expected<'_> {
    Expected {
        code,
        reason,
        fields: &[],
    }
}

/// Checks a refusal; `what` names the case.
pub fn assert_refused(what: &str, status: &Status, expected: &Expected<'_>) {
    assert_eq!(status.code(), expected.code, "{what}: {status:?}");
    assert!(!status.message().is_empty(), "{what}");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("{what}: no ErrorInfo"));
    assert_eq!(
        (info.reason.as_str(), info.domain.as_str()),
        (expected.reason, "hermod.v1"),
        "{what}"
    );
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.as_slice());
    let violations = violations.unwrap_or_default();
    // All of them, in whatever order they were found.
    let mut fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    let mut expected_fields = expected.fields.to_vec();
    fields.sort_unstable();
    expected_fields.sort_unstable();
    assert_eq!(fields, expected_fields, "{what}");
    assert!(
        violations.iter().all(|v| !v.description.is_empty()),
        "{what}"
    );
}
