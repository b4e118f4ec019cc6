//! The release of a deleted credential, and the finalizers that keep it and its Secret until then.

use std::sync::Arc;

use kube::ResourceExt;
use tracing::{info, warn};

use super::secret_finalizer;
use crate::api::ProviderCredential;
use crate::controller::cluster::finalizer;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::object::Object as _;
use crate::controller::context::Context;
use crate::controller::resolve::access;

/// Keeps a live credential and its Secret by finalizers, and releases a deleted credential once no object is bound through it. Returns
/// whether the credential was released.
///
/// Errors: Kubernetes did not answer.
pub async fn is_released(context: &Context, credential: &Arc<ProviderCredential>) -> Result<bool, kube::Error> {
    let has_finalizer = credential.has_finalizer();
    if !credential.is_deleting() {
        match finalizer::add_finalizer(&context.cluster, credential.clone()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
            added => drop(added?),
        }
        secret_finalizer::update(context, credential).await?;
        return Ok(false);
    }
    let is_needed = has_finalizer && bound(context, credential) > 0;
    if is_needed && !context.cluster.is_uninstalled::<ProviderCredential>().await? {
        let seen = credential.status.as_ref().map(|status| status.observed_generation);
        if credential.releases_all() && seen != credential.metadata.generation {
            // Each object is released now, because its own deletion must not need the credential later.
            context.cluster.enqueue_users_of(&credential.key());
        }
        // An error must not stop the removals.
        if let Err(error) = secret_finalizer::update(context, credential).await {
            warn!(credential = %credential.key(), "the finalizer of its Secret could not be updated, so the Secret may be deleted before the accounts are removed: {error}");
        }
        return Ok(false);
    }
    secret_finalizer::release(context, credential).await?;
    if has_finalizer {
        finalizer::remove_finalizer(&context.cluster, &**credential).await?;
    }
    forget(context, credential);
    info!(credential = %credential.key(), "released");
    Ok(true)
}

/// Forgets the connection, the removals, the failures and the metrics of a credential that is gone.
pub fn forget(context: &Context, credential: &ProviderCredential) {
    let key = credential.key();
    context.sweeps.cancel(&key);
    context.connections.forget(&key);
    context.budgets.forget(&key);
    context.backoff.reset(&key);
    context.metrics.object_state(&key, None);
    if let Some(vendor) = credential.vendor() {
        context.metrics.credential_ready(vendor, &key, None);
    }
}

/// The number of objects that may use a credential and are bound, or have a pending create, through it.
pub fn bound(context: &Context, credential: &ProviderCredential) -> usize {
    let key = credential.key();
    let serves =
        |namespace: Option<String>| access::may_use(context, &key, &credential.spec, &namespace.unwrap_or_default());
    let using = [IndexKey::Credential(key.clone())];
    let users = context.cluster.users.by_index(&using, |user| user.has_finalizer() && serves(user.namespace()));
    let groups = context.cluster.groups.by_index(&using, |group| group.has_finalizer() && serves(group.namespace()));
    users.len() + groups.len()
}
