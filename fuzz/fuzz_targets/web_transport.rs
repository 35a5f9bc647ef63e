#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| io_moq::fuzzing::web_transport(data));
