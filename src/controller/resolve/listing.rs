//! The listing that a decision needs. A missing one is requested from the next sweep.

use jiff::Timestamp;

use crate::api::Reason;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::AccountKind;

/// Errors: there is no listing of this kind yet. One is requested.
pub fn listed<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Result<(), Stop> {
    if !connection.provider.capabilities().lists(account_kind) || connection.inventory().has_listing(account_kind) {
        return Ok(());
    }
    Err(ask_for_listing(context, object, connection, account_kind))
}

/// Requests a listing of this kind from the next sweep, whose end enqueues the object. While sweeps fail, the object waits for the
/// credential.
pub fn ask_for_listing<K: Managed>(
    context: &Context,
    object: &K,
    connection: &Connection,
    account_kind: AccountKind,
) -> Stop {
    connection.inventory().request_listing(account_kind, Timestamp::now());
    match connection.last_failure() {
        Some(_) if object.is_in_sync() => Stop::Unchanged,
        Some(last_failure) => Stop::waiting(Reason::WaitingForCredential, &connection.key, &last_failure.error.message),
        None => {
            context.cluster.enqueue(connection.key.clone());
            Stop::AwaitsListing
        }
    }
}
