//! `ProviderCredential`: one account at one vendor, as people write it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::status::unseen;
use super::user::{AdoptionPolicy, Mode, UserDeletionPolicy};
use super::vendor::Vendor;

/// How to log in at one vendor, who may use it, and within which bounds.
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
    doc = "An account at one vendor through which users and groups are kept. Writing one amounts to reading the namespace's Secrets.",
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
    /// The vendor and where it is. Exactly one; cannot change to another vendor.
    #[x_kube(validation = rules::one_vendor())]
    #[x_kube(validation = rules::same_vendor())]
    pub provider: CredentialProvider,
    /// Secret of the same namespace, of type Opaque or kubernetes.io/basic-auth, that holds the vendor's token or login.
    pub secret_ref: SecretRef,
    /// From which namespaces the credential may be used; defaults to its own.
    #[x_kube(validation = Rule::new("has(self.selector) == (self.from == 'Selector')")
        .message("allowedNamespaces.selector goes with from: Selector, and only with it"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Whose objects may take accounts that exist already: None, Same (default: the credential's namespace) or All.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_existing: Option<AllowExisting>,
    /// Upper bound for every object that uses it: Enforce (default), Plan or Paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How often vendor and cluster are compared; defaults to 10m, at least 1m.
    #[x_kube(validation = rules::duration("1m", "168h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resync_interval: Option<String>,
    /// Upper bounds on calls to the vendor; defaults per vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// Brake on deletes and disables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removals: Option<Removals>,
    /// For objects that set none; defaults to Delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<UserDeletionPolicy>,
    /// For objects that set none; defaults to Never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption_policy: Option<AdoptionPolicy>,
    /// Whether users with administrator rights may be made or touched; defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privileged: Option<bool>,
    /// Further roles or groups, by name or id, that count as privileged.
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<Vec<String>>,
    /// E-mails, usernames or ids never changed, disabled or removed.
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
}

/// A vendor and where it is.
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

/// Where Pegasus Gateway is. Secret keys: `token`, or `username` and `password`.
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
    /// Site host name that the central log-in asks for.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// Where Amani is. Secret keys: `username` and `password`, or `token`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AmaniAccess {
    /// Regional base address, e.g. https://eu.amani.ai.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// The server insists on e-mail and password in every PATCH; each change then sets the password again. Defaults to false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_requires_credentials: Option<bool>,
}

/// Where Plaspy is. Secret keys: `username` and `apiKey`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PlaspyAccess {
    /// Base address; defaults to https://api.plaspy.com.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether a user's group is written by Name (default) or Id.
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

/// Where Industrility is. Secret key: `token`.
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
    /// Header that carries the token; defaults to Authorization.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]+$')").message("not a header name: letters, digits and dashes only"))]
    #[schemars(length(min = 1, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_header: Option<String>,
    /// Word before the token; defaults to Bearer, "" sends the bare token.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]*$')").message("not a scheme word: letters, digits and dashes only, or empty"))]
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_scheme: Option<String>,
}

/// Where OZmap is. Secret keys: `token`, or `username` and `password`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OzmapAccess {
    /// Base address of the tenant, including /api/v2.
    #[x_kube(validation = rules::url())]
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// How passwords are sent: Plain (default) or Sha256Hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_encoding: Option<PasswordEncoding>,
}

/// How OZmap takes passwords.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PasswordEncoding {
    /// As it is.
    #[default]
    Plain,
    /// SHA-256 in lower-case hex, as older servers expect.
    Sha256Hex,
}

/// A Secret by name.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// From which namespaces a credential may be used.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AllowedNamespaces {
    /// Same, All, or those that the selector matches.
    pub from: NamespacesFrom,
    /// Labels of the namespaces, with from: Selector.
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

/// Whose objects may take what already exists.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AllowExisting {
    /// Nobody's.
    None,
    /// Those of the credential's namespace.
    #[default]
    Same,
    /// Those of every namespace that may use the credential.
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
    /// Calls at once after a rest.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Objects worked on at a time.
    #[schemars(range(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// Brake on deletes and disables.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Removals {
    /// How long a removal waits, so that another object can take the account over; defaults to 10s.
    #[x_kube(validation = rules::duration("0s", "24h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many removals go through within `per`; defaults to 50.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
    /// The time over which removals are counted; defaults to 1h.
    #[x_kube(validation = rules::duration("1m", "168h"))]
    #[schemars(length(max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
}

/// What usher writes back about a credential.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProviderCredentialStatus {
    /// Generation of the spec that the conditions speak of; -1: nobody has looked yet.
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
    /// Vendor, host, and who the vendor says we are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Users that use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,
    /// Groups that use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<u32>,
    /// When the vendor was last compared with the cluster as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sweep_time: Option<Timestamp>,
    /// The vendor asked for fewer calls: there is none before this time, which it named, or else usher's own back-off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited_until: Option<Timestamp>,
    /// Removals that the brake holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_removals: Option<HeldRemovals>,
    /// Removals that were let through lately, counted before they are made. Written by `usher-removals` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent_removals: Option<Vec<RecentRemovals>>,
    /// The last usher.dev/reconcile-at that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// Removals that were let through within a small part of the brake's time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecentRemovals {
    /// When this part began.
    pub since: Timestamp,
    /// How many in it.
    pub count: u32,
    /// The uids of those objects among them that are not gone yet, so that none is counted twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<String>,
}

/// Removals that the brake holds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HeldRemovals {
    /// How many.
    pub count: u32,
    /// Token that releases this batch when set as usher.dev/release-removals.
    pub release: String,
}

impl Default for ProviderCredentialStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            conditions: Vec::new(),
            mode: None,
            provider: None,
            account: None,
            users: None,
            groups: None,
            last_sweep_time: None,
            rate_limited_until: None,
            held_removals: None,
            recent_removals: None,
            last_handled_reconcile_at: None,
        }
    }
}
