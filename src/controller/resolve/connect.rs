//! From an object to the connection of its credential. It calls no vendor.

use std::sync::Arc;

use super::access;
use crate::api::Reason;
use crate::controller::cluster::managed::Managed;
use crate::controller::connection::link::{Connection, Link};
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// The connection of the object's credential.
///
/// Errors: the credential may not be used from here, is absent, or is not ready. The latter is no news about an object that is in sync.
pub fn connection<K: Managed>(context: &Context, object: &K) -> Result<Arc<Connection>, Stop> {
    access::only_if_allowed(context, object)?;
    let credential = object.credential_key();
    let why = match context.connections.get(&credential) {
        Some(Link::Up(connection)) => return fits(object, connection),
        Some(Link::Down(down)) => down.verdict.message,
        // The first check of the credential enqueues the object, which keeps its status until then.
        None if context.cluster.credentials.get(&credential.namespace, &credential.name).is_some() => {
            return Err(if object.is_new() {
                Stop::waiting(Reason::WaitingForCredential, &credential, "not checked yet")
            } else {
                Stop::AwaitsCredential
            });
        }
        None => "there is none; create it or correct spec.credentialRef".into(),
    };
    if object.is_in_sync() {
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
    if let Some(account) = identity.tied_to().filter(|account| !connection.leads_to(account)) {
        let message = format!(
            "bound through {account}, but the credential {} now leads to {}: set its url, gateway and Secret back, or give that account up: delete this object with deletionPolicy: Orphan, and apply it anew",
            connection.key.name, connection.account
        );
        return Err(Stop::because(Reason::ProviderMismatch, message));
    }
    Ok(connection)
}
