//! How one reconcile of an object ended. Values only.

use jiff::Timestamp;

use crate::api::conditions::{ConditionType, Verdict};
use crate::api::status::PendingCall;
use crate::api::{ObjectKey, Reason};
use crate::plan::Rejection;
use crate::providers::{ErrorKind, ProviderError};

/// The end of a reconcile without an obstacle.
#[derive(Debug)]
pub enum Outcome {
    /// Vendor and spec agree as far as can be known.
    Done(Done),
    /// A step is done and recorded, and the object is reconciled again at once for the next one.
    Again,
    /// The object was released; what became of its account, if it had one.
    Released(Option<Finalized>),
}

/// Vendor and spec agree as far as can be known.
#[derive(Debug)]
pub struct Done {
    /// Synced, Created or Unverified.
    pub verdict: Verdict,
    /// What was done to the account, for one event; `None` when nothing was.
    pub change: Option<Change>,
}

/// What was done to an account; the word is the event's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Change {
    /// It was made.
    Created,
    /// It was changed because the manifest did.
    Updated,
    /// It was taken over although it was there before.
    Adopted,
    /// It was changed back after a foreign change at the vendor.
    DriftRepaired,
    /// It got a new password.
    PasswordSent,
    /// Its log-in was blocked.
    Disabled,
    /// It was removed.
    Deleted,
    /// It stays, and usher does not manage it any more.
    Orphaned,
    /// It passed on to another object.
    HandedOver,
    /// Its groups stay, and usher does not manage them any more.
    GroupsReleased,
}

/// What became of the account of a released object, for one event.
#[derive(Debug)]
pub struct Finalized {
    /// What was done.
    pub change: Change,
    /// Which account, and where.
    pub note: String,
    /// Whether the event is a Warning, because no policy asked for that.
    pub warns: bool,
}

/// Why a reconcile ended before vendor and spec agree.
#[derive(Debug)]
pub enum Stop {
    /// The manifest cannot be carried out as written, or something that it needs is absent.
    Verdict(Verdict),
    /// As the verdict says until this time, when the object is reconciled again.
    Until(Verdict, Timestamp),
    /// The vendor refused a call or was not reached.
    Provider(ProviderError),
    /// Mode Plan: these calls would be made.
    Pending(Vec<PendingCall>),
    /// The object is paused; the text names what pauses it.
    Paused(String),
    /// The object was in sync at the last comparison and cannot be compared now, which is no news about it.
    Unchanged,
    /// The outcome of an earlier create is unknown until this time.
    CreatePending(Timestamp),
    /// Another object makes an account with the same key, at least until this time.
    KeyLocked(Timestamp),
    /// The vendor may not show yet what was written a moment ago; it is asked again at this time.
    Unsettled(Timestamp),
    /// The limiter has no room; it enqueues the object when it has.
    AwaitsPermit,
    /// The credential was not checked yet; its reconcile enqueues the object.
    AwaitsCredential,
    /// A listing was asked for; its end enqueues the object.
    AwaitsListing,
    /// Object or credential were edited meanwhile; the reconcile of that edit follows.
    AwaitsEdit,
    /// Kubernetes did not answer, or refused a write.
    Kube(kube::Error),
}

impl Stop {
    /// Whether vendor and manifest were compared all the same, so that the verdict is the result of a comparison.
    pub fn is_comparison(&self) -> bool {
        match self {
            Self::Pending(_) => true,
            Self::Verdict(verdict) => verdict.reason.companion() == Some(ConditionType::Stalled),
            Self::Provider(error) => matches!(error.kind, ErrorKind::Invalid | ErrorKind::Conflict),
            Self::Until(..)
            | Self::Paused(_)
            | Self::Unchanged
            | Self::CreatePending(_)
            | Self::KeyLocked(_)
            | Self::Unsettled(_)
            | Self::AwaitsPermit
            | Self::AwaitsCredential
            | Self::AwaitsListing
            | Self::AwaitsEdit
            | Self::Kube(_) => false,
        }
    }

    /// A verdict from its parts.
    pub fn because(reason: Reason, message: impl Into<String>) -> Self {
        Self::Verdict(Verdict::new(reason, message))
    }

    /// A verdict that waits for `what`, which is absent or not ready because of `why`.
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
