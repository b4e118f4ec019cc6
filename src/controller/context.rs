//! What every reconcile can reach: the cluster, the connections, what we know of all objects; no decisions.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{OnceCell, mpsc};

use super::brake::Brake;
use super::connection::Connections;
use super::make::Making;
use super::managed::Managed;
use super::password::DigestKey;
use super::requeue::Backoff;
use super::vault::Vault;
use crate::api::user::Mode;
use crate::api::{ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason, Vendor};
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

/// Told of what the controllers do, for metrics. Labels are bounded.
pub trait Tally: Observer {
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
    pub users: Shelf<PlatformUser>,
    /// All groups.
    pub groups: Shelf<PlatformGroup>,
    /// All credentials.
    pub credentials: Shelf<ProviderCredential>,
    /// Metadata of all Secrets.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// What is in them.
    pub vault: Arc<dyn Vault>,
    /// Metadata of all namespaces.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// The brake on removals.
    pub brake: Brake,
    /// Natural keys that are being looked for and made right now.
    pub making: Making,
    /// Wakes objects.
    pub wake: mpsc::UnboundedSender<ObjectKey>,
    /// Publishes events.
    pub recorder: Recorder,
    /// Counts.
    pub tally: Arc<dyn Tally>,
    /// How long failing objects wait.
    pub backoff: Backoff,
    /// Whether nothing is carried out, removals neither: what would be is told as pending calls.
    pub preview: bool,
    /// Key of password digests, read or made once.
    pub digest_key: OnceCell<DigestKey>,
}

impl Context {
    /// Wakes `object` as if it had changed.
    pub fn wake(&self, object: ObjectKey) {
        // The receiver ends with the process; nobody is left to wake then.
        let _ = self.wake.send(object);
    }

    /// Wakes all users and groups of a credential.
    pub fn wake_users_of(&self, credential: &ObjectKey) {
        self.groups.all(|group| group.credential_key() == *credential).iter().for_each(|group| self.wake(group.key()));
        self.users.all(|user| user.credential_key() == *credential).iter().for_each(|user| self.wake(user.key()));
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

/// All objects of a kind, with what we wrote ourselves and the watch has not shown yet.
pub struct Shelf<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    K::DynamicType: Hash + Eq,
{
    store: Store<K>,
    newer: Mutex<HashMap<String, Arc<K>>>,
}

impl<K> Shelf<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// A shelf over what the watch shows.
    pub fn new(store: Store<K>) -> Self {
        Self { store, newer: Mutex::default() }
    }

    /// What the watch shows.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// The newest of `object`, what the watch shows of it and what we wrote to it.
    pub fn newest(&self, object: Arc<K>) -> Arc<K> {
        let newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = object.uid().and_then(|uid| newer.get(&uid).cloned());
        let shown = self.store.get(&ObjectRef::from_obj(&*object)).filter(|shown| shown.uid() == object.uid());
        [written, shown]
            .into_iter()
            .flatten()
            .fold(object, |newest, other| if version(&*other) > version(&*newest) { other } else { newest })
    }

    /// Keeps what Kubernetes answered to our write until the watch has caught up.
    pub fn note(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        if let Some(uid) = object.uid() {
            self.newer.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, object.clone());
        }
        object
    }

    /// The watch shows `object`: forgets what we wrote before that.
    pub fn seen(&self, object: &K) {
        let mut newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uid) = object.uid()
            && newer.get(&uid).is_some_and(|written| version(&**written) <= version(object))
        {
            newer.remove(&uid);
        }
    }

    /// The watch shows that `object` is gone.
    pub fn gone(&self, object: &K) {
        if let Some(uid) = object.uid() {
            self.newer.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        }
    }

    /// The object with this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace)).map(|object| self.newest(object))
    }

    /// All objects that `filter` lets through as they are now, our own latest writes included.
    pub fn all(&self, filter: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let newer = self.newer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ours = |shown: &K| {
            let written = shown.meta().uid.as_ref().and_then(|uid| newer.get(uid));
            written.filter(|written| version(&***written) > version(shown))
        };
        let lets_through = |shown: &K| ours(shown).map_or_else(|| filter(shown), |written| filter(written));
        let found = self.store.state_filter(lets_through);
        found.into_iter().map(|shown| ours(&shown).cloned().unwrap_or(shown)).collect()
    }
}

/// Resource versions of one kind in one cluster are ordered numbers (documented since Kubernetes 1.35).
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}
