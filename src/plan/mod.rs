//! Decides what has to be done: desired × observed → steps; pure, so no async, no clock, no network.

mod compare;
mod credential_account;
mod last_applied;
mod model;
mod removal;
mod steps;
#[cfg(test)]
mod tests;

pub use compare::{Compare, folds, matches_key, same};
pub use credential_account::CredentialAccount;
pub use last_applied::LastApplied;
pub use model::{
    Account, AccountKind, Capabilities, Catalog, CatalogEntry, Changes, Desired, Field, Fields, GroupHandle,
    GroupSupport, Key, Limits, Membership, ROLE, Rejection, Switch,
};
pub use removal::{DeletionPolicy, Removal, removal};
pub use steps::{PriorState, Step, alongside, plan};
