//! `PlatformUser`: the manifest of a person's account at one vendor.

#![expect(dead_code, reason = "KubeSchema derives the schema from a copy of the spec that never reads a skipped field")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode_issues::DecodeIssues;
use super::rules;
use super::status::UserStatus;
pub use super::user_provider::*;

/// The desired account. usher neither sends nor compares a field that is absent.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "PlatformUser",
    plural = "platformusers",
    namespaced,
    status = "UserStatus",
    derive = "PartialEq",
    shortname = "puser",
    category = "usher",
    doc = "A user account at one vendor, kept in the state that this manifest describes.",
    selectable = ".spec.credentialRef.name",
    selectable = ".spec.email",
    validation = rules::bound_reference(),
    validation = rules::bound_external_id(),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "External ID", type_ = "string", json_path = ".status.externalId"),
    printcolumn(name = "Email", type_ = "string", json_path = ".spec.email"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Credential", type_ = "string", json_path = ".spec.credentialRef.name", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[x_kube(validation = Rule::new("!has(self.provider) || !has(self.provider.industrility) || (has(self.firstName) && has(self.lastName))")
    .message("Industrility needs spec.firstName and spec.lastName: add both"))]
#[x_kube(validation = Rule::new("!has(self.provider) || !has(self.provider.industrility) || !has(self.passwordSecretRef)")
    .message("Industrility has no passwords in its API: remove spec.passwordSecretRef"))]
#[x_kube(validation = Rule::new("!has(self.provider) || !has(self.provider.plaspy) || !has(self.groups) || size(self.groups) <= 1")
    .message("a Plaspy user is in at most one group: keep one entry of spec.groups"))]
#[serde(rename_all = "camelCase")]
pub struct PlatformUserSpec {
    /// The ProviderCredential to use. Cannot change once the account is bound.
    pub credential_ref: CredentialRef,
    /// The person's e-mail address.
    #[x_kube(validation = rules::email())]
    #[schemars(length(min = 1, max = 254))]
    pub email: String,
    /// The login name where the vendor has one; defaults to the e-mail address.
    #[schemars(length(min = 1, max = 254))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Given name. "" clears it.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name. "" clears it.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Full name where the vendor has one; defaults to "<firstName> <lastName>", else the e-mail address.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Telephone number. "" clears it.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Whether the person may log in. Absent: the account is created active, and usher does not manage the field afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Secret in the same namespace that holds the password. usher sends it on create and when its value changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordSecretRef>,
    /// Groups at the vendor. Absent: not managed. Empty: the user is in no group.
    #[schemars(length(max = rules::FLEET_LIMIT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupEntry>>,
    /// Exclusive (default): the user is in the listed groups and no others. Additive: usher removes only groups that it added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
    /// Id of an existing account to bind to. Cannot change once the account is bound.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Whether usher may take over an account that exists already: Never (default) or Adopt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What happens to the account when this object is deleted; defaults to the credential's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<UserDeletionPolicy>,
    /// Enforce (default), Plan (show changes, make none) or Paused (no vendor call).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Fields of one vendor; must be the credential's vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<UserProvider>,
    /// What of the stored object was not decoded; in memory only.
    #[serde(skip)]
    pub decode_issues: Option<Box<DecodeIssues>>,
}

/// Reference to a ProviderCredential.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRef {
    /// Name of the ProviderCredential.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the ProviderCredential, if its allowedNamespaces include the object's; defaults to the object's own.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Reference to a password in a Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PasswordSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret; defaults to "password".
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl PasswordSecretRef {
    /// The key in the Secret, or its default.
    #[must_use]
    pub fn entry(&self) -> &str {
        self.key.as_deref().unwrap_or("password")
    }
}

/// One group, in exactly one of three forms.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum GroupEntry {
    /// A PlatformGroup in this namespace that uses the same credential.
    GroupRef(GroupRef),
    /// A group at the vendor, by its id.
    ExternalId(#[schemars(length(min = 1, max = 256))] String),
    /// A group at the vendor, by its name; must match exactly one.
    ExternalName(#[schemars(length(min = 1, max = 256))] String),
}

/// Reference to a PlatformGroup.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupRef {
    /// Name of the PlatformGroup.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether `groups` is the complete list.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Membership {
    /// The user is in these groups and no others.
    #[default]
    Exclusive,
    /// The user is at least in these groups; usher removes only groups that it added.
    Additive,
}

/// Whether usher may take over an existing account.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdoptionPolicy {
    /// It may not: the object reports AlreadyExists.
    #[default]
    Never,
    /// It may, if exactly one account matches.
    Adopt,
}

/// What happens to a user's account when its object is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum UserDeletionPolicy {
    /// usher deletes it, or disables it where the vendor cannot delete users.
    Delete,
    /// usher blocks log-in and keeps it.
    Disable,
    /// It stays as it is.
    Orphan,
}

/// What usher may do for an object.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, strum::Display,
)]
pub enum Mode {
    /// Make changes.
    #[default]
    Enforce,
    /// Read, and show changes without making them.
    Plan,
    /// Make no vendor call.
    Paused,
}
