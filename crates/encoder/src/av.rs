//! FFmpeg's libraries as a whole: what they are, and what the safe binding lacks.

#![allow(unsafe_code)]

use encode::wire::SoundSource;
use ffmpeg::codec::{Context, Id};
use ffmpeg::ffi;
use ffmpeg_the_third as ffmpeg;

/// Quiet: what is wrong with a stranger's frames is told through the wire, not in thousands of lines.
pub(crate) fn init() -> Result<(), ffmpeg::Error> {
    ffmpeg::init()?;
    ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
    Ok(())
}

/// Until nobody can write to standard input any more, whatever is left to be read there.
pub(crate) fn until_hung_up() {
    // That it has ended is always told.
    let mut input = libc::pollfd { fd: 0, events: 0, revents: 0 };
    // SAFETY: the structure is alive.
    while unsafe { libc::poll(&raw mut input, 1, -1) } <= 0 {}
}

/// Ends the process at once: who hangs may hold what others would wait for.
pub(crate) fn end() {
    // SAFETY: it takes a number.
    unsafe { libc::_exit(1) }
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
        ("aac", Id::AAC),
        ("opus", Id::OPUS),
        ("ac3", Id::AC3),
        ("eac3", Id::EAC3),
        ("mp3", Id::MP3),
        ("flac", Id::FLAC),
    ];
    let decoders = decoders.iter().filter(|(_, id)| ffmpeg::codec::decoder::find(*id).is_some());
    let decoders: Vec<&str> = decoders.map(|(name, _)| *name).collect();
    let known = [
        "libx264",
        "mjpeg",
        "aac",
        "libopus",
        "h264_vaapi",
        "h264_nvenc",
        "h264_qsv",
        "h264_v4l2m2m",
    ];
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

/// What a decoder of sound must know before the first frame.
pub(crate) fn prepare_sound_decoder(context: &mut Context, source: &SoundSource) {
    // SAFETY: the context is alive and not opened yet.
    unsafe {
        let raw = context.as_mut_ptr();
        let den = i32::try_from(source.timescale).unwrap_or(1);
        (*raw).pkt_timebase = ffi::AVRational { num: 1, den };
        (*raw).sample_rate = den;
        // Some do not open without; most know better.
        ffi::av_channel_layout_default(&raw mut (*raw).ch_layout, source.channels.into());
    }
    set_record(context, &source.record);
}

/// How many samples an encoder of sound puts before the first one.
pub(crate) fn initial_padding(context: &Context) -> i64 {
    // SAFETY: the context is alive.
    unsafe { (*context.as_ptr()).initial_padding.into() }
}

/// As if so many samples of silence had come.
pub(crate) fn inject_silence(resampler: &mut ffmpeg::software::resampling::Context, samples: i64) {
    let samples = i32::try_from(samples).unwrap_or(0);
    if samples > 0 {
        // SAFETY: the resampler is alive. It fails for want of memory only.
        unsafe { ffi::swr_inject_silence(resampler.as_mut_ptr(), samples) };
    }
}

/// Gives samples whose channels are not said, or said one by one, the usual layout of so many.
pub(crate) fn known_layout(samples: &mut ffmpeg::frame::Audio) {
    // SAFETY: the frame is alive; its layout is taken back before it is overwritten.
    unsafe {
        let layout = &raw mut (*samples.as_mut_ptr()).ch_layout;
        if (*layout).order != ffi::AVChannelOrder::NATIVE {
            let channels = (*layout).nb_channels;
            ffi::av_channel_layout_uninit(layout);
            ffi::av_channel_layout_default(layout, channels);
        }
    }
}

/// What the decoder must know before the first frame, and how far it may go.
pub(crate) fn prepare_decoder(context: &mut Context, record: &[u8], reorder: u8, pixels_max: u64) {
    // SAFETY: the context is alive and not opened yet.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).max_pixels = i64::try_from(pixels_max).unwrap_or(i64::MAX);
        // Pictures come out in order from the first on, also where the stream does not say how far they are apart.
        (*raw).has_b_frames = i32::from(reorder);
        // H.264: else pictures behind a key frame of an open group are held back until it is shown, and are lost at the end of
        // a short segment. Which pictures are shown is said with each frame.
        (*raw).flags |= i32::try_from(ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT).unwrap_or(0);
        (*raw).pkt_timebase = ffi::AVRational { num: 1, den: 90_000 };
    }
    set_record(context, record);
}

fn set_record(context: &mut Context, record: &[u8]) {
    if record.is_empty() {
        return;
    }
    // SAFETY: the context is alive and not opened yet; `extradata` is allocated by FFmpeg's own allocator with the padding
    // that it asks for, and the context frees it.
    unsafe {
        let raw = context.as_mut_ptr();
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

/// Whether a decoder has hidden damage in this picture, or lacked what it refers to.
pub(crate) fn is_damaged(picture: &ffmpeg::frame::Video) -> bool {
    // SAFETY: the frame is alive.
    unsafe { (*picture.as_ptr()).decode_error_flags != 0 || picture.is_corrupt() }
}

/// Another reference to the same picture, with properties of its own.
pub(crate) fn reference(picture: &ffmpeg::frame::Video) -> Option<ffmpeg::frame::Video> {
    let mut new = ffmpeg::frame::Video::empty();
    // SAFETY: both frames are alive, and the new one is empty.
    let done = unsafe { ffi::av_frame_ref(new.as_mut_ptr(), picture.as_ptr()) };
    (done >= 0).then_some(new)
}

/// Tells a scaler to red, green and blue in which colours a picture is. Where the stream does not say it, small pictures are
/// those of old television (BT.601) and large ones those of today's (BT.709), as players have it too.
pub(crate) fn colours_of(
    picture: &ffmpeg::frame::Video,
    scaler: &mut ffmpeg::software::scaling::Context,
) {
    use ffmpeg::color::{Range, Space};
    let matrix = match picture.color_space() {
        Space::BT709 => ffi::SWS_CS_ITU709,
        Space::BT470BG | Space::SMPTE170M => ffi::SWS_CS_ITU601,
        Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
        Space::FCC => ffi::SWS_CS_FCC,
        Space::BT2020NCL | Space::BT2020CL => ffi::SWS_CS_BT2020,
        _ if picture.width() >= 1_280 || picture.height() > 576 => ffi::SWS_CS_ITU709,
        _ => ffi::SWS_CS_ITU601,
    };
    let full = i32::from(picture.color_range() == Range::JPEG);
    // Brightness, contrast and saturation as they are: in 16 bits before and behind the point.
    let (brightness, one) = (0, 1 << 16);
    // SAFETY: the scaler is alive; the coefficients are a table that FFmpeg keeps for ever.
    unsafe {
        let from = ffi::sws_getCoefficients(matrix);
        let to = ffi::sws_getCoefficients(ffi::SWS_CS_ITU601);
        // What has no such matrix (RGB, grey) answers so, and needs none.
        ffi::sws_setColorspaceDetails(scaler.as_mut_ptr(), from, full, to, 1, brightness, one, one);
    }
}

/// Captions inside a picture (CEA-608 and CEA-708 lie beside it) go on to what is made of it: lists say that every level has
/// them.
pub(crate) fn copy_captions(from: &ffmpeg::frame::Video, to: &mut ffmpeg::frame::Video) {
    let kind = ffi::AVFrameSideDataType::A53_CC;
    // SAFETY: both frames are alive; the new one takes over the reference, or it is given back.
    unsafe {
        let captions = ffi::av_frame_get_side_data(from.as_ptr(), kind);
        if captions.is_null() {
            return;
        }
        let mut shared = ffi::av_buffer_ref((*captions).buf);
        if ffi::av_frame_new_side_data_from_buf(to.as_mut_ptr(), kind, shared).is_null() {
            ffi::av_buffer_unref(&raw mut shared);
        }
    }
}
