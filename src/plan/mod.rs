//! Decides what has to be done: desired × observed → steps; pure, so no async, no clock, no network.

mod capabilities;
mod compare;
mod field;
mod key;
mod model;
mod removal;
mod sent;
mod steps;
#[cfg(test)]
mod tests;

pub use capabilities::{Capabilities, GroupSupport, Limits, Switch, Visibility};
pub use compare::{Compare, same};
pub use field::{Field, Key, KeySource, Naming};
pub use key::{carrying, first_key, folds, group_keys, keys, matches_key, names, naming_fields, shown_key, user_keys};
pub use model::{
    Account, AccountKind, Catalog, CatalogEntry, Changes, Desired, Fields, GroupHandle, Membership, ROLE, Rejection,
};
pub use removal::{DeletionPolicy, Removal, removal};
pub use sent::LastApplied;
pub use steps::{PriorState, Step, alongside, plan};
