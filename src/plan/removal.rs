//! Decides what happens to an account when its object is deleted, before any vendor call.

use super::capabilities::{Capabilities, GroupSupport};
use super::model::{AccountKind, Rejection};
use crate::api::Reason;

/// What usher does with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Delete it.
    Delete,
    /// Block log-in.
    Disable,
    /// Keep it.
    Orphan {
        /// Whether it stays only because the vendor cannot remove it, which a person should know.
        unexpected: bool,
    },
}

/// A deletion policy, of a user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Delete the account.
    Delete,
    /// Block log-in.
    Disable,
    /// Keep the account.
    Orphan,
}

/// The removal that follows from `own` (the object's policy), `found` (whether the account existed before usher bound it) and
/// `fallback` (the credential's policy).
///
/// Errors: `Unsupported` for a policy of the manifest that the vendor cannot carry out.
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
    let (cannot, instead) =
        if capabilities.deletes { ("disable", "Delete or Orphan") } else { ("delete or disable", "Orphan") };
    Rejection::new(
        Reason::Unsupported,
        format!("spec.deletionPolicy: {wish:?}: the vendor cannot {cannot} users; set {instead}, or remove the field"),
    )
}
