//! The closed list of vendors and what the schema needs of each; it does not know their APIs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vendor whose users and groups usher manages.
// docs/adding-a-vendor.md lists what goes with a new variant.
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
    /// The name in manifests, folders, metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// The name in messages, as the vendor writes it.
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

    /// The fields of its block in `ProviderCredential.spec.provider` that hold an address which usher calls. Each must be https
    /// unless the credential allows http.
    #[must_use]
    pub fn url_fields(self) -> &'static [&'static str] {
        match self {
            Self::Pegasus => &["url", "loginUrl"],
            Self::Amani | Self::Plaspy | Self::Industrility | Self::Ozmap => &["url"],
        }
    }
}
