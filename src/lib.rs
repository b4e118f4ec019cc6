//! usher keeps users and groups at their vendors as Kubernetes manifests say.
//!
//! The rooms of the house, and the one way through it:
//!
//! - [`api`]: the contract people write, three kinds in `usher.dev/v1alpha1`. Imports nothing of ours.
//! - [`plan`]: desired × observed → steps. Pure. Imports `api`.
//! - [`providers`]: the vendors' quirks end here. Imports `api` and `plan`.
//! - [`controller`]: Kubernetes' quirks end here: resolve → validate → plan → apply → report. Imports `api`, `plan`, `providers`.
//! - [`runtime`]: what any operator has: telemetry, metrics, admin server, lease, shutdown. Imports nothing of ours.
//! - [`cli`]: the commands. Imports all.

pub mod api;
pub mod cli;
pub mod controller;
pub mod plan;
pub mod providers;
pub mod runtime;
