//! How one look at an object ended, as a value; only surprises travel as errors of Kubernetes.

use crate::api::conditions::{ConditionType, Verdict};
use crate::api::status::PendingCall;
use crate::api::{ObjectKey, Reason};
use crate::plan::Rejection;
use crate::providers::{ErrorKind, ProviderError};

/// Vendor and spec agree as far as can be known.
#[derive(Debug)]
pub struct Done {
    /// Synced, Created or Unverified.
    pub verdict: Verdict,
    /// What was done to get there, for one event; `None` when nothing was.
    pub did: Option<Change>,
}

/// What was done to an account; the word is the event's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Change {
    /// Made.
    Created,
    /// Changed because the manifest did.
    Updated,
    /// Taken although it was there before.
    Adopted,
    /// Changed back because someone changed it at the vendor.
    DriftRepaired,
    /// Got a new password.
    PasswordSent,
    /// Blocked.
    Disabled,
    /// Removed.
    Deleted,
    /// Left alone for good.
    Orphaned,
    /// Passed on to another object that claims it.
    HandedOver,
    /// Its groups are no longer managed and stay as they are.
    GroupsReleased,
}

/// What became of the account of an object that is gone, for one event.
#[derive(Debug)]
pub struct Finalized {
    /// What was done.
    pub change: Change,
    /// Which account, and where.
    pub note: String,
    /// Whether a person should know because nobody asked for that.
    pub warns: bool,
}

/// Why a look at an object ended before vendor and spec agree.
#[derive(Debug)]
pub enum Stop {
    /// It cannot be done as written, or something it needs is not there.
    Verdict(Verdict),
    /// The vendor refused or could not be reached.
    Provider(ProviderError),
    /// Plan mode: these calls would be made.
    Pending(Vec<PendingCall>),
    /// Someone paused it; the text says by what.
    Paused(String),
    /// It waits in a queue of ours and will be woken; nothing to say about it.
    Queued,
    /// It was in sync when last looked at, and cannot be looked at now: that is no news.
    Unchanged,
    /// It was removed, and with it everything to say but what became of its account, if it had one.
    Gone(Option<Finalized>),
    /// As the verdict says until this time, and looked at again then.
    Until(Verdict, jiff::Timestamp),
    /// A create with unknown end: looked at again when the call cannot be under way any more.
    CreatePending(jiff::Timestamp),
    /// Kubernetes failed us.
    Kube(kube::Error),
}

impl Stop {
    /// Whether vendor and manifest were compared all the same: what is wrong is what was found, not that nothing could be.
    pub fn is_comparison(&self) -> bool {
        match self {
            Self::Pending(_) => true,
            Self::Verdict(verdict) => verdict.reason.companion() == Some(ConditionType::Stalled),
            Self::Provider(error) => matches!(error.kind, ErrorKind::Invalid | ErrorKind::Conflict),
            Self::Paused(_)
            | Self::Queued
            | Self::Unchanged
            | Self::Gone(_)
            | Self::Until(..)
            | Self::CreatePending(_)
            | Self::Kube(_) => false,
        }
    }

    /// A verdict from its parts.
    pub fn because(reason: Reason, message: impl Into<String>) -> Self {
        Self::Verdict(Verdict::new(reason, message))
    }

    /// Waiting for `what`, which is absent or not ready because of `why`.
    pub fn waiting(reason: Reason, what: &ObjectKey, why: &str) -> Self {
        Self::because(reason, format!("waiting for {what}: {why}"))
    }
}

impl From<Rejection> for Stop {
    fn from(Rejection { reason, message }: Rejection) -> Self {
        Self::because(reason, message)
    }
}

impl From<ProviderError> for Stop {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        Self::Kube(error)
    }
}
