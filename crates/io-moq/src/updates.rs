//! REQUEST_UPDATEs of a peer (draft-18 §10.9), each taken up once it is known that what it shows is good.

use std::collections::VecDeque;
use std::pin::Pin;

use moqt::{Answer, Parameters, RequestId, Secret};
use spine::Path;
use tokio::sync::mpsc;

use crate::viewer::Viewer;

/// What a REQUEST_UPDATE says.
pub(crate) struct Update {
    /// Its own name.
    pub(crate) id: RequestId,
    pub(crate) parameters: Parameters,
    pub(crate) tokens: Vec<Secret>,
}

/// The updates of a request that is about one broadcast.
pub(crate) struct Updates {
    told: mpsc::UnboundedReceiver<Box<Update>>,
    /// They have come while one was looked at: the session lets no more wait than
    /// MAX_REQUEST_UPDATES.
    waiting: VecDeque<Box<Update>>,
    viewer: Viewer,
    path: Path,
    looking: Option<Looking>,
}

type Looking = Pin<Box<dyn Future<Output = Result<Box<Update>, Answer>> + Send>>;

impl Updates {
    /// `told`: in boxes, as a queue has room for 32 from the start. Closed when the request is over.
    pub(crate) fn new(
        told: mpsc::UnboundedReceiver<Box<Update>>,
        viewer: Viewer,
        path: Path,
    ) -> Self {
        Self { told, waiting: VecDeque::new(), viewer, path, looking: None }
    }

    /// The next one, or its refusal; nothing when the request is over, also while one is looked at.
    /// Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<Box<Update>, Answer>> {
        if self.looking.is_none() {
            let update = match self.waiting.pop_front() {
                Some(update) => update,
                None => self.told.recv().await?,
            };
            if update.tokens.is_empty() {
                return Some(Ok(update));
            }
            let (viewer, path) = (self.viewer.clone(), self.path.clone());
            self.looking = Some(Box::pin(take_up(viewer, path, update)));
        }
        loop {
            let looking = self.looking.as_mut()?;
            tokio::select! {
                biased;
                told = self.told.recv() => self.waiting.push_back(told?),
                looked = looking => {
                    self.looking = None;
                    return Some(looked);
                }
            }
        }
    }
}

async fn take_up(
    viewer: Viewer,
    path: Path,
    mut update: Box<Update>,
) -> Result<Box<Update>, Answer> {
    let tokens = std::mem::take(&mut update.tokens);
    let _look = viewer.look();
    if let Some(refusal) = viewer.refusal(&path, &tokens).await {
        return Err(refusal);
    }
    viewer.renew(tokens);
    Ok(update)
}
