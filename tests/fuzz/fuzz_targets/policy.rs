//! See `socketvirt_tests::hostile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| socketvirt_tests::hostile::policy(input));
