//! What users see, on a real API server: one operator with deploy/'s permissions, simulated vendors, a namespace per test.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod architecture;
mod broken;
mod contract;
mod crash;
mod crds;
mod credentials;
mod demo;
mod judgement;
mod lifecycle;
mod permissions;
mod process;
mod scene;
mod world;
