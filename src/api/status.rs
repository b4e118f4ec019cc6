//! The status of users and groups. People and tools read it; usher itself reads only the identity.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::user::Mode;
use super::vendor::Vendor;

/// The part of the status that must survive a crash: which account belongs to the object, and what usher sent to it. Only the
/// field manager `usher-identity` writes it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The account's id at the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Username, e-mail or name at the last sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Another username, e-mail or name that the account may have, because the vendor has not shown yet that an update renamed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renaming: Option<String>,
    /// The credential's account when the object was bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The cluster whose usher bound the account, by the uid of its namespace kube-system. In another cluster usher sends and removes
    /// nothing for this object until the annotation usher.dev/owner-cluster names that cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// A create whose outcome is unknown (pending create).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creating: Option<Creating>,
    /// Whether the account existed before usher bound it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted: Option<bool>,
    /// Digests of values that usher sent and cannot read back.
    #[schemars(length(max = 16384))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Version of the password that usher sent last; opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
    /// Ids of the groups at the vendor to which usher added the user.
    #[schemars(length(max = 2048))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Groups at the vendor to which entries of spec.groups resolved at the last sync, by groupRef/NAME or externalName/NAME.
    /// usher neither adds nor removes a group whose entry no longer resolves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_groups: Option<BTreeMap<String, String>>,
    /// Digests of values that the vendor refused. usher sends such a value again only once it changed, or on request.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<String>,
    /// Digests of values that the vendor accepted and shows otherwise than they were sent. usher does not send such a value again while
    /// the vendor shows the same.
    #[schemars(length(max = 16384))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
    /// Id of an account that usher created and the vendor no longer shows (missing account). The rest of the identity stays until
    /// usher creates another account. A value equal to externalId means that the vendor refuses another create because the
    /// account exists.
    #[serde(default, rename = "vanished", skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Username, e-mail or name of an account that usher did not create: the vendor reported it while no create was pending. usher
    /// never takes that account for its own, whatever the outcome of a later create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// usher's seal on the fields that tie the object to its account. Without the seal that belongs to them they do not count, so that
    /// nobody binds the object to an account by writing its status.
    #[schemars(length(max = 128))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

impl Identity {
    /// The natural keys that the account may have after everything that usher sent.
    pub fn known_keys(&self) -> impl Iterator<Item = &String> {
        let creating = self.creating.as_ref().map(|creating| &creating.key);
        self.key.iter().chain(&self.renaming).chain(creating)
    }

    /// The credential's account in which the object is bound or has a pending create; `None` if it has neither.
    #[must_use]
    pub fn tied_to(&self) -> Option<&str> {
        let creating = self.creating.as_ref().map(|creating| creating.account.as_str());
        if self.external_id.is_some() || self.is_missing() { self.account.as_deref() } else { creating }
    }

    /// Whether the object's only known account is a missing account.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.missing.is_some() && self.account.is_some() && self.external_id.is_none() && self.creating.is_none()
    }

    /// Id of the object's account, visible or missing; `None` without an account, or while a create is pending.
    #[must_use]
    pub fn known_id(&self) -> Option<&String> {
        self.external_id.as_ref().or(self.missing.as_ref().filter(|_| self.is_missing()))
    }
}

/// A create whose outcome is unknown (pending create).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Creating {
    /// When it was last sent.
    pub at: Timestamp,
    /// When it was first sent with this key, if it was repeated. An account created since then may be the object's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The vendor's time when it was first sent, from its Date header, because a later process may have another clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_time: Option<Timestamp>,
    /// The natural key that it was sent with.
    pub key: String,
    /// The credential's account that it was sent to.
    pub account: String,
    /// Version of the password that it carried, as `passwordVersion`; absent if its tries carried several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<String>,
}

impl Creating {
    /// When it was first sent with this key.
    #[must_use]
    pub fn first_sent(&self) -> Timestamp {
        self.since.unwrap_or(self.at)
    }

    /// The same create, repeated at `now`; `password_version` is set if all its tries carried the same one.
    #[must_use]
    pub fn again(&self, now: Timestamp, password_version: Option<String>) -> Self {
        Self { at: now, since: Some(self.first_sent()), password_version, ..self.clone() }
    }
}

/// A call that usher would make in mode Enforce.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PendingCall {
    /// The operation, e.g. create.
    pub operation: String,
    /// The account or group that it concerns.
    pub target: String,
    /// Names of the fields that it sends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl PendingCall {
    /// A call from its parts.
    pub fn new(operation: impl Into<String>, target: impl Into<String>, fields: Vec<String>) -> Self {
        Self { operation: operation.into(), target: target.into(), fields }
    }
}

/// The part of the status for people and tools. Only the field manager `usher` writes it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Generation of the spec that the conditions describe; -1 before the first reconcile.
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
    /// In mode Plan: the calls that usher would make.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<PendingCall>>,
    /// The last value of usher.dev/reconcile-at that usher acted on.
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

/// `observedGeneration` of an object before its first reconcile.
#[must_use]
pub fn unseen() -> i64 {
    -1
}

/// Status of a PlatformUser or PlatformGroup: two parts with one writer each.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Which account belongs to the object.
    #[serde(flatten)]
    pub identity: Identity,
    /// The part for people and tools.
    #[serde(flatten)]
    pub report: Report,
    /// Whether the identity ties the object to an account without a valid seal, so that it does not count. usher finds that out for each
    /// object that it reads.
    #[serde(skip)]
    #[schemars(skip)]
    pub is_unsealed: bool,
}

/// Status of a PlatformUser.
pub type UserStatus = ObjectStatus;
/// Status of a PlatformGroup.
pub type GroupStatus = ObjectStatus;
