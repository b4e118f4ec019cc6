//! Accounts that are protected or have administrator rights: one rule for making, changing and taking away.

use std::collections::BTreeSet;

use super::listing;
use crate::api::Reason;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::{Account, AccountKind, ROLE, fold, names, shown_key};
use crate::providers::quote;

/// The roles and groups that may make an account an administrator.
pub struct Rights<'a> {
    /// Why the account is an administrator independently of them, if it is.
    pub why: Option<&'a str>,
    /// Groups, by id, or by name where the vendor takes them so.
    pub groups: &'a BTreeSet<String>,
    /// Roles, by id.
    pub roles: &'a BTreeSet<String>,
}

/// Errors: the account is protected, or has administrator rights that the credential does not allow to touch, or the listing that shows
/// its rights is missing.
pub fn check<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account: &Account,
) -> Result<(), Stop> {
    let names = names(connection.table(K::ACCOUNT_KIND), account);
    check_protected(connection, K::ACCOUNT_KIND, names.chain([account.id.as_str()]))?;
    let groups = account.groups.clone().unwrap_or_default();
    let rights = Rights { why: account.privileged.as_deref(), groups: &groups, roles: &account.roles };
    check_privileged(context, object, connection, &rights, "the account has")
}

/// Errors: one of `names` is protected, or is usher's own login.
pub fn check_protected<'n>(
    connection: &Connection,
    account_kind: AccountKind,
    names: impl Iterator<Item = &'n str>,
) -> Result<(), Stop> {
    let listed = connection.spec.protected.iter().flatten().map(String::as_str);
    let own = connection.credential_account.names().filter(|_| account_kind == AccountKind::User);
    let protected: Vec<&str> = listed.chain(own).collect();
    let hit = { names }.find(|name| protected.iter().any(|entry| fold(entry) == fold(name)));
    match hit {
        Some(name) => Err(Stop::because(
            Reason::Protected,
            format!(
                "{} is protected by the credential {}: it is on spec.protected, or the account usher logs in with",
                quote(name),
                connection.key.name
            ),
        )),
        None => Ok(()),
    }
}

/// Errors: the account has administrator rights that the credential does not allow, or the listing that shows them is missing. `subject`
/// begins the message.
pub fn check_privileged<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    rights: &Rights<'_>,
    subject: &str,
) -> Result<(), Stop> {
    if K::ACCOUNT_KIND == AccountKind::Group || connection.spec.allow_privileged == Some(true) {
        return Ok(());
    }
    let by_role = || privileged_role(connection, rights.roles);
    let by_group = || privileged_group(connection, rights.groups);
    match rights.why.map(str::to_owned).or_else(by_role).or_else(by_group) {
        Some(why) => Err(Stop::because(
            Reason::Privileged,
            format!(
                "{subject} administrator rights ({why}): remove them, or set allowPrivileged: true on the credential {}",
                connection.key.name
            ),
        )),
        None => ensure_known(context, object, connection, rights),
    }
}

/// Errors: the listing that shows what the roles or groups are is missing. Without it, the absence of known rights is no evidence.
fn ensure_known<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    rights: &Rights<'_>,
) -> Result<(), Stop> {
    let is_catalog_needed = !rights.roles.is_empty() && connection.provider.capabilities().named_roles;
    if is_catalog_needed && !connection.inventory().has_catalog() {
        // The catalogue of roles is read before every listing.
        listing::listed(context, object, connection, AccountKind::User)?;
    }
    if !rights.groups.is_empty() && connection.spec.lists_privileged() {
        listing::listed(context, object, connection, AccountKind::Group)?;
    }
    Ok(())
}

/// A role that makes its holders privileged: by the vendor's own rule or the credential's list.
fn privileged_role(connection: &Connection, roles: &BTreeSet<String>) -> Option<String> {
    let catalog = connection.inventory().catalog();
    roles.iter().find_map(|id| {
        let role = catalog.get(ROLE, id);
        let name = role.map(|role| role.name.as_str());
        let by_list = || connection.spec.privileged.iter().flatten().any(|entry| entry == id || Some(&**entry) == name);
        let is_privileged = role.is_some_and(|role| role.privileged) || by_list();
        is_privileged.then(|| format!("role {}", name.unwrap_or(id)))
    })
}

/// A group that makes its members privileged: by the vendor's own rule or the credential's list. Groups are named by id, or
/// by name where the vendor takes names.
fn privileged_group(connection: &Connection, groups: &BTreeSet<String>) -> Option<String> {
    let (inventory, table) = (connection.inventory(), connection.table(AccountKind::Group));
    let listed: Vec<&String> = connection.spec.privileged.iter().flatten().collect();
    groups.iter().find_map(|id_or_name| {
        // Groups that are privileged, or on the credential's list, are always kept whole.
        let by_name = || inventory.groups_named(table, id_or_name).accounts.into_iter().next();
        let group = inventory.get(AccountKind::Group, id_or_name).or_else(by_name);
        let name = group.as_ref().and_then(|group| shown_key(table, group));
        let by_rule = group.as_ref().and_then(|group| group.privileged.clone());
        let is_listed = |entry: &str| {
            entry == id_or_name || Some(entry) == name || group.as_ref().is_some_and(|group| group.id == entry)
        };
        let by_list = listed.iter().any(|entry| is_listed(entry));
        by_rule.or(by_list.then(|| format!("group {}", name.unwrap_or(id_or_name))))
    })
}
