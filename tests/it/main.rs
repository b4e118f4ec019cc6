//! What users see, on a real API server: one operator with deploy/'s permissions, simulated vendors, a namespace per test.

mod architecture;
mod contract;
mod lifecycle;
mod scene;
mod world;
