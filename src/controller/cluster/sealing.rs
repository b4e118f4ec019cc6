//! Which bindings have usher's seal.

use std::sync::atomic::Ordering;

use super::Cluster;
use super::managed::Managed;
use crate::api::status::Identity;
use crate::controller::keys::seal;

/// Whether the status of `object` ties it to an account without a valid seal, although every binding of usher has one.
pub fn is_unsealed<K: Managed>(cluster: &Cluster, object: &K) -> bool {
    !cluster.trusts_unsealed.load(Ordering::Relaxed) && !has_seal(cluster, object)
}

/// Whether the status of `object` has the seal that it needs.
pub fn has_seal<K: Managed>(cluster: &Cluster, object: &K) -> bool {
    let Some(status) = object.status().filter(|status| seal::is_needed(&status.identity)) else { return true };
    let (own, credential) = (object.key(), object.credential_key());
    cluster.digest_key.get().is_some_and(|key| seal::is_valid(key, &own, &credential, &status.identity))
}

/// `identity` with its seal as that of `object`.
pub fn sealed<K: Managed>(cluster: &Cluster, object: &K, identity: &Identity) -> Identity {
    let (own, credential) = (object.key(), object.credential_key());
    let seal = cluster.digest_key.get().and_then(|key| seal::seal(key, &own, &credential, identity));
    Identity { seal, ..identity.clone() }
}
