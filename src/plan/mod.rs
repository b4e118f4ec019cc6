//! Decides which steps lead from the observed to the desired state of an account.
//!
//! It is pure: no async, no clock, no network. It imports only `api`.

mod apart;
mod binding;
mod capabilities;
mod compare;
mod conflict;
mod credential_account;
mod deletion;
mod field;
mod kept;
mod key;
mod last_applied;
mod model;
mod pending_create;
mod removal;
mod removal_budget;
mod steps;
#[cfg(test)]
mod tests;
mod turns;

pub use binding::{BindingFacts, BindingQuestion, BindingRefusal, Candidate, NextBinding, Search, next_binding};
pub use capabilities::{Capabilities, GroupSupport, Limits, Switch, Visibility};
pub use compare::{Compare, fold, same};
pub use conflict::{Conflict, ConflictFacts, judge_conflict};
pub use credential_account::CredentialAccount;
pub use deletion::{
    AccountState, Admission, DeletionFacts, LinkState, NextDeletion, Question, Release, Wait, next_deletion,
};
pub use field::{Field, Key, KeySource, Naming};
pub use kept::{NotKept, not_kept, noted, notes_of};
pub use key::{
    as_created, assumed_account, first_key_field, folds, group_keys, keys, matches_key, names, naming_fields, same_key,
    shown_key, user_keys,
};
pub use last_applied::LastApplied;
pub use model::{
    Account, AccountKind, Catalog, CatalogEntry, Changes, Desired, Fields, GroupHandle, Membership, ROLE, Rejection,
};
pub use pending_create::{can_have_made, pending_until, was_there_before};
pub use removal::{DeletionPolicy, Removal, removal};
pub use removal_budget::{Batch, Batches, RemovalBudget, is_counted, is_released, sharers};
pub use steps::{Creation, PriorState, Step, alongside, creation, creation_calls, plan, sent_by, step_calls};
pub use turns::Turns;
