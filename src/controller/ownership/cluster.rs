//! Which cluster owns an account. A restore or a copy of manifests with their status brings bindings into another cluster, and two clusters
//! must not manage one account.

use kube::ResourceExt;

use crate::api::Reason;
use crate::api::names::OWNER_CLUSTER;
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::hints::own_command;
use crate::controller::outcome::Stop;
use crate::controller::resolve::access;

/// Errors: another cluster owns the account of `object`.
pub fn ensure_owned<K: Managed>(context: &Context, object: &K) -> Result<(), Stop> {
    match owned_elsewhere(context, object) {
        Some(why) => Err(Stop::because(Reason::OwnedElsewhere, why)),
        None => Ok(()),
    }
}

/// The message, if the account of `object` was bound in another cluster, and neither the object nor its credential names this cluster as
/// its owner.
pub fn owned_elsewhere<K: Managed>(context: &Context, object: &K) -> Option<String> {
    // Without usher's seal, too: in a cluster with another key the seal of the first one does not count.
    let identity = object.stated_identity();
    identity.tied_to()?;
    let bound_in = identity.cluster?;
    let Some(own) = context.cluster.id() else {
        // A person who may not see the namespace can plan all the same.
        return (!context.is_preview()).then(|| {
            "usher does not see the namespace kube-system, by which it knows its cluster: give it the right to get, list and watch namespaces"
                .to_owned()
        });
    };
    if bound_in == own || is_named(context, object, &own) {
        return None;
    }
    Some(format!(
        "its account was bound in another cluster ({bound_in}), so usher sends and removes nothing here. If this cluster owns the account now, stop usher in the other cluster and run {}, or annotate the ProviderCredential for all its objects",
        own_command(&object.key(), &own)
    ))
}

/// Whether the annotation of `object` or of its credential names the cluster `own` as the owner.
fn is_named<K: Managed>(context: &Context, object: &K, own: &str) -> bool {
    let names = |owner: Option<&String>| owner.is_some_and(|owner| owner == own);
    names(object.annotations().get(OWNER_CLUSTER))
        || access::credential(context, object)
            .is_some_and(|credential| names(credential.annotations().get(OWNER_CLUSTER)))
}
