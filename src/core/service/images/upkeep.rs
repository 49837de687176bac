//! What nobody asks for: taking back uploads that broke off, and removing bytes that nobody needs any more.

use super::ImageService;
use crate::core::ids::ImageId;
use crate::core::{Error, Result};
use crate::store::images;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often bytes that nobody needs any more are looked for. They cost disk, not correctness.
const SWEEP: Duration = Duration::from_secs(600);

/// When to try again what could not be taken back, as on a full disk.
const RETRY: Duration = Duration::from_secs(30);

/// The uploads of this process.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// The images whose "saving" is the business of an upload here.
    claimed: Mutex<BTreeSet<ImageId>>,
    /// Those of them that nobody waits for any more.
    abandoned: Mutex<BTreeSet<ImageId>>,
    news: Notify,
}

impl Uploads {
    /// Claims an image; false when somebody has it already.
    pub(super) fn claim(&self, id: ImageId) -> bool {
        lock(&self.claimed).insert(id)
    }

    pub(super) fn release(&self, id: ImageId) {
        lock(&self.claimed).remove(&id);
    }

    /// Leaves a claimed image to the chore.
    pub(super) fn abandon(&self, id: ImageId) {
        lock(&self.abandoned).insert(id);
        self.news.notify_one();
    }
}

/// The sets are whole whatever panics while they are locked.
fn lock(set: &Mutex<BTreeSet<ImageId>>) -> MutexGuard<'_, BTreeSet<ImageId>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ImageService {
    /// The chore beside the use cases: works until `stop`. What is not done by then is done by
    /// [`ImageService::recover`] at the next start.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval_at(Instant::now() + SWEEP, SWEEP);
        let mut retry = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.uploads.news.notified() => retry = !self.take_back_abandoned().await,
                () = tokio::time::sleep(RETRY), if retry => retry = !self.take_back_abandoned().await,
                _ = sweep.tick() => {
                    if let Err(error) = self.sweep().await {
                        tracing::error!(%error, "bytes that nobody needs could not be removed");
                    }
                }
            }
        }
    }

    /// Takes back the uploads that nobody waits for; says whether that worked for all.
    async fn take_back_abandoned(&self) -> bool {
        let abandoned = std::mem::take(&mut *lock(&self.uploads.abandoned));
        let mut all = true;
        for id in abandoned {
            if let Err(error) = self.take_back(id).await {
                tracing::error!(image = %id, %error, "an upload that broke off could not be taken back yet");
                lock(&self.uploads.abandoned).insert(id);
                all = false;
            }
        }
        all
    }

    /// Brings rows and disk together after a stop of any kind. To be called before the first request; what uploads left in
    /// staging is gone by then.
    ///
    /// # Errors
    /// The store or the disk failed.
    pub async fn recover(&self) -> Result<()> {
        let now = self.deps.clock.now();
        let reset =
            self.deps.store.write(move |c| Ok::<_, Error>(images::reset_interrupted(c, None, now)?)).await?;
        let (files, bases) = self.sweep().await?;
        if reset.len() + files + bases > 0 {
            tracing::info!(reset = reset.len(), files, bases, "image store brought in order");
        }
        Ok(())
    }

    /// Removes the bytes of images that are gone, and the bases that no server stands on. The base of an image that is
    /// still there stays: its next server would make it anew. Says how many of each.
    pub(super) async fn sweep(&self) -> Result<(usize, usize)> {
        let (mut files, mut bases) = (0, 0);
        for id in self.files.list().await? {
            // An upload of the image cannot finish between the question and the removal.
            if !self.uploads.claim(id) {
                continue;
            }
            let removed = self.remove_unwanted(id).await;
            self.uploads.release(id);
            files += usize::from(removed?);
        }
        let kept: BTreeSet<ImageId> = self.files.list().await?.into_iter().collect();
        for id in self.files.list_bases().await? {
            if kept.contains(&id) {
                continue;
            }
            let used = self.deps.store.read(move |c| Ok::<_, Error>(images::is_base(c, id)?)).await?;
            // A server that came back from being shelved stands on an image that its row does not name. Looked at after
            // the rows: whoever has just made a disk was busy when they were read.
            if !used && !self.files.bases_in_use().await?.contains(&id) && self.files.remove_base(id).await? {
                bases += 1;
            }
        }
        Ok((files, bases))
    }

    /// Removes the image's bytes unless somebody wants them; says whether there were any.
    pub(super) async fn remove_unwanted(&self, id: ImageId) -> Result<bool> {
        let wanted = self.deps.store.read(move |c| Ok::<_, Error>(images::wants_file(c, id)?)).await?;
        Ok(!wanted && self.files.delete(id).await?)
    }

    /// Makes an image wait for its bytes again, after an upload of this process that came to nothing.
    pub(super) async fn take_back(&self, id: ImageId) -> Result<()> {
        let now = self.deps.clock.now();
        self.deps.store.write(move |c| Ok::<_, Error>(images::reset_interrupted(c, Some(id), now)?)).await?;
        // Whether they had become whole just before does not matter any more.
        self.remove_unwanted(id).await?;
        self.uploads.release(id);
        Ok(())
    }
}
