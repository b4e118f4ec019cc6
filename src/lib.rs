//! usher manages users and groups at their vendors from Kubernetes manifests.
//!
//! The crate is a set of rooms, each a top-level module with one purpose. A room imports only the rooms that its line names:
//!
//! - [`api`]: the three kinds of `usher.dev/v1alpha1`, their rules, conditions and reasons. Imports no other room.
//! - [`plan`]: pure decisions, from observed and desired state to steps. Imports `api`.
//! - [`providers`]: one client per vendor; all that is special about a vendor stays here. Imports `api` and `plan`.
//! - [`controller`]: the reconciles; all that is special about Kubernetes stays here. Imports `api`, `plan` and `providers`.
//! - [`runtime`]: the parts of any operator: logging, metrics, admin server, lease and shutdown. Imports no other room.
//! - [`cli`]: the commands of `usher`. Imports all rooms.
//!
//! The controller has rooms of its own. From top to bottom, a room imports only rooms below it; `sync` and `deletion` never
//! import each other:
//!
//! - `preview`: computes the changes that `usher plan` and mode Plan show.
//! - `watch`: turns watch events into reconciles; lists which event enqueues which objects.
//! - `object`: reconciles one user or group: resolve → validate → plan → apply → report.
//! - `credential`: reconciles one ProviderCredential: connects to the vendor, sweeps its accounts, reports.
//! - `sync`: creates, adopts or updates an account so that it matches its manifest.
//! - `deletion`: deletes, disables or releases the account of an object that is being deleted.
//! - `ownership`: decides which object an account belongs to: conflicts and hand-over.
//! - `resolve`: gathers what a reconcile needs: credential, mode, access rules, groups and password.
//! - `connection`: the live state of a credential: inventory, calls in flight, back-off and removal budget.
//! - `cluster`: all access to Kubernetes: caches, status, finalizers, events and Secrets.
//!
//! `docs/architecture.md` shows the same as a picture, and `docs/glossary.md` defines usher's own terms.

pub mod api;
pub mod cli;
pub mod controller;
pub mod plan;
pub mod providers;
pub mod runtime;
