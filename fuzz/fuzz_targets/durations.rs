//! No value makes reading crash or invent anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| usher::providers::fuzzing::durations(data));
