//! The sandbox of usher: a real control plane, simulated vendors, the demo and the scale benchmark.

pub mod controlplane;
pub mod demo;
pub mod scale;
pub mod vendors;
