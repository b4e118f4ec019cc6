//! Conditions and reasons, and the pure merge that keeps `lastTransitionTime` until a status flips. No clock, no Kubernetes call.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition types of all three kinds, as kstatus names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum ConditionType {
    /// Always present: whether vendor and spec agree.
    Ready,
    /// Only while true: usher continues without help.
    Reconciling,
    /// Only while true: a person has to act.
    Stalled,
    /// Only while true: usher makes no vendor call because a mode or an annotation asks for that.
    Paused,
}

/// Why an object is or is not Ready. The names are part of the API.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumIter,
    strum::EnumString,
)]
pub enum Reason {
    /// Vendor and spec agree.
    Synced,
    /// The user was created; the vendor offers no way to check it (Industrility).
    Created,
    /// Taken as given, because the vendor offers no way to check it.
    Unverified,
    /// The credential is absent or not ready.
    WaitingForCredential,
    /// A group named by a user is absent or not ready.
    WaitingForGroup,
    /// A required Secret is absent or lacks its key.
    WaitingForSecret,
    /// The vendor asked to slow down.
    RateLimited,
    /// The vendor cannot be reached, or its answer cannot be understood.
    ProviderUnavailable,
    /// Mode Plan, and usher would make changes.
    ChangesPending,
    /// The vendor refuses the credential.
    Unauthenticated,
    /// The vendor denies the login this operation.
    PermissionDenied,
    /// The account exists already, and no policy lets usher adopt it.
    AlreadyExists,
    /// More than one account or name matches.
    AmbiguousMatch,
    /// A reference matches nothing.
    NotFound,
    /// Another object is bound to this account, or asked for it first.
    Duplicate,
    /// A value in the spec or the Secret is invalid.
    Invalid,
    /// Spec and credential, or binding and credential, do not belong together.
    ProviderMismatch,
    /// The vendor accepted a value and shows another one.
    NotKept,
    /// The account was bound in another cluster, and nobody said that this cluster owns it.
    OwnedElsewhere,
    /// The vendor, or this version of usher, cannot do what the spec asks.
    Unsupported,
    /// The credential may not be used from this namespace.
    NamespaceNotAllowed,
    /// The account has or asks for administrator rights without `allowPrivileged`.
    Privileged,
    /// The credential protects the account: it is on `spec.protected`, or usher logs in with it.
    Protected,
    /// The object is being deleted.
    Deleting,
    /// The removal exceeds the credential's removal budget.
    RemovalHeld,
    /// The removal cannot proceed.
    DeletionBlocked,
}

impl Reason {
    /// Whether Ready is true with this reason.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Synced | Self::Created | Self::Unverified)
    }

    /// The condition beside a Ready that is not true: Reconciling, or Stalled when a person has to act.
    #[must_use]
    pub fn companion(self) -> Option<ConditionType> {
        use Reason as R;
        match self {
            R::Synced | R::Created | R::Unverified => None,
            R::WaitingForCredential
            | R::WaitingForGroup
            | R::WaitingForSecret
            | R::RateLimited
            | R::ProviderUnavailable
            | R::ChangesPending
            | R::Deleting => Some(ConditionType::Reconciling),
            R::Unauthenticated
            | R::PermissionDenied
            | R::AlreadyExists
            | R::AmbiguousMatch
            | R::NotFound
            | R::Duplicate
            | R::Invalid
            | R::ProviderMismatch
            | R::NotKept
            | R::OwnedElsewhere
            | R::Unsupported
            | R::NamespaceNotAllowed
            | R::Privileged
            | R::Protected
            | R::RemovalHeld
            | R::DeletionBlocked => Some(ConditionType::Stalled),
        }
    }

    /// The reason as Kubernetes and metrics show it.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// Reason and message of an object's Ready condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What is wrong, in which field, and what to do; never a secret.
    pub message: String,
}

impl Verdict {
    /// A verdict from its parts. A message is cut after 4,096 characters, well below the 32,768 that Kubernetes allows.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(4096) {
            message.truncate(cut);
        }
        Self { reason, message }
    }
}

/// The conditions that report `verdict` for `generation`. A condition of `before` keeps its transition time unless its
/// status flips.
#[must_use]
pub fn conditions(before: &[Condition], verdict: &Verdict, generation: i64, now: Timestamp) -> Vec<Condition> {
    let ready = if verdict.reason.is_ready() { "True" } else { "False" };
    let mut conditions = vec![build(before, ConditionType::Ready, ready, verdict, generation, now)];
    if let Some(companion) = verdict.reason.companion() {
        conditions.push(build(before, companion, "True", verdict, generation, now));
    }
    conditions
}

/// `before` with a Paused condition whose message is `by`. Ready stays as it was; it stays absent before the first reconcile.
#[must_use]
pub fn paused(before: &[Condition], by: &str, generation: i64, now: Timestamp) -> Vec<Condition> {
    let paused = ConditionType::Paused.to_string();
    let mut conditions: Vec<Condition> = before.iter().filter(|condition| condition.type_ != paused).cloned().collect();
    let verdict = Verdict::new(Reason::Synced, by);
    let mut condition = build(before, ConditionType::Paused, "True", &verdict, generation, now);
    condition.reason = "Paused".into();
    conditions.push(condition);
    conditions
}

fn build(
    before: &[Condition],
    type_: ConditionType,
    status: &str,
    verdict: &Verdict,
    generation: i64,
    now: Timestamp,
) -> Condition {
    let type_ = type_.to_string();
    let since = before
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .map_or(Time(now), |condition| condition.last_transition_time.clone());
    Condition {
        type_,
        status: status.into(),
        reason: verdict.reason.to_string(),
        message: verdict.message.clone(),
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

/// The condition of this type, if present.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let type_: &str = type_.into();
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Type, status, reason and transition time (in seconds) of each condition.
    fn summary(conditions: &[Condition]) -> Vec<(&str, &str, &str, i64)> {
        let since = |condition: &'_ Condition| condition.last_transition_time.0.as_second();
        conditions.iter().map(|one| (&*one.type_, &*one.status, &*one.reason, since(one))).collect()
    }

    fn reported(before: &[Condition], reason: Reason, seconds: i64) -> Vec<Condition> {
        conditions(before, &Verdict::new(reason, "why"), 7, at(seconds))
    }

    #[test]
    fn every_reason_that_is_not_ready_is_reconciling_or_stalled() {
        for reason in Reason::iter() {
            assert_eq!(reason.is_ready(), reason.companion().is_none(), "{reason}");
            assert_eq!(reason.label(), reason.to_string());
        }
    }

    #[test]
    fn a_condition_dates_from_when_its_status_flipped() {
        let waiting = reported(&[], Reason::WaitingForGroup, 1);
        assert_eq!(
            summary(&waiting),
            [("Ready", "False", "WaitingForGroup", 1), ("Reconciling", "True", "WaitingForGroup", 1)]
        );
        let stalled = reported(&waiting, Reason::Duplicate, 2);
        assert_eq!(summary(&stalled), [("Ready", "False", "Duplicate", 1), ("Stalled", "True", "Duplicate", 2)]);
        let ready = reported(&stalled, Reason::Synced, 3);
        assert_eq!(summary(&ready), [("Ready", "True", "Synced", 3)]);
        assert_eq!((&*ready[0].message, ready[0].observed_generation), ("why", Some(7)));
        assert_eq!(summary(&reported(&ready, Reason::Synced, 4)), [("Ready", "True", "Synced", 3)]);
    }

    #[test]
    fn a_pause_is_reported_beside_the_earlier_conditions() {
        let ready = reported(&[], Reason::Synced, 1);
        let held = paused(&ready, "spec.mode", 7, at(2));
        assert_eq!(summary(&held), [("Ready", "True", "Synced", 1), ("Paused", "True", "Paused", 2)]);
        assert_eq!(
            summary(&paused(&held, "the annotation", 7, at(3))),
            [("Ready", "True", "Synced", 1), ("Paused", "True", "Paused", 2)]
        );
        assert_eq!(find(&held, ConditionType::Paused).map(|condition| &*condition.message), Some("spec.mode"));
        assert_eq!(find(&ready, ConditionType::Paused), None);
    }
}
