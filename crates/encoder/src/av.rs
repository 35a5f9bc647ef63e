//! FFmpeg's libraries as a whole: what they are, and what the safe binding lacks.

#![allow(unsafe_code)]

use ffmpeg::codec::{Context, Id};
use ffmpeg::ffi;
use ffmpeg_the_third as ffmpeg;

/// Quiet: what is wrong with a stranger's frames is told through the wire, not in thousands of lines.
pub(crate) fn init() -> Result<(), ffmpeg::Error> {
    ffmpeg::init()?;
    ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
    Ok(())
}

/// One line: versions, and what of that which Airwave asks for is there.
pub(crate) fn words() -> String {
    let version = ffmpeg::codec::version();
    let (major, minor, micro) = (version >> 16, version >> 8 & 0xff, version & 0xff);
    let decoders = [
        ("h264", Id::H264),
        ("hevc", Id::HEVC),
        ("av1", Id::AV1),
        ("vp9", Id::VP9),
        ("vp8", Id::VP8),
    ];
    let decoders = decoders.iter().filter(|(_, id)| ffmpeg::codec::decoder::find(*id).is_some());
    let decoders: Vec<&str> = decoders.map(|(name, _)| *name).collect();
    let known = ["libx264", "mjpeg", "h264_nvenc", "h264_qsv", "h264_v4l2m2m"];
    let encoders = known.iter().filter(|n| ffmpeg::codec::encoder::find_by_name(n).is_some());
    let encoders: Vec<&str> = encoders.copied().collect();
    format!(
        "airwave-encode {} wire {} libavcodec {major}.{minor}.{micro} decoders {} encoders {}",
        env!("CARGO_PKG_VERSION"),
        encode::wire::VERSION,
        decoders.join(","),
        encoders.join(",")
    )
}

/// What the decoder must know before the first frame, and how far it may go.
pub(crate) fn prepare_decoder(context: &mut Context, record: &[u8], reorder: u8, pixels_max: u64) {
    // SAFETY: the context is alive and not opened yet; `extradata` is allocated by FFmpeg's own allocator with the padding
    // that it asks for, and the context frees it.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).max_pixels = i64::try_from(pixels_max).unwrap_or(i64::MAX);
        // Pictures come out in order from the first on, also where the stream does not say how far they are apart.
        (*raw).has_b_frames = i32::from(reorder);
        (*raw).pkt_timebase = ffi::AVRational { num: 1, den: 90_000 };
        if record.is_empty() {
            return;
        }
        let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        let data = ffi::av_mallocz(record.len() + padding).cast::<u8>();
        if !data.is_null() {
            std::ptr::copy_nonoverlapping(record.as_ptr(), data, record.len());
            (*raw).extradata = data;
            (*raw).extradata_size = i32::try_from(record.len()).unwrap_or(0);
        }
    }
}

/// The decoder's or encoder's parameter sets.
pub(crate) fn extradata(context: &Context) -> Vec<u8> {
    // SAFETY: the context is alive; FFmpeg keeps `extradata_size` bytes there, or a null pointer.
    unsafe {
        let raw = context.as_ptr();
        let (data, size) = ((*raw).extradata, (*raw).extradata_size);
        match usize::try_from(size) {
            Ok(size) if !data.is_null() => std::slice::from_raw_parts(data, size).to_vec(),
            _ => Vec::new(),
        }
    }
}

/// Another reference to the same picture, with properties of its own.
pub(crate) fn reference(picture: &ffmpeg::frame::Video) -> Option<ffmpeg::frame::Video> {
    let mut new = ffmpeg::frame::Video::empty();
    // SAFETY: both frames are alive, and the new one is empty.
    let done = unsafe { ffi::av_frame_ref(new.as_mut_ptr(), picture.as_ptr()) };
    (done >= 0).then_some(new)
}
