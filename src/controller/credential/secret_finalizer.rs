//! The finalizer on a credential's Secret, because usher cannot remove accounts without the login in it. It reads no Secret's data.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use tracing::{info, warn};

use crate::api::ProviderCredential;
use crate::api::names::SECRET_FINALIZER;
use crate::controller::cluster::finalizer;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::object::Object as _;
use crate::controller::context::Context;

/// Wait before a failed removal of the finalizer is repeated.
const RETRY: Duration = Duration::from_secs(10);

/// Longest time for one patch, because a connection that goes silent would block it for ever.
const PATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Adds the finalizer to the Secret of a credential in use. Removes it from a Secret that is deleted while the credential stays, and from
/// the Secrets of the namespace that no credential names.
///
/// Errors: Kubernetes did not answer.
pub async fn update(context: &Context, credential: &ProviderCredential) -> Result<(), kube::Error> {
    let namespace = credential.namespace().unwrap_or_default();
    release_unused_in(context, &namespace).await?;
    let Some(secret) = context.cluster.secret(&namespace, &credential.spec.secret_ref.name) else { return Ok(()) };
    let is_deleting = secret.metadata.deletion_timestamp.is_some();
    match (has_finalizer(&secret), context.settings.secret_finalizer) {
        (true, false) => set(context, &secret, false).await,
        (true, true) if is_deleting && !is_needed(context, credential).await? => set(context, &secret, false).await,
        (false, true) if !is_deleting => set(context, &secret, true).await,
        _ => Ok(()),
    }
}

/// Removes the finalizer from the Secrets of a released credential, unless another credential names them.
///
/// Errors: Kubernetes did not answer.
pub async fn release(context: &Context, credential: &ProviderCredential) -> Result<(), kube::Error> {
    let namespace = credential.namespace().unwrap_or_default();
    let is_here = |secret: &PartialObjectMeta<Secret>| secret.namespace().as_ref() == Some(&namespace);
    let kept = context.cluster.secrets.state_filter(|secret| is_here(secret) && has_finalizer(secret));
    // The watch may not have delivered usher's own finalizer yet, and an earlier spec may have named another Secret.
    let names = kept.iter().map(|secret| secret.name_any()).chain([credential.spec.secret_ref.name.clone()]);
    for name in names.collect::<BTreeSet<_>>() {
        let using = [IndexKey::Secret(namespace.clone(), name.clone())];
        if context.cluster.credentials.by_index(&using, |other| other.uid() != credential.uid()).is_empty() {
            release_current(context, &namespace, &name).await?;
        }
    }
    Ok(())
}

/// Removes the finalizer from the current version of one Secret, because the credential is not reconciled again.
async fn release_current(context: &Context, namespace: &str, name: &str) -> Result<(), kube::Error> {
    match context.cluster.api::<Secret>(namespace).get_metadata_opt(name).await? {
        Some(secret) if has_finalizer(&secret) => patch(context, &secret, false).await,
        _ => Ok(()),
    }
}

async fn release_unused_in(context: &Context, namespace: &str) -> Result<(), kube::Error> {
    let is_here = |secret: &PartialObjectMeta<Secret>| secret.namespace().as_deref() == Some(namespace);
    for secret in context.cluster.secrets.state_filter(|secret| is_here(secret) && is_unused(context, secret)) {
        set(context, &secret, false).await?;
    }
    Ok(())
}

/// Removes the finalizer from every Secret that no credential names, until the future is dropped. Two credentials that are deleted at the
/// same time may each leave their common Secret to the other, and a credential whose finalizer a person removes leaves its Secret behind.
pub async fn tidy(context: &Context) {
    context.cluster.synced().await;
    loop {
        while !release_all_unused(context).await {
            tokio::time::sleep(RETRY).await;
        }
        context.cluster.unused_secrets.notified().await;
    }
}

/// Removes the finalizer from every Secret that no credential names. Returns whether all removals succeeded.
async fn release_all_unused(context: &Context) -> bool {
    let mut is_done = true;
    for secret in context.cluster.secrets.state_filter(|secret| is_unused(context, secret)) {
        if let Err(error) = set(context, &secret, false).await {
            let secret = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
            warn!(
                secret,
                "{SECRET_FINALIZER} could not be removed from a Secret that no credential names; retried in {RETRY:?}: {error}"
            );
            is_done = false;
        }
    }
    is_done
}

/// Whether usher's finalizer is on a Secret that no credential names.
pub fn is_unused(context: &Context, secret: &PartialObjectMeta<Secret>) -> bool {
    let using = IndexKey::Secret(secret.namespace().unwrap_or_default(), secret.name_any());
    has_finalizer(secret) && !context.cluster.credentials.has(&using)
}

fn has_finalizer(secret: &PartialObjectMeta<Secret>) -> bool {
    secret.finalizers().iter().any(|finalizer| finalizer == SECRET_FINALIZER)
}

/// Whether the credential or its namespace is being deleted, so that the Secret is needed for removals. Both are read, because the watch may
/// not have delivered the deletion yet.
async fn is_needed(context: &Context, credential: &ProviderCredential) -> Result<bool, kube::Error> {
    let name = credential.namespace().unwrap_or_default();
    let namespace = Api::<Namespace>::all(context.cluster.client.clone()).get_metadata_opt(&name).await?;
    if namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        return Ok(true);
    }
    let credentials = context.cluster.api::<Lenient<ProviderCredential>>(&name);
    let current = credentials.get_opt(&credential.name_any()).await?;
    Ok(current.is_some_and(|Lenient(credential)| credential.is_deleting()))
}

/// Like [`patch`], but a conflict is no error, because the event of the other write leads here again.
async fn set(context: &Context, secret: &PartialObjectMeta<Secret>, present: bool) -> Result<(), kube::Error> {
    match patch(context, secret, present).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        other => other,
    }
}

/// Adds or removes usher's finalizer.
///
/// Errors: the Secret was written meanwhile; Kubernetes did not answer within [`PATCH_TIMEOUT`].
async fn patch(context: &Context, secret: &PartialObjectMeta<Secret>, present: bool) -> Result<(), kube::Error> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let patched = finalizer::patch_secret(&context.cluster, &secret.metadata, present);
    let late = |_| Err(kube::Error::Service(format!("no answer within {PATCH_TIMEOUT:?}").into()));
    match tokio::time::timeout(PATCH_TIMEOUT, patched).await.unwrap_or_else(late) {
        Ok(()) => {
            info!(secret = %format!("{namespace}/{name}"), present, "the finalizer of a credential's Secret");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        // The credential works without the finalizer, which matters only when the Secret is deleted too early.
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let secret = format!("{namespace}/{name}");
            warn!(
                secret,
                present, "not allowed to patch Secrets: kubectl apply -k deploy, or run with --secret-finalizer=false"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::controller::context;

    #[tokio::test(start_paused = true)]
    async fn a_patch_without_an_answer_is_repeated() {
        let (patches, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let metadata = json!({"name": "main", "namespace": "identity", "uid": "1", "finalizers": [SECRET_FINALIZER]});
        let secret = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        let (count, notify, body) = (patches.clone(), answered.clone(), secret.to_string());
        let service = tower::service_fn(move |_: Request<Body>| {
            let (is_first, notify, body) = (count.fetch_add(1, Ordering::Relaxed) == 0, notify.clone(), body.clone());
            async move {
                if is_first {
                    std::future::pending::<()>().await;
                }
                notify.notify_one();
                Ok::<_, Infallible>(Response::new(Body::from(body.into_bytes())))
            }
        });
        let client = Client::new(service, "identity");
        let context = context::context(&client, vec![serde_json::from_value(secret).unwrap()], Vec::new());
        tokio::select! {
            () = tidy(&context) => {}
            () = answered.notified() => {}
            () = tokio::time::sleep(PATCH_TIMEOUT * 4) => {}
        }
        assert_eq!(patches.load(Ordering::Relaxed), 2, "the first patch was never given up");
    }
}
