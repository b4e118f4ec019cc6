//! All access to Kubernetes: the caches of all objects, reads of Secrets, and the writers of status, finalizers and events.
//!
//! It may import [`crate::api`], [`crate::plan`], [`crate::providers`] (types only), usher's own key and the queue. It decides nothing about
//! accounts and uses no connection.

pub mod cache;
mod enqueue;
pub mod event;
pub mod finalizer;
pub mod index_key;
mod kinds;
pub mod lenient;
pub mod lifecycle;
pub mod managed;
pub mod metadata;
pub mod object;
pub mod seal_all;
pub mod sealing;
pub mod secrets;
pub mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{Notify, OnceCell};

use crate::api::names::CLUSTER_NAMESPACE;
use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential};
use crate::controller::keys::digest_key::DigestKey;
use crate::controller::queue::Queue;
use cache::Cache;
use secrets::SecretReader;

/// Most objects per page of a listing. A page is in memory as a whole, and an object may have 1.5 MB.
pub const PAGE: u32 = 50;

/// The cluster as the controllers see it.
pub struct Cluster {
    /// The client of the API server.
    pub client: Client,
    /// All users.
    pub users: Cache<PlatformUser>,
    /// All groups.
    pub groups: Cache<PlatformGroup>,
    /// All credentials.
    pub credentials: Cache<ProviderCredential>,
    /// Metadata of all Secrets.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Reads the data of Secrets.
    pub secret_reader: Arc<dyn SecretReader>,
    /// Metadata of all namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Enqueues objects.
    pub queue: Queue,
    /// Publishes events.
    pub recorder: Recorder,
    /// The key of password digests and of seals, read or created once a process.
    pub digest_key: OnceCell<DigestKey>,
    /// Whether a binding without a valid seal counts.
    pub trusts_unsealed: AtomicBool,
    /// Notified when a Secret may have usher's finalizer although no credential names it any more.
    pub unused_secrets: Notify,
}

impl Cluster {
    /// The API of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Metadata of a namespace in the state of the watch.
    pub fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.get(&ObjectRef::new(name))
    }

    /// What tells this cluster from others: the uid of its namespace kube-system. `None` if usher does not see that namespace.
    pub fn id(&self) -> Option<String> {
        self.namespace(CLUSTER_NAMESPACE)?.uid()
    }

    /// Metadata of a Secret in the state of the watch.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Arc<PartialObjectMeta<Secret>>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }

    /// Whether the CustomResourceDefinition of a kind is being deleted or absent, by a fresh read.
    ///
    /// Errors: Kubernetes did not answer.
    pub async fn is_uninstalled<K: Resource<DynamicType = ()>>(&self) -> Result<bool, kube::Error> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let name = format!("{}.{}", K::plural(&()), K::group(&()));
        let definition = definitions.get_metadata_opt(&name).await?;
        Ok(definition.is_none_or(|definition| definition.metadata.deletion_timestamp.is_some()))
    }

    /// Waits until all stores hold their first listing, because before that an object that a store lacks may exist.
    pub async fn synced(&self) {
        // The error means that a store's writer was dropped, which happens only when the process ends.
        let _ = self.namespaces.wait_until_ready().await;
        let _ = self.secrets.wait_until_ready().await;
        let _ = self.credentials.store().wait_until_ready().await;
        let _ = self.groups.store().wait_until_ready().await;
        let _ = self.users.store().wait_until_ready().await;
    }

    /// Enqueues `object` for a reconcile.
    pub fn enqueue(&self, object: ObjectKey) {
        self.queue.add(object);
    }
}
