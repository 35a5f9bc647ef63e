//! What levels begin with: their initialisation segments, which are the encoder's to say. Each form of original and level is
//! asked about once, however many wait, and what was answered stays on the disk for the next server.

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use media::codec::{VIDEO_TIMESCALE, VideoConfig};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::ahead::put;
use crate::cache::Name;
use crate::hardware::{Coder, Hardware, clashes};
use crate::job::{JobError, begin, config_of, init_of};
use crate::ladder::{self, Level};
use crate::limits::INITS_MAX;
use crate::made::{Failed, Made};
use crate::original::Original;
use crate::pool::{NoWorker, Priority, Want};
use crate::recent::{Full, Recent};
use crate::renditions::{Renditions, SOFTWARE, Work};
use crate::wire::{FromEncoder, ToEncoder};
use crate::worker::{Worker, WorkerError};

/// Where answers lie on the disk, beside what was made of videos: no video has such an id.
const FOLDER: &str = "parameter-sets";

/// What was answered, by all that an answer depends on. There may be as many forms as publishers think of: what was used longest
/// ago is asked for again.
pub(crate) struct Inits {
    /// By their own ids.
    by_id: Recent<u64, Bytes>,
    by_form: Recent<String, Arc<Made>>,
    /// What the encoder in hardware has said of each form, in Annex B. It stands in what levels begin with, so it is what must
    /// be true when it encodes one.
    said: Recent<String, Bytes>,
}

impl Default for Inits {
    fn default() -> Self {
        let (by_id, by_form) = (Recent::new(INITS_MAX), Recent::new(INITS_MAX));
        Self { by_id, by_form, said: Recent::new(INITS_MAX) }
    }
}

impl Inits {
    /// The encoder in hardware has said this of a form. What went for it is no more than half of an answer: whoever needs that
    /// level again asks both.
    fn say(&mut self, form: String, said: Bytes) -> Bytes {
        if let Some(known) = self.said.get(&form) {
            return known.clone();
        }
        if let Ok(Some(gone)) = self.said.insert(form, said.clone(), |_| true) {
            self.by_form.retain(|form, made| !is_part(&gone, form) || made.outcome().is_none());
        }
        said
    }
}

/// Levels whose parameter sets nobody knows yet.
pub(crate) struct Unknown {
    config: VideoConfig,
    forms: Vec<Form>,
}

/// What is asked of an encoder.
struct AskedOf<'a> {
    config: &'a VideoConfig,
    forms: &'a [Form],
}

struct Form {
    level: Level,
    form: String,
    made: Waited,
}

/// Whoever waits hears of its end, also when this is dropped.
struct Waited(Arc<Made>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.finish(Err(Failed::Encoder));
    }
}

impl Renditions {
    /// The id of a level's initialisation segment; known before anything was encoded.
    pub fn init_id(&self, original: u64, level: &Level) -> u64 {
        let words = &self.program().words;
        // Encoders of pictures make no sound.
        let hardware = self.hardware().filter(|_| level.as_sound().is_none());
        let encoder = hardware.map_or_else(|| SOFTWARE.to_owned(), Hardware::id);
        // Everything that a level is: its size is that of this original.
        let text = format!("{words} {encoder} {} {original} {:?}", ladder::VERSION, level.rung());
        // 53 bits, as those of originals.
        hash(&text) >> 11
    }

    /// The initialisation segment of a level of the original whose own is `id`.
    pub async fn init(
        &self,
        original: &dyn Original,
        id: u64,
        level: &Level,
    ) -> Result<Bytes, Failed> {
        self.follow_program();
        let own = self.init_id(id, level);
        if let Some(there) = self.state().inits.by_id.get(&own) {
            return Ok(there.clone());
        }
        let init = original.init(id).await.map_err(|_| Failed::Store)?;
        let init = init.ok_or(Failed::NoOriginal)?;
        let made = self.answers(&init, std::slice::from_ref(level), true).await?;
        let made = made.into_iter().next().ok_or(Failed::Encoder)?;
        let _ = self.state().inits.by_id.insert(own, made.clone(), |_| true);
        Ok(made)
    }

    /// The initialisation segments of levels that nobody watches yet, for lists that have them in themselves. A process
    /// that is started for it ends when it has answered.
    pub async fn inits(&self, original: &Bytes, levels: &[Level]) -> Result<Vec<Bytes>, Failed> {
        self.answers(original, levels, false).await
    }

    /// `watched`: somebody waits for the pictures, too.
    async fn answers(
        &self,
        init: &Bytes,
        levels: &[Level],
        watched: bool,
    ) -> Result<Vec<Bytes>, Failed> {
        let of_sound = |level: &Level| Some(level.as_sound()?.init());
        if let Some(known) = levels.iter().map(of_sound).collect() {
            return Ok(known);
        }
        self.follow_program();
        let config = config_of(init).ok_or(Failed::Encoder)?;
        let mut answers = Vec::new();
        let levels: Vec<Level> = levels.iter().map(|level| level.of_shape(&config)).collect();
        for made in self.asked_about(config, &levels)? {
            if watched {
                made.ask(None);
            }
            let answer = made.part(0).await?.ok_or(Failed::Encoder)?;
            answers.push(answer.concat().into());
        }
        Ok(answers)
    }

    /// What levels of originals in this form have in common: parameter sets depend on nothing else.
    fn form(&self, config: &VideoConfig, level: &Level) -> String {
        let forms = self.coders().map(|coder| form_by(config, level, coder));
        forms.collect::<Vec<_>>().join(" ")
    }

    /// All who may encode pictures.
    fn coders(&self) -> impl Iterator<Item = Coder<'_>> {
        let hardware = self.hardware().map(|hardware| Coder::hardware(hardware.name()));
        [Some(self.software()), hardware].into_iter().flatten()
    }

    /// libx264, as it is told to encode.
    fn software(&self) -> Coder<'_> {
        if self.hardware().is_some() { Coder::IN_ITS_PLACE } else { Coder::ALONE }
    }

    /// Who encodes a level. `hardware`: that may, if it has said what it begins the level with.
    pub(crate) fn coder(&self, config: &VideoConfig, level: &Level, hardware: bool) -> Coder<'_> {
        let hardware = self.hardware().filter(|_| hardware).map(|h| Coder::hardware(h.name()));
        let has_said = |coder: &Coder<'_>| {
            self.state().inits.said.get(&form_by(config, level, *coder)).is_some()
        };
        hardware.filter(has_said).unwrap_or_else(|| self.software())
    }

    /// Asks both what levels begin with, before either encodes one. Those that fail are encoded by the software.
    pub(crate) async fn ask_both(&self, init: &Bytes, levels: &[(Level, Arc<Made>)]) {
        let pictures = levels.iter().map(|(level, _)| level.clone());
        let pictures: Vec<Level> = pictures.filter(|level| level.as_sound().is_none()).collect();
        if self.hardware().is_some() && !pictures.is_empty() {
            let _ = self.answers(init, &pictures, true).await;
        }
    }

    /// Answers that are there or on their way; about what nobody has asked yet, somebody asks now.
    fn asked_about(&self, config: VideoConfig, levels: &[Level]) -> Result<Vec<Arc<Made>>, Failed> {
        let now = Instant::now();
        let (mut answers, mut forms): (Vec<Arc<Made>>, Vec<Form>) = Default::default();
        let mut state = self.state();
        let by_form = &mut state.inits.by_form;
        let mut room = Ok(None);
        for level in levels {
            let form = self.form(&config, level);
            let there = by_form.get(&form).filter(|made| !made.is_stale(now)).cloned();
            let Some(there) = there else {
                let made = Arc::new(Made::new());
                room = by_form.insert(form.clone(), made.clone(), |made| made.outcome().is_some());
                if room.is_err() {
                    break;
                }
                forms.push(Form { level: level.clone(), form, made: Waited(made.clone()) });
                answers.push(made);
                continue;
            };
            answers.push(there);
        }
        if forms.is_empty() && room.is_ok() {
            return Ok(answers);
        }
        let new: Vec<String> = forms.iter().map(|form| form.form.clone()).collect();
        let taken = match room {
            Ok(_) => self.take_on(Work::Inits(Unknown { config, forms })),
            Err(Full) => Err(Failed::Busy),
        };
        if taken.is_err() {
            // Too much is going on: who asks next asks anew.
            new.iter().for_each(|form| by_form.remove(form));
        }
        taken.map(|()| answers)
    }

    /// Asks. A worker may die of it: it is asked once more.
    pub(crate) async fn answer(self: Arc<Self>, unknown: Unknown) {
        let Unknown { config, mut forms } = unknown;
        let mut left = Vec::new();
        for form in forms.drain(..) {
            match self.answer_on_disk(&form.form).await {
                Some(init) => self.answered(&form, init),
                None => left.push(form),
            }
        }
        if left.is_empty() {
            return;
        }
        let asked = AskedOf { config: &config, forms: &left };
        match self.ask(&asked).await {
            Ok(inits) => {
                for (form, init) in left.iter().zip(inits) {
                    self.answered(form, init.clone());
                    self.keep_on_disk(&form.form, init).await;
                }
            }
            Err(failed) => left.iter().for_each(|form| form.made.0.finish(Err(failed))),
        }
    }

    /// Initialisation segments with the parameter sets of all who may encode: the software's first, as lists say its level.
    async fn ask(&self, asked: &AskedOf<'_>) -> Result<Vec<Bytes>, Failed> {
        let mut all = self.parameters_again(asked).await?;
        let own = self.parameters_of_hardware(asked).await?;
        all.iter_mut().zip(own).for_each(|(all, own)| all.extend(own.unwrap_or_default()));
        let inits = all.iter().map(|all| init_of(all, VIDEO_TIMESCALE));
        inits.collect::<Result<_, _>>().map_err(|error| {
            tracing::warn!(%error, "no initialisation segments");
            Failed::Encoder
        })
    }

    /// Those of the software.
    async fn parameters_again(&self, asked: &AskedOf<'_>) -> Result<Vec<Vec<u8>>, Failed> {
        let mut again = true;
        loop {
            match self.parameters(asked, self.software()).await {
                Err(JobError::Worker(WorkerError::Gone)) => return Err(Failed::Program),
                Err(JobError::Worker(error)) => {
                    self.counters().lost.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "an encoder was lost when it was asked for its parameter sets");
                    let error = JobError::Worker(error);
                    if error.is_final() {
                        return Err(Failed::Encoder);
                    }
                    if !std::mem::take(&mut again) {
                        return Err(self.lost_again());
                    }
                }
                Err(JobError::Busy) => return Err(Failed::Busy),
                Err(error) => {
                    tracing::warn!(%error, "no initialisation segments");
                    return Err(Failed::Encoder);
                }
                Ok(said) => return Ok(said),
            }
        }
    }

    /// Those of the encoder in hardware, of the forms that it has any of. A level that it has not spoken of is never encoded by
    /// it: who plays has what the level begins with by then.
    async fn parameters_of_hardware(
        &self,
        asked: &AskedOf<'_>,
    ) -> Result<Vec<Option<Bytes>>, Failed> {
        let mut all = Vec::new();
        for form in asked.forms {
            all.push(self.form_of_hardware(asked, form).await?);
        }
        Ok(all)
    }

    /// One by one: what is too large or too small for it says nothing of the others.
    async fn form_of_hardware(
        &self,
        asked: &AskedOf<'_>,
        form: &Form,
    ) -> Result<Option<Bytes>, Failed> {
        let Some(hardware) = self.hardware() else { return Ok(None) };
        let coder = Coder::hardware(hardware.name());
        let key = form_by(asked.config, &form.level, coder);
        if let Some(known) = self.state().inits.said.get(&key) {
            return Ok(Some(known.clone()));
        }
        if !hardware.works() {
            return Ok(None);
        }
        let said = self
            .parameters(&AskedOf { config: asked.config, forms: slice::from_ref(form) }, coder)
            .await;
        let said: Bytes = match said.map(|said| said.into_iter().next().unwrap_or_default()) {
            Ok(said) => said.into(),
            Err(JobError::Busy) => return Err(Failed::Busy),
            Err(error) => {
                tracing::warn!(encoder = coder.encoder, level = form.level.name, %error, "{SOFTWARE} makes this level");
                // Whoever publishes chose its size: whether the hardware works is seen from a picture of ours.
                if let Err(why) = self.program().try_out_by_name(hardware.name()).await {
                    self.hardware_fails(&why);
                }
                return Ok(None);
            }
        };
        if clashes(&said) {
            tracing::warn!(
                encoder = coder.encoder,
                "its parameter sets have the ids of {SOFTWARE}'s; that does it"
            );
            return Ok(None);
        }
        Ok(Some(self.state().inits.say(key, said)))
    }

    fn answered(&self, form: &Form, init: Bytes) {
        form.made.0.push(0, vec![init]);
        form.made.0.finish(Ok(()));
    }

    /// A job without frames: the encoder says its parameter sets, in Annex B.
    async fn parameters(
        &self,
        asked: &AskedOf<'_>,
        coder: Coder<'_>,
    ) -> Result<Vec<Vec<u8>>, JobError> {
        let AskedOf { config, forms } = *asked;
        // Before those who seek, also if nobody watches yet: it is a moment without pictures, and catalogs have no levels until then.
        let levels: Vec<Level> = forms.iter().map(|form| form.level.clone()).collect();
        // Decoder and encoders are opened as for a segment.
        let bytes = self.fits(config, &levels);
        let bytes = bytes.map_err(|too_large| JobError::Failed(too_large.to_string()))?;
        let want = Want { bytes, yields: true, ..Priority::Live.into() };
        let mut lease = match self.pool().lease(want).await {
            Ok(lease) => lease,
            Err(NoWorker::Busy) => return Err(JobError::Busy),
            Err(NoWorker::Worker(error)) => return Err(error.into()),
        };
        let worker = lease.worker().ok_or(WorkerError::Ended)?;
        if coder.is_hardware() && !worker.hardware {
            // It has failed just now.
            lease.done();
            return Err(JobError::Busy);
        }
        let levels = forms.iter().map(|form| (&form.level, coder));
        let begin = begin(config, 0, levels, None)?;
        let said = timeout(self.allowance().least, said(worker, &begin));
        let said = said.await.unwrap_or(Err(WorkerError::Overdue.into()))?;
        // Who watches goes on with the process; for a list alone none is kept.
        if forms.iter().any(|form| form.made.0.is_asked()) {
            lease.done();
        }
        let all = said.len() == forms.len();
        let said = all.then(|| said.into_values().collect());
        said.ok_or_else(|| JobError::Failed("no parameter sets".to_owned()))
    }

    /// Whether an encoder that is about to encode a level begins with what it said when it was asked; what nobody has asked
    /// about is known from now on.
    pub(crate) fn is_as_asked(
        &self,
        config: &VideoConfig,
        level: &Level,
        coder: Coder<'_>,
        parameters: &[u8],
    ) -> bool {
        let Ok(init) = init_of(parameters, VIDEO_TIMESCALE) else { return false };
        let mut state = self.state();
        if self.hardware().is_some() {
            let known = state.inits.said.get(&form_by(config, level, coder));
            let same = |known: &Bytes| init_of(known, VIDEO_TIMESCALE).is_ok_and(|k| k == init);
            // What the software begins with is the program's to say.
            return known.map_or(!coder.is_hardware(), same);
        }
        let form = self.form(config, level);
        match state.inits.by_form.get(&form).map(|made| (made.outcome(), made.whole())) {
            Some((Some(_), Some(known))) => known.concat() == init[..],
            // It failed, or is on its way.
            Some(_) => true,
            None => {
                let made = Made::new();
                made.push(0, vec![init]);
                made.finish(Ok(()));
                let is_answered = |made: &Arc<Made>| made.outcome().is_some();
                let _ = state.inits.by_form.insert(form, Arc::new(made), is_answered);
                true
            }
        }
    }

    /// What was answered is no longer true: who asks next asks anew.
    pub(crate) async fn forget_answers(&self) {
        let forms = {
            let mut state = self.state();
            state.inits.by_id.retain(|_, _| false);
            let forms: Vec<String> = state.inits.by_form.keys().cloned().collect();
            state.inits.by_form.retain(|_, made| made.outcome().is_none());
            forms
        };
        if let Some(disk) = self.disk().cloned() {
            let names: Vec<Name> = forms.iter().map(|form| self.name_of_form(form)).collect();
            let _ = spawn_blocking(move || names.iter().for_each(|name| disk.remove(name))).await;
        }
    }

    /// Those of hardware are asked for anew by each server: its driver may be another one by then.
    fn disk_of_forms(&self) -> Option<&Arc<crate::cache::Cache>> {
        self.disk().filter(|_| self.hardware().is_none())
    }

    async fn answer_on_disk(&self, form: &str) -> Option<Bytes> {
        let (disk, name) = (self.disk_of_forms()?.clone(), self.name_of_form(form));
        let found = spawn_blocking(move || disk.get(&name)).await.ok()??;
        found.into_iter().next()
    }

    async fn keep_on_disk(&self, form: &str, init: Bytes) {
        let Some(disk) = self.disk_of_forms().cloned() else { return };
        let name = self.name_of_form(form);
        put(disk, name, move || vec![vec![init]]).await;
    }

    fn name_of_form(&self, form: &str) -> Name {
        let level = hash(&format!("{} {} {form}", self.program().words, ladder::VERSION));
        Name { video: FOLDER.to_owned(), level, epoch: 0, number: 0 }
    }
}

/// What a worker says of the outputs of a job without frames.
async fn said(worker: &mut Worker, begin: &ToEncoder) -> Result<BTreeMap<u8, Vec<u8>>, JobError> {
    worker.to.send(begin).await?;
    worker.to.send(&ToEncoder::End).await?;
    let mut said = BTreeMap::new();
    loop {
        match worker.from.answer(|| true).await? {
            FromEncoder::Began { output, parameters } => {
                said.insert(output, parameters.to_vec());
            }
            FromEncoder::Done { .. } => return Ok(said),
            FromEncoder::Failed(words) => return Err(JobError::Failed(words)),
            FromEncoder::NoEncoder(words) => return Err(JobError::NoEncoder(words)),
            FromEncoder::Packet { .. } | FromEncoder::Hello(_) | FromEncoder::GoesOn => {}
        }
    }
}

/// A form as one encoder is told it.
fn form_by(config: &VideoConfig, level: &Level, coder: Coder<'_>) -> String {
    format!("{:?}", level.output(config, coder, None))
}

/// Whether a form of a level is made of this one of one encoder, the one in hardware.
fn is_part(of_hardware: &str, form: &str) -> bool {
    form.strip_suffix(of_hardware).is_some_and(|rest| rest.ends_with(' '))
}

/// 64 bits of it.
pub(crate) fn hash(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0u64, |id, byte| id << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::task::yield_now;

    use super::*;
    use crate::ladder::Kind;
    use crate::ladder::tests::original;
    use crate::memory::fits;
    use crate::program::Program;
    use crate::renditions::Settings;

    const HARDWARE: &str = "h264_somewhere";

    fn renditions(encoder: &str) -> Arc<Renditions> {
        let settings = Settings { encoder: encoder.to_owned(), ..Settings::of_tests() };
        let words = format!("airwave-encode encoders {SOFTWARE},{HARDWARE}");
        Renditions::new(Program { path: "/nowhere".into(), words }, settings)
    }

    fn level(max_kbps: u32) -> Level {
        let kind = Kind::Pictures { width: 640, height: 360, level_idc: 30 };
        Level { name: "360p".to_owned(), max_kbps, share_permille: 500, kind }
    }

    fn answered(renditions: &Renditions, form: String) {
        let made = Made::new();
        made.push(0, vec![Bytes::from_static(b"init")]);
        made.finish(Ok(()));
        renditions.state().inits.by_form.insert(form, Arc::new(made), |_| true).unwrap();
    }

    #[test]
    fn what_one_more_level_than_are_kept_begins_with_is_asked() {
        let (renditions, config) = (renditions(SOFTWARE), original(1280, 720, None));
        let ask = |level| renditions.asked_about(config.clone(), &[level]);
        let levels: Vec<Level> = (0..).take(INITS_MAX).map(level).collect();
        for level in &levels {
            answered(&renditions, renditions.form(&config, level));
        }
        // Somebody watches the one that was asked about first.
        assert!(ask(levels[0].clone()).unwrap()[0].whole().is_some());
        let more = level(INITS_MAX as u32);
        assert!(ask(more.clone()).unwrap()[0].outcome().is_none(), "it is being asked");
        let forms: BTreeSet<String> = renditions.state().inits.by_form.keys().cloned().collect();
        let known = |level: &&Level| forms.contains(&renditions.form(&config, level));
        assert!(known(&&levels[0]) && known(&&more) && !known(&&levels[1]));
        assert_eq!(levels.iter().chain([&more]).filter(known).count(), INITS_MAX);
    }

    /// However many seek: catalogs have no levels before.
    #[tokio::test(start_paused = true)]
    async fn what_levels_begin_with_is_asked_before_those_who_seek() {
        let (renditions, config) = (renditions(SOFTWARE), original(1280, 720, None));
        let held = renditions.pool().place(Priority::Live).await.unwrap();
        let lost = || renditions.counters().lost.load(Ordering::Relaxed);
        let seek = async {
            let _place = renditions.pool().place(Priority::Seeking).await.unwrap();
            lost()
        };
        let made = Arc::new(Made::new());
        let (level, form) = (level(800), "a form".to_owned());
        let forms = vec![Form { level, form, made: Waited(made.clone()) }];
        let asks = async {
            yield_now().await;
            renditions.clone().answer(Unknown { config, forms }).await;
        };
        let frees = async {
            // Until both wait, in whatever order they are looked at.
            for _ in 0..4 {
                yield_now().await;
            }
            drop(held);
        };
        let (lost_before, ..) = tokio::join!(seek, asks, frees);
        // There is no such program: that is as far as it comes.
        assert!(lost_before > 0 && made.outcome().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_levels_begin_with_takes_the_memory_of_a_segment() {
        let (program, config) = ("airwave-encode".to_owned(), original(7_680, 4_320, None));
        let program = Program { path: "/nowhere".into(), words: program };
        let needs = fits(&config, &[level(800)], u64::MAX).unwrap();
        let settings = Settings { workers: 2, memory: 2 * needs, ..Settings::of_tests() };
        let renditions = Renditions::new(program, settings);
        let want = Want { bytes: needs + 1, ..Priority::Live.into() };
        let held = renditions.pool().place(want).await.unwrap();
        let made = Arc::new(Made::new());
        let (level, form) = (level(800), "a form".to_owned());
        let forms = vec![Form { level, form, made: Waited(made.clone()) }];
        let mut answer = pin!(renditions.clone().answer(Unknown { config, forms }));
        let moment = Duration::from_secs(1);
        assert!(timeout(moment, answer.as_mut()).await.is_err(), "there is no room");
        // Who watches does not wait until there is, nor who seeks.
        for priority in [Priority::Live, Priority::Seeking] {
            let small = Want { bytes: 1, ..priority.into() };
            assert!(timeout(moment, renditions.pool().place(small)).await.is_ok(), "{priority:?}");
        }
        drop(held);
        answer.await;
        assert!(made.outcome().is_some());
    }

    #[test]
    fn hardware_encodes_one_more_level_than_are_kept() {
        let (renditions, config) = (renditions(HARDWARE), original(1280, 720, None));
        let coder = Coder::hardware(HARDWARE);
        let is_by_hardware = |level| renditions.coder(&config, level, true).is_hardware();
        let levels: Vec<Level> = (0..=INITS_MAX as u32).map(level).collect();
        for level in &levels {
            assert!(!is_by_hardware(level), "it has not said what it begins it with");
            answered(&renditions, renditions.form(&config, level));
            let form = form_by(&config, level, coder);
            let said = renditions.state().inits.say(form, "sets".into());
            assert_eq!(said, "sets");
            // One that is watched all the time.
            assert!(is_by_hardware(level) && is_by_hardware(&levels[0]), "{}", level.max_kbps);
        }
        // Of the oldest of others nothing is known: it is asked about again, and then it is the hardware's again.
        assert!(!is_by_hardware(&levels[1]) && is_by_hardware(&levels[2]));
        let answer = renditions.asked_about(config.clone(), &levels[1..2]).unwrap();
        assert!(answer[0].outcome().is_none(), "it is being asked");
        let again = renditions.asked_about(config, &levels[2..3]).unwrap();
        assert!(again[0].whole().is_some());
    }
}
