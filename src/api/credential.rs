//! `ProviderCredential`: the manifest of a login at one vendor.

#![expect(dead_code, reason = "KubeSchema derives the schema from a copy of the spec that never reads a skipped field")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credential_provider::CredentialProvider;
use super::decode_issues::DecodeIssues;
use super::rules;
use super::status::unseen;
use super::user::{AdoptionPolicy, Mode, UserDeletionPolicy};
use super::vendor::Vendor;

/// How usher logs in at one vendor, which objects may use the login, and within which limits.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "ProviderCredential",
    plural = "providercredentials",
    namespaced,
    status = "ProviderCredentialStatus",
    derive = "PartialEq",
    shortname = "pcred",
    category = "usher",
    doc = "A login at one vendor, through which usher manages users and groups. The right to write one amounts to the right to read the namespace's Secrets.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Provider", type_ = "string", json_path = ".status.provider"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users"),
    printcolumn(name = "Groups", type_ = "integer", json_path = ".status.groups"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[x_kube(validation = rules::https())]
#[serde(rename_all = "camelCase")]
pub struct ProviderCredentialSpec {
    /// The vendor and its address. Set exactly one; the vendor cannot change later.
    #[x_kube(validation = rules::same_vendor())]
    pub provider: CredentialProvider,
    /// Secret in the same namespace, of type Opaque or kubernetes.io/basic-auth, that holds the vendor's token or login.
    pub secret_ref: SecretRef,
    /// Namespaces whose objects may use the credential; defaults to its own namespace.
    #[x_kube(validation = Rule::new("has(self.selector) == (self.from == 'Selector')")
        .message("allowedNamespaces.selector goes with from: Selector, and only with it"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Which objects may take over accounts that exist already: None, Same (default: those in the credential's namespace) or All.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_existing: Option<AllowExisting>,
    /// Mode of every object that uses the credential, unless the object's own is stricter: Enforce (default), Plan or Paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How often usher compares the vendor with the cluster; defaults to 10m, at least 1m.
    #[x_kube(validation = rules::duration("1m", "168h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync_interval: Option<String>,
    /// Upper bounds on calls to the vendor; defaults per vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// Removal budget: limits how many accounts usher deletes or disables within a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removals: Option<Removals>,
    /// Deletion policy of objects that set none; defaults to Delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<UserDeletionPolicy>,
    /// Adoption policy of objects that set none; defaults to Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// Whether usher may create, change or remove users with administrator rights; defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privileged: Option<bool>,
    /// Further roles or groups, by name or id, that count as privileged.
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<Vec<String>>,
    /// E-mail addresses, usernames or ids of accounts that usher never changes, disables or removes.
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<Vec<String>>,
    /// Allow http:// and loopback addresses; for test servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_insecure_http: Option<bool>,
    /// Certificates of a private CA: base64 of PEM.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+/=\\\\s]+$')").message("caBundle must be base64 of PEM certificates"))]
    #[schemars(length(min = 1, max = 262_144))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// What of the stored object was not decoded; in memory only.
    #[serde(skip)]
    pub decode_issues: Option<Box<DecodeIssues>>,
}

/// Reference to a Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Namespaces whose objects may use a credential.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AllowedNamespaces {
    /// Same, All, or Selector for the namespaces that the selector matches.
    pub from: NamespacesFrom,
    /// Selects namespaces by their labels; only with from: Selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NamespacesFrom {
    /// The credential's own.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// Those that the selector matches.
    Selector,
}

/// Which objects may take over accounts that exist already.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AllowExisting {
    /// No object.
    None,
    /// Objects in the credential's namespace.
    #[default]
    Same,
    /// Objects in every namespace that may use the credential.
    All,
}

/// Upper bounds on calls to the vendor.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// Calls a minute.
    #[schemars(range(min = 1, max = 600_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Calls in one burst after a quiet time.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Objects that usher works on at the same time.
    #[schemars(range(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// Removal budget: limits how many accounts usher deletes or disables within a period.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Removals {
    /// How long a removal waits, so that another object can take the account over; defaults to 10s.
    #[x_kube(validation = rules::duration("0s", "24h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most removals within `per`; further ones wait with the reason RemovalHeld. Defaults to 50.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
    /// Period over which usher counts removals; defaults to 1h.
    #[x_kube(validation = rules::duration("1m", "168h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
}

/// Status of a `ProviderCredential`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCredentialStatus {
    /// Generation of the spec that the conditions describe; -1 before the first reconcile.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready always; Reconciling, Stalled and Paused only while true.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The mode in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Vendor>,
    /// The credential's account: vendor, address, and the login as the vendor names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Number of PlatformUsers that use the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Number of PlatformGroups that use the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<u32>,
    /// When usher last compared all accounts of the vendor with the cluster (sweep).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sweep_time: Option<Timestamp>,
    /// usher makes no call before this time: the vendor asked it to slow down and named the time, or usher's back-off set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited_until: Option<Timestamp>,
    /// Removals that exceed the removal budget and wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_removals: Option<HeldRemovals>,
    /// Removals that the budget admitted within `spec.removals.per`. Only the field manager `usher-removals` writes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent_removals: Option<Vec<RecentRemovals>>,
    /// The last value of usher.dev/reconcile-at that usher acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// Removals that the budget admitted within one part of its period.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemovals {
    /// When this part began.
    pub since: Timestamp,
    /// Number of removals in this part.
    pub count: u32,
    /// Number of removals in this part for each namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, u32>,
    /// Uids of objects in this part that still exist, so that none is counted twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<String>,
}

/// Removals that exceed the removal budget and wait.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HeldRemovals {
    /// Number of removals that wait.
    pub count: u32,
    /// Release token of this batch, for the annotation usher.dev/release-removals.
    pub release: String,
}
