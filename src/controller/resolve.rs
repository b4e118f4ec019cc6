//! Step one: from an object to all it needs — its credential's connection, what the vendor lists, its groups. Sends nothing that changes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::connection::{Connection, Link};
use super::context::Context;
use super::managed::Managed;
use super::outcome::Stop;
use crate::api::conditions::{self, ConditionType};
use crate::api::names::{PAUSED, RECONCILE_AT};
use crate::api::user::{GroupEntry, Mode};
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, Reason};
use crate::plan::{Account, GroupHandle, GroupSupport, Membership, Subject};

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
    let key = object.credential_key();
    let credential = context.credentials.get(&key.namespace, &key.name)?;
    super::credential::paused_by(&credential)
}

/// The strictest of operator's, credential's and object's mode.
pub fn mode<K: Managed>(context: &Context, connection: &Connection, object: &K) -> Mode {
    context.settings.mode.max(connection.mode()).max(object.mode().unwrap_or_default())
}

/// The connection of the object's credential.
///
/// Errors: not allowed from here, or absent, or not ready. That is no news about an object that was in sync.
pub fn connection<K: Managed>(context: &Context, object: &K) -> Result<Arc<Connection>, Stop> {
    let credential = object.credential_key();
    if Some(&credential.namespace) != object.namespace().as_ref() {
        return Err(Stop::because(
            Reason::NamespaceNotAllowed,
            format!(
                "spec.credentialRef: {credential} may not be used from here; use a ProviderCredential of this namespace"
            ),
        ));
    }
    let why = match context.connections.get(&credential) {
        Some(Link::Up(connection)) => return fits(object, connection),
        Some(Link::Down(down)) => down.verdict.message,
        None if context.credentials.get(&credential.namespace, &credential.name).is_some() => {
            "not looked at yet".into()
        }
        None => "there is none; create it or correct spec.credentialRef".into(),
    };
    if is_settled(object) {
        Err(Stop::Settled)
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
    let bound_to = identity.account.or(identity.creating.map(|creating| creating.account));
    if let Some(account) = bound_to.filter(|account| *account != connection.account) {
        let message = format!(
            "bound through {account}, but the credential {} now leads to {}: set its url and Secret back, or move the object to a new credential",
            connection.key.name, connection.account
        );
        return Err(Stop::because(Reason::ProviderMismatch, message));
    }
    Ok(connection)
}

/// Whether the object was in sync with this very spec when last looked at.
pub fn is_settled<K: Managed>(object: &K) -> bool {
    let Some(status) = object.status() else { return false };
    let ready = conditions::find(&status.report.conditions, ConditionType::Ready);
    status.report.observed_generation == object.generation()
        && !object.is_going()
        && ready.is_some_and(|ready| ready.status == "True")
}

/// Whether someone asked for a fresh comparison that was not made yet.
pub fn is_forced<K: Managed>(object: &K) -> bool {
    let handled = object.status().and_then(|status| status.report.last_handled_reconcile_at.as_ref());
    object.annotations().get(RECONCILE_AT).is_some_and(|asked| Some(asked) != handled)
}

/// Errors: no listing of `subject` yet; one is asked for, and its end wakes the object. If listing fails, that is the
/// credential's news, and the object waits for it.
pub fn listed<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    subject: Subject,
) -> Result<(), Stop> {
    let capabilities = connection.provider.capabilities();
    let none_to_have = match subject {
        Subject::User => !capabilities.listable,
        Subject::Group => !capabilities.readable || capabilities.groups == GroupSupport::Given,
    };
    if none_to_have || connection.index().has(subject) {
        return Ok(());
    }
    connection.index().want(subject);
    match connection.trouble() {
        Some(_) if is_settled(object) => return Err(Stop::Settled),
        Some(trouble) => {
            return Err(Stop::waiting(Reason::WaitingForCredential, &connection.key, &trouble.error.message));
        }
        None => context.wake(connection.key.clone()),
    }
    Err(Stop::Parked)
}

/// The groups that `user` names, as its vendor takes them; `None` when groups are not managed.
///
/// Errors: a group that is absent, not ready, of another credential, not there or there twice.
pub fn membership(context: &Context, user: &PlatformUser, connection: &Connection) -> Result<Option<Membership>, Stop> {
    let Some(entries) = &user.spec.groups else { return Ok(None) };
    let mut wanted = BTreeSet::new();
    for (position, entry) in entries.iter().enumerate() {
        let handle = match entry {
            GroupEntry::GroupRef(reference) => referenced(context, user, &reference.name, position)?,
            GroupEntry::ExternalId(id) => by_id(context, user, connection, id, position)?,
            GroupEntry::ExternalName(name) => by_name(context, user, connection, name, position)?,
        };
        wanted.insert(connection.provider.group_value(&handle));
    }
    let additive = user.spec.membership.unwrap_or_default() == crate::api::user::Membership::Additive;
    Ok(Some(Membership { wanted, additive }))
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
        Some(id) if !group.is_going() && is_usable(&group) => Ok(GroupHandle { id, name: group.identity().key }),
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
    listed(context, user, connection, Subject::Group)?;
    let index = connection.index();
    let group = index.get(Subject::Group, id).ok_or_else(|| {
        let message = format!(
            "spec.groups[{position}].externalId: {} lists no group {id}; correct the id",
            connection.vendor.title()
        );
        Stop::because(Reason::NotFound, message)
    })?;
    Ok(handle(group))
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
    listed(context, user, connection, Subject::Group)?;
    let index = connection.index();
    match index.groups_named(name).as_slice() {
        [group] => Ok(handle(group)),
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

fn handle(group: &Account) -> GroupHandle {
    GroupHandle { id: group.id.clone(), name: group.text("name").map(str::to_owned) }
}
