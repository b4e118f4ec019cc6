//! Enqueues the objects that wait for an account which another object gave up.

use kube::ResourceExt;

use crate::api::ObjectKey;
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;

/// Enqueues the objects that ask for the account of `object`, which is gone.
pub fn enqueue_waiting<K: Managed>(context: &Context, object: &K) {
    let names_an_account = |tag: &IndexKey| matches!(tag, IndexKey::Key(_) | IndexKey::Account(_));
    enqueue_by_index(context, object, &object.index_keys().into_iter().filter(names_an_account).collect::<Vec<_>>());
}

/// Enqueues the objects that ask for an account with `key`, which `object` has given up.
pub fn enqueue_waiting_for_key<K: Managed>(context: &Context, object: &K, key: &str) {
    enqueue_by_index(context, object, &[IndexKey::key(key)]);
}

/// Enqueues other objects with one of `index_keys` that ask for an account at the same place.
fn enqueue_by_index<K: Managed>(context: &Context, object: &K, index_keys: &[IndexKey]) {
    let (credential, place) = (object.credential_key(), object.identity().account);
    let leads_there = |credential: &ObjectKey| {
        let connection = context.connections.up(credential);
        connection.zip(place.as_ref()).is_some_and(|(connection, place)| connection.leads_to(place))
    };
    let others = K::cache(&context.cluster).by_index(index_keys, |other| {
        let its = other.credential_key();
        other.uid() != object.uid() && (its == credential || leads_there(&its))
    });
    others.iter().for_each(|other| context.cluster.enqueue(other.key()));
}
