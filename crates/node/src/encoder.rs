//! The encoder program beside the server: found at the start, supervised for as long as the node runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::{Control, VideoUid};
use deliver::Levels;
use encode::limits::{PROGRAM_AGAIN, PROGRAM_AGAIN_MAX};
use encode::{Disk, Encoder, Ladder, Program, Renditions, SOFTWARE, Settings, WITHOUT_PROGRAM};
use record::History;

use crate::config::{self, Config};
use crate::limits::{LEVELS_CACHE_BYTES, LEVELS_YIELD_BYTES, WORKER_BYTES};

const PROGRAM: &str = "airwave-encode";

/// Made segments, in the data directory.
const FOLDER: &str = "levels";

/// Levels and pictures, made for as long as a node runs.
pub(crate) struct Encoding {
    config: config::Encode,
    folder: PathBuf,
    levels: Arc<Levels>,
    control: Arc<Control>,
    /// Why something is not as the configuration asks for.
    complaint: Mutex<Option<String>>,
}

impl Encoding {
    /// Nothing is made before [`serve`](Self::serve) runs. What was made of a video goes with it.
    pub(crate) fn new(config: &Config, levels: Arc<Levels>, history: &History) -> Arc<Self> {
        let encoding = Arc::new(Self {
            config: config.encode.clone(),
            folder: config.data.dir.join(FOLDER),
            levels,
            control: history.control().clone(),
            complaint: Mutex::default(),
        });
        let made = Arc::downgrade(&encoding);
        history.on_delete(move |video| {
            let (Some(made), video) = (made.upgrade(), video.as_str().to_owned()) else { return };
            tokio::task::spawn_blocking(move || made.forget(&video));
        });
        encoding
    }

    /// Blocks.
    fn forget(&self, video: &str) {
        if let Some(renditions) = self.levels.renditions() {
            renditions.forget(video);
        }
        // Of a server before this one, where this one keeps nothing on the disk or has no encoder.
        let _ = std::fs::remove_dir_all(self.folder.join(video));
    }

    /// Deletes what nobody would: a server may have been killed between a video's end and that of what was made of it, and
    /// where nothing is kept on the disk any more, nothing stays. Before anything is made.
    async fn tidy(&self) {
        let folder = self.folder.clone();
        if self.config.cache_gb.is_none() {
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
            return;
        }
        let listed = tokio::task::spawn_blocking(move || {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<PathBuf>>()
        });
        for path in listed.await.unwrap_or_default() {
            let uid = path.file_name().and_then(|name| name.to_str()).map(VideoUid::parse);
            // What is on the air is known, too.
            if let Some(Ok(uid)) = uid
                && matches!(self.control.video(&uid).await, Ok(None))
            {
                let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
            }
        }
    }

    /// For who looks whether all is well. Where neither levels nor pictures are wanted, nobody misses them.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.words().filter(|_| !self.config.ladder.0.is_copy_only() || self.config.pictures)
    }

    /// For the owner of a live input with this ladder, or none of its own.
    pub(crate) fn complaint_about(&self, own: Option<&[String]>) -> Option<String> {
        let ladder = own.map(Ladder::parse);
        let wanted = !ladder.as_ref().unwrap_or(&self.config.ladder.0).is_copy_only();
        self.words().filter(|_| wanted)
    }

    fn words(&self) -> Option<String> {
        let renditions = self.levels.renditions();
        let later = renditions.and_then(|renditions| renditions.complaint());
        // What is lost while the server runs is worse; what FFmpeg never had is the least.
        let lacks = || renditions.and_then(|renditions| renditions.lacks());
        later.or_else(|| self.known().clone()).or_else(lacks)
    }

    fn known(&self) -> MutexGuard<'_, Option<String>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the program, and makes levels and pictures for as long as it is polled. Until it is there originals are
    /// all there is, and the log says why.
    pub(crate) async fn serve(self: Arc<Self>) {
        let config = &self.config;
        self.tidy().await;
        let program = self.program().await;
        tracing::info!(program = %program.words, "levels of quality and pictures are made when they are asked for");
        let encoder = self.encoder(&program).await;
        let settings = settings(config, self.folder.clone(), encoder);
        let Ok(renditions) =
            tokio::task::spawn_blocking(move || Renditions::new(program, settings)).await
        else {
            return std::future::pending().await;
        };
        self.levels.ready(renditions.clone());
        renditions.run().await;
    }

    /// The program, as soon as there is one.
    async fn program(&self) -> Program {
        let path = path(&self.config.program);
        let mut wait = PROGRAM_AGAIN;
        loop {
            let error = match Program::ask(&path).await {
                Ok(program) => {
                    self.known().take();
                    return program;
                }
                Err(error) => error,
            };
            let before = self.known().replace(format!("{WITHOUT_PROGRAM} ({error})"));
            // An input may have a ladder of its own; where the node wants neither, nobody misses them.
            match before.is_none() && self.complaint().is_some() {
                false => tracing::debug!(%error, "{WITHOUT_PROGRAM}"),
                true => tracing::warn!(%error, "{WITHOUT_PROGRAM}"),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PROGRAM_AGAIN_MAX);
        }
    }

    /// The encoder that is configured if it works here, else the processor. It is tried out once, at the start.
    async fn encoder(&self, program: &Program) -> Encoder {
        let wanted = self.config.encoder.0;
        if wanted == Encoder::Software {
            return wanted;
        }
        match program.try_out(wanted).await {
            Ok(()) => {
                keep_to_itself();
                tracing::info!(encoder = wanted.name(), "levels are encoded by hardware");
                wanted
            }
            Err(why) => {
                let words = format!(
                    "the encoder {} does not work here, {SOFTWARE} does it: {why}",
                    wanted.name()
                );
                tracing::warn!("{words}");
                *self.known() = Some(words);
                Encoder::Software
            }
        }
    }

    /// Gives back of the disk when little more is free than must be, and takes no more than is: what is kept here can be
    /// made again.
    pub(crate) async fn make_room(&self, least: Option<u64>, free: Option<u64>) {
        let Some(renditions) = self.levels.renditions().cloned() else { return };
        let beside = least.zip(free).map_or(i64::MAX, |(least, free)| {
            let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
            bytes(free).saturating_sub(bytes(least.saturating_add(LEVELS_YIELD_BYTES)))
        });
        let _ = tokio::task::spawn_blocking(move || renditions.fit_disk(beside)).await;
    }
}

/// Encoder processes may open files where they need devices: what the server has in memory must not be among them.
fn keep_to_itself() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "encoder processes could look into the server's memory");
    }
}

/// No more than an eighth of a small machine or container, which has live media and encoders besides.
fn cache_bytes(memory: Option<u64>) -> usize {
    let eighth =
        memory.map_or(usize::MAX, |bytes| usize::try_from(bytes / 8).unwrap_or(usize::MAX));
    LEVELS_CACHE_BYTES.min(eighth)
}

fn settings(config: &config::Encode, folder: PathBuf, encoder: Encoder) -> Settings {
    let memory = crate::node::memory_bytes();
    Settings {
        workers: workers(config.workers, memory),
        memory: memory.map_or(u64::MAX, |bytes| bytes / 2),
        cache_bytes: cache_bytes(memory),
        linger: config.linger_s,
        patience: encode::limits::WORKER_WAIT,
        silent_max: encode::limits::WORKER_SILENT_MAX,
        allowance: encode::Allowance::default(),
        encoder: encoder.ffmpeg().to_owned(),
        hardware_again: encode::limits::HARDWARE_AGAIN,
        disk: config.cache_gb.map(|bytes_max| Disk { folder, bytes_max }),
    }
}

/// The one that the configuration names, else the one beside this program.
fn path(configured: &str) -> PathBuf {
    if !configured.is_empty() {
        return PathBuf::from(configured);
    }
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().map(|folder| folder.join(PROGRAM)).unwrap_or_else(|| PROGRAM.into())
}

/// A live segment holds its worker while it waits for the original, so there are more than cores; and no more than half of
/// the memory has room for.
fn workers(configured: u32, memory: Option<u64>) -> usize {
    if configured > 0 {
        return configured as usize;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let room = memory.map_or(usize::MAX, |bytes| (bytes / 2 / WORKER_BYTES) as usize);
    // Picture and sound of two broadcasts, each of which holds its worker.
    (cores * 4).min(room.max(4))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use control::{Claim, ClaimMode, InputSettings, InputUid, MasterKey, NodeId, SessionId};

    use super::*;
    use crate::config::{Layer, load};

    #[test]
    fn the_disk_has_room_as_configured() {
        let disk = |layers: &[Layer]| {
            let config = load(layers).unwrap().config.encode;
            settings(&config, "/data/levels".into(), Encoder::Software).disk
        };
        let with = |bytes_max| Some(Disk { folder: "/data/levels".into(), bytes_max });
        assert_eq!(disk(&[]), with(2_000_000_000));
        let set = |text| Layer::setting(text).unwrap();
        assert_eq!(disk(&[set("encode.cache_gb=0.5")]), with(500_000_000));
        assert_eq!(disk(&[set("encode.cache_gb=0")]), None);
    }

    #[test]
    fn how_long_a_level_lingers_is_configured() {
        let linger = |layers: &[Layer]| {
            let config = load(layers).unwrap().config.encode;
            settings(&config, "/data/levels".into(), Encoder::Software).linger.as_secs()
        };
        assert_eq!(linger(&[]), 12);
        let set = |text| Layer::setting(text).unwrap();
        assert_eq!(linger(&[set("encode.linger_s=60")]), 60);
        assert!(load(&[set("encode.linger_s=0")]).is_err());
        assert!(load(&[set("encode.ladder=[\"360p\",\"720p\"]")]).is_ok());
        assert!(load(&[set("encode.ladder=[\"360p\",\"360p=500\"]")]).is_err(), "twice");
    }

    #[test]
    fn made_segments_that_are_kept_fit_the_memory() {
        assert_eq!(cache_bytes(None), LEVELS_CACHE_BYTES);
        assert_eq!(cache_bytes(Some(1 << 40)), LEVELS_CACHE_BYTES);
        assert_eq!(cache_bytes(Some(512 << 20)), 64 << 20);
    }

    #[test]
    fn encoder_processes_fit_the_cores_and_the_memory() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(workers(3, Some(1)), 3, "as configured");
        assert_eq!(workers(0, None), cores * 4);
        assert_eq!(workers(0, Some(1 << 60)), cores * 4);
        assert_eq!(workers(0, Some(5 * 2 * WORKER_BYTES)), (cores * 4).min(5));
        assert_eq!(workers(0, Some(1)), 4);
    }

    /// Without the program everybody who looks hears why, but who wants nothing of it.
    #[tokio::test]
    async fn a_program_that_is_not_there_is_said_to_those_who_miss_it() {
        let levels = || Some(vec!["360p".to_owned()]);
        for (ladder, pictures, node, input_without, input_with) in [
            ("[\"360p\"]", false, true, true, true),
            ("[]", true, true, false, true),
            ("[]", false, false, false, true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let control = Control::open(&dir.path().join("db"), MasterKey::new(&[7; 32])).unwrap();
            let store = Arc::new(store::Store::open(&dir.path().join("media")).unwrap());
            let history = History::new(Arc::new(control), store);
            let set = [
                format!("encode.ladder={ladder}"),
                format!("encode.pictures={pictures}"),
                "encode.program=\"/nowhere/airwave-encode\"".to_owned(),
                format!("data.dir={:?}", dir.path().to_str().unwrap()),
            ];
            let set: Vec<Layer> = set.iter().map(|text| Layer::setting(text).unwrap()).collect();
            let config = load(&set).unwrap().config;
            let levels_of = Levels::new(config.encode.ladder.0.clone(), pictures);
            let encoding = Encoding::new(&config, levels_of, &history);
            assert_eq!(encoding.complaint(), None, "nothing is known yet");
            let serve = tokio::spawn(encoding.clone().serve());
            while encoding.words().is_none() {
                tokio::task::yield_now().await;
            }
            serve.abort();
            let words = "no levels of quality and no thumbnails: viewers get what the encoder \
                         sends (there is no /nowhere/airwave-encode)";
            let said = |is: bool| is.then(|| words.to_owned());
            let about = |own: Option<Vec<String>>| encoding.complaint_about(own.as_deref());
            assert_eq!(encoding.complaint(), said(node), "{ladder} {pictures}");
            assert_eq!(about(None), said(input_without), "{ladder} {pictures}");
            assert_eq!(about(levels()), said(input_with), "{ladder} {pictures}");
            assert_eq!(about(Some(Vec::new())), None, "{ladder} {pictures}");
        }
    }

    /// Levels that need it are not offered, and whoever looks hears what it is.
    #[tokio::test]
    async fn what_ffmpeg_lacks_is_said() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (encoding, _) = encoding(dir.path(), false, "0").await;
        let program = dir.path().join("program");
        let words = format!(
            "airwave-encode 1 wire {} libavcodec 59 decoders h264,aac encoders libx264,aac,mjpeg",
            encode::wire::VERSION
        );
        std::fs::write(&program, format!("#!/bin/sh\necho {words}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut config = encoding.config.clone();
        config.program = program.to_str().unwrap().to_owned();
        let encoding = Arc::new(Encoding { config, ..Arc::into_inner(encoding).unwrap() });
        let serve = tokio::spawn(encoding.clone().serve());
        while encoding.words().is_none() {
            tokio::task::yield_now().await;
        }
        serve.abort();
        let said = "FFmpeg here has no decoder of hevc, av1, vp9, vp8, opus, ac3, eac3, mp3, flac and no encoder libopus";
        assert!(
            encoding.complaint().is_some_and(|words| words.starts_with(said)),
            "{:?}",
            encoding.words()
        );
    }

    const NOW: u64 = 1_000;

    /// A node with a video on the air, and an encoder or none.
    async fn encoding(dir: &Path, encoder: bool, cache_gb: &str) -> (Arc<Encoding>, VideoUid) {
        let control = Control::open(&dir.join("db"), MasterKey::new(&[7; 32])).unwrap();
        let control = Arc::new(control);
        let input = InputUid::from_random([1; 15]);
        let random = std::array::from_fn(|i| i as u8);
        control.create_input(input.clone(), InputSettings::default(), random, NOW).await.unwrap();
        let claim = Claim {
            input,
            node: NodeId::parse("local").unwrap(),
            session: SessionId::parse("1").unwrap(),
            mode: ClaimMode::IfFree,
            now_ms: NOW,
            resume_within_ms: 15_000,
            new_video: VideoUid::from_random([1; 16]),
        };
        let video = control.claim(claim).await.unwrap().owned.video;
        let store = Arc::new(store::Store::open(&dir.join("media")).unwrap());
        let history = History::new(control, store);
        let set = [
            Layer::setting(&format!("encode.cache_gb={cache_gb}")).unwrap(),
            Layer::setting(&format!("data.dir={:?}", dir.to_str().unwrap())).unwrap(),
        ];
        let config = load(&set).unwrap().config;
        let levels = Levels::new(encode::Ladder::copy_only(), false);
        if encoder {
            let program = Program { path: "/nowhere".into(), words: String::new() };
            let folder = dir.join(FOLDER);
            let settings = settings(&config.encode, folder, Encoder::Software);
            levels.ready(Renditions::new(program, settings));
        }
        (Encoding::new(&config, levels, &history), video)
    }

    /// Videos of which something is there.
    fn there(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir.join(FOLDER)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_was_made_of_a_video_goes_with_it() {
        let gone = VideoUid::from_random([2; 16]);
        for encoder in [false, true] {
            for (cache_gb, stays) in [("1", true), ("0", false)] {
                let dir = tempfile::tempdir().unwrap();
                let (encoding, video) = encoding(dir.path(), encoder, cache_gb).await;
                for uid in [&video, &gone] {
                    let folder = dir.path().join(FOLDER).join(uid.as_str());
                    std::fs::create_dir_all(&folder).unwrap();
                    std::fs::write(folder.join("0000000000000abc-3-1.level"), "of before").unwrap();
                }
                encoding.tidy().await;
                let left = if stays { vec![video.to_string()] } else { Vec::new() };
                assert_eq!(there(dir.path()), left, "{encoder} {cache_gb}");
                std::fs::create_dir_all(dir.path().join(FOLDER).join(video.as_str())).unwrap();
                encoding.forget(video.as_str());
                assert_eq!(there(dir.path()), Vec::<String>::new(), "{encoder} {cache_gb}");
            }
        }
    }
}
