//! One error for all vendors: what kind it is, whether it may have had an effect, and when to come back.

use std::fmt;

use jiff::Timestamp;

/// What a vendor's refusal means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
pub enum ErrorKind {
    /// The credential is not accepted.
    Unauthenticated,
    /// The credential is accepted, the act is not.
    PermissionDenied,
    /// Nothing at this address; for a known id that is a doubt, not a proof.
    NotFound,
    /// Something with this key is there already.
    Conflict,
    /// The vendor finds fault with what was sent.
    Invalid,
    /// Too many calls.
    RateLimited,
    /// Not reached, or an answer that makes no sense.
    Unavailable,
    /// The vendor has no such call.
    Unsupported,
}

/// Whether a failed call may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never left, or the vendor said no: no effect.
    NoEffect,
    /// The answer was lost or makes no sense: there may have been one.
    Unknown,
}

/// A vendor's refusal, or our failure to reach it. The message quotes known fields only and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderError {
    /// What it means.
    pub kind: ErrorKind,
    /// Whether there may have been an effect.
    pub delivery: Delivery,
    /// What a person should read.
    pub message: String,
    /// When the vendor lets us come back, if it said so.
    pub retry_at: Option<Timestamp>,
}

impl ProviderError {
    /// Whether it says something of the vendor's state, and nothing of what was asked.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::RateLimited)
    }

    /// A refusal: the vendor answered, nothing was done.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, delivery: Delivery::NoEffect, message: message.into(), retry_at: None }
    }

    /// No usable answer: whatever was sent may have been done.
    pub fn lost(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unavailable, delivery: Delivery::Unknown, message: message.into(), retry_at: None }
    }

    /// The gate or the vendor asks to wait until `retry_at`.
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
