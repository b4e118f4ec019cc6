//! What objects of the three kinds have in common. No decisions.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::cache::Cache;
use super::index_key::Indexed;
use crate::api::user::Mode;
use crate::api::{DecodeIssues, Kind, ObjectKey, Vendor, names};

/// An object of one of the three kinds.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Indexed
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its kind.
    const KIND: Kind;

    /// The cache of its kind.
    fn cache(cluster: &Cluster) -> &Cache<Self>;

    /// Its own mode.
    fn mode(&self) -> Option<Mode>;

    /// Its vendor as far as that is known.
    fn vendor(&self) -> Option<Vendor>;

    /// The last value of the annotation `usher.dev/reconcile-at` that usher acted on.
    fn last_handled_reconcile_at(&self) -> Option<&String>;

    /// What of the stored object was not decoded; `None` if it was decoded as a whole.
    fn decode_issues(&self) -> Option<&DecodeIssues>;

    /// Notes that the stored object was not decoded as a whole.
    fn set_decode_issues(&mut self, issues: DecodeIssues);

    /// The label of its vendor in logs; empty if the vendor is unknown.
    fn vendor_label(&self) -> &'static str {
        self.vendor().map_or("", Vendor::label)
    }

    /// Finds out whether its status ties it to an account without a valid seal. Every object that is read passes here first.
    fn check_seal(&mut self, _cluster: &Cluster) {}

    /// Whether it has an account and lacks usher's finalizer.
    fn lost_finalizer(&self) -> bool {
        false
    }

    /// Its kind, namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey::new(Self::KIND, self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Whether it is being deleted.
    fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether it has usher's finalizer.
    fn has_finalizer(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
    }

    /// The generation of its spec; 0 before it is stored.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }

    /// Whether the annotation `usher.dev/reconcile-at` asks for a comparison that was not made yet.
    fn is_forced(&self) -> bool {
        self.annotations().get(names::RECONCILE_AT).is_some_and(|asked| Some(asked) != self.last_handled_reconcile_at())
    }

    /// The field or annotation that pauses it, for a message. Whatever else pauses it is not considered.
    fn paused_by(&self) -> Option<String> {
        let is_annotated = || self.annotations().get(names::PAUSED).is_some_and(|value| value == "true");
        let by = match self.mode() {
            Some(Mode::Paused) => "spec.mode: Paused".to_owned(),
            _ if is_annotated() => format!("the annotation {}", names::PAUSED),
            _ => return None,
        };
        let name = self.name_any();
        Some(if Self::KIND == Kind::Credential { format!("{by} of the credential {name}") } else { by })
    }
}
