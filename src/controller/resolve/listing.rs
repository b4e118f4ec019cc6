//! Whether the listing that a decision needs is there; a missing one is asked for from the next sweep.

use crate::api::Reason;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::AccountKind;

/// Errors: there is no listing of `account_kind` yet; one is asked for.
pub fn listed<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Result<(), Stop> {
    if !connection.provider.capabilities().lists(account_kind) || connection.inventory().has(account_kind) {
        return Ok(());
    }
    Err(ask_for_listing(context, object, connection, account_kind))
}

/// Asks for a listing of `account_kind`, whose end enqueues the object. While listings fail, the object waits for its credential.
pub fn ask_for_listing<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Stop {
    connection.inventory().want(account_kind);
    match connection.last_failure() {
        Some(_) if object.is_in_sync() => Stop::Unchanged,
        Some(last_failure) => Stop::waiting(Reason::WaitingForCredential, &connection.key, &last_failure.error.message),
        None => {
            context.cluster.enqueue(connection.key.clone());
            Stop::AwaitsListing
        }
    }
}
