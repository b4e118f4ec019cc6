//! `PlatformGroup`: the manifest of a group at one vendor.

#![expect(dead_code, reason = "KubeSchema derives the schema from a copy of the spec that never reads a skipped field")]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decode_issues::DecodeIssues;
use super::rules;
use super::status::GroupStatus;
use super::user::{AdoptionPolicy, CredentialRef, Empty, Mode, Reference};
use super::vendor::Vendor;

/// The desired group. usher neither sends nor compares a field that is absent.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "PlatformGroup",
    plural = "platformgroups",
    namespaced,
    status = "GroupStatus",
    derive = "PartialEq",
    shortname = "pgroup",
    category = "usher",
    doc = "A group at one vendor, kept in the state that this manifest describes.",
    selectable = ".spec.credentialRef.name",
    validation = rules::bound_reference(),
    validation = rules::bound_external_id(),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "External ID", type_ = "string", json_path = ".status.externalId"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.displayName", priority = 1),
    printcolumn(name = "Credential", type_ = "string", json_path = ".spec.credentialRef.name", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[x_kube(validation = Rule::new("!has(self.provider) || !has(self.provider.industrility) || has(self.externalId)")
    .message("Industrility's security groups have no API: set spec.externalId to the id of an existing one"))]
#[serde(rename_all = "camelCase")]
pub struct PlatformGroupSpec {
    /// The ProviderCredential to use. Cannot change once the group is bound.
    pub credential_ref: CredentialRef,
    /// The group's name at the vendor; defaults to metadata.name.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Id of an existing group to bind to. Cannot change once the group is bound.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Fields of one vendor; must be the credential's vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<GroupProvider>,
    /// What happens to the group when this object is deleted; defaults to the credential's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<GroupDeletionPolicy>,
    /// Whether usher may take over a group that exists already: Never (default) or Adopt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// Enforce (default), Plan (show changes, make none) or Paused (no vendor call).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// What of the stored object was not decoded; in memory only.
    #[serde(skip)]
    pub decode_issues: Option<Box<DecodeIssues>>,
}

/// What happens to a group at the vendor when its object is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum GroupDeletionPolicy {
    /// usher deletes it.
    Delete,
    /// It stays as it is.
    Orphan,
}

/// A group's fields of one vendor.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum GroupProvider {
    /// Pegasus Gateway.
    Pegasus(Box<PegasusGroup>),
    /// Amani: roles, which usher only reads.
    Amani(Empty),
    /// Plaspy: a group of devices.
    Plaspy(PlaspyGroup),
    /// Industrility: security groups are taken as given.
    Industrility(Empty),
    /// OZmap: a project group.
    Ozmap(OzmapGroup),
}

impl GroupProvider {
    /// The vendor this block is for.
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

/// Pegasus Gateway's own fields of a group. "" clears a field.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PegasusGroup {
    /// Company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_name: Option<String>,
    /// Contact person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_name: Option<String>,
    /// Contact's e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_email: Option<String>,
    /// First address line.
    #[serde(rename = "address1", skip_serializing_if = "Option::is_none")]
    pub address_1: Option<String>,
    /// Second address line.
    #[serde(rename = "address2", skip_serializing_if = "Option::is_none")]
    pub address_2: Option<String>,
    /// City.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Address of a logo.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
}

/// Plaspy's own fields of a group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PlaspyGroup {
    /// Free text. "" clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Ids of the devices in the group; usher removes devices that are not listed.
    #[schemars(length(max = rules::FLEET_LIMIT), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
}

/// OZmap's own fields of a project group.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OzmapGroup {
    /// Projects in the group; usher removes projects that are not listed.
    #[schemars(length(max = rules::FLEET_LIMIT))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<Reference>>,
}
