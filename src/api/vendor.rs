//! The closed list of vendors. It knows no vendor's API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vendor whose users and groups usher manages. A sixth is a new variant; the compiler lists the rest.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Vendor {
    /// Pegasus Gateway of Digital Communications Technologies.
    Pegasus,
    /// Amani identity verification.
    Amani,
    /// Plaspy GPS tracking.
    Plaspy,
    /// Industrility aftermarket platform.
    Industrility,
    /// OZmap fibre network mapping.
    Ozmap,
}

impl Vendor {
    /// The label value of metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// The name people know it by, for messages.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Pegasus => "Pegasus",
            Self::Amani => "Amani",
            Self::Plaspy => "Plaspy",
            Self::Industrility => "Industrility",
            Self::Ozmap => "OZmap",
        }
    }
}
