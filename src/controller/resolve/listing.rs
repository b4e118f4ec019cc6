//! The listing that a decision needs. A missing one is requested from the next sweep.

use jiff::Timestamp;

use crate::api::Reason;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::Connection;
use crate::controller::connection::session::Failure;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;
use crate::plan::AccountKind;
use crate::providers::{Delivery, ErrorKind};

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

/// Errors: as [`listed`], for the accounts of the object's own kind, unless the object can do without: listings are answered and never
/// complete, and its account is read by its id or searched by the vendor.
pub fn listed_or_found<K: Managed>(context: &Context, object: &K, connection: &Connection) -> Result<(), Stop> {
    let is_unreliable = |failure: &Failure| {
        failure.error.kind == ErrorKind::Unavailable && failure.error.delivery == Delivery::Answered
    };
    let is_found = object.identity().external_id.is_some() || connection.provider.capabilities().filter;
    let goes_on = is_found && !object.is_in_sync() && connection.inventory().has_catalog();
    if goes_on && connection.last_failure().as_ref().is_some_and(is_unreliable) {
        return Ok(());
    }
    listed(context, object, connection, K::ACCOUNT_KIND)
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
