//! Conditions and reasons, and the pure merge that keeps `lastTransitionTime` honest; no clock, no Kubernetes call.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition types of all three kinds (kstatus words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum ConditionType {
    /// Always there: vendor and spec agree.
    Ready,
    /// Only while true: work goes on by itself.
    Reconciling,
    /// Only while true: a person has to act.
    Stalled,
    /// Only while true: nothing is done because someone said so.
    Paused,
}

/// Why an object is or is not Ready. The names are the contract's.
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
    /// Industrility: the user was made; it cannot be checked.
    Created,
    /// Taken as given; the vendor offers no way to check.
    Unverified,
    /// The credential is absent or not ready.
    WaitingForCredential,
    /// A group named by a user is absent or not ready.
    WaitingForGroup,
    /// A Secret that is needed now is absent or lacks its key.
    WaitingForSecret,
    /// The vendor asked to slow down.
    RateLimited,
    /// The vendor cannot be reached or does not make sense.
    ProviderUnavailable,
    /// Plan mode, and there is something to do.
    ChangesPending,
    /// The vendor refuses the credential.
    Unauthenticated,
    /// The vendor refuses this act.
    PermissionDenied,
    /// The account is there already and may not be adopted.
    AlreadyExists,
    /// More than one account or name matches.
    AmbiguousMatch,
    /// Something named matches nothing.
    NotFound,
    /// Another object holds this account.
    Duplicate,
    /// The spec or Secret cannot be right.
    Invalid,
    /// Spec and credential, or binding and credential, do not belong together.
    ProviderMismatch,
    /// The vendor, or this version, cannot do what is asked.
    Unsupported,
    /// The credential may not be used from this namespace.
    NamespaceNotAllowed,
    /// Administrator rights without `allowPrivileged`.
    Privileged,
    /// The account is on the credential's list of those never touched.
    Protected,
    /// Being removed.
    Deleting,
    /// The brake holds the removal.
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

    /// The condition that goes along while not Ready: work goes on, or a person has to act.
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

/// What is to be said of an object now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What, which field, and what to do; never a secret.
    pub message: String,
}

impl Verdict {
    /// A verdict from its parts; the message is cut at Kubernetes' limit of 32 KiB.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((cut, _)) = message.char_indices().nth(4096) {
            message.truncate(cut);
        }
        Self { reason, message }
    }
}

/// The conditions that say `verdict` of `generation`, keeping transition times of `before` where `status` did not flip.
#[must_use]
pub fn conditions(before: &[Condition], verdict: &Verdict, generation: i64, now: Timestamp) -> Vec<Condition> {
    let ready = if verdict.reason.is_ready() { "True" } else { "False" };
    let mut conditions = vec![build(before, ConditionType::Ready, ready, verdict, generation, now)];
    if let Some(companion) = verdict.reason.companion() {
        conditions.push(build(before, companion, "True", verdict, generation, now));
    }
    conditions
}

/// `before` with a Paused condition that says by what; Ready stays as it was, or Unknown-free absent if nobody looked yet.
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

/// The condition of this type, if it is there.
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

    /// Type, status, reason and since when, of each.
    fn told(conditions: &[Condition]) -> Vec<(&str, &str, &str, i64)> {
        let told = |condition: &'_ Condition| condition.last_transition_time.0.as_second();
        conditions.iter().map(|one| (&*one.type_, &*one.status, &*one.reason, told(one))).collect()
    }

    fn said(before: &[Condition], reason: Reason, seconds: i64) -> Vec<Condition> {
        conditions(before, &Verdict::new(reason, "why"), 7, at(seconds))
    }

    #[test]
    fn whatever_is_not_ready_either_goes_on_or_waits_for_a_person() {
        for reason in Reason::iter() {
            assert_eq!(reason.is_ready(), reason.companion().is_none(), "{reason}");
            assert_eq!(reason.label(), reason.to_string());
        }
    }

    #[test]
    fn a_condition_dates_from_when_its_status_flipped() {
        let waiting = said(&[], Reason::WaitingForGroup, 1);
        assert_eq!(
            told(&waiting),
            [("Ready", "False", "WaitingForGroup", 1), ("Reconciling", "True", "WaitingForGroup", 1)]
        );
        let stalled = said(&waiting, Reason::Duplicate, 2);
        assert_eq!(told(&stalled), [("Ready", "False", "Duplicate", 1), ("Stalled", "True", "Duplicate", 2)]);
        let ready = said(&stalled, Reason::Synced, 3);
        assert_eq!(told(&ready), [("Ready", "True", "Synced", 3)]);
        assert_eq!((&*ready[0].message, ready[0].observed_generation), ("why", Some(7)));
        assert_eq!(told(&said(&ready, Reason::Synced, 4)), [("Ready", "True", "Synced", 3)]);
    }

    #[test]
    fn a_pause_is_said_beside_what_was_said_before() {
        let ready = said(&[], Reason::Synced, 1);
        let held = paused(&ready, "spec.mode", 7, at(2));
        assert_eq!(told(&held), [("Ready", "True", "Synced", 1), ("Paused", "True", "Paused", 2)]);
        assert_eq!(
            told(&paused(&held, "the annotation", 7, at(3))),
            [("Ready", "True", "Synced", 1), ("Paused", "True", "Paused", 2)]
        );
        assert_eq!(find(&held, ConditionType::Paused).map(|condition| &*condition.message), Some("spec.mode"));
        assert_eq!(find(&ready, ConditionType::Paused), None);
    }
}
