#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqt::fuzzing::control(moqt::Version::Draft22, data));
