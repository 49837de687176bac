//! What nobody asks for: taking back uploads that broke off, and removing bytes that nobody needs any more.

use super::ImageService;
use crate::core::ids::ImageId;
use crate::core::{Error, Result};
use crate::store::{Connection, StoreError, images};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often bytes that nobody needs any more are looked for. They cost disk, not correctness.
const SWEEP: Duration = Duration::from_secs(600);

/// When to try again what could not be taken back, as on a full disk.
const RETRY: Duration = Duration::from_secs(30);

/// What an image is held for. Nobody else may begin to fill it meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Its "saving" is the business of an upload here.
    Upload,
    /// Bytes that nobody wants are being removed, which is over in a moment.
    Removal,
}

/// The uploads of this process.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    held: Mutex<BTreeMap<ImageId, Hold>>,
    /// The images held for uploads that nobody waits for any more.
    abandoned: Mutex<BTreeSet<ImageId>>,
    /// Told whenever something is abandoned.
    news: Notify,
    /// Told whenever an image is let go.
    released: Notify,
}

impl Uploads {
    /// Holds an image for an upload; false when another one has it. Waits out a removal: the row may say already that the
    /// image waits for its bytes, so that whoever tries again must not be refused.
    pub(super) async fn claim(&self, id: ImageId) -> bool {
        loop {
            let released = self.released.notified();
            match self.hold(id, Hold::Upload) {
                None => return true,
                Some(Hold::Upload) => return false,
                Some(Hold::Removal) => released.await,
            }
        }
    }

    /// Holds an image, unless it is held already: then says for what.
    fn hold(&self, id: ImageId, hold: Hold) -> Option<Hold> {
        match lock(&self.held).entry(id) {
            Entry::Vacant(free) => {
                free.insert(hold);
                None
            }
            Entry::Occupied(held) => Some(*held.get()),
        }
    }

    /// Whoever holds an image goes on holding it for this.
    fn turn_to(&self, id: ImageId, hold: Hold) {
        lock(&self.held).insert(id, hold);
    }

    pub(super) fn release(&self, id: ImageId) {
        lock(&self.held).remove(&id);
        self.released.notify_waiters();
    }

    /// Leaves a held image to the chore.
    pub(super) fn abandon(&self, id: ImageId) {
        lock(&self.abandoned).insert(id);
        self.news.notify_one();
    }
}

/// What is locked here is whole whatever panics meanwhile.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
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
            if self.uploads.hold(id, Hold::Removal).is_some() {
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

    /// Makes an image wait for its bytes again, after an upload of this process that came to nothing, and lets it go.
    ///
    /// # Errors
    /// The store failed: the image is held on.
    pub(super) async fn take_back(&self, id: ImageId) -> Result<()> {
        let now = self.deps.clock.now();
        // From the change of the row on the image is there to be filled.
        self.uploads.turn_to(id, Hold::Removal);
        let write = move |c: &Connection| images::reset_interrupted(c, Some(id), now);
        if let Err(error) = self.deps.store.write::<_, StoreError, _>(write).await {
            self.uploads.turn_to(id, Hold::Upload);
            return Err(error.into());
        }
        // Whether they had become whole just before does not matter any more.
        if let Err(error) = self.remove_unwanted(id).await {
            tracing::warn!(image = %id, %error, "bytes of an upload that broke off stay until they are swept");
        }
        self.uploads.release(id);
        Ok(())
    }
}
