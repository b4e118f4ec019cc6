//! What usher writes back about users and groups; people and tools read it, usher itself reads only the identity.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::user::Mode;
use super::vendor::Vendor;

/// What must survive a crash: which account is ours and what we did to it. Written by `usher-identity` alone.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The account's id at the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Username, e-mail or name last synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Username, e-mail or name that an update with unknown end may have given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renaming: Option<String>,
    /// The credential's account when the object was bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A create whose end is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creating: Option<Creating>,
    /// Whether the account was there before us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<bool>,
    /// Digests of what was sent but cannot be read back.
    #[schemars(length(max = 16384))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Which version of the password was sent last; opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
    /// Ids of the remote groups that we added.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// The remote groups that entries of spec.groups stood for when last synced, by groupRef/NAME or externalName/NAME: one that
    /// cannot be resolved any more is so neither given nor taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_groups: Option<BTreeMap<String, String>>,
    /// Id of an account that usher made and the vendor no longer shows; what is known of it stays until another one is made. The
    /// same as externalId: the vendor refuses to make it anew, because it is there.
    #[serde(default, rename = "vanished", skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Username, e-mail or name under which the vendor has an account that usher did not make: it said so when no create of ours
    /// was in doubt. Whatever becomes of later creates, that account is not taken for ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Identity {
    /// What the account may be called by all that we did.
    pub fn known_keys(&self) -> impl Iterator<Item = &String> {
        let creating = self.creating.as_ref().map(|creating| &creating.key);
        self.key.iter().chain(&self.renaming).chain(creating)
    }

    /// The credential's account that the object is bound in, or may have made an account in; `None`: nothing ties it to any.
    #[must_use]
    pub fn tied_to(&self) -> Option<&str> {
        let creating = self.creating.as_ref().map(|creating| creating.account.as_str());
        if self.external_id.is_some() || self.is_missing() { self.account.as_deref() } else { creating }
    }

    /// Whether the one account that is known of is one that the vendor no longer shows.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.missing.is_some() && self.account.is_some() && self.external_id.is_none() && self.creating.is_none()
    }

    /// Id of the account that is the object's, shown or not; `None`: there is none, or a create with unknown end made it.
    #[must_use]
    pub fn known_id(&self) -> Option<&String> {
        self.external_id.as_ref().or(self.missing.as_ref().filter(|_| self.is_missing()))
    }
}

/// A create whose end is not known.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Creating {
    /// When it was last sent.
    pub at: Timestamp,
    /// When it was first sent with this key, if it was repeated: an account made since then may be ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The vendor's time when it was first sent, by its Date header: who looks for it later may have another clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_time: Option<Timestamp>,
    /// The natural key it was made with.
    pub key: String,
    /// The credential's account it was made in.
    pub account: String,
    /// Version of the password that went with it, as `passwordVersion`; none if its tries carried several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
}

impl Creating {
    /// When it was first sent with this key.
    #[must_use]
    pub fn first_sent(&self) -> Timestamp {
        self.since.unwrap_or(self.at)
    }

    /// The same create, sent once more `now`; `password_version` if all its tries carried the same.
    #[must_use]
    pub fn again(&self, now: Timestamp, password_version: Option<String>) -> Self {
        Self { at: now, since: Some(self.first_sent()), password_version, ..self.clone() }
    }
}

/// A call that Plan mode would make.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PendingCall {
    /// What it does, e.g. create.
    pub operation: String,
    /// What it does it to.
    pub target: String,
    /// Names of the fields it sends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl PendingCall {
    /// A call from its parts.
    pub fn new(operation: impl Into<String>, target: impl Into<String>, fields: Vec<String>) -> Self {
        Self { operation: operation.into(), target: target.into(), fields }
    }
}

/// What people read: written by `usher`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Generation of the spec that the conditions speak of; -1: nobody has looked yet.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Ready always; Reconciling, Stalled and Paused only while true.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Vendor>,
    /// The mode in effect: the strictest of operator, credential, object and annotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Plan mode: the calls it would make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<PendingCall>>,
    /// The last usher.dev/reconcile-at that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            conditions: Vec::new(),
            provider: None,
            mode: None,
            pending: None,
            last_handled_reconcile_at: None,
        }
    }
}

/// `observedGeneration` of an object that nobody has looked at.
#[must_use]
pub fn unseen() -> i64 {
    -1
}

/// Status of a PlatformUser or PlatformGroup: two halves with one writer each.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Which account is ours.
    #[serde(flatten)]
    pub identity: Identity,
    /// What people read.
    #[serde(flatten)]
    pub report: Report,
}

/// Status of a PlatformUser.
pub type UserStatus = ObjectStatus;
/// Status of a PlatformGroup.
pub type GroupStatus = ObjectStatus;
