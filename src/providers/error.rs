//! One error for all vendors: its kind, whether the call may have had an effect, and the time of the next attempt.

use std::fmt;

use jiff::Timestamp;

/// The kind of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
pub enum ErrorKind {
    /// The vendor does not accept the credential.
    Unauthenticated,
    /// The vendor accepts the credential but does not allow the operation.
    PermissionDenied,
    /// The vendor has nothing at this address. For a known id this does not prove that the account is gone.
    NotFound,
    /// The vendor has an account with this key already.
    Conflict,
    /// The vendor rejects the request.
    Invalid,
    /// The vendor or the limiter rejects the call because there were too many.
    RateLimited,
    /// The vendor was not reached, or its answer is unexpected.
    Unavailable,
    /// The vendor has no such call.
    Unsupported,
}

/// Whether a failed call may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The call was not sent, or the vendor refused it.
    NoEffect,
    /// The vendor answered, but not whether it carried the call out. It has ended: a look-up shows whether it had an effect.
    Answered,
    /// The answer was lost, or a gateway gave up waiting for it: the call may have had an effect, and may still have one.
    Unknown,
}

/// A failed call. Its message quotes only known fields of the answer and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// The kind.
    pub kind: ErrorKind,
    /// Whether the call may have had an effect.
    pub delivery: Delivery,
    /// The message for the status.
    pub message: String,
    /// The time of the next attempt, if the vendor named one.
    pub retry_at: Option<Timestamp>,
}

impl ProviderError {
    /// Whether the failure comes from the vendor's state and not from the request.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::RateLimited)
    }

    /// A refused call, without effect.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, delivery: Delivery::NoEffect, message: message.into(), retry_at: None }
    }

    /// A call without an answer: `Unavailable`, with unknown delivery.
    pub fn lost(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unavailable, delivery: Delivery::Unknown, message: message.into(), retry_at: None }
    }

    /// A call with an answer that does not say whether it was carried out: `Unavailable`, and the call has ended.
    pub fn answered(message: impl Into<String>) -> Self {
        Self { delivery: Delivery::Answered, ..Self::lost(message) }
    }

    /// A call refused by the limiter or the vendor until `retry_at`.
    pub fn rate_limited(message: impl Into<String>, retry_at: Option<Timestamp>) -> Self {
        Self { retry_at, ..Self::refused(ErrorKind::RateLimited, message) }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProviderError {}
