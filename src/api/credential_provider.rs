//! The `provider` block of a ProviderCredential: the vendor, its address, and what its API leaves to the installation.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::vendor::Vendor;

/// A vendor and its address.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CredentialProvider {
    /// Pegasus Gateway.
    Pegasus(PegasusAccess),
    /// Amani.
    Amani(AmaniAccess),
    /// Plaspy.
    Plaspy(PlaspyAccess),
    /// Industrility.
    Industrility(IndustrilityAccess),
    /// OZmap.
    Ozmap(OzmapAccess),
}

impl CredentialProvider {
    /// The vendor of this credential.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        match self {
            Self::Pegasus(_) => Vendor::Pegasus,
            Self::Amani(_) => Vendor::Amani,
            Self::Plaspy(_) => Vendor::Plaspy,
            Self::Industrility(_) => Vendor::Industrility,
            Self::Ozmap(_) => Vendor::Ozmap,
        }
    }
}

/// Address of Pegasus Gateway. Secret keys: `token`, or `username` and `password`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PegasusAccess {
    /// Base address; defaults to https://api.pegasusgateway.com.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Log-in address; defaults to <url>/login.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_url: Option<String>,
    /// Host name of the site, which the central log-in asks for.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What an update sends: the WholeAccount as it was just read, with the changes (default), or ChangedFields only. Set ChangedFields where
    /// the server keeps what an update leaves out, because an account that was read a moment ago may lack what somebody else added since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
}

/// What an update of an account at Pegasus sends.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Updates {
    /// All fields as they were just read, with the changes.
    #[default]
    WholeAccount,
    /// The fields that change.
    ChangedFields,
}

/// Address of Amani. Secret keys: `username` and `password`, or `token`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AmaniAccess {
    /// Regional base address, e.g. https://eu.amani.ai.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Whether every PATCH needs e-mail and password, so that each change sets the password again. Defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_requires_credentials: Option<bool>,
}

/// Address of Plaspy. Secret keys: `username` and `apiKey`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PlaspyAccess {
    /// Base address; defaults to https://api.plaspy.com.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How usher writes a user's group: by Name (default) or Id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<GroupBy>,
}

/// How Plaspy takes a user's group.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GroupBy {
    /// By the group's name.
    #[default]
    Name,
    /// By the group's id.
    Id,
}

/// Address of Industrility. Secret key: `token`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IndustrilityAccess {
    /// Base address.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Path of the create call; defaults to /CreateNewUser.
    #[x_kube(validation = Rule::new("self.startsWith('/')").message("createPath must begin with /"))]
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_path: Option<String>,
    /// Header that carries the token; defaults to Authorization. Not one that HTTP itself or proxies act on, such as Host.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]+$')").message("not a header name: letters, digits and dashes only"))]
    #[x_kube(validation = rules::own_header())]
    #[schemars(length(min = 1, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Word before the token; defaults to Bearer, "" sends the bare token.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]*$')").message("not a scheme word: letters, digits and dashes only, or empty"))]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_scheme: Option<String>,
}

/// Address of OZmap. Secret keys: `token`, or `username` and `password`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OzmapAccess {
    /// Base address of the tenant, including /api/v2.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// How usher sends passwords: Plain (default) or Sha256Hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_encoding: Option<PasswordEncoding>,
}

/// How OZmap takes passwords.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PasswordEncoding {
    /// Unchanged.
    #[default]
    Plain,
    /// SHA-256 in lower-case hex, as older servers expect.
    Sha256Hex,
}
