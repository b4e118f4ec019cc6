//! Decides which steps lead from the observed to the desired state of an account.
//!
//! It is pure: no async, no clock, no network. It imports only `api`.

mod compare;
mod model;
mod removal;
mod sent;
mod steps;
#[cfg(test)]
mod tests;

pub use compare::{Compare, folds, matches_key, same};
pub use model::{
    Account, AccountKind, Capabilities, Catalog, CatalogEntry, Changes, Desired, Field, Fields, GroupHandle,
    GroupSupport, Key, Limits, Membership, ROLE, Rejection, Switch,
};
pub use removal::{DeletionPolicy, Removal, removal};
pub use sent::LastApplied;
pub use steps::{PriorState, Step, alongside, plan};
