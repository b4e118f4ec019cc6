//! One test's namespace, vendor and credential, and the words to describe what users do and see there.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::controlplane;
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use crate::leaks;
use crate::world::{world, world_so_far};

/// Longest time until a condition comes true, on a machine that is busy with all the other tests.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How old a listing must be for usher not to tell from it that somebody is not there.
const STALE: Duration = Duration::from_secs(11);

/// One test's corner of the world.
pub struct Scene {
    /// As the administrator.
    pub client: Client,
    /// The test's own namespace.
    pub namespace: String,
    /// The vendor.
    pub vendor: Arc<Simulator>,
}

impl Drop for Scene {
    /// The vendor's tokens are known only now; what usher said about them is found all the same. So is what it counted.
    fn drop(&mut self) {
        leaks::register(self.vendor.tokens());
        if let Some(world) = world_so_far() {
            leaks::counted(&world.metrics.render().unwrap());
        }
    }
}

impl Scene {
    /// A namespace with a running vendor, its Secret and its credential, all named `main`.
    pub async fn new(vendor: Vendor) -> Self {
        Self::with(vendor, Options::default(), json!({})).await
    }

    /// The same with vendor options and further fields of the credential's spec.
    pub async fn with(vendor: Vendor, options: Options, spec: Value) -> Self {
        let scene = Self::without_credential(vendor, options).await;
        scene.apply_secret("main").await;
        scene.apply_credential(spec).await;
        scene
    }

    /// A namespace with a running vendor and nothing else.
    pub async fn without_credential(vendor: Vendor, options: Options) -> Self {
        let vendor = Simulator::start_with(vendor, options).await.unwrap();
        Self::around(Arc::new(vendor)).await
    }

    /// Another namespace with the same vendor and no credential of its own.
    pub async fn beside(&self) -> Self {
        Self::around(self.vendor.clone()).await
    }

    async fn around(vendor: Arc<Simulator>) -> Self {
        Self::on(world().plane.client().unwrap(), vendor).await
    }

    /// A namespace on another control plane than that of the other tests.
    pub async fn on(client: Client, vendor: Arc<Simulator>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        // A control plane that stays may have namespaces of an earlier process.
        let namespace = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scene = Self { client, namespace, vendor };
        scene.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}})).await;
        scene
    }

    /// The Secret of the vendor's credentials.
    pub async fn apply_secret(&self, name: &str) {
        self.secret(name, &json!(self.vendor.secret())).await;
    }

    /// A Secret with these entries, which nothing may show from now on.
    pub async fn secret(&self, name: &str, entries: &Value) {
        leaks::register_entries(entries);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": self.namespace}, "stringData": entries});
        self.apply(&secret).await;
    }

    /// The credential `main`, with further fields of its spec.
    pub async fn apply_credential(&self, further: Value) {
        self.apply_credential_as("main", further).await;
    }

    /// The same credential under another name.
    pub async fn apply_credential_as(&self, name: &str, further: Value) {
        let vendor = self.vendor.vendor().name();
        let mut spec = json!({
            "provider": {vendor: {"url": self.vendor.url()}},
            "secretRef": {"name": "main"},
            "allowInsecureHttp": true,
            "requests": {"perMinute": 60_000, "burst": 1000, "concurrency": 8},
            "removals": {"after": "0s"},
        });
        merge(&mut spec, further);
        self.apply(&self.manifest("ProviderCredential", name, &spec)).await;
    }

    /// A credential `other` to the same place with the same login.
    pub async fn apply_other_credential(&self) {
        let vendor = self.vendor.vendor().name();
        let spec = json!({"provider": {vendor: {"url": self.vendor.url()}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true});
        self.apply(&self.manifest("ProviderCredential", "other", &spec)).await;
    }

    fn manifest(&self, kind: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": self.namespace}, "spec": spec})
    }

    /// `kubectl apply --server-side`.
    pub async fn apply(&self, document: &Value) {
        controlplane::apply(&self.client, &document.to_string()).await.unwrap();
    }

    /// A user through the credential `main`.
    pub async fn user(&self, name: &str, spec: Value) {
        self.apply(&self.manifest("PlatformUser", name, &with_credential(spec))).await;
    }

    /// A user whose spec may name another credential.
    pub async fn user_as_is(&self, name: &str, spec: Value) {
        let mut whole = with_credential(json!({}));
        merge(&mut whole, spec);
        self.apply(&self.manifest("PlatformUser", name, &whole)).await;
    }

    /// A group through the credential `main`.
    pub async fn group(&self, name: &str, spec: Value) {
        self.apply(&self.manifest("PlatformGroup", name, &with_credential(spec))).await;
    }

    /// The API of a kind here.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the object satisfies `wanted` and returns it; says what it was like if that does not come.
    pub async fn until<K>(&self, name: &str, wanted: impl Fn(&K) -> bool + Clone) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api = self.api::<K>();
        let condition = |object: Option<&K>| object.is_some_and(wanted.clone());
        let found = tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, condition)).await;
        let Ok(found) = found else {
            panic!("{name} never came to be as wanted: {:#?}", api.get(name).await);
        };
        found.unwrap().unwrap()
    }

    /// Waits until the user is Ready for its present spec.
    pub async fn user_ready(&self, name: &str) -> PlatformUser {
        self.user_says(name, "Synced").await
    }

    /// Waits until the user's Ready condition has this reason for its present spec.
    pub async fn user_says(&self, name: &str, reason: &'static str) -> PlatformUser {
        self.until(name, move |user: &PlatformUser| {
            let status = user.status.as_ref().map(|status| &status.report);
            status.is_some_and(|status| {
                status.observed_generation == user.metadata.generation.unwrap_or(0) && says(&status.conditions, reason)
            })
        })
        .await
    }

    /// Waits until the group's Ready condition has this reason for its present spec.
    pub async fn group_says(&self, name: &str, reason: &'static str) -> PlatformGroup {
        self.until(name, move |group: &PlatformGroup| {
            let status = group.status.as_ref().map(|status| &status.report);
            status.is_some_and(|status| {
                status.observed_generation == group.metadata.generation.unwrap_or(0) && says(&status.conditions, reason)
            })
        })
        .await
    }

    /// Waits until the comparison of a group that was asked for with `value` is made.
    pub async fn group_handled(&self, name: &str, value: &str) -> PlatformGroup {
        let value = value.to_owned();
        self.until(name, move |group: &PlatformGroup| {
            let status = group.status.as_ref().map(|status| &status.report);
            status.is_some_and(|status| status.last_handled_reconcile_at.as_ref() == Some(&value))
        })
        .await
    }

    /// Waits until the credential's Ready condition has this reason.
    pub async fn credential_says(&self, reason: &'static str) -> ProviderCredential {
        self.until("main", move |credential: &ProviderCredential| {
            credential.status.as_ref().is_some_and(|status| says(&status.conditions, reason))
        })
        .await
    }

    /// Waits until the vendor's state satisfies `wanted`.
    pub async fn vendor_until(&self, what: &str, wanted: impl Fn(&Simulator) -> bool) {
        let waiting = async {
            while !wanted(&self.vendor) {
                tokio::select! {
                    () = self.vendor.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        let (users, calls) = (self.vendor.users(), self.vendor.calls());
        assert!(came, "{what} never came; the vendor holds {users:#?} and was called {calls:#?}");
    }

    /// Everything usher has emitted about this namespace: objects and events, as text.
    pub async fn emitted(&self) -> String {
        let all = ListParams::default();
        let users = self.api::<PlatformUser>().list(&all).await.unwrap();
        let groups = self.api::<PlatformGroup>().list(&all).await.unwrap();
        let credentials = self.api::<ProviderCredential>().list(&all).await.unwrap();
        let events = self.api::<Event>().list(&all).await.unwrap();
        json!([users, groups, credentials, events]).to_string()
    }

    /// Reasons of the events about an object.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about = |event: &Event| event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name));
        events.items.into_iter().filter(about).filter_map(|event| event.reason).collect()
    }

    /// Waits for an event about an object; it comes a moment after the status it goes with.
    pub async fn until_event(&self, name: &str, reason: &str) {
        let waiting = async {
            while !self.events(name).await.iter().any(|event| event == reason) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(came, "{name} has no event {reason}: {:?}", self.events(name).await);
    }

    /// `kubectl delete`, without waiting.
    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Waits until the object is gone.
    pub async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let gone = await_condition(self.api::<K>(), name, |object: Option<&K>| object.is_none());
        let went = tokio::time::timeout(PATIENCE, gone).await.is_ok();
        assert!(went, "{name} never went: {:#?}", self.api::<K>().get_opt(name).await);
    }

    /// Asks for a fresh comparison and returns the value to wait for.
    pub async fn annotate<K>(&self, name: &str, annotation: &str, value: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.patch::<K>(name, json!({"metadata": {"annotations": {annotation: value}}})).await;
    }

    /// `kubectl patch --type merge`.
    pub async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A sweep of the credential, done.
    pub async fn sweep(&self, value: &str) {
        self.annotate::<ProviderCredential>("main", "usher.dev/reconcile-at", value).await;
        let value = value.to_owned();
        self.until("main", move |credential: &ProviderCredential| {
            let handled = credential.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref());
            handled == Some(&value)
        })
        .await;
    }

    /// Lets the listing grow too old to tell that somebody is not there.
    pub async fn let_listing_age(&self) {
        // Nothing can be waited for: that time passes is the condition.
        tokio::time::sleep(STALE).await;
    }

    /// A fresh comparison of a user, done.
    pub async fn compare_user(&self, name: &str) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let value = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        self.annotate::<PlatformUser>(name, "usher.dev/reconcile-at", &value).await;
        self.until(name, move |user: &PlatformUser| {
            let status = user.status.as_ref().map(|status| &status.report);
            status.is_some_and(|status| status.last_handled_reconcile_at.as_ref() == Some(&value))
        })
        .await;
    }
}

/// Whether the Ready condition has this reason, and the companions that go with it.
fn says(conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition], reason: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason == reason)
}

fn with_credential(mut spec: Value) -> Value {
    merge(&mut spec, json!({"credentialRef": {"name": "main"}}));
    spec
}

/// Merges `further` into `value`, key by key.
pub fn merge(value: &mut Value, further: Value) {
    match (value, further) {
        (Value::Object(value), Value::Object(further)) => {
            for (key, inner) in further {
                merge(value.entry(key).or_insert(Value::Null), inner);
            }
        }
        (value, further) => *value = further,
    }
}
