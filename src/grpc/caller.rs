//! Who makes a call: put into the request before a handler sees it, by whoever checked the credentials.
//!
//! Invariant: a handler learns its tenant from here and nowhere else; a call without a caller is one of the tenant `default`, which only a
//! server without authentication lets through.
use std::sync::Arc;

use crate::domain::name::TenantId;

/// The checked identity of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose data the call may see and change.
    pub tenant: TenantId,
    /// The tenant's name, for limits and the audit log.
    pub tenant_name: Arc<str>,
    /// The credentials by their public name, such as `key:k7f3` or `certificate:mailer`; never a secret.
    pub name: Arc<str>,
}

// === impl Caller ===

impl Caller {
    /// Who calls where nobody is asked for credentials.
    pub fn anonymous() -> Self {
        Self {
            tenant: TenantId::DEFAULT,
            tenant_name: Arc::from("default"),
            name: Arc::from("anonymous"),
        }
    }
}

/// The tenant of a call.
pub(super) fn tenant_of<T>(request: &tonic::Request<T>) -> TenantId {
    let caller = request.extensions().get::<Caller>();
    caller.map_or(TenantId::DEFAULT, |caller| caller.tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_the_callers_and_the_default_one_without_a_caller() {
        let mut request = tonic::Request::new(());
        assert_eq!(tenant_of(&request), TenantId::DEFAULT);
        let tenant = TenantId(7);
        request.extensions_mut().insert(Caller {
            tenant,
            ..Caller::anonymous()
        });
        assert_eq!(tenant_of(&request), tenant);
    }
}
