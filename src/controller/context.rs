//! What every reconcile can reach: the cluster, the connections, what we know of all objects; no decisions.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource};
use tokio::sync::{Notify, OnceCell, mpsc};

use crate::api::user::Mode;
use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason, Vendor};
use crate::controller::backoff::Backoff;
use crate::controller::cluster::cache::{Cache, IndexKey};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::secrets::SecretReader;
use crate::controller::connection::in_flight::CreateCalls;
use crate::controller::connection::link::Connections;
use crate::controller::credential::reconcile as credential;
use crate::controller::deletion::budget::RemovalBudgets;
use crate::controller::resolve::password::DigestKey;
use crate::controller::sync::create::KeyLocks;
use crate::providers::Observer;

/// What people may set for the whole operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time for one vendor call.
    pub call_timeout: Duration,
    /// Beyond `call_timeout`, how long a create with unknown end may still be under way.
    pub grace: Duration,
    /// Longest time for one reconcile.
    pub reconcile_timeout: Duration,
    /// The strictest of this, the credential's, the object's and the annotation's mode wins.
    pub mode: Mode,
    /// Our own namespace.
    pub namespace: String,
    /// Whether a finalizer keeps credentials' Secrets from vanishing while they are needed to take accounts away.
    pub secret_finalizer: bool,
    /// Most reconciles at a time, per kind.
    pub concurrency: u16,
}

impl Settings {
    /// Longest time for a listing within the reconcile of one object.
    pub fn longest_listing(&self) -> Duration {
        self.reconcile_timeout * 2 / 3
    }
}

/// Told of what the controllers do, for metrics. Labels are bounded.
pub trait Metrics: Observer {
    /// A reconcile ended.
    fn reconciled(&self, kind: &'static str, result: &'static str, elapsed: Duration);
    /// An object has this reason now; `None`: it is gone.
    fn object_state(&self, key: &ObjectKey, reason: Option<Reason>);
    /// Someone's change at the vendor was undone.
    fn drift_repaired(&self, kind: &'static str, vendor: Vendor);
    /// A credential is ready or not; `None`: it is gone.
    fn credential_ready(&self, vendor: Vendor, key: &ObjectKey, ready: Option<bool>);
}

/// What every reconcile can reach.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// What people may set.
    pub settings: Settings,
    /// All credentials that were looked at.
    pub connections: Connections,
    /// All users.
    pub users: Cache<PlatformUser>,
    /// All groups.
    pub groups: Cache<PlatformGroup>,
    /// All credentials.
    pub credentials: Cache<ProviderCredential>,
    /// Metadata of all Secrets.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// What is in them.
    pub secret_reader: Arc<dyn SecretReader>,
    /// Metadata of all namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The brake on removals.
    pub removal_budget: RemovalBudgets,
    /// Natural keys that are being looked for and made right now.
    pub key_locks: KeyLocks,
    /// When our creates ended.
    pub calls: CreateCalls,
    /// Since when this process makes accounts; another one may have sent its last create just before.
    pub begun: Timestamp,
    /// Told when a held Secret may be named by no credential any more.
    pub orphans: Notify,
    /// Wakes objects.
    pub queue: mpsc::UnboundedSender<ObjectKey>,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<dyn Metrics>,
    /// How long failing objects wait.
    pub backoff: Backoff,
    /// Whether nothing is carried out, removals neither: what would be is told as pending calls.
    pub preview: bool,
    /// Key of password digests, read or made once.
    pub digest_key: OnceCell<DigestKey>,
}

impl Context {
    /// Wakes `object` as if it had changed.
    pub fn enqueue(&self, object: ObjectKey) {
        // The receiver ends with the process; nobody is left to wake then.
        let _ = self.queue.send(object);
    }

    /// Wakes all users and groups of a credential.
    pub fn enqueue_users_of(&self, credential: &ObjectKey) {
        self.enqueue_by_index(&[IndexKey::Credential(credential.clone())]);
    }

    /// Wakes the users and groups of a credential that are being deleted: they need no listing.
    pub fn enqueue_deleting(&self, credential: &ObjectKey) {
        self.enqueue_by_index(&[IndexKey::Deleting(credential.clone())]);
    }

    fn enqueue_by_index(&self, index_keys: &[IndexKey]) {
        self.groups.by_index(index_keys, |_| true).iter().for_each(|group| self.enqueue(group.key()));
        self.users.by_index(index_keys, |_| true).iter().for_each(|user| self.enqueue(user.key()));
    }

    /// Wakes everything.
    pub fn enqueue_all(&self) {
        self.credentials.all().iter().for_each(|credential| self.enqueue(credential::key(credential)));
        self.groups.all().iter().for_each(|group| self.enqueue(group.key()));
        self.users.all().iter().for_each(|user| self.enqueue(user.key()));
    }

    /// The API of a kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Metadata of a namespace.
    pub fn namespace(&self, name: &str) -> Option<Arc<PartialObjectMeta<Namespace>>> {
        self.namespaces.get(&ObjectRef::new(name))
    }

    /// Whether the CustomResourceDefinition of a kind is being deleted, asked freshly.
    pub async fn is_uninstalled<K: Resource<DynamicType = ()>>(&self) -> Result<bool, kube::Error> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        let name = format!("{}.{}", K::plural(&()), K::group(&()));
        let definition = definitions.get_metadata_opt(&name).await?;
        Ok(definition.is_none_or(|definition| definition.metadata.deletion_timestamp.is_some()))
    }

    /// Metadata of a Secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<Arc<PartialObjectMeta<Secret>>> {
        self.secrets.get(&ObjectRef::new(name).within(namespace))
    }
}
