//! Two objects and one account: the bound one holds it, whatever its age; of unbound ones the older, then the one with the lower uid. An
//! unbound object that is Stalled keeps no other one waiting, because it cannot have the account as its manifest is.

use kube::ResourceExt;

use super::handover::seniority;
use crate::api::status::{Creating, Identity};
use crate::api::{Reason, Vendor};
use crate::controller::cluster::index_key::IndexKey;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::WITH_ID;
use crate::controller::outcome::Stop;
use crate::controller::resolve::access;
use crate::plan::{Account, same_key};

/// Errors: another object has, makes, or is the first to ask for the account that `object` describes.
pub fn ensure_first<K: Managed>(context: &Context, object: &K, vendor: Vendor) -> Result<(), Stop> {
    let competitors = K::cache(&context.cluster).by_index(&asked_keys(object), |other| {
        asks_for_the_same(other, object, vendor)
            && other.uid() != object.uid()
            && other.credential_key() == object.credential_key()
    });
    let competitor = competitors.iter().find(|other| is_first(context, &***other, object));
    competitor.map_or(Ok(()), |competitor| Err(duplicate(context, object, &**competitor)))
}

/// Errors: another object is bound to the account with this id, even a missing one, through the same credential or another one that
/// is known to lead to the same account.
pub fn ensure_unbound<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    id: &str,
) -> Result<(), Stop> {
    ensure_no_other(context, object, connection, id, |_, identity| identity.known_id().is_some_and(|known| known == id))
}

/// Errors: an older object is bound to the account with this id, too, as after a restore of an object whose account had passed on.
pub fn ensure_senior<K: Managed>(context: &Context, object: &K, connection: &Connection, id: &str) -> Result<(), Stop> {
    ensure_no_other(context, object, connection, id, |other, identity| {
        identity.external_id.as_deref() == Some(id) && !other.is_deleting() && seniority(other) < seniority(object)
    })
}

/// Errors: another object whose credential leads to the same account of the vendor `holds` the account with this id.
fn ensure_no_other<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    id: &str,
    holds: impl Fn(&K, &Identity) -> bool,
) -> Result<(), Stop> {
    let holders = K::cache(&context.cluster).by_index(&[IndexKey::Account(id.to_owned())], |other| {
        let identity = other.identity();
        other.uid() != object.uid()
            && holds(other, &identity)
            && connection.shares(&other.credential_key(), identity.account.as_deref().unwrap_or_default())
    });
    holders.first().map_or(Ok(()), |holder| Err(duplicate(context, object, &**holder)))
}

/// Whether the pending create of `object` can have made `account`, or it is the missing account of the object; and no other object is
/// bound to it.
pub fn is_made_by<K: Managed>(context: &Context, object: &K, connection: &Connection, account: &Account) -> bool {
    let identity = object.identity();
    let is_ours = connection.can_have_made(&identity, account) || identity.missing.as_ref() == Some(&account.id);
    is_ours && ensure_unbound(context, object, connection, &account.id).is_ok()
}

/// The account among `found` that the pending create of `object` made, if it made one.
///
/// Errors: there are several.
pub fn made_by<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    mut found: Vec<Account>,
) -> Result<Option<Account>, Stop> {
    found.retain(|account| is_made_by(context, object, connection, account));
    if found.len() > 1 {
        let key = object.identity().creating.map(|creating| creating.key).unwrap_or_default();
        return Err(ambiguous_create(found.len(), connection.vendor.title(), &key));
    }
    Ok(found.pop())
}

/// The verdict where `count` accounts may be the one that a pending create made.
pub fn ambiguous_create(count: usize, vendor: &str, key: &str) -> Stop {
    let message = format!(
        "{count} accounts of {vendor} are named {key}, and usher cannot tell which of them it made: remove the surplus there, or {WITH_ID}"
    );
    Stop::because(Reason::AmbiguousMatch, message)
}

/// The keys by which other objects that ask for the same account are found.
fn asked_keys<K: Managed>(object: &K) -> Vec<IndexKey> {
    let accounts = object.external_id().into_iter().map(|id| IndexKey::Account(id.to_owned()));
    accounts.chain(object.natural_keys().map(IndexKey::key)).collect()
}

fn asks_for_the_same<K: Managed>(one: &K, other: &K, vendor: Vendor) -> bool {
    let keys = other.keys_at(vendor);
    let creating = one.identity().creating;
    let may_make = creating.is_some_and(|creating| keys.iter().any(|key| same_key(&creating.key, key)));
    may_make
        || one.external_id().is_some() && one.external_id() == other.external_id()
        || one.keys_at(vendor).iter().any(|key| keys.iter().any(|own| same_key(own, key)))
}

fn is_first<K: Managed>(context: &Context, competitor: &K, object: &K) -> bool {
    let (its, own) = (competitor.identity(), object.identity());
    let is_making = its.creating.as_ref().is_some_and(|creating| !is_unrelated(creating, object));
    let is_plain = own.creating.is_none() && !own.is_missing();
    if its.external_id.is_some() || is_making || (its.is_missing() && is_plain) {
        return competitor.has_finalizer();
    }
    own.creating.is_none()
        && (its.is_missing() || !own.is_missing())
        && !competitor.is_deleting()
        && !competitor.is_stalled()
        && seniority(competitor) < seniority(object)
        && access::credential(context, competitor).is_some()
}

/// Whether `object` has a pending create of its own, for another key than `creating`: then neither object waits for the other.
fn is_unrelated<K: Managed>(creating: &Creating, object: &K) -> bool {
    object.identity().creating.is_some() && !object.natural_keys().any(|key| same_key(key, &creating.key))
}

/// The verdict on a second object. The message names the first one only within the same namespace. An object that is being deleted hands
/// its account over.
fn duplicate<K: Managed>(context: &Context, object: &K, competitor: &K) -> Stop {
    let first = if competitor.namespace() == object.namespace() {
        competitor.key().to_string()
    } else {
        "another object".into()
    };
    let message = if competitor.is_deleting() {
        context.cluster.enqueue(competitor.key());
        format!("{first} holds this account and is being deleted; the account passes on when it may")
    } else {
        format!("{first} holds this account or asked for it first: delete one of the two objects")
    };
    Stop::because(Reason::Duplicate, message)
}
