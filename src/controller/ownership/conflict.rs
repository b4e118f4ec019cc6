//! Two objects and one account: the bound one holds it, whatever its age; among unbound ones the older, then the lower uid.

use kube::ResourceExt;

use super::handover::{same_key, seniority};
use crate::api::status::Creating;
use crate::api::{ObjectKey, Reason, Vendor};
use crate::controller::cluster::cache::IndexKey;
use crate::controller::cluster::status::Cached;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::controller::resolve::access;
use crate::controller::sync::checks::WITH_ID;
use crate::plan::Account;

/// Errors: another object has, is making, or is the first to ask for the account that `object` describes.
pub fn ensure_first<K: Cached>(context: &Context, object: &K, vendor: Vendor) -> Result<(), Stop> {
    let competitors = K::cache(context).by_index(&wishes(object), |other| {
        wants_the_same(other, object, vendor)
            && other.uid() != object.uid()
            && other.credential_key() == object.credential_key()
    });
    let competitor = competitors.iter().find(|other| is_first(context, &***other, object));
    competitor.map_or(Ok(()), |competitor| Err(duplicate(context, object, &**competitor)))
}

/// Errors: another object is bound to the account with this id, shown or not, through the same credential or another one that
/// leads to the same place.
pub fn ensure_unbound<K: Cached>(context: &Context, object: &K, connection: &Connection, id: &str) -> Result<(), Stop> {
    let holders = K::cache(context).by_index(&[IndexKey::Account(id.to_owned())], |other| {
        let identity = other.identity();
        identity.known_id().is_some_and(|known| known == id)
            && other.uid() != object.uid()
            && (other.credential_key() == connection.key
                || identity.account.is_some_and(|account| connection.leads_to(&account)))
    });
    holders.first().map_or(Ok(()), |holder| Err(duplicate(context, object, &**holder)))
}

/// Whether the create of `object` with unknown end can have made `account`, or it is the one that this create was to replace; and
/// nobody else holds it.
pub fn is_made_by<K: Cached>(context: &Context, object: &K, connection: &Connection, account: &Account) -> bool {
    let identity = object.identity();
    let is_ours = connection.can_have_made(&identity, account) || identity.missing.as_ref() == Some(&account.id);
    is_ours && ensure_unbound(context, object, connection, &account.id).is_ok()
}

/// The account among `found` that the create of `object` with unknown end made, if it did.
///
/// Errors: there are several.
pub fn made_by<K: Cached>(
    context: &Context,
    object: &K,
    connection: &Connection,
    mut found: Vec<Account>,
) -> Result<Option<Account>, Stop> {
    found.retain(|account| is_made_by(context, object, connection, account));
    if found.len() > 1 {
        let (count, vendor) = (found.len(), connection.vendor.title());
        let key = object.identity().creating.map(|creating| creating.key).unwrap_or_default();
        let message = format!(
            "{count} accounts of {vendor} are named {key}, and usher made one of them, which it cannot tell: remove the surplus there, or {WITH_ID}"
        );
        return Err(Stop::because(Reason::AmbiguousMatch, message));
    }
    Ok(found.pop())
}

/// Wakes those that want the account of `object`, which is gone.
pub fn enqueue<K: Cached>(context: &Context, object: &K) {
    let names_an_account = |tag: &IndexKey| matches!(tag, IndexKey::Key(_) | IndexKey::Account(_));
    enqueue_by_index(context, object, &object.index_keys().into_iter().filter(names_an_account).collect::<Vec<_>>());
}

/// Wakes those that want an account with `key`, which `object` has given up.
pub fn enqueue_waiting_for_key<K: Cached>(context: &Context, object: &K, key: &str) {
    enqueue_by_index(context, object, &[IndexKey::key(key)]);
}

/// Wakes others with one of `tags` that want an account at the same place.
fn enqueue_by_index<K: Cached>(context: &Context, object: &K, index_keys: &[IndexKey]) {
    let (credential, place) = (object.credential_key(), object.identity().account);
    let leads_there = |credential: &ObjectKey| {
        let connection = context.connections.up(credential);
        connection.zip(place.as_ref()).is_some_and(|(connection, place)| connection.leads_to(place))
    };
    let others = K::cache(context).by_index(index_keys, |other| {
        let its = other.credential_key();
        other.uid() != object.uid() && (its == credential || leads_there(&its))
    });
    others.iter().for_each(|other| context.enqueue(other.key()));
}

/// What others that want the same account are found by.
fn wishes<K: Cached>(object: &K) -> Vec<IndexKey> {
    let accounts = object.external_id().into_iter().map(|id| IndexKey::Account(id.to_owned()));
    accounts.chain(object.natural_keys().map(IndexKey::key)).collect()
}

fn wants_the_same<K: Cached>(one: &K, other: &K, vendor: Vendor) -> bool {
    let keys = other.keys_at(vendor);
    let creating = one.identity().creating;
    let may_make = creating.is_some_and(|creating| keys.iter().any(|key| same_key(&creating.key, key)));
    may_make
        || one.external_id().is_some() && one.external_id() == other.external_id()
        || one.keys_at(vendor).iter().any(|key| keys.iter().any(|own| same_key(own, key)))
}

fn is_first<K: Cached>(context: &Context, competitor: &K, object: &K) -> bool {
    let (its, own) = (competitor.identity(), object.identity());
    let is_making = its.creating.as_ref().is_some_and(|creating| !is_unrelated(creating, object));
    let is_plain = own.creating.is_none() && !own.is_missing();
    if its.external_id.is_some() || is_making || (its.is_missing() && is_plain) {
        return competitor.has_finalizer();
    }
    own.creating.is_none()
        && (its.is_missing() || !own.is_missing())
        && !competitor.is_deleting()
        && seniority(competitor) < seniority(object)
        && access::credential(context, competitor).is_some()
}

/// Whether `object` may have made an account too, and another one than `creating` is about: neither waits for the other.
fn is_unrelated<K: Cached>(creating: &Creating, object: &K) -> bool {
    object.identity().creating.is_some() && !object.natural_keys().any(|key| same_key(key, &creating.key))
}

/// The other object is named within its namespace only. One that is going hands the account over.
fn duplicate<K: Cached>(context: &Context, object: &K, competitor: &K) -> Stop {
    let who = if competitor.namespace() == object.namespace() {
        competitor.key().to_string()
    } else {
        "another object".into()
    };
    let message = if competitor.is_deleting() {
        context.enqueue(competitor.key());
        format!("{who} holds this account and is being deleted; the account passes on when it may")
    } else {
        format!("{who} holds this account or asked for it first: delete one of the two objects")
    };
    Stop::because(Reason::Duplicate, message)
}
