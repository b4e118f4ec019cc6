//! The groups that a user names, as its vendor takes them. It calls no vendor.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{access, listing};
use crate::api::conditions::{self, ConditionType};
use crate::api::user::GroupEntry;
use crate::api::{Kind, ObjectKey, PlatformGroup, PlatformUser, Reason};
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::{Account, AccountKind, GroupHandle, GroupSupport, Membership, shown_key};

/// The groups that `user` names, as its vendor takes them; `None` when its groups are not managed. A group that cannot be resolved is left
/// out, and the reason is returned beside it, because a user must lose a group without waiting for another one. The groups that such an
/// entry may stand for are neither added nor removed.
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

/// The groups that entries of the manifest stand for.
type Resolved = BTreeMap<String, String>;

/// The label under which status keeps the group of an entry; an id needs none.
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

/// The groups that an entry may stand for while it cannot be resolved.
fn candidates(context: &Context, user: &PlatformUser, connection: &Connection, entry: &GroupEntry) -> Vec<GroupHandle> {
    match entry {
        GroupEntry::GroupRef(reference) => {
            let group = context.cluster.groups.get(&user.namespace().unwrap_or_default(), &reference.name);
            let identity = group.map(|group| group.identity()).unwrap_or_default();
            identity.external_id.map(|id| GroupHandle { id, name: identity.key }).into_iter().collect()
        }
        GroupEntry::ExternalId(id) => {
            let inventory = connection.inventory();
            let known = inventory.get(AccountKind::Group, id).map(|group| handle(connection, &group));
            vec![known.unwrap_or_else(|| GroupHandle { id: id.clone(), name: None })]
        }
        GroupEntry::ExternalName(name) => {
            let inventory = connection.inventory();
            let named = inventory.groups_named(connection.table(AccountKind::Group), name);
            named.accounts.iter().map(|group| handle(connection, group)).collect()
        }
    }
}

fn referenced(context: &Context, user: &PlatformUser, name: &str, position: usize) -> Result<GroupHandle, Stop> {
    let namespace = user.namespace().unwrap_or_default();
    let key = ObjectKey::new(Kind::Group, namespace.clone(), name);
    let Some(group) = context.cluster.groups.get(&namespace, name) else {
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

/// Whether a group exists at the vendor, perhaps not in its present form.
pub fn is_usable(group: &PlatformGroup) -> bool {
    group.status.as_ref().is_some_and(|status| {
        conditions::find(&status.report.conditions, ConditionType::Ready).is_some_and(|ready| {
            ready.status == "True"
                || ready.reason == Reason::NotKept.label()
                || group.generation() != status.report.observed_generation
        })
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
    listing::listed(context, user, connection, AccountKind::Group)?;
    let (group, is_listed) = {
        let inventory = connection.inventory();
        (inventory.get(AccountKind::Group, id), inventory.has(AccountKind::Group, id))
    };
    match group {
        Some(group) => Ok(handle(connection, &group)),
        None if is_listed => Err(listing::ask_for_listing(context, user, connection, AccountKind::Group)),
        None => {
            let vendor = connection.vendor.title();
            let message = format!("spec.groups[{position}].externalId: {vendor} lists no group {id}; correct the id");
            Err(Stop::because(Reason::NotFound, message))
        }
    }
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
    listing::listed(context, user, connection, AccountKind::Group)?;
    match named(context, user, connection, name)?.as_slice() {
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

/// The groups with this name in the inventory.
///
/// Errors: the next listing tells.
pub fn named<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    name: &str,
) -> Result<Vec<Account>, Stop> {
    let named = connection.inventory().groups_named(connection.table(AccountKind::Group), name);
    if named.has_others {
        return Err(listing::ask_for_listing(context, object, connection, AccountKind::Group));
    }
    Ok(named.accounts)
}

fn handle(connection: &Connection, group: &Account) -> GroupHandle {
    let name = shown_key(connection.table(AccountKind::Group), group);
    GroupHandle { id: group.id.clone(), name: name.map(str::to_owned) }
}
