//! The demo: a short clip, published to this server over RTMP again and again, without a seam in time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use client::publish::{Options, Packaging, Progress, PublishError, Source, Target as To};
use client::source::Place;
use client::trust::Trust;
use rtmp::client::Target;

/// The clip for `--demo` without a file: beside the program, where packages put it, or in the clone that
/// the program was built in.
pub(crate) fn installed_clip() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| format!("can't find myself: {e}"))?;
    let program = program.canonicalize().unwrap_or(program);
    let beside = program.parent().map(|folder| folder.join("demo.mp4"));
    let above = program.ancestors().skip(2);
    let shared = above.clone().next().map(|prefix| prefix.join("share/airwave/demo.mp4"));
    let built = above.map(|folder| folder.join(".cache/demo/clip.mp4"));
    let places: Vec<PathBuf> = beside.into_iter().chain(shared).chain(built).collect();
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| NO_CLIP.to_owned())
}

const NO_CLIP: &str = "\
--demo needs a clip, and none came with this program. Take one of yours:
  airwave serve --demo=FILE.mp4
or let ffmpeg make a test picture with a tone:
  ffmpeg -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=sample_rate=48000 -t 16 \\
      -c:v libx264 -pix_fmt yuv420p -g 60 -c:a aac demo.mp4
In a clone of the project, `make run` fetches and makes one.";

/// Whom a clip is of, as the text beside it says.
pub(crate) fn credit(clip: &Path) -> Option<String> {
    let text = std::fs::read_to_string(clip.with_extension("txt")).ok()?;
    text.lines().next().map(str::to_owned)
}

/// A clip that can be sent.
pub(crate) struct Clip {
    place: Place,
    source: Source,
    /// Who made it and under which licence, for people.
    pub(crate) credit: Option<String>,
}

impl Clip {
    /// Opens an MP4 or FLV file.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let place = Place::File { path: path.to_owned(), again: true };
        let source = Source::open(place.clone()).await?;
        Ok(Self { place, source, credit: credit(path) })
    }

    /// Publishes for ever; when the connection is lost, begins anew.
    pub(crate) async fn publish(self, target: Target, random: fn(&mut [u8; 32])) {
        let mut source = Ok(self.source);
        loop {
            if let Err(error) = publish_once(source, target.clone(), random).await {
                tracing::warn!(%error, "the demo was interrupted; trying again");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            source = Source::open(self.place.clone()).await;
        }
    }
}

async fn publish_once(
    source: Result<Source, PublishError>,
    target: Target,
    random: fn(&mut [u8; 32]),
) -> Result<(), PublishError> {
    let (target, packaging) = (To::Rtmp(target), Packaging::default());
    let options = Options { target, packaging, trust: Trust::System, random };
    client::publish::run(source?, options, &Progress::default(), std::future::pending()).await
}
