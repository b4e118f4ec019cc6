//! Whatever the vendor answers, decoding it never crashes and never makes anything up.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| usher::providers::fuzzing::decode(usher::api::Vendor::Industrility, data));
