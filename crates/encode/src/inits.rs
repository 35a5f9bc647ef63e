//! What levels begin with: their initialisation segments, which are the encoder's to say. Each form of original and level is
//! asked about once, however many wait, and what was answered stays on the disk for the next server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use media::codec::{VIDEO_TIMESCALE, VideoConfig};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use crate::cache::Name;
use crate::job::{JobError, begin, config_of, init_of};
use crate::ladder::{self, Level};
use crate::limits::INITS_MAX;
use crate::made::{Failed, Made};
use crate::original::Original;
use crate::pool::{NoWorker, Priority};
use crate::renditions::{Renditions, SOFTWARE, Work};
use crate::wire::{FromEncoder, ToEncoder};
use crate::worker::WorkerError;

/// Where answers lie on the disk, beside what was made of videos: no video has such an id.
const FOLDER: &str = "parameter-sets";

/// What was answered, by all that an answer depends on.
#[derive(Default)]
pub(crate) struct Inits {
    /// By their own ids.
    by_id: BTreeMap<u64, Bytes>,
    by_form: BTreeMap<String, Arc<Made>>,
}

/// Levels whose parameter sets nobody knows yet.
pub(crate) struct Unknown {
    config: VideoConfig,
    forms: Vec<Form>,
    priority: Priority,
    /// Told when somebody who watches comes to wait.
    watched: Arc<Notify>,
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
        let (words, encoder) = (self.words(), self.encoder());
        // Everything that a level is.
        let text = format!("{words} {encoder} {} {original} {level:?}", ladder::VERSION);
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
        let own = self.init_id(id, level);
        if let Some(there) = self.state().inits.by_id.get(&own) {
            return Ok(there.clone());
        }
        let init = original.init(id).await.ok_or(Failed::NoOriginal)?;
        let made = self.answers(&init, std::slice::from_ref(level), Priority::Live).await?;
        let made = made.into_iter().next().ok_or(Failed::Encoder)?;
        let mut state = self.state();
        if state.inits.by_id.len() >= INITS_MAX {
            state.inits.by_id.pop_first();
        }
        state.inits.by_id.insert(own, made.clone());
        Ok(made)
    }

    /// The initialisation segments of levels that nobody watches yet, for lists that have them in themselves. A process
    /// that is started for it ends when it has answered.
    pub async fn inits(&self, original: &Bytes, levels: &[Level]) -> Result<Vec<Bytes>, Failed> {
        self.answers(original, levels, Priority::Prefetch).await
    }

    async fn answers(
        &self,
        init: &Bytes,
        levels: &[Level],
        priority: Priority,
    ) -> Result<Vec<Bytes>, Failed> {
        let of_sound = |level: &Level| Some(level.as_sound()?.init());
        if let Some(known) = levels.iter().map(of_sound).collect() {
            return Ok(known);
        }
        let config = config_of(init).ok_or(Failed::Encoder)?;
        let mut answers = Vec::new();
        for made in self.asked_about(config, levels, priority)? {
            if priority == Priority::Live {
                made.ask();
            }
            let answer = made.part(0).await?.ok_or(Failed::Encoder)?;
            answers.push(answer.concat().into());
        }
        Ok(answers)
    }

    /// What levels of originals in this form have in common: parameter sets depend on nothing else.
    fn form(&self, config: &VideoConfig, level: &Level) -> String {
        format!("{:?}", level.output(config, self.encoder(), None))
    }

    /// Answers that are there or on their way; about what nobody has asked yet, somebody asks now.
    fn asked_about(
        &self,
        config: VideoConfig,
        levels: &[Level],
        priority: Priority,
    ) -> Result<Vec<Arc<Made>>, Failed> {
        let (watched, now): (Arc<Notify>, _) = (Arc::default(), Instant::now());
        let (mut answers, mut forms): (Vec<Arc<Made>>, Vec<Form>) = Default::default();
        let mut state = self.state();
        let by_form = &mut state.inits.by_form;
        if by_form.len() >= INITS_MAX {
            by_form.retain(|_, made| made.outcome().is_none());
        }
        for level in levels {
            let form = self.form(&config, level);
            let there = by_form.get(&form).filter(|made| !made.is_stale(now)).cloned();
            answers.push(there.unwrap_or_else(|| {
                let made = Arc::new(Made::ahead(watched.clone()));
                by_form.insert(form.clone(), made.clone());
                forms.push(Form { level: level.clone(), form, made: Waited(made.clone()) });
                made
            }));
        }
        if forms.is_empty() {
            return Ok(answers);
        }
        let new: Vec<String> = forms.iter().map(|form| form.form.clone()).collect();
        let taken = self.take_on(Work::Inits(Unknown { config, forms, priority, watched }));
        if taken.is_err() {
            // Too much is going on: who asks next asks anew.
            new.iter().for_each(|form| _ = by_form.remove(form));
        }
        taken.map(|()| answers)
    }

    /// Asks. A worker may die of it: it is asked once more.
    pub(crate) async fn answer(self: Arc<Self>, unknown: Unknown) {
        let Unknown { config, mut forms, priority, watched } = unknown;
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
        let mut again = true;
        let outcome = loop {
            match self.parameters(&config, &left, priority, &watched).await {
                Err(JobError::Worker(error)) => {
                    self.counters().lost.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "an encoder was lost when it was asked for its parameter sets");
                    let error = JobError::Worker(error);
                    if error.is_final() || !std::mem::take(&mut again) {
                        break Err(Failed::Encoder);
                    }
                }
                Err(JobError::Busy) => break Err(Failed::Busy),
                Err(error) => {
                    tracing::warn!(%error, "no initialisation segments");
                    break Err(Failed::Encoder);
                }
                Ok(made) => break Ok(made),
            }
        };
        match outcome {
            Ok(inits) => {
                for (form, init) in left.iter().zip(inits) {
                    self.answered(form, init.clone());
                    self.keep_on_disk(&form.form, init).await;
                }
            }
            Err(failed) => left.iter().for_each(|form| form.made.0.finish(Err(failed))),
        }
    }

    fn answered(&self, form: &Form, init: Bytes) {
        form.made.0.push(0, vec![init]);
        form.made.0.finish(Ok(()));
    }

    /// A job without frames: the encoder says its parameter sets.
    async fn parameters(
        &self,
        config: &VideoConfig,
        forms: &[Form],
        priority: Priority,
        watched: &Notify,
    ) -> Result<Vec<Bytes>, JobError> {
        let leased = match priority {
            Priority::Live => self.pool().lease(priority).await,
            // Who watches does not wait behind what nobody watches yet.
            _ => self.pool().lease_before(watched.notified(), (priority, Priority::Live)).await,
        };
        let mut lease = match leased {
            Ok(lease) => lease,
            Err(NoWorker::Busy) => return Err(JobError::Busy),
            Err(NoWorker::Worker(error)) => return Err(error.into()),
        };
        let worker = lease.worker().ok_or(WorkerError::Ended)?;
        let levels = forms.iter().map(|form| form.level.clone());
        worker.to.send(&begin(config, 0, levels, self.encoder(), None)?).await?;
        worker.to.send(&ToEncoder::End).await?;
        let mut made = BTreeMap::new();
        loop {
            match worker.from.answer(|| true).await? {
                FromEncoder::Began { output, parameters } => {
                    made.insert(output, init_of(&parameters, VIDEO_TIMESCALE)?);
                }
                FromEncoder::Done { .. } => break,
                FromEncoder::Failed(words) => return Err(JobError::Failed(words)),
                FromEncoder::Packet { .. } | FromEncoder::Hello(_) | FromEncoder::GoesOn => {}
            }
        }
        // Who watches goes on with the process; for a list alone none is kept.
        if forms.iter().any(|form| form.made.0.is_asked()) {
            lease.done();
        }
        let all = made.len() == forms.len();
        let made = all.then(|| made.into_values().collect());
        made.ok_or_else(|| JobError::Failed("no parameter sets".to_owned()))
    }

    /// Whether an encoder that is about to encode a level says of it what was said when it was asked; what nobody has asked
    /// about is known from now on.
    pub(crate) fn is_as_asked(&self, config: &VideoConfig, level: &Level, init: &Bytes) -> bool {
        let form = self.form(config, level);
        let mut state = self.state();
        match state.inits.by_form.get(&form).map(|made| (made.outcome(), made.whole())) {
            Some((Some(_), Some(known))) => known.concat() == init[..],
            // It failed, or is on its way.
            Some(_) => true,
            None => {
                let made = Made::new();
                made.push(0, vec![init.clone()]);
                made.finish(Ok(()));
                if state.inits.by_form.len() < INITS_MAX {
                    state.inits.by_form.insert(form, Arc::new(made));
                }
                true
            }
        }
    }

    /// What was answered is no longer true: who asks next asks anew.
    pub(crate) async fn forget_answers(&self) {
        let forms = {
            let mut state = self.state();
            state.inits.by_id.clear();
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
        self.disk().filter(|_| self.encoder() == SOFTWARE)
    }

    async fn answer_on_disk(&self, form: &str) -> Option<Bytes> {
        let (disk, name) = (self.disk_of_forms()?.clone(), self.name_of_form(form));
        let found = spawn_blocking(move || disk.get(&name)).await.ok()??;
        found.into_iter().next()
    }

    async fn keep_on_disk(&self, form: &str, init: Bytes) {
        let Some(disk) = self.disk_of_forms().cloned() else { return };
        let name = self.name_of_form(form);
        let put = spawn_blocking(move || disk.put(name, &[vec![init]])).await;
        if let Ok(Err(error)) = put {
            tracing::warn!(%error, "parameter sets are not kept on the disk");
        }
    }

    fn name_of_form(&self, form: &str) -> Name {
        let level = hash(&format!("{} {} {form}", self.words(), ladder::VERSION));
        Name { video: FOLDER.to_owned(), level, epoch: 0, number: 0 }
    }
}

/// 64 bits of it.
pub(crate) fn hash(text: &str) -> u64 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).fold(0u64, |id, byte| id << 8 | u64::from(*byte))
}
