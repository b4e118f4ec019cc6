//! Streams of what happens in the cluster: our kinds as far as they can be read, Secrets and namespaces by metadata only.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, reflector, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::api::names::{PAUSED, RECONCILE_AT, RELEASE_REMOVALS};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Vendor};
use crate::controller::cluster::cache::{Cache, IndexKey, Indexed};
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::credential::{reconcile as credential, resync as sweep, secret_finalizer as secret};
use crate::controller::deletion::finalize as removal;
use crate::controller::ownership::conflict;

/// One of our kinds, as the watch sees it.
pub trait Watched:
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
    /// Which kind.
    const KIND: Kind;
    /// The watch shows it.
    fn seen(&self, context: &Context);
    /// It is gone: wakes who waited for that.
    fn gone(&self, context: &Context);
    /// All objects of this kind.
    fn cache(context: &Context) -> &Cache<Self>;
    /// Its key.
    fn object_key(&self) -> ObjectKey {
        ObjectKey::new(Self::KIND, self.namespace().unwrap_or_default(), self.name_any())
    }
    /// Longest time for one reconcile.
    fn limit(context: &Context) -> Duration {
        context.settings.reconcile_timeout
    }
    /// Whether it has an account and lacks our finalizer.
    fn lost_finalizer(&self) -> bool {
        false
    }
    /// Its vendor as far as it is known, for the span of its reconcile.
    fn vendor_label(&self) -> &'static str;
}

impl Watched for PlatformUser {
    const KIND: Kind = Kind::User;

    fn seen(&self, context: &Context) {
        context.users.observe(self);
    }

    fn cache(context: &Context) -> &Cache<Self> {
        &context.users
    }

    fn lost_finalizer(&self) -> bool {
        removal::has_account(self) && !self.has_finalizer()
    }

    fn vendor_label(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.report.provider).map_or("", Vendor::label)
    }

    fn gone(&self, context: &Context) {
        context.users.remove(self);
        conflict::enqueue(context, self);
        forget(context, &self.key());
        context.enqueue(self.credential_key());
        let named = self.index_keys().into_iter().filter_map(|tag| match tag {
            IndexKey::Group(group) => Some(group),
            _ => None,
        });
        named.for_each(|group| context.enqueue(group));
    }
}

impl Watched for PlatformGroup {
    const KIND: Kind = Kind::Group;

    fn seen(&self, context: &Context) {
        context.groups.observe(self);
    }

    fn cache(context: &Context) -> &Cache<Self> {
        &context.groups
    }

    fn lost_finalizer(&self) -> bool {
        removal::has_account(self) && !self.has_finalizer()
    }

    fn vendor_label(&self) -> &'static str {
        self.status.as_ref().and_then(|status| status.report.provider).map_or("", Vendor::label)
    }

    fn gone(&self, context: &Context) {
        context.groups.remove(self);
        conflict::enqueue(context, self);
        forget(context, &self.key());
        context.enqueue(self.credential_key());
    }
}

impl Watched for ProviderCredential {
    const KIND: Kind = Kind::Credential;

    fn seen(&self, context: &Context) {
        context.credentials.observe(self);
    }

    fn cache(context: &Context) -> &Cache<Self> {
        &context.credentials
    }

    /// A sweep may be among it.
    fn limit(context: &Context) -> Duration {
        context.settings.reconcile_timeout + sweep::LONGEST
    }

    fn vendor_label(&self) -> &'static str {
        self.spec.provider.vendor().label()
    }

    fn gone(&self, context: &Context) {
        context.credentials.remove(self);
        context.orphans.notify_one();
        let key = credential::key(self);
        context.connections.forget(&key);
        context.metrics.credential_ready(self.spec.provider.vendor(), &key, None);
        forget(context, &key);
        context.enqueue_users_of(&key);
    }
}

fn forget(context: &Context, key: &ObjectKey) {
    context.backoff.reset(key);
    context.metrics.object_state(key, None);
}

/// A digest of those annotations that ask something of us, and whether someone took our finalizer away. Other annotations and
/// the finalizer's arrival are our own doing and no reason to look.
fn wishes<K: Watched>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.lost_finalizer().hash(&mut hasher);
    for name in [RECONCILE_AT, PAUSED, RELEASE_REMOVALS] {
        object.annotations().get(name).hash(&mut hasher);
    }
    hasher.finish()
}

/// Keeps the store true and wakes objects whose spec, wishes in annotations or deletion changed; status writes, ours among
/// them, wake nobody.
pub async fn changes<K: Watched>(context: Arc<Context>, api: Api<Lenient<K>>, writer: Writer<K>) {
    let events = watch(api, watcher::Config::default())
        .default_backoff()
        .inspect_err(|error| warn!(kind = %K::KIND, "the watch failed and is tried again: {error}"))
        .map_ok(read)
        .modify(|object: &mut K| object.managed_fields_mut().clear());
    reflector(writer, events)
        .inspect_ok(|event| note(&context, event))
        .touched_objects()
        .predicate_filter(
            predicates::generation
                .combine(|object: &K| Some(wishes(object)))
                .combine(|object: &K| Some(u64::from(object.meta().deletion_timestamp.is_some()))),
            PredicateConfig::default(),
        )
        .for_each(|object| async {
            if let Ok(object) = object {
                context.enqueue(object.object_key());
            }
        })
        .await;
}

fn note<K: Watched>(context: &Context, event: &Event<K>) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => object.seen(context),
        Event::Delete(object) => object.gone(context),
        Event::Init => {}
        // Only now does the store hold what a fresh listing showed: whoever was woken by it before found nothing.
        Event::InitDone => {
            let lost = K::cache(context).listed();
            for ObjectRef { name, namespace, .. } in &lost {
                forget(context, &ObjectKey::new(K::KIND, namespace.clone().unwrap_or_default(), name.clone()));
            }
            if !lost.is_empty() {
                // Whoever waited for one of them was not told.
                context.enqueue_all();
                context.orphans.notify_one();
            }
            K::cache(context).all().iter().for_each(|object| context.enqueue(object.object_key()));
        }
    }
}

/// The event with what could be read of its object.
fn read<K>(event: Event<Lenient<K>>) -> Event<K> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::Apply(Lenient(object)) => Event::Apply(object),
        Event::InitApply(Lenient(object)) => Event::InitApply(object),
        Event::Delete(Lenient(object)) => Event::Delete(object),
    }
}

/// Wakes who uses a Secret whenever it changes; its data is never read here.
pub async fn secrets(
    context: Arc<Context>,
    api: Api<PartialObjectMeta<Secret>>,
    writer: Writer<PartialObjectMeta<Secret>>,
) {
    let events = watch(api, watcher::Config::default())
        .default_backoff()
        .inspect_err(|error| warn!("the watch of Secrets failed and is tried again: {error}"))
        .modify(|secret| {
            secret.managed_fields_mut().clear();
            secret.annotations_mut().clear();
        });
    reflector(writer, events)
        .inspect_ok(|event| {
            if matches!(event, Event::InitDone) {
                enqueue_secret_users(&context);
                context.orphans.notify_one();
            }
        })
        .touched_objects()
        .for_each(|secret| async {
            if let Ok(secret) = secret {
                enqueue_users_of_secret(&context, &secret.namespace().unwrap_or_default(), &secret.name_any());
                if secret::is_orphan(&context, &secret) {
                    context.orphans.notify_one();
                }
            }
        })
        .await;
}

/// A fresh listing is in the store only once it is whole.
fn enqueue_secret_users(context: &Context) {
    context.credentials.all().iter().for_each(|credential| context.enqueue(credential::key(credential)));
    let users = context.users.all().into_iter().filter(|user| user.spec.password_secret_ref.is_some());
    users.for_each(|user| context.enqueue(user.key()));
}

fn enqueue_users_of_secret(context: &Context, namespace: &str, name: &str) {
    let using = [IndexKey::Secret(namespace.to_owned(), name.to_owned())];
    let credentials = context.credentials.by_index(&using, |_| true);
    credentials.iter().for_each(|credential| context.enqueue(credential::key(credential)));
    context.users.by_index(&using, |_| true).iter().for_each(|user| context.enqueue(user.key()));
}

/// Keeps the store of namespaces true, and wakes whatever their labels or their end may concern.
pub async fn namespaces(
    context: Arc<Context>,
    api: Api<PartialObjectMeta<Namespace>>,
    writer: Writer<PartialObjectMeta<Namespace>>,
) {
    let events = watch(api, watcher::Config::default())
        .default_backoff()
        .inspect_err(|error| warn!("the watch of namespaces failed and is tried again: {error}"))
        .modify(|namespace| {
            namespace.managed_fields_mut().clear();
            namespace.annotations_mut().clear();
        });
    reflector(writer, events)
        .touched_objects()
        .predicate_filter(
            predicates::labels.combine(|namespace: &PartialObjectMeta<Namespace>| {
                Some(u64::from(namespace.metadata.deletion_timestamp.is_some()))
            }),
            PredicateConfig::default(),
        )
        .for_each(|namespace| async {
            if let Ok(namespace) = namespace {
                enqueue_all_in(&context, &namespace.name_any());
            }
        })
        .await;
}

fn enqueue_all_in(context: &Context, namespace: &str) {
    let here = |object: Option<String>| object.as_deref() == Some(namespace);
    let elsewhere = |key: ObjectKey| key.namespace != namespace;
    let credentials = context.credentials.all().into_iter().filter(|credential| here(credential.namespace()));
    credentials.for_each(|credential| context.enqueue(credential::key(&credential)));
    let groups = context.groups.all().into_iter();
    let groups = groups.filter(|group| here(group.namespace()) && elsewhere(group.credential_key()));
    groups.for_each(|group| context.enqueue(group.key()));
    let users = context.users.all().into_iter();
    let users = users.filter(|user| here(user.namespace()) && elsewhere(user.credential_key()));
    users.for_each(|user| context.enqueue(user.key()));
}
