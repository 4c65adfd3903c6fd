#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets_lib::room_frames::run(data));
