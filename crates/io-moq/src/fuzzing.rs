//! The fuzz targets in `fuzz/` that are about this crate, as functions, so that the committed seeds are tests too.

/// A session of WebTransport and the streams of it, as far as they are ours to read.
pub fn web_transport(data: &[u8]) {
    crate::transport::web_fuzzing::bytes(data);
}

/// Seeds for it: names and bytes.
pub fn web_transport_samples() -> Vec<(&'static str, Vec<u8>)> {
    crate::transport::web_fuzzing::samples()
}
