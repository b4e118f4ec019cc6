//! Decides which process may take a lease and what it writes. Pure: no clock, no call.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a lease holds after its last renewal, in seconds.
pub const DURATION: u16 = 15;

/// Whether `me` may take the lease: no process holds it, `me` holds it, or it was `unchanged` for its duration by the local clock.
pub fn may_take(lease: Option<&LeaseSpec>, me: &str, unchanged: Duration) -> bool {
    let promised = lease.and_then(|lease| u16::try_from(lease.lease_duration_seconds?).ok()).unwrap_or(DURATION);
    holder(lease).is_none_or(|holder| holder == me || unchanged >= Duration::from_secs(promised.into()))
}

/// The lease after `me` took or renewed it at `now`.
pub fn claimed(before: LeaseSpec, me: &str, now: Timestamp) -> LeaseSpec {
    let renewal = holder(Some(&before)) == Some(me);
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(DURATION.into()),
        acquire_time: before.acquire_time.filter(|_| renewal).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(
            before.lease_transitions.map_or(0, |before| before.saturating_add(i32::from(!renewal))),
        ),
        ..LeaseSpec::default()
    }
}

/// The process that holds the lease; `None` after a release.
pub fn holder(lease: Option<&LeaseSpec>) -> Option<&str> {
    lease?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn held_by(holder: Option<&str>, seconds: Option<i32>) -> LeaseSpec {
        let holder_identity = holder.map(str::to_owned);
        LeaseSpec { holder_identity, lease_duration_seconds: seconds, ..LeaseSpec::default() }
    }

    #[rstest]
    #[case::never_held(LeaseSpec::default(), 0, true)]
    #[case::released(held_by(None, Some(15)), 0, true)]
    #[case::released_by_an_empty_name(held_by(Some(""), Some(15)), 0, true)]
    #[case::ours(held_by(Some("me"), Some(15)), 0, true)]
    #[case::fresh(held_by(Some("other"), Some(15)), 14, false)]
    #[case::lapsed(held_by(Some("other"), Some(15)), 15, true)]
    #[case::longer_than_ours(held_by(Some("other"), Some(60)), 59, false)]
    #[case::without_duration(held_by(Some("other"), None), 14, false)]
    #[case::negative_duration(held_by(Some("other"), Some(-1)), 14, false)]
    fn a_lease_is_taken_only_when_it_is_free(#[case] lease: LeaseSpec, #[case] unchanged: u64, #[case] free: bool) {
        assert_eq!(may_take(Some(&lease), "me", Duration::from_secs(unchanged)), free);
    }

    #[test]
    fn taking_counts_as_a_transition_and_renewing_does_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = claimed(LeaseSpec::default(), "a", at(1));
        let renewed = claimed(first.clone(), "a", at(2));
        let taken = claimed(renewed.clone(), "b", at(3));
        assert_eq!([&first, &renewed, &taken].map(|lease| lease.lease_transitions), [Some(0), Some(0), Some(1)]);
        assert_eq!(renewed.acquire_time, Some(MicroTime(at(1))));
        assert_eq!(taken.acquire_time, Some(MicroTime(at(3))));
    }
}
