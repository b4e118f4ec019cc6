//! Whatever stands there, reading it never crashes and never makes anything up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| usher::providers::fuzzing::durations(data));
