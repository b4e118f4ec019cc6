//! An object whose status ties it to an account without usher's seal: that does not count, and usher makes no second account for it.

use crate::api::Reason;
use crate::api::names::{BINDINGS_SEALED, DIGEST_KEY_SECRET};
use crate::controller::cluster::managed::Managed;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// Errors: the status of `object` names an account that it does not tie it to, so that the account may be there under another key.
pub fn only_if_none_is_stated<K: Managed>(context: &Context, object: &K) -> Result<(), Stop> {
    if !object.is_unsealed() {
        return Ok(());
    }
    let stated = object.stated_identity();
    let creating = stated.creating.map(|creating| creating.key);
    let account = stated.external_id.or(stated.missing).or(creating).unwrap_or_default();
    let namespace = &context.settings.namespace;
    let message = format!(
        "status names the account {account} without usher's seal, as a forged status or one from an old backup does, so that it does not count: set spec.adoptionPolicy: Adopt to take over the account with this object's key, or have an administrator trust every status once: kubectl -n {namespace} annotate secret {DIGEST_KEY_SECRET} {BINDINGS_SEALED}- and restart usher"
    );
    Err(Stop::because(Reason::AlreadyExists, message))
}
