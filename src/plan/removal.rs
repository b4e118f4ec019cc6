//! What is done to an account when its object goes; decided before any vendor is spoken to.

use super::capabilities::{Capabilities, GroupSupport};
use super::model::{AccountKind, Rejection};
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
        unexpected: bool,
    },
}

/// A deletion policy, of a user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
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
    account_kind: AccountKind,
    own: Option<DeletionPolicy>,
    found: bool,
    fallback: Option<DeletionPolicy>,
) -> Result<Removal, Rejection> {
    let wish = match (own, found) {
        (Some(wish), _) => wish,
        (None, true) => return Ok(Removal::Orphan { unexpected: false }),
        (None, false) => fallback.unwrap_or(DeletionPolicy::Delete),
    };
    match (wish, account_kind) {
        (DeletionPolicy::Delete, AccountKind::Group) if capabilities.groups == GroupSupport::Managed => {
            Ok(Removal::Delete)
        }
        (DeletionPolicy::Orphan, _) | (_, AccountKind::Group) => Ok(Removal::Orphan { unexpected: false }),
        (DeletionPolicy::Delete, AccountKind::User) if capabilities.deletes => Ok(Removal::Delete),
        (DeletionPolicy::Delete | DeletionPolicy::Disable, AccountKind::User) if capabilities.switch.is_some() => {
            Ok(Removal::Disable)
        }
        (DeletionPolicy::Delete | DeletionPolicy::Disable, AccountKind::User) if own.is_none() => {
            Ok(Removal::Orphan { unexpected: true })
        }
        (DeletionPolicy::Delete | DeletionPolicy::Disable, AccountKind::User) => Err(unsupported(wish, capabilities)),
    }
}

fn unsupported(wish: DeletionPolicy, capabilities: &Capabilities) -> Rejection {
    let instead = if capabilities.deletes { "Delete or Orphan" } else { "Orphan" };
    Rejection::new(
        Reason::Unsupported,
        format!("spec.deletionPolicy: {wish:?} is nothing the vendor can do: set {instead}, or leave it out"),
    )
}
