//! From a vendor's refusal to the time of the next attempt. It makes no attempt.

use jiff::{SignedDuration, Timestamp};

use crate::api::{ObjectKey, ProviderCredentialSpec};
use crate::controller::backoff::Backoff;
use crate::providers::{ErrorKind, ProviderError};

/// First and longest wait before the next attempt with a credential that was not accepted.
const PROBE: (SignedDuration, SignedDuration) = (SignedDuration::from_mins(1), SignedDuration::from_mins(15));

/// The time of the next attempt after one more refusal, unless spec or Secret change before: after minutes if the vendor did not accept
/// the credential, at the next sweep if a person has to act, after the back-off otherwise.
pub fn retry_at(
    backoff: &Backoff,
    credential: &ObjectKey,
    spec: &ProviderCredentialSpec,
    error: &ProviderError,
) -> Timestamp {
    let backoff = SignedDuration::try_from(backoff.next(credential)).unwrap_or(PROBE.0);
    let wait = wait(error.kind, backoff, spec.resync_interval());
    error.retry_at.unwrap_or_else(|| Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX))
}

fn wait(kind: ErrorKind, backoff: SignedDuration, resync: SignedDuration) -> SignedDuration {
    match kind {
        ErrorKind::Unauthenticated => backoff.saturating_mul(60).clamp(PROBE.0, PROBE.1),
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
    use serde_json::json;

    use super::*;
    use crate::api::Kind;

    #[rstest]
    #[case::first_401(ErrorKind::Unauthenticated, 1, 60)]
    #[case::third_401(ErrorKind::Unauthenticated, 4, 240)]
    #[case::tenth_401(ErrorKind::Unauthenticated, 300, 900)]
    #[case::forbidden(ErrorKind::PermissionDenied, 1, 600)]
    #[case::endless_401(ErrorKind::Unauthenticated, i64::MAX, 900)]
    #[case::outage(ErrorKind::Unavailable, 4, 4)]
    fn a_refused_credential_is_probed_slowly_and_an_unavailable_vendor_soon(
        #[case] kind: ErrorKind,
        #[case] backoff: i64,
        #[case] seconds: i64,
    ) {
        let waited = wait(kind, SignedDuration::from_secs(backoff), SignedDuration::from_mins(10));
        assert_eq!(waited, SignedDuration::from_secs(seconds));
    }

    #[test]
    fn a_resync_interval_beyond_the_end_of_time_is_a_week() {
        let spec = json!({"provider": {"pegasus": {}}, "secretRef": {"name": "main"}, "resyncInterval": "9000000000h"});
        let spec: ProviderCredentialSpec = serde_json::from_value(spec).unwrap();
        let key = ObjectKey { kind: Kind::Credential, namespace: "identity".into(), name: "main".into() };
        let error = ProviderError::refused(ErrorKind::PermissionDenied, "no".to_owned());
        assert_eq!(spec.resync_interval(), SignedDuration::from_hours(168));
        let until = retry_at(&Backoff::default(), &key, &spec, &error);
        assert!(until.duration_since(Timestamp::now()) <= SignedDuration::from_hours(168), "{until}");
    }
}
