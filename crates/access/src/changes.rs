//! Who waits, or is sent something for long, is told when somebody changes who may watch: until then there is nothing to look at.

use tokio::sync::watch;

/// Where it is said that something has changed: what was said of an input or a video, a link or a signing key.
#[derive(Debug)]
pub(crate) struct Changed(watch::Sender<()>);

impl Default for Changed {
    fn default() -> Self {
        Self(watch::channel(()).0)
    }
}

impl Changed {
    /// What is looked up from now on is of after the change.
    pub(crate) fn say(&self) {
        self.0.send_replace(());
    }

    pub(crate) fn heard(&self) -> Changes {
        Changes(self.0.subscribe())
    }
}

/// Hears of each change since this was made, or last [seen](Self::see). Which it was is not said: whoever hears of one asks again. Only
/// changes that are made through the same [`Access`](crate::Access) are heard of.
#[derive(Debug, Clone)]
pub struct Changes(watch::Receiver<()>);

impl Changes {
    /// The same for who hears of it in another way: changed with each.
    pub fn watch(self) -> watch::Receiver<()> {
        self.0
    }

    /// What was changed until now is of no interest: it is looked at from here on.
    pub fn see(&mut self) {
        self.0.mark_unchanged();
    }

    /// When something has changed. Nothing is missed where this is dropped while it waits.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Whoever could change something has gone.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use control::{Control, MasterKey};
    use futures_util::FutureExt;

    use crate::keys::{self, Algorithm};
    use crate::link::Link;
    use crate::{Access, Changes};

    const NOW: u64 = 1_763_812_800_000;

    fn heard(changes: &mut Changes) -> bool {
        changes.next().now_or_never().is_some()
    }

    #[tokio::test]
    async fn whatever_takes_a_right_away_is_heard_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.db");
        let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
        let access = Access::load(control, &[9; 32], None).await.unwrap();
        let mut changes = access.changes();
        let hour_ms = u64::try_from(Duration::from_secs(3_600).as_millis()).unwrap();
        let link = Link {
            id: String::new(),
            name: "a friend".to_owned(),
            created_ms: NOW,
            expires_ms: NOW + hour_ms,
            downloadable: true,
        };
        let link = access.create_link("uid", link, [5; 16]).await.unwrap();
        let key = keys::generate(Algorithm::EdDsa, "k".to_owned(), NOW).unwrap();
        assert!(access.add_key(&key).await.unwrap());
        assert!(!heard(&mut changes), "what gives rights takes none");
        assert!(access.delete_link("uid", &link.id).await.unwrap());
        assert!(heard(&mut changes), "a link");
        assert!(access.delete_key("k").await.unwrap());
        assert!(heard(&mut changes), "a signing key");
        access.forget_policies();
        assert!(heard(&mut changes), "what was said of an input or a video");
        assert!(!heard(&mut changes), "once");
        access.forget_policies();
        changes.see();
        assert!(!heard(&mut changes), "seen");
        assert!(!heard(&mut access.changes()), "from its beginning on");
        // Nobody is left who could change anything.
        drop(access);
        assert!(!heard(&mut changes));
    }
}
