//! The finalizer on a credential's Secret: taking accounts away must not fail because the login vanished a moment earlier.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use crate::api::ProviderCredential;
use crate::api::names::SECRET_FINALIZER;
use crate::controller::cluster::finalizer;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::context::Context;

/// How long until what failed is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Holds the Secret of a credential in use, and gives it up at once when it alone is deleted. Secrets of this namespace that no
/// credential names any more are let go.
///
/// Errors: Kubernetes failed us.
pub async fn keep(context: &Context, credential: &ProviderCredential) -> Result<(), kube::Error> {
    let namespace = credential.namespace().unwrap_or_default();
    release_unused(context, &namespace).await?;
    let Some(secret) = context.cluster.secret(&namespace, &credential.spec.secret_ref.name) else { return Ok(()) };
    let going = secret.metadata.deletion_timestamp.is_some();
    match (has_finalizer(&secret), context.settings.secret_finalizer) {
        (true, false) => set(context, &secret, false).await,
        (true, true) if going && !is_needed(context, credential).await? => set(context, &secret, false).await,
        (false, true) if !going => set(context, &secret, true).await,
        _ => Ok(()),
    }
}

/// Lets go of the Secret of a credential that is released, unless another credential uses it.
///
/// Errors: Kubernetes failed us.
pub async fn release(context: &Context, credential: &ProviderCredential) -> Result<(), kube::Error> {
    let namespace = credential.namespace().unwrap_or_default();
    let is_here = |secret: &PartialObjectMeta<Secret>| secret.namespace().as_ref() == Some(&namespace);
    let held = context.cluster.secrets.state_filter(|secret| is_here(secret) && has_finalizer(secret));
    // Our own finalizer may not have come back through the watch yet, and an earlier spec may have named another Secret.
    let named = held.iter().map(|secret| secret.name_any()).chain([credential.spec.secret_ref.name.clone()]);
    for name in named.collect::<BTreeSet<_>>() {
        let using = [IndexKey::Secret(namespace.clone(), name.clone())];
        if context.cluster.credentials.by_index(&using, |other| other.uid() != credential.uid()).is_empty() {
            release_one(context, &namespace, &name).await?;
        }
    }
    Ok(())
}

/// Lets go of one Secret as it is now: after this, nobody comes back to it.
async fn release_one(context: &Context, namespace: &str, name: &str) -> Result<(), kube::Error> {
    match context.cluster.api::<Secret>(namespace).get_metadata_opt(name).await? {
        Some(secret) if has_finalizer(&secret) => patch(context, &secret, false).await,
        _ => Ok(()),
    }
}

/// Lets go of the Secrets of a namespace that no credential names.
async fn release_unused(context: &Context, namespace: &str) -> Result<(), kube::Error> {
    let is_here = |secret: &PartialObjectMeta<Secret>| secret.namespace().as_deref() == Some(namespace);
    for secret in context.cluster.secrets.state_filter(|secret| is_here(secret) && is_orphan(context, secret)) {
        set(context, &secret, false).await?;
    }
    Ok(())
}

/// Lets go of Secrets that no credential names, for as long as it is polled: of two credentials that go together each may leave
/// their Secret to the other, and one that is taken away by force leaves it behind.
pub async fn tidy(context: &Context) {
    context.cluster.synced().await;
    loop {
        while !release_orphans(context).await {
            tokio::time::sleep(RETRY).await;
        }
        context.cluster.unused_secrets.notified().await;
    }
}

/// Whether all that could be let go was.
async fn release_orphans(context: &Context) -> bool {
    let mut is_done = true;
    for secret in context.cluster.secrets.state_filter(|secret| is_orphan(context, secret)) {
        if let Err(error) = set(context, &secret, false).await {
            let secret = format!("{}/{}", secret.namespace().unwrap_or_default(), secret.name_any());
            warn!(
                secret,
                "no credential names it, but {SECRET_FINALIZER} could not be taken off; tried again in {RETRY:?}: {error}"
            );
            is_done = false;
        }
    }
    is_done
}

/// Whether our finalizer is on a Secret that no credential names.
pub fn is_orphan(context: &Context, secret: &PartialObjectMeta<Secret>) -> bool {
    has_finalizer(secret)
        && !context
            .cluster
            .credentials
            .has(&IndexKey::Secret(secret.namespace().unwrap_or_default(), secret.name_any()))
}

fn has_finalizer(secret: &PartialObjectMeta<Secret>) -> bool {
    secret.finalizers().iter().any(|finalizer| finalizer == SECRET_FINALIZER)
}

/// Whether the credential or its whole namespace is being deleted, asked freshly: a watch may not show it yet.
async fn is_needed(context: &Context, credential: &ProviderCredential) -> Result<bool, kube::Error> {
    let name = credential.namespace().unwrap_or_default();
    let namespace = Api::<Namespace>::all(context.cluster.client.clone()).get_metadata_opt(&name).await?;
    if namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        return Ok(true);
    }
    let credentials = context.cluster.api::<ProviderCredential>(&name);
    let fresh = credentials.get_metadata_opt(&credential.name_any()).await?;
    Ok(fresh.is_some_and(|credential| credential.metadata.deletion_timestamp.is_some()))
}

/// As [`patch`]; that the Secret was changed meanwhile is no failure: its next event brings us back.
async fn set(context: &Context, secret: &PartialObjectMeta<Secret>, held: bool) -> Result<(), kube::Error> {
    match patch(context, secret, held).await {
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        other => other,
    }
}

/// Adds or takes away our finalizer.
///
/// Errors: the Secret was changed meanwhile; Kubernetes failed us.
async fn patch(context: &Context, secret: &PartialObjectMeta<Secret>, held: bool) -> Result<(), kube::Error> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let patched = finalizer::patch::<Secret>(&context.cluster, &secret.metadata, SECRET_FINALIZER, held, json!({}));
    match patched.await {
        Ok(_) => {
            info!(secret = %format!("{namespace}/{name}"), held, "the finalizer of a credential's Secret");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        // What the finalizer is for is rare; what the credential is for is not.
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let secret = format!("{namespace}/{name}");
            warn!(
                secret,
                held, "not allowed to patch Secrets: kubectl apply -k deploy, or run with --secret-finalizer=false"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}
