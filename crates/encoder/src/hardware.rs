//! Encoders that are none of the processor's: what they take, and whether there is one.

#![allow(unsafe_code)]

use std::ptr;

use encode::wire::H264;
use ffmpeg::format::Pixel;
use ffmpeg::{codec, ffi, frame};
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::stage::{self, Scaler};

/// What an encoder takes its pictures as.
pub(crate) enum Input {
    /// As they come out of the scaler.
    Planar,
    /// Both colours in one plane.
    Nv12,
    /// In the graphics card's memory.
    Surface(Surfaces),
}

impl Input {
    /// That of the encoder of this name, which is about to be opened.
    pub(crate) fn of(name: &str, context: &mut codec::Context) -> Result<Self, String> {
        match name {
            "h264_qsv" => Ok(Self::Nv12),
            "h264_vaapi" => Ok(Self::Surface(Surfaces::open(context)?)),
            _ => Ok(Self::Planar),
        }
    }

    /// How FFmpeg calls it.
    pub(crate) fn pixel(&self) -> Pixel {
        match self {
            Self::Planar => Pixel::YUV420P,
            Self::Nv12 => Pixel::NV12,
            Self::Surface(_) => Pixel::VAAPI,
        }
    }

    /// A picture as this takes it; none: as it is.
    pub(crate) fn take(
        &self,
        picture: &frame::Video,
        scaler: &mut Scaler,
    ) -> Result<Option<frame::Video>, String> {
        match self {
            Self::Planar => Ok(None),
            Self::Nv12 => nv12(picture, scaler).map(Some),
            Self::Surface(surfaces) => surfaces.upload(&nv12(picture, scaler)?).map(Some),
        }
    }
}

fn nv12(picture: &frame::Video, scaler: &mut Scaler) -> Result<frame::Video, String> {
    let to = (Pixel::NV12, picture.width(), picture.height());
    let scaler = scaler.of(picture, to, |_| {})?;
    let mut made = frame::Video::empty();
    scaler.run(picture, &mut made).map_err(|e| format!("scaling: {e}"))?;
    made.set_pts(picture.pts());
    made.set_kind(picture.kind());
    av::copy_captions(picture, &mut made);
    Ok(made)
}

/// Pictures in the graphics card's memory: a pool of them, counted by FFmpeg.
pub(crate) struct Surfaces(*mut ffi::AVBufferRef);

// SAFETY: FFmpeg counts references to it atomically; the pool itself has a lock.
unsafe impl Send for Surfaces {}

/// As many as an encoder without reordering holds, and some that are on their way.
const SURFACES: i32 = 8;

impl Surfaces {
    /// Opens the first card, and gives the encoder a pool of pictures of its size.
    fn open(context: &mut codec::Context) -> Result<Self, String> {
        let mut device = ptr::null_mut();
        // SAFETY: FFmpeg writes the reference on success only, and takes no name and no options.
        let opened = unsafe {
            let kind = ffi::AVHWDeviceType::VAAPI;
            ffi::av_hwdevice_ctx_create(&raw mut device, kind, ptr::null(), ptr::null_mut(), 0)
        };
        said(opened, "the graphics card")?;
        // SAFETY: the device is alive; the pool keeps a reference of its own, and the context gets another one.
        unsafe {
            let pool = ffi::av_hwframe_ctx_alloc(device);
            ffi::av_buffer_unref(&raw mut device);
            if pool.is_null() {
                return Err("no memory for pictures of the graphics card".to_owned());
            }
            let made = Self(pool);
            let raw = context.as_mut_ptr();
            let about = (*pool).data.cast::<ffi::AVHWFramesContext>();
            (*about).format = ffi::AVPixelFormat::VAAPI;
            (*about).sw_format = ffi::AVPixelFormat::NV12;
            (*about).width = (*raw).width;
            (*about).height = (*raw).height;
            (*about).initial_pool_size = SURFACES;
            said(ffi::av_hwframe_ctx_init(pool), "pictures of the graphics card")?;
            (*raw).hw_frames_ctx = ffi::av_buffer_ref(pool);
            Ok(made)
        }
    }

    fn upload(&self, picture: &frame::Video) -> Result<frame::Video, String> {
        let mut surface = frame::Video::empty();
        // SAFETY: the pool and both frames are alive; FFmpeg checks that they fit.
        let done = unsafe {
            match ffi::av_hwframe_get_buffer(self.0, surface.as_mut_ptr(), 0) {
                0 => ffi::av_hwframe_transfer_data(surface.as_mut_ptr(), picture.as_ptr(), 0),
                error => error,
            }
        };
        said(done, "a picture for the graphics card")?;
        surface.set_pts(picture.pts());
        surface.set_kind(picture.kind());
        av::copy_captions(picture, &mut surface);
        Ok(surface)
    }
}

impl Drop for Surfaces {
    fn drop(&mut self) {
        // SAFETY: this reference is ours.
        unsafe { ffi::av_buffer_unref(&raw mut self.0) }
    }
}

fn said(result: i32, what: &str) -> Result<(), String> {
    match result {
        0.. => Ok(()),
        error => Err(format!("{what}: {}", ffmpeg::Error::from(error))),
    }
}

/// Encodes a picture with the encoder of this name, or says why that does not work.
pub(crate) fn try_out(name: &str) -> Result<(), String> {
    let h264 = H264 {
        width: 640,
        height: 360,
        frame_rate: (30, 1),
        crf_tenths: 230,
        max_kbps: 800,
        buffer_kbit: 800,
        level: 31,
        colour: None,
        encoder: name.to_owned(),
        parameter_set: 0,
    };
    match stage::parameters_of_picture(&h264, name)?.is_empty() {
        true => Err("it gives no parameter sets".to_owned()),
        false => Ok(()),
    }
}
