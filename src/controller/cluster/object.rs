//! What objects of the three kinds have in common. No decisions.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::cache::Cache;
use super::index_key::Indexed;
use crate::api::{Kind, ObjectKey, names};

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

    /// The label of its vendor as far as that is known; else empty.
    fn vendor_label(&self) -> &'static str;

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

    /// Whether usher's finalizer holds it.
    fn has_finalizer(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
    }

    /// The generation of its spec.
    fn generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
}
