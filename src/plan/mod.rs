//! Decides what has to be done: desired × observed → steps; pure, so no async, no clock, no network.

mod compare;
mod model;
mod removal;
mod sent;
mod steps;
#[cfg(test)]
mod tests;

pub use compare::{Compare, folds, matches_key, same};
pub use model::{
    Account, Capabilities, Catalog, CatalogEntry, Changes, Desired, Field, Fields, GroupHandle, GroupSupport, Key,
    Limits, Membership, ROLE, Rejection, Subject, Switch,
};
pub use removal::{Removal, Wish, removal};
pub use sent::Sent;
pub use steps::{Known, Step, alongside, plan};
