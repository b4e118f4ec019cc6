//! usher keeps users and groups at five vendors as Kubernetes manifests say.

pub mod api;
pub mod controller;
pub mod plan;
pub mod providers;
