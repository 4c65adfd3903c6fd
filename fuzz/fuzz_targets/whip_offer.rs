#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets_lib::whip_offer::run(data));
