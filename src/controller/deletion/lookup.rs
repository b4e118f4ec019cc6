//! Looks for the account of an object that is being deleted. It changes nothing.

use jiff::Timestamp;

use crate::api::status::Identity;
use crate::controller::cluster::lifecycle::Deleting;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::hints::blocked;
use crate::controller::outcome::Stop;
use crate::controller::ownership::conflict;
use crate::plan::{Account, Fields, as_created, assumed_account};
use crate::providers::{ErrorKind, ProviderError};

/// Whether the last listing lacks the account of `object`. That is a hint and no proof.
pub fn is_unlisted<K: Managed>(connection: &Connection, object: &K) -> bool {
    let identity = object.identity();
    let inventory = connection.inventory();
    let bound = identity.known_id().filter(|_| identity.creating.is_none() && inventory.has_listing(K::ACCOUNT_KIND));
    bound.is_some_and(|id| !inventory.has(K::ACCOUNT_KIND, id))
}

/// The account as it is now; `None` when there is none any more.
///
/// Errors: it is not known yet whether there is one.
pub async fn account<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    connection: &Connection,
) -> Result<Option<Account>, Stop> {
    let identity = object.identity();
    if identity.external_id.is_none() && identity.creating.is_some() {
        let made = made_by_pending_create(context, object, connection, &identity).await?;
        if made.is_some() {
            return Ok(made);
        }
    }
    let Some(id) = identity.external_id.as_ref().or(identity.missing.as_ref()) else { return Ok(None) };
    if identity.external_id.is_none() && conflict::ensure_unbound(context, &***object, connection, id).is_err() {
        return Ok(None);
    }
    match connection.provider.read(K::ACCOUNT_KIND, id).await {
        Ok(Some(account)) => Ok(Some(account)),
        Ok(None) if identity.external_id == identity.missing => {
            let vendor = connection.vendor.title();
            let why = format!("{vendor} does not show {id}, although it is there: give usher's login access to it");
            Err(blocked(&object.key(), &why))
        }
        Ok(None) => ensure_gone(object, connection, id).await.map(|()| None),
        Err(error) => assumed(connection, K::ACCOUNT_KIND, id, &identity, error).map(Some),
    }
}

/// The account as far as it is known, where the vendor shows none: it can be blocked all the same.
///
/// Errors: `error`, where the vendor shows accounts.
fn assumed(
    connection: &Connection,
    kind: crate::plan::AccountKind,
    id: &str,
    identity: &Identity,
    error: ProviderError,
) -> Result<Account, Stop> {
    if error.kind != ErrorKind::Unsupported || connection.provider.capabilities().lists(kind) {
        return Err(error.into());
    }
    Ok(assumed_account(id.to_owned(), identity, connection.table(kind), Fields::new()))
}

/// The account that the object's pending create made, if it made one.
async fn made_by_pending_create<K: Managed>(
    context: &Context,
    object: &Deleting<K>,
    connection: &Connection,
    identity: &Identity,
) -> Result<Option<Account>, Stop> {
    let Some(creating) = &identity.creating else { return Ok(None) };
    if let Some(until) = context.creates.pending_until(K::ACCOUNT_KIND, creating) {
        return Err(Stop::CreatePending(until));
    }
    let sought = as_created(connection.table(K::ACCOUNT_KIND), creating);
    let found = connection.search_exhaustively(K::ACCOUNT_KIND, &sought).await?;
    match conflict::made_by(context, &***object, connection, found) {
        Err(Stop::Verdict(verdict)) => Err(blocked(&object.key(), &verdict.message)),
        Ok(None) => {
            let lag = context.settings.read_lag;
            let until = context.creates.unshown_until(K::ACCOUNT_KIND, creating, lag);
            until.map_or(Ok(None), |until| Err(Stop::CreatePending(until)))
        }
        found => found,
    }
}

/// A 404 may mask missing rights. Together with a complete listing that lacks the account it is a proof that the account is gone.
///
/// Errors: the account is listed, or was written so lately that the vendor may not show it yet.
pub async fn ensure_gone<K: Managed>(object: &Deleting<K>, connection: &Connection, id: &str) -> Result<(), Stop> {
    if let Some(until) = connection.inventory().unsettled_until(K::ACCOUNT_KIND, id, Timestamp::now()) {
        return Err(Stop::Unsettled(until));
    }
    if !connection.is_listed(K::ACCOUNT_KIND, id).await? {
        return Ok(());
    }
    let why = format!(
        "the vendor lists {id} but answers \"not found\" when usher reads or removes it; the login may lack rights on it"
    );
    Err(blocked(&object.key(), &why))
}
