//! The API: the three kinds of `usher.dev/v1alpha1`, their rules, and the conditions and reasons of their status.
//!
//! It makes no call and decides nothing about accounts; it imports no other room.

pub mod conditions;
pub mod crds;
pub mod credential;
pub mod credential_provider;
mod decode_issues;
pub mod defaults;
pub mod group;
pub mod names;
mod open_object;
pub mod rules;
pub mod status;
pub mod stored;
pub mod text;
pub mod user;
mod user_provider;
pub mod vendor;

pub use conditions::{ConditionType, Reason};
pub use credential::{ProviderCredential, ProviderCredentialSpec, ProviderCredentialStatus};
pub use decode_issues::DecodeIssues;
pub use group::{PlatformGroup, PlatformGroupSpec};
pub use names::{Kind, ObjectKey};
pub use open_object::OpenObject;
pub use status::ObjectStatus;
pub use user::{PlatformUser, PlatformUserSpec};
pub use vendor::Vendor;
