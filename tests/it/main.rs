//! What users see, on a real API server: one operator with deploy/'s permissions, simulated vendors, a namespace per test.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod admission;
mod architecture;
mod broken;
mod contract;
mod crash;
mod crds;
mod credentials;
mod demo;
mod faults;
mod judgement;
mod killed;
mod leaks;
mod leaving;
mod lifecycle;
mod modes;
mod ownership;
mod permissions;
mod plan;
mod process;
mod removal;
mod rivals;
mod scene;
mod sharing;
mod states;
mod transport;
mod uninstall;
mod world;
