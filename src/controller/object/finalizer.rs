//! Keeps usher's finalizer on an object that has an account.

use crate::controller::cluster::finalizer::{add_finalizer, remove_finalizer};
use crate::controller::cluster::lifecycle::Live;
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::controller::resolve::access;
use crate::plan::{AccountKind, GroupSupport};
use crate::providers;

/// Adds the finalizer again to an object that has an account and lost it, for example by `kubectl replace`, because otherwise its
/// deletion would leave the account behind unnoticed. A group that is only found and never written needs none. A credential that is
/// being deleted with deletionPolicy Orphan releases its objects.
///
/// Errors: the object was written meanwhile; Kubernetes did not answer.
pub async fn ensure_finalizer<K: Managed>(context: &Context, object: Live<K>) -> Result<Live<K>, Stop> {
    // Without the credential nothing shows whether the object was released.
    let Some(credential) = access::credential(context, &**object).filter(|_| !context.is_preview()) else {
        return Ok(object);
    };
    if credential.releases_all() {
        return release(context, object).await;
    }
    let vendor = object.status().and_then(|status| status.report.provider);
    let is_managed = vendor.is_some_and(|vendor| providers::capabilities(vendor).groups == GroupSupport::Managed);
    let keeps = K::ACCOUNT_KIND == AccountKind::User || is_managed;
    if !keeps || object.stated_identity().tied_to().is_none() {
        return Ok(object);
    }
    let latest = add_finalizer(&context.cluster, (*object).clone()).await?;
    Live::refreshed(latest).ok_or(Stop::AwaitsEdit)
}

async fn release<K: Managed>(context: &Context, object: Live<K>) -> Result<Live<K>, Stop> {
    if !object.has_finalizer() {
        return Ok(object);
    }
    remove_finalizer(&context.cluster, &**object).await?;
    context.cluster.enqueue(object.credential_key());
    let latest = K::cache(&context.cluster).latest((*object).clone());
    Live::refreshed(latest).ok_or(Stop::AwaitsEdit)
}
