//! Two objects and one account: the bound one holds it, whatever its age; among unbound ones the older, then the lower uid.

use kube::ResourceExt;

use super::access;
use super::checks::WITH_ID;
use super::connection::Connection;
use super::context::Context;
use super::heir::{same_key, seniority};
use super::outcome::Stop;
use super::record::Shelved;
use super::shelf::Tag;
use crate::api::status::Creating;
use crate::api::{ObjectKey, Reason, Vendor};
use crate::plan::Account;

/// Errors: another object has, is making, or is the first to ask for the account that `object` describes.
pub fn only_one<K: Shelved>(context: &Context, object: &K, vendor: Vendor) -> Result<(), Stop> {
    let rivals = K::shelf(context).tagged(&wishes(object), |other| {
        wants_the_same(other, object, vendor)
            && other.uid() != object.uid()
            && other.credential_key() == object.credential_key()
    });
    let rival = rivals.iter().find(|other| is_first(context, &***other, object));
    rival.map_or(Ok(()), |rival| Err(duplicate(context, object, &**rival)))
}

/// Errors: another object is bound to the account with this id, shown or not, through the same credential or another one that
/// leads to the same place.
pub fn not_held<K: Shelved>(context: &Context, object: &K, connection: &Connection, id: &str) -> Result<(), Stop> {
    let holders = K::shelf(context).tagged(&[Tag::Account(id.to_owned())], |other| {
        let identity = other.identity();
        identity.known_id().is_some_and(|known| known == id)
            && other.uid() != object.uid()
            && (other.credential_key() == connection.key || identity.account.as_ref() == Some(&connection.account))
    });
    holders.first().map_or(Ok(()), |holder| Err(duplicate(context, object, &**holder)))
}

/// Whether the create of `object` with unknown end can have made `account`, or it is the one that this create was to replace; and
/// nobody else holds it.
pub fn is_made_by<K: Shelved>(context: &Context, object: &K, connection: &Connection, account: &Account) -> bool {
    let identity = object.identity();
    let is_ours = connection.can_have_made(&identity, account) || identity.vanished.as_ref() == Some(&account.id);
    is_ours && not_held(context, object, connection, &account.id).is_ok()
}

/// The account among `found` that the create of `object` with unknown end made, if it did.
///
/// Errors: there are several.
pub fn made_by<K: Shelved>(
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
pub fn wake<K: Shelved>(context: &Context, object: &K) {
    let names_an_account = |tag: &Tag| matches!(tag, Tag::Key(_) | Tag::Account(_));
    wake_tagged(context, object, &object.tags().into_iter().filter(names_an_account).collect::<Vec<_>>());
}

/// Wakes those that want an account with `key`, which `object` has given up.
pub fn give_up<K: Shelved>(context: &Context, object: &K, key: &str) {
    wake_tagged(context, object, &[Tag::key(key)]);
}

/// Wakes others with one of `tags` that want an account at the same place.
fn wake_tagged<K: Shelved>(context: &Context, object: &K, tags: &[Tag]) {
    let (credential, place) = (object.credential_key(), object.identity().account);
    let leads_there = |credential: &ObjectKey| {
        let connection = context.connections.up(credential);
        connection.is_some_and(|connection| place.as_ref() == Some(&connection.account))
    };
    let others = K::shelf(context).tagged(tags, |other| {
        let its = other.credential_key();
        other.uid() != object.uid() && (its == credential || leads_there(&its))
    });
    others.iter().for_each(|other| context.wake(other.key()));
}

/// What others that want the same account are found by.
fn wishes<K: Shelved>(object: &K) -> Vec<Tag> {
    let accounts = object.external_id().into_iter().map(|id| Tag::Account(id.to_owned()));
    accounts.chain(object.natural_keys().map(Tag::key)).collect()
}

fn wants_the_same<K: Shelved>(one: &K, other: &K, vendor: Vendor) -> bool {
    let keys = other.keys_at(vendor);
    let creating = one.identity().creating;
    let may_make = creating.is_some_and(|creating| keys.iter().any(|key| same_key(&creating.key, key)));
    may_make
        || one.external_id().is_some() && one.external_id() == other.external_id()
        || one.keys_at(vendor).iter().any(|key| keys.iter().any(|own| same_key(own, key)))
}

fn is_first<K: Shelved>(context: &Context, rival: &K, object: &K) -> bool {
    let (its, own) = (rival.identity(), object.identity());
    let is_making = its.creating.as_ref().is_some_and(|creating| !is_beside(creating, object));
    let is_plain = own.creating.is_none() && !own.is_vanished();
    if its.external_id.is_some() || is_making || (its.is_vanished() && is_plain) {
        return rival.is_held();
    }
    own.creating.is_none()
        && (its.is_vanished() || !own.is_vanished())
        && !rival.is_going()
        && seniority(rival) < seniority(object)
        && access::credential(context, rival).is_some()
}

/// Whether `object` may have made an account too, and another one than `creating` is about: neither waits for the other.
fn is_beside<K: Shelved>(creating: &Creating, object: &K) -> bool {
    object.identity().creating.is_some() && !object.natural_keys().any(|key| same_key(key, &creating.key))
}

/// The other object is named within its namespace only. One that is going hands the account over.
fn duplicate<K: Shelved>(context: &Context, object: &K, rival: &K) -> Stop {
    let who = if rival.namespace() == object.namespace() { rival.key().to_string() } else { "another object".into() };
    let message = if rival.is_going() {
        context.wake(rival.key());
        format!("{who} holds this account and is being deleted; the account passes on when it may")
    } else {
        format!("{who} holds this account or asked for it first: delete one of the two objects")
    };
    Stop::because(Reason::Duplicate, message)
}
