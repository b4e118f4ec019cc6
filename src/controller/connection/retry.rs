//! What a vendor's refusal means for a credential: the verdict in its status, and when the next attempt is made. It makes none.

use jiff::{SignedDuration, Timestamp};

use crate::api::conditions::Verdict;
use crate::api::{ObjectKey, ProviderCredentialSpec, Reason};
use crate::controller::backoff::Backoff;
use crate::providers::{ErrorKind, ProviderError};

/// First and longest wait before the next attempt with a credential that was not accepted.
const PROBE: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(1), SignedDuration::from_mins(15));

/// The verdict on a credential that was refused.
pub fn verdict(error: &ProviderError) -> Verdict {
    let (reason, help) = match error.kind {
        ErrorKind::Unauthenticated => (Reason::Unauthenticated, "; correct the Secret, and it is tried at once"),
        ErrorKind::PermissionDenied => (Reason::PermissionDenied, ""),
        ErrorKind::RateLimited => (Reason::RateLimited, ""),
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Conflict => {
            (Reason::Invalid, "")
        }
        ErrorKind::Unavailable => (Reason::ProviderUnavailable, ""),
    };
    Verdict::new(reason, format!("{error}{help}"))
}

/// When the next attempt is made after one more refusal, unless spec or Secret change: slowly after a credential that was not
/// accepted, with the next sweep when a person has to act, soon otherwise.
pub fn retry_at(
    backoff: &Backoff,
    credential: &ObjectKey,
    spec: &ProviderCredentialSpec,
    error: &ProviderError,
) -> Timestamp {
    let backoff = SignedDuration::try_from(backoff.next(credential)).unwrap_or(PROBE.0);
    error.retry_at.unwrap_or(Timestamp::now() + wait(error.kind, backoff, spec.resync_interval()))
}

fn wait(kind: ErrorKind, backoff: SignedDuration, resync: SignedDuration) -> SignedDuration {
    match kind {
        ErrorKind::Unauthenticated => (backoff * 60).clamp(PROBE.0, PROBE.1),
        ErrorKind::PermissionDenied
        | ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Unsupported
        | ErrorKind::Conflict => resync,
        ErrorKind::RateLimited | ErrorKind::Unavailable => backoff,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::first_401(ErrorKind::Unauthenticated, 1, 60)]
    #[case::third_401(ErrorKind::Unauthenticated, 4, 240)]
    #[case::tenth_401(ErrorKind::Unauthenticated, 300, 900)]
    #[case::forbidden(ErrorKind::PermissionDenied, 1, 600)]
    #[case::outage(ErrorKind::Unavailable, 4, 4)]
    fn a_refused_credential_is_probed_slowly_and_an_absent_vendor_soon(
        #[case] kind: ErrorKind,
        #[case] backoff: i64,
        #[case] seconds: i64,
    ) {
        let waited = wait(kind, SignedDuration::from_secs(backoff), SignedDuration::from_mins(10));
        assert_eq!(waited, SignedDuration::from_secs(seconds));
    }
}
