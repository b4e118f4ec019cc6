//! What users see, on a real API server: one operator with deploy/'s permissions, simulated vendors, a namespace per test.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod adding_a_vendor;
mod admission;
mod amani;
mod architecture;
mod binding;
mod broken;
mod budget;
mod commands;
mod conflicts;
mod contract;
mod crash;
mod crds;
mod credentials;
mod demo;
mod errors;
mod fairness;
mod faults;
mod industrility;
mod judgement;
mod killed;
mod leaks;
mod leaving;
mod lifecycle;
mod modes;
mod ownership;
mod ozmap;
mod pegasus;
mod permissions;
mod plan;
mod plan_files;
mod plaspy;
mod process;
mod removal;
mod rights;
mod rotation;
mod scene;
mod sharing;
mod states;
mod transport;
mod uninstall;
mod vendors;
mod words;
mod world;
