//! Step one: from an object to all it needs — its credential's connection, what the vendor lists, its groups. Sends nothing that changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use super::access;
use crate::api::conditions::{self, ConditionType};
use crate::api::names::{PAUSED, RECONCILE_AT};
use crate::api::user::{GroupEntry, Mode};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, ProviderCredential, Reason};
use crate::controller::cluster::lenient::Lenient;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::Cached;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::{Account, AccountKind, GroupHandle, GroupSupport, Membership, shown_key};

/// Errors: what pauses the object itself, if something does.
pub fn not_paused<K: Managed>(context: &Context, object: &K) -> Result<(), Stop> {
    match paused_by(context, object) {
        Some(by) => Err(Stop::Paused(by)),
        None => Ok(()),
    }
}

/// What pauses `object`, apart from its credential.
pub fn paused_by<K: Managed>(context: &Context, object: &K) -> Option<String> {
    if context.settings.mode == Mode::Paused {
        return Some("usher runs with --mode Paused".into());
    }
    if object.mode() == Some(Mode::Paused) {
        return Some("spec.mode: Paused".into());
    }
    if object.annotations().get(PAUSED).is_some_and(|value| value == "true") {
        return Some(format!("the annotation {PAUSED}"));
    }
    // Whether a credential elsewhere that may not be used exists is not told.
    crate::controller::credential::reconcile::paused_by(&*access::credential(context, object)?)
}

/// Who asks for mode Plan, where it is in effect.
pub fn planned_by<K: Managed>(context: &Context, connection: &Connection, object: &K) -> String {
    if context.settings.mode == Mode::Plan && !context.preview {
        "usher's flag --mode".into()
    } else if object.mode() == Some(Mode::Plan) {
        "spec.mode".into()
    } else {
        format!("spec.mode of the credential {}", connection.key.name)
    }
}

/// Asks once more, before something is changed at the vendor, whether the credential still says what the connection knows: the
/// watch may show an object before the edit of its credential that went ahead of it.
///
/// Errors: it was changed, paused or deleted; its own reconcile wakes the object.
pub async fn ensure_credential_current(context: &Context, connection: &Connection) -> Result<(), Stop> {
    let ObjectKey { namespace, name, .. } = &connection.key;
    let fresh = context.api::<ProviderCredential>(namespace).get_metadata_opt(name).await?;
    let is_same = fresh.is_some_and(|credential| {
        credential.metadata.generation == Some(connection.generation)
            && credential.annotations().get(PAUSED).is_none_or(|paused| paused != "true")
    });
    if is_same {
        return Ok(());
    }
    context.enqueue(connection.key.clone());
    Err(Stop::Queued)
}

/// Asks once more, before the account of a going object is touched, whether the object is still what we know: someone may have
/// paused it or changed its policy, which a watch that lags does not show.
///
/// Errors: it was changed, and is looked at as it is now; or it is gone.
pub async fn ensure_object_current<K: Cached>(context: &Context, object: &K) -> Result<(), Stop> {
    let api = context.api::<Lenient<K>>(&object.namespace().unwrap_or_default());
    let fresh = api.get_opt(&object.name_any()).await?.map(|Lenient(fresh)| fresh);
    let Some(fresh) = fresh.filter(|fresh| fresh.uid() == object.uid()) else { return Err(Stop::Queued) };
    let paused = |object: &K| object.annotations().get(PAUSED).cloned();
    if (fresh.generation(), paused(&fresh)) == (object.generation(), paused(object)) {
        return Ok(());
    }
    K::cache(context).assume(fresh);
    context.enqueue(object.key());
    Err(Stop::Queued)
}

/// The strictest of operator's, credential's and object's mode.
pub fn mode<K: Managed>(context: &Context, connection: &Connection, object: &K) -> Mode {
    context.settings.mode.max(connection.mode()).max(object.mode().unwrap_or_default())
}

/// The connection of the object's credential.
///
/// Errors: not allowed from here, or absent, or not ready. That is no news about an object that was in sync.
pub fn connection<K: Managed>(context: &Context, object: &K) -> Result<Arc<Connection>, Stop> {
    access::only_if_allowed(context, object)?;
    let credential = object.credential_key();
    let why = match context.connections.get(&credential) {
        Some(Link::Up(connection)) => return fits(object, connection),
        Some(Link::Down(down)) => down.verdict.message,
        // Its first look wakes the object, which says until then what it said before.
        None if context.credentials.get(&credential.namespace, &credential.name).is_some() => {
            return Err(if is_new(object) {
                Stop::waiting(Reason::WaitingForCredential, &credential, "not looked at yet")
            } else {
                Stop::Queued
            });
        }
        None => "there is none; create it or correct spec.credentialRef".into(),
    };
    if is_unchanged(object) {
        Err(Stop::Unchanged)
    } else {
        Err(Stop::waiting(Reason::WaitingForCredential, &credential, &why))
    }
}

fn fits<K: Managed>(object: &K, connection: Arc<Connection>) -> Result<Arc<Connection>, Stop> {
    let vendor = connection.vendor;
    if let Some(block) = object.block().filter(|block| *block != vendor) {
        let message = format!(
            "spec.provider.{block}: the credential {} is for {vendor}; use spec.provider.{vendor} or another credential",
            connection.key.name
        );
        return Err(Stop::because(Reason::ProviderMismatch, message));
    }
    let identity = object.identity();
    if let Some(account) = identity.tied_to().filter(|account| *account != connection.account) {
        let message = format!(
            "bound through {account}, but the credential {} now leads to {}: set its url, gateway and Secret back, or give that account up: delete this object with deletionPolicy: Orphan, and apply it anew",
            connection.key.name, connection.account
        );
        return Err(Stop::because(Reason::ProviderMismatch, message));
    }
    Ok(connection)
}

/// Whether nothing was ever said of the object.
fn is_new<K: Managed>(object: &K) -> bool {
    object.status().is_none_or(|status| status.report.conditions.is_empty())
}

/// Whether the object was in sync with this very spec when last looked at.
pub fn is_unchanged<K: Managed>(object: &K) -> bool {
    let Some(status) = object.status() else { return false };
    let ready = conditions::find(&status.report.conditions, ConditionType::Ready);
    status.report.observed_generation == object.generation()
        && !object.is_deleting()
        && ready.is_some_and(|ready| ready.status == "True")
}

/// Whether someone asked for a fresh comparison that was not made yet.
pub fn is_forced<K: Managed>(object: &K) -> bool {
    let handled = object.status().and_then(|status| status.report.last_handled_reconcile_at.as_ref());
    object.annotations().get(RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
}

/// Errors: no listing of `subject` yet; one is asked for.
pub fn listed<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Result<(), Stop> {
    if !connection.provider.capabilities().lists(account_kind) || connection.index().has(account_kind) {
        return Ok(());
    }
    Err(ask_for_listing(context, object, connection, account_kind))
}

/// Asks for a listing of `subject`, whose end wakes the object. If listing fails, that is the credential's news, and the object
/// waits for it.
pub fn ask_for_listing<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Stop {
    connection.index().want(account_kind);
    match connection.last_failure() {
        Some(_) if is_unchanged(object) => Stop::Unchanged,
        Some(last_failure) => Stop::waiting(Reason::WaitingForCredential, &connection.key, &last_failure.error.message),
        None => {
            context.enqueue(connection.key.clone());
            Stop::Queued
        }
    }
}

/// The groups that `user` names, as its vendor takes them; `None` when groups are not managed. A group that is absent, not
/// ready, of another credential, not there or there twice is left out, with the reason beside: whoever shall lose a group never
/// waits for another one, and what a group that is left out may mean is neither given nor taken.
pub fn membership(
    context: &Context,
    user: &PlatformUser,
    connection: &Connection,
) -> (Option<Membership>, Option<Resolved>, Option<Stop>) {
    let Some(entries) = &user.spec.groups else { return (None, None, None) };
    let before = user.identity().resolved_groups.unwrap_or_default();
    let mut resolved = Resolved::new();
    let additive = user.spec.membership.unwrap_or_default() == crate::api::user::Membership::Additive;
    let mut membership = Membership { wanted: BTreeSet::new(), spared: BTreeSet::new(), additive };
    let mut missing = None;
    for (position, entry) in entries.iter().enumerate() {
        match group(context, user, connection, entry, position) {
            Ok(handle) => {
                let value = connection.provider.group_value(&handle);
                resolved.extend(label(entry).map(|label| (label, value.clone())));
                membership.wanted.insert(value);
            }
            Err(stop) => {
                let perhaps = candidates(context, user, connection, entry);
                membership.spared.extend(perhaps.iter().map(|handle| connection.provider.group_value(handle)));
                let last = label(entry).and_then(|label| before.get_key_value(&label));
                membership.spared.extend(last.map(|(_, value)| value.clone()));
                resolved.extend(last.map(|(label, value)| (label.clone(), value.clone())));
                missing = missing.or(Some(stop));
            }
        }
    }
    (Some(membership), Some(resolved).filter(|resolved| !resolved.is_empty()), missing)
}

/// The groups that entries stand for.
type Resolved = BTreeMap<String, String>;

/// What an entry is remembered by; an id needs no remembering.
fn label(entry: &GroupEntry) -> Option<String> {
    match entry {
        GroupEntry::GroupRef(reference) => Some(format!("groupRef/{}", reference.name)),
        GroupEntry::ExternalName(name) => Some(format!("externalName/{name}")),
        GroupEntry::ExternalId(_) => None,
    }
}

fn group(
    context: &Context,
    user: &PlatformUser,
    connection: &Connection,
    entry: &GroupEntry,
    position: usize,
) -> Result<GroupHandle, Stop> {
    if !matches!(entry, GroupEntry::GroupRef(_)) {
        access::only_if_existing_allowed(connection, user, &format!("spec.groups[{position}]"))?;
    }
    match entry {
        GroupEntry::GroupRef(reference) => referenced(context, user, &reference.name, position),
        GroupEntry::ExternalId(id) => by_id(context, user, connection, id, position),
        GroupEntry::ExternalName(name) => by_name(context, user, connection, name, position),
    }
}

/// The groups that an entry which cannot be resolved now may mean.
fn candidates(context: &Context, user: &PlatformUser, connection: &Connection, entry: &GroupEntry) -> Vec<GroupHandle> {
    match entry {
        GroupEntry::GroupRef(reference) => {
            let group = context.groups.get(&user.namespace().unwrap_or_default(), &reference.name);
            let identity = group.map(|group| group.identity()).unwrap_or_default();
            identity.external_id.map(|id| GroupHandle { id, name: identity.key }).into_iter().collect()
        }
        GroupEntry::ExternalId(id) => {
            let index = connection.index();
            let known = index.get(AccountKind::Group, id).map(|group| handle(connection, group));
            vec![known.unwrap_or_else(|| GroupHandle { id: id.clone(), name: None })]
        }
        GroupEntry::ExternalName(name) => {
            let index = connection.index();
            let named = index.groups_named(connection.table(AccountKind::Group), name);
            named.into_iter().map(|group| handle(connection, group)).collect()
        }
    }
}

fn referenced(context: &Context, user: &PlatformUser, name: &str, position: usize) -> Result<GroupHandle, Stop> {
    let namespace = user.namespace().unwrap_or_default();
    let key = ObjectKey::new(Kind::Group, namespace.clone(), name);
    let Some(group) = context.groups.get(&namespace, name) else {
        return Err(Stop::waiting(Reason::WaitingForGroup, &key, "there is none; create it or correct spec.groups"));
    };
    if group.credential_key() != user.credential_key() {
        let message = format!(
            "spec.groups[{position}].groupRef: {key} uses another credential; name a group of {}",
            user.credential_key()
        );
        return Err(Stop::because(Reason::Invalid, message));
    }
    match group.identity().external_id {
        Some(id) if !group.is_deleting() && is_usable(&group) => Ok(GroupHandle { id, name: group.identity().key }),
        _ => Err(Stop::waiting(Reason::WaitingForGroup, &key, "not ready; see its conditions")),
    }
}

/// Whether a group is there, though perhaps not as its manifest says now.
fn is_usable(group: &PlatformGroup) -> bool {
    group.status.as_ref().is_some_and(|status| {
        conditions::find(&status.report.conditions, ConditionType::Ready)
            .is_some_and(|ready| ready.status == "True" || group.generation() != status.report.observed_generation)
    })
}

fn by_id(
    context: &Context,
    user: &PlatformUser,
    connection: &Connection,
    id: &str,
    position: usize,
) -> Result<GroupHandle, Stop> {
    if connection.provider.capabilities().groups == GroupSupport::Given {
        return Ok(GroupHandle { id: id.to_owned(), name: None });
    }
    listed(context, user, connection, AccountKind::Group)?;
    let index = connection.index();
    let group = index.get(AccountKind::Group, id).ok_or_else(|| {
        let message = format!(
            "spec.groups[{position}].externalId: {} lists no group {id}; correct the id",
            connection.vendor.title()
        );
        Stop::because(Reason::NotFound, message)
    })?;
    Ok(handle(connection, group))
}

fn by_name(
    context: &Context,
    user: &PlatformUser,
    connection: &Connection,
    name: &str,
    position: usize,
) -> Result<GroupHandle, Stop> {
    let vendor = connection.vendor.title();
    if connection.provider.capabilities().groups == GroupSupport::Given {
        let message = format!("spec.groups[{position}].externalName: {vendor} cannot look groups up; use externalId");
        return Err(Stop::because(Reason::Unsupported, message));
    }
    listed(context, user, connection, AccountKind::Group)?;
    let index = connection.index();
    match index.groups_named(connection.table(AccountKind::Group), name).as_slice() {
        [group] => Ok(handle(connection, group)),
        [] => Err(Stop::because(
            Reason::NotFound,
            format!("spec.groups[{position}].externalName: {vendor} lists no group named {name}; correct the name"),
        )),
        several => Err(Stop::because(
            Reason::AmbiguousMatch,
            format!(
                "spec.groups[{position}].externalName: {} groups of {vendor} are named {name}; use externalId",
                several.len()
            ),
        )),
    }
}

fn handle(connection: &Connection, group: &Account) -> GroupHandle {
    let name = shown_key(connection.table(AccountKind::Group), group);
    GroupHandle { id: group.id.clone(), name: name.map(str::to_owned) }
}
