//! The watches: of the three kinds as far as their objects can be decoded, of Secrets and namespaces by metadata alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, reflector, watcher as watch};
use kube::{Api, ResourceExt};
use tracing::warn;

use super::enqueue::{self, Watched};
use crate::api::ObjectKey;
use crate::api::names::READ_ANNOTATIONS;
use crate::controller::cluster::PAGE;
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::metadata::drop_unread;
use crate::controller::context::Context;
use crate::controller::credential::secret_finalizer;

/// A digest of the annotations that ask something of usher, and whether usher's finalizer is lost. Other annotations, and the arrival of
/// the finalizer, are usher's own writes and cause no reconcile.
fn requests<K: Watched>(object: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.lost_finalizer().hash(&mut hasher);
    for name in READ_ANNOTATIONS {
        object.annotations().get(name).hash(&mut hasher);
    }
    hasher.finish()
}

/// Fills the cache of a kind, and enqueues objects whose spec, requests in annotations, or deletion changed. A write of status enqueues
/// nothing.
pub async fn changes<K: Watched>(context: Arc<Context>, api: Api<Lenient<K>>, writer: Writer<K>) {
    let read_by = context.clone();
    let events = watch(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .inspect_err(|error| warn!(kind = %K::KIND, "the watch failed and is tried again: {error}"))
        .map_ok(read)
        .modify(move |object: &mut K| {
            drop_unread(object.meta_mut());
            object.check_seal(&read_by.cluster);
        });
    reflector(writer, events)
        .inspect_ok(|event| note(&context, event))
        .touched_objects()
        .predicate_filter(
            predicates::generation
                .combine(|object: &K| Some(requests(object)))
                .combine(|object: &K| Some(u64::from(object.meta().deletion_timestamp.is_some()))),
            PredicateConfig::default(),
        )
        .for_each(|object| async {
            if let Ok(object) = object {
                context.cluster.enqueue(object.key());
            }
        })
        .await;
}

fn note<K: Watched>(context: &Context, event: &Event<K>) {
    match event {
        Event::Apply(object) | Event::InitApply(object) => K::cache(&context.cluster).observe(object),
        Event::Delete(object) => object.gone(context),
        Event::Init => {}
        // Only now does the store hold the fresh listing, so that the reconciles that it causes find their objects.
        Event::InitDone => {
            let lost = K::cache(&context.cluster).forget_unlisted();
            for ObjectRef { name, namespace, .. } in &lost {
                enqueue::forget(context, &ObjectKey::new(K::KIND, namespace.clone().unwrap_or_default(), name.clone()));
            }
            if !lost.is_empty() {
                // An object that waited for one of them was not enqueued.
                enqueue::enqueue_all(&context.cluster);
                context.cluster.unused_secrets.notify_one();
            }
            K::cache(&context.cluster).all().iter().for_each(|object| context.cluster.enqueue(object.key()));
        }
    }
}

/// The event with its object as far as that could be decoded.
fn read<K>(event: Event<Lenient<K>>) -> Event<K> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::Apply(Lenient(object)) => Event::Apply(object),
        Event::InitApply(Lenient(object)) => Event::InitApply(object),
        Event::Delete(Lenient(object)) => Event::Delete(object),
    }
}

/// Enqueues the users of a Secret whenever it changes. Its data is not read.
pub async fn secrets(
    context: Arc<Context>,
    api: Api<PartialObjectMeta<Secret>>,
    writer: Writer<PartialObjectMeta<Secret>>,
) {
    let events = watch(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .inspect_err(|error| warn!("the watch of Secrets failed and is tried again: {error}"))
        .modify(|secret| {
            secret.managed_fields_mut().clear();
            secret.annotations_mut().clear();
        });
    reflector(writer, events)
        .inspect_ok(|event| {
            if matches!(event, Event::InitDone) {
                enqueue::enqueue_secret_users(&context.cluster);
                context.cluster.unused_secrets.notify_one();
            }
        })
        .touched_objects()
        .for_each(|secret| async {
            if let Ok(secret) = secret {
                enqueue::enqueue_users_of_secret(
                    &context.cluster,
                    &secret.namespace().unwrap_or_default(),
                    &secret.name_any(),
                );
                if secret_finalizer::is_unused(&context, &secret) {
                    context.cluster.unused_secrets.notify_one();
                }
            }
        })
        .await;
}

/// Fills the store of namespaces, and enqueues the objects that their labels or their deletion may concern.
pub async fn namespaces(
    context: Arc<Context>,
    api: Api<PartialObjectMeta<Namespace>>,
    writer: Writer<PartialObjectMeta<Namespace>>,
) {
    let events = watch(api, watcher::Config::default().page_size(PAGE))
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
                enqueue::enqueue_all_in(&context.cluster, &namespace.name_any());
            }
        })
        .await;
}
