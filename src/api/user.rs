//! `PlatformUser`: a person's account at one vendor, as people write it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::status::UserStatus;
pub use super::user_provider::*;

/// What the account should be. Absent means not managed: never sent, never compared.
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
    doc = "A user account at one vendor, kept as this manifest says.",
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
    /// Whether the person may log in. Absent: created active, then not managed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Secret of the same namespace that holds the password. Sent on create and when its value changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<PasswordSecretRef>,
    /// Groups at the vendor. Absent: not managed. Empty: member of none.
    #[x_kube(validation = rules::no_duplicates())]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupEntry>>,
    /// Exclusive (default): the groups above and no others. Additive: take away only what we added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
    /// Bind to this existing account. Cannot change once the account is bound.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Whether an account that is there already may be taken: Never (default) or Adopt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// What happens to the account when this object is deleted; defaults to the credential's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<UserDeletionPolicy>,
    /// Enforce (default), Plan (show, do not act) or Paused (no vendor call).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What only one vendor has; must be the credential's vendor.
    #[x_kube(validation = rules::one_vendor())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<UserProvider>,
}

/// A credential by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CredentialRef {
    /// Name of the ProviderCredential.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, when that credential allows ours; defaults to our own.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A password in a Secret of the same namespace.
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
    /// The key in the Secret, written or not.
    #[must_use]
    pub fn entry(&self) -> &str {
        self.key.as_deref().unwrap_or("password")
    }
}

/// One group, by exactly one of three forms.
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

/// A PlatformGroup by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupRef {
    /// Name of the PlatformGroup.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How `groups` is meant.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Membership {
    /// Member of these groups and no others.
    #[default]
    Exclusive,
    /// Member of these groups at least; only what we added is taken away again.
    Additive,
}

/// Whether an existing account may be taken.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdoptionPolicy {
    /// An existing account is AlreadyExists.
    #[default]
    Never,
    /// Exactly one match is taken.
    Adopt,
}

/// What happens to a user's account when its object goes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum UserDeletionPolicy {
    /// Remove it, or the nearest the vendor has.
    Delete,
    /// Block log-in and keep it.
    Disable,
    /// Leave it alone.
    Orphan,
}

/// How much usher does.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, strum::Display,
)]
pub enum Mode {
    /// Do it.
    #[default]
    Enforce,
    /// Read and show what would be done.
    Plan,
    /// No vendor call.
    Paused,
}
