//! Names that Kubernetes sees: API group, finalizers, annotations, field managers and kinds. It holds no logic beyond naming.

use std::fmt;

/// API group of the three kinds.
pub const API_GROUP: &str = "usher.dev";
/// API version of the three kinds.
pub const API_VERSION: &str = "usher.dev/v1alpha1";

/// Finalizer on users, groups and credentials.
pub const FINALIZER: &str = "usher.dev/finalizer";
/// Finalizer on a credential's Secret.
pub const SECRET_FINALIZER: &str = "usher.dev/credential-in-use";

/// Annotation: a new value makes usher compare the object with the vendor now.
pub const RECONCILE_AT: &str = "usher.dev/reconcile-at";
/// Annotation: `"true"` pauses an object, or all objects of a credential.
pub const PAUSED: &str = "usher.dev/paused";
/// Annotation: the release token of a batch of removals that exceed the removal budget.
pub const RELEASE_REMOVALS: &str = "usher.dev/release-removals";
/// Annotation on an object, or on a credential for all its objects: the uid of the namespace kube-system of the cluster that owns the
/// accounts, where they were bound in another cluster.
pub const OWNER_CLUSTER: &str = "usher.dev/owner-cluster";
/// The annotations that usher reads. The caches keep these alone.
pub const READ_ANNOTATIONS: [&str; 4] = [RECONCILE_AT, PAUSED, RELEASE_REMOVALS, OWNER_CLUSTER];
/// Annotation that makes Velero restore the status, and with it the binding.
pub const VELERO_RESTORE_STATUS: &str = "velero.io/restore-status";

/// Namespace whose uid tells one cluster from another, because each cluster has it and nobody makes it anew.
pub const CLUSTER_NAMESPACE: &str = "kube-system";

/// Field manager of an object's identity: the account's id and all else that must survive a crash.
pub const MANAGER_IDENTITY: &str = "usher-identity";
/// Field manager of the count of recent removals in a credential's status.
pub const MANAGER_REMOVALS: &str = "usher-removals";
/// Field manager of everything else that usher writes.
pub const MANAGER: &str = "usher";
/// Field manager of the dry runs of `usher plan`, which store nothing.
pub const MANAGER_PLAN: &str = "usher-plan";

/// Annotation of the Secret with usher's key: every binding has a seal, so that one without does not count.
pub const BINDINGS_SEALED: &str = "usher.dev/bindings-sealed";

/// Secret in usher's own namespace that holds the key of password digests and of seals.
pub const DIGEST_KEY_SECRET: &str = "usher-password-digest";

/// The three kinds, as keys of maps and labels of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
pub enum Kind {
    /// `PlatformUser`
    #[strum(serialize = "PlatformUser")]
    User,
    /// `PlatformGroup`
    #[strum(serialize = "PlatformGroup")]
    Group,
    /// `ProviderCredential`
    #[strum(serialize = "ProviderCredential")]
    Credential,
}

impl Kind {
    /// The plural in lower case, as kubectl takes it.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::User => "platformusers",
            Self::Group => "platformgroups",
            Self::Credential => "providercredentials",
        }
    }

    /// The short name, as kubectl takes it.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::User => "puser",
            Self::Group => "pgroup",
            Self::Credential => "pcred",
        }
    }
}

/// Kind, namespace and name of a user, group or credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Which kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
