//! From a vendor's refusal to the verdict in the credential's status.

use crate::api::Reason;
use crate::api::conditions::Verdict;
use crate::providers::{ErrorKind, ProviderError};

/// The verdict on a credential that the vendor refused with `error`.
pub fn verdict(error: &ProviderError) -> Verdict {
    let (reason, help) = match error.kind {
        ErrorKind::Unauthenticated => (Reason::Unauthenticated, "; correct the Secret, and usher logs in at once"),
        ErrorKind::PermissionDenied => (Reason::PermissionDenied, ""),
        ErrorKind::RateLimited => (Reason::RateLimited, ""),
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Conflict => {
            (Reason::Invalid, "")
        }
        ErrorKind::Unavailable => (Reason::ProviderUnavailable, ""),
    };
    Verdict::new(reason, format!("{error}{help}"))
}
