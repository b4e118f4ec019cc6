//! What is done to an account when its object goes; decided before any vendor is spoken to.

use super::model::{Capabilities, GroupSupport, Rejection, Subject};
use crate::api::Reason;

/// What is done to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Remove it.
    Delete,
    /// Block log-in.
    Disable,
    /// Leave it; `stays` when that was not asked for and a person should know.
    Orphan {
        /// Whether the account stays although nobody asked for that.
        stays: bool,
    },
}

/// A deletion policy, of a user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Remove.
    Delete,
    /// Block log-in.
    Disable,
    /// Leave.
    Orphan,
}

/// The removal that `own` (the object's policy), `found` (adopted or bound by externalId) and `fallback` (the credential's) ask for.
///
/// Errors: a policy written in the manifest that the vendor cannot do is `Unsupported`.
pub fn removal(
    capabilities: &Capabilities,
    subject: Subject,
    own: Option<Wish>,
    found: bool,
    fallback: Option<Wish>,
) -> Result<Removal, Rejection> {
    let wish = match (own, found) {
        (Some(wish), _) => wish,
        (None, true) => return Ok(Removal::Orphan { stays: false }),
        (None, false) => fallback.unwrap_or(Wish::Delete),
    };
    match (wish, subject) {
        (Wish::Delete, Subject::Group) if capabilities.groups == GroupSupport::Managed => Ok(Removal::Delete),
        (Wish::Orphan, _) | (_, Subject::Group) => Ok(Removal::Orphan { stays: false }),
        (Wish::Delete, Subject::User) if capabilities.deletes => Ok(Removal::Delete),
        (Wish::Delete | Wish::Disable, Subject::User) if capabilities.switch.is_some() => Ok(Removal::Disable),
        (Wish::Delete | Wish::Disable, Subject::User) if own.is_none() => Ok(Removal::Orphan { stays: true }),
        (Wish::Delete | Wish::Disable, Subject::User) => Err(unsupported(wish, capabilities)),
    }
}

fn unsupported(wish: Wish, capabilities: &Capabilities) -> Rejection {
    let instead = if capabilities.deletes { "Delete or Orphan" } else { "Orphan" };
    Rejection::new(
        Reason::Unsupported,
        format!("spec.deletionPolicy: {wish:?} is nothing the vendor can do: set {instead}, or leave it out"),
    )
}
