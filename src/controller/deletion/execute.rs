//! Takes one account away, by removal or by blocking its log-in, after a check that it is the object's and may be touched.

use secrecy::SecretString;
use serde_json::json;
use tracing::info;

use super::lookup;
use crate::api::conditions::Verdict;
use crate::controller::cluster::lifecycle::Deleting;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::blocked;
use crate::controller::outcome::{Change, Stop};
use crate::controller::resolve::{access, password, rights};
use crate::plan::{
    Account, AccountState, Changes, Key, Switch, alongside, matches_key, names, naming_fields, same_key,
};
use crate::providers::{ErrorKind, quote};

/// The state of `account`, as far as its removal is concerned.
///
/// Errors: a listing that tells whether the account is privileged is not there yet.
pub fn state<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    connection: &Connection,
    account: &Account,
) -> Result<AccountState, Stop> {
    if let Some(message) = is_another(object, connection, account) {
        return Ok(AccountState::Untouchable(message));
    }
    match rights::check(context, &***object, connection, account) {
        Err(Stop::Verdict(Verdict { message, .. })) => return Ok(AccountState::Untouchable(message)),
        other => other?,
    }
    if let Some(members) = &account.in_use {
        return Ok(AccountState::InUse(members.clone()));
    }
    let switch = connection.provider.capabilities().switch;
    let is_disabled = switch.is_some_and(|switch| account.fields.get(switch.field) == Some(&json!(switch.blocked)));
    Ok(if is_disabled { AccountState::Disabled } else { AccountState::Present })
}

/// The message if `account` has none of the names that the object's account may have.
fn is_another<K: Managed>(object: &Deleting<K>, connection: &Connection, account: &Account) -> Option<String> {
    let identity = object.identity();
    let table = connection.table(K::ACCOUNT_KIND);
    let names: Vec<&str> = names(table, account).collect();
    let carries = |key: &String| {
        let mut keys = naming_fields(table).map(|field| Key { field, value: key.clone() });
        keys.any(|key| matches_key(table, account, &key)) || names.iter().any(|name| same_key(name, key))
    };
    // A rename that was not recorded has given the account the manifest's key. A pending create knows its own key alone.
    let catalog = connection.inventory().catalog();
    let desired = object.desire(&*connection.provider, &catalog).ok().filter(|_| identity.creating.is_none());
    let renamed = desired.is_some_and(|desired| desired.keys.iter().any(|key| matches_key(table, account, key)));
    if renamed || identity.known_keys().any(carries) {
        return None;
    }
    Some(format!(
        "{} is {} at the vendor now, not {}",
        account.id,
        access::masked(connection, &***object, &quote(names.first().unwrap_or(&"another account"))),
        identity.known_keys().next().map_or("known to usher by any name", String::as_str)
    ))
}

/// Removes `account`.
///
/// Errors: the vendor refused, or did not answer.
pub async fn delete<K: Managed>(
    object: &Deleting<K>,
    connection: &Connection,
    account: &Account,
) -> Result<Change, Stop> {
    match connection.provider.delete(K::ACCOUNT_KIND, &account.id).await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            lookup::ensure_gone(object, connection, &account.id).await?;
        }
        other => other?,
    }
    connection.record_write(K::ACCOUNT_KIND, &account.id, None);
    log(object, connection, account, Change::Deleted);
    Ok(Change::Deleted)
}

/// Blocks log-in to `account`.
///
/// Errors: the vendor refused, or did not answer; the vendor insists on a password that cannot be read.
pub async fn disable<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    connection: &Connection,
    account: &Account,
    switch: Switch,
) -> Result<Change, Stop> {
    let fields = [(switch.field.to_owned(), json!(switch.blocked))].into();
    let wanted = object.desire(&*connection.provider, &connection.inventory().catalog()).ok();
    let kept = wanted.map(|wanted| alongside(connection.table(K::ACCOUNT_KIND), &wanted, &fields));
    let changes = Changes { fields, alongside: kept.unwrap_or_default(), ..Changes::default() };
    let password = password_beside(context, object, connection).await?;
    connection.provider.update(K::ACCOUNT_KIND, account, &changes, password.as_ref()).await?;
    connection.record_write(K::ACCOUNT_KIND, &account.id, Some(account.clone().with(&changes)));
    log(object, connection, account, Change::Disabled);
    Ok(Change::Disabled)
}

/// The user's password, where the vendor takes no change without it.
///
/// Errors: it cannot be read, which blocks the removal.
async fn password_beside<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    connection: &Connection,
) -> Result<Option<SecretString>, Stop> {
    if !connection.provider.capabilities().change_needs_password {
        return Ok(None);
    }
    password::present(context, &***object).await.map_err(|stop| match stop {
        Stop::Verdict(Verdict { message, .. }) => blocked(&object.key(), &message),
        other => other,
    })
}

fn log<K: Managed>(object: &Deleting<K>, connection: &Connection, account: &Account, change: Change) {
    info!(object = %object.key(), credential = %connection.key, account = account.id, operation = %change, "vendor write");
}
