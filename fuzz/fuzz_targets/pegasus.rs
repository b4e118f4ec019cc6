//! No answer of the vendor makes decoding crash or invent anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| usher::providers::fuzzing::decode(usher::api::Vendor::Pegasus, data));
