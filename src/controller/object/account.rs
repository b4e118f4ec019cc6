//! The form of the credential's account in an object's status.

use std::sync::Arc;

use crate::api::status::Identity;
use crate::controller::cluster::status::{self, Cached};
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;

/// Rewrites the credential's account in the status of `object` if an earlier build wrote it in another form.
///
/// Errors: those of Kubernetes; a conflict if the object changed meanwhile.
pub async fn renew<K: Cached>(
    context: &Context,
    object: &mut Arc<K>,
    connection: &Connection,
) -> Result<(), kube::Error> {
    let identity = object.identity();
    let renewed = identity.account.as_ref().and_then(|stored| connection.credential_account.renewed(stored));
    if renewed.is_some() && !context.preview {
        *object = status::identity(context, &**object, &Identity { account: renewed, ..identity }, true).await?;
    }
    Ok(())
}
