//! The mode in effect for an object, and what sets it. It asks no vendor.

use super::access;
use crate::api::user::Mode;
use crate::controller::cluster::managed::Managed;
use crate::controller::cluster::object::Object as _;
use crate::controller::connection::link::Connection;
use crate::controller::context::Context;
use crate::controller::outcome::Stop;

/// Errors: the object is paused.
pub fn not_paused<K: Managed>(context: &Context, object: &K) -> Result<(), Stop> {
    match paused_by(context, object) {
        Some(by) => Err(Stop::Paused(by)),
        None => Ok(()),
    }
}

/// The flag, field or annotation that pauses `object`, if any.
pub fn paused_by<K: Managed>(context: &Context, object: &K) -> Option<String> {
    if context.settings.mode == Mode::Paused {
        return Some("usher runs with --mode Paused".into());
    }
    // A credential that the object may not use is not considered, because a message must not reveal whether it exists.
    object.paused_by().or_else(|| access::credential(context, object)?.paused_by())
}

/// The flag or field that asks for mode Plan, where that is in effect.
pub fn planned_by<K: Managed>(context: &Context, connection: &Connection, object: &K) -> String {
    if context.settings.mode == Mode::Plan && !context.is_preview() {
        "usher's flag --mode".into()
    } else if object.mode() == Some(Mode::Plan) {
        "spec.mode".into()
    } else {
        format!("spec.mode of the credential {}", connection.key.name)
    }
}

/// Whether object and credential let usher change accounts for `object`. The operator's own mode is not considered.
pub fn is_enforced<K: Managed>(context: &Context, object: &K) -> bool {
    let credential = access::credential(context, object).and_then(|credential| credential.spec.mode);
    let strictest = object.mode().unwrap_or_default().max(credential.unwrap_or_default());
    strictest == Mode::Enforce && paused_by(context, object).is_none()
}

/// The strictest of the modes of operator, credential and object.
pub fn mode<K: Managed>(context: &Context, connection: &Connection, object: &K) -> Mode {
    context.settings.mode.max(connection.mode()).max(object.mode().unwrap_or_default())
}
