//! The reconcile of a ProviderCredential: the check of its log-in, the sweep, its status, and its release.
//!
//! It may import deletion (the removal budget alone), resolve, connection, cluster and context. It must not change an account.

pub mod connect;
pub mod reconcile;
pub mod refusal;
pub mod release;
pub mod resync;
pub mod secret_finalizer;
pub mod status;
