//! What of a stored object did not fit its schema. It is kept beside the spec in memory alone.

/// Why a stored object was not decoded as a whole, and which decisive fields its spec lacks for that reason.
///
/// A spec carries it as `#[serde(skip)]`: no manifest sets it, and no write to Kubernetes contains it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DecodeIssues {
    /// The first error of the decoder.
    pub message: String,
    /// `spec.deletionPolicy` as stored, in JSON, if it was not decoded.
    pub deletion_policy: Option<String>,
    /// `spec.mode` as stored, in JSON, if it was not decoded.
    pub mode: Option<String>,
    /// Whether `spec.provider` of a credential names no known vendor; the spec then holds a placeholder.
    pub is_vendor_unknown: bool,
}
