//! The start of sealing: usher's own key, and the seals on bindings that have none yet, of earlier builds and of a cluster whose key is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tracing::{info, warn};

use super::Cluster;
use super::managed::Managed;
use super::sealing::has_seal;
use super::status::write_identity;
use crate::api::user::Mode;
use crate::controller::keys::digest_key::DigestKey;
use crate::controller::outcome::Stop;

/// Wait before the key is asked for again, or the bindings that could not be sealed are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Most seals that are written at a time, so that the operator's other writes have room beside them.
const CONCURRENCY: usize = 16;

/// usher's own key, which only mode Enforce creates; `None` where there is none, it may not be read or it is unusable. Waits until
/// Kubernetes answers, because without the key usher cannot tell which bindings are its own.
pub async fn key(secrets: &Api<Secret>, mode: Mode) -> Option<DigestKey> {
    loop {
        let key = match mode {
            Mode::Enforce => DigestKey::read_or_create(secrets).await.map(Some),
            Mode::Plan | Mode::Paused => DigestKey::read(secrets).await,
        };
        match key {
            Ok(key) => return key,
            Err(Stop::Kube(error)) => warn!("waiting for usher's own key, by which it knows its bindings: {error}"),
            Err(stop) => {
                warn!("every binding counts, because usher has no key to seal one: {stop:?}");
                return None;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Seals all bindings that count and have no valid seal, whatever the mode of their objects; then notes on the key that from now on no
/// binding counts without one. Earlier builds wrote no seals, and a lost key leaves none valid: their bindings count as before, because
/// otherwise all accounts would be nobody's.
pub async fn seal_all(cluster: &Cluster, secrets: &Api<Secret>, mode: Mode) {
    let has_key = cluster.digest_key.initialized();
    if mode != Mode::Enforce || !has_key || !cluster.trusts_unsealed.load(Ordering::Relaxed) {
        return;
    }
    cluster.synced().await;
    loop {
        let (users, groups) = (seal_kind(cluster, cluster.users.all()), seal_kind(cluster, cluster.groups.all()));
        let (users, groups) = (users.await, groups.await);
        let failed = users.1 + groups.1;
        let noted = if failed == 0 { DigestKey::note_bindings_sealed(secrets).await.map(|()| true) } else { Ok(false) };
        match noted {
            Ok(true) => {
                cluster.trusts_unsealed.store(false, Ordering::Relaxed);
                info!(sealed = users.0 + groups.0, "from now on a binding counts only with usher's seal");
                return;
            }
            Ok(false) => warn!(failed, "some bindings could not be sealed and are tried again"),
            Err(error) => warn!("that all bindings are sealed could not be noted and is tried again: {error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Seals the bindings of `objects`; how many it sealed, and how many it could not seal.
async fn seal_kind<K: Managed>(cluster: &Cluster, objects: Vec<Arc<K>>) -> (usize, usize) {
    let unsealed = objects.into_iter().filter(|object| !has_seal(cluster, &**object));
    let written = stream::iter(unsealed)
        .map(|object| async move { write_identity(cluster, &*object, &object.stated_identity(), true).await.is_ok() })
        .buffer_unordered(CONCURRENCY);
    written
        .fold((0, 0), |(sealed, failed), ok| async move { (sealed + usize::from(ok), failed + usize::from(!ok)) })
        .await
}
