//! Fresh reads of credential and object before a change at the vendor, because a watch may lag behind an edit.

use kube::ResourceExt;

use crate::api::names::PAUSED;
use crate::api::{ObjectKey, ProviderCredential};
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// Errors: the credential was changed, paused or deleted since the connection was made; its own reconcile enqueues the object.
pub async fn ensure_credential_current(context: &Context, connection: &Connection) -> Result<(), Stop> {
    if is_credential_current(context, connection).await? { Ok(()) } else { Err(Stop::AwaitsEdit) }
}

/// Whether the credential still reads as the connection knows it. The watch may show an object before an earlier edit of its
/// credential. If it was changed, paused or deleted, its own reconcile is asked for, which enqueues its objects.
///
/// Errors: Kubernetes did not answer.
pub async fn is_credential_current(context: &Context, connection: &Connection) -> Result<bool, kube::Error> {
    let ObjectKey { namespace, name, .. } = &connection.key;
    let fresh = context.cluster.api::<Lenient<ProviderCredential>>(namespace).get_opt(name).await?;
    let is_same = fresh.is_some_and(|Lenient(credential)| {
        credential.metadata.generation == Some(connection.generation)
            && credential.annotations().get(PAUSED).is_none_or(|paused| paused != "true")
    });
    if !is_same {
        context.cluster.enqueue(connection.key.clone());
    }
    Ok(is_same)
}

/// Whether `object` still reads as it is known: a person may have paused it or changed its policy. If it was changed, its new state
/// is kept and its reconcile is asked for.
///
/// Errors: Kubernetes did not answer.
pub async fn is_object_current<K: Managed>(context: &Context, object: &K) -> Result<bool, kube::Error> {
    let api = context.cluster.api::<Lenient<K>>(&object.namespace().unwrap_or_default());
    let fresh = api.get_opt(&object.name_any()).await?.map(|Lenient(fresh)| fresh);
    let Some(mut fresh) = fresh.filter(|fresh| fresh.uid() == object.uid()) else { return Ok(false) };
    let paused = |object: &K| object.annotations().get(PAUSED).cloned();
    let is_same = (fresh.generation(), paused(&fresh)) == (object.generation(), paused(object));
    if !is_same {
        fresh.check_seal(&context.cluster);
        K::cache(&context.cluster).assume(fresh);
        context.cluster.enqueue(object.key());
    }
    Ok(is_same)
}
