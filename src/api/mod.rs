//! The contract people write: three kinds in `usher.dev/v1alpha1` and the words of their status.
//!
//! This room must not know how anything is done: it imports nothing of ours.

pub mod conditions;
pub mod crds;
pub mod credential;
mod defaults;
pub mod group;
pub mod names;
pub mod rules;
pub mod status;
pub mod user;
mod user_provider;
pub mod vendor;

pub use conditions::{ConditionType, Reason};
pub use credential::{ProviderCredential, ProviderCredentialSpec, ProviderCredentialStatus};
pub use group::{PlatformGroup, PlatformGroupSpec};
pub use names::{Kind, ObjectKey};
pub use status::ObjectStatus;
pub use user::{PlatformUser, PlatformUserSpec};
pub use vendor::Vendor;
