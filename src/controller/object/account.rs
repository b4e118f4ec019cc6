//! The form of the credential's account in an object's status.

use crate::api::status::Identity;
use crate::controller::cluster::lifecycle::Live;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::status::write_identity;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// Rewrites the credential's account in the status of `object` if an earlier build wrote it in another form.
///
/// Errors: the object was written meanwhile; Kubernetes did not answer.
pub async fn renew_account<K: Managed>(
    context: &Context,
    object: Live<K>,
    connection: &Connection,
) -> Result<Live<K>, Stop> {
    let identity = object.identity();
    let renewed = identity.account.as_ref().and_then(|stored| connection.credential_account.renewed(stored));
    if renewed.is_none() || context.is_preview() {
        return Ok(object);
    }
    let identity = Identity { account: renewed, ..identity };
    let latest = write_identity(&context.cluster, &**object, &identity, true).await?;
    Live::refreshed(latest).ok_or(Stop::AwaitsEdit)
}
