//! From a server's root disk to an image, whether its guest runs or not: a copy of the disk first, then the image's bytes
//! and its row.
//!
//! A running guest is not stopped, and nothing is put between it and its disk, so that there is nothing to be taken
//! away when this breaks off. While the copy begins, its file systems are frozen if an agent listens; that lasts as long
//! as the beginning of the copy, and is ended whatever came of it.

use super::{Blame, ServerEnv, ServerTask, record, shut_down};
use crate::core::ids::{ImageId, ServerId};
use crate::core::image::{Facts, Image, Status};
use crate::core::server::state::TaskState;
use crate::core::server::{Server, snapshot};
use crate::host::hypervisor::{Copying, DomainState};
use crate::store::{Connection, StoreError, images};
use crate::task::{Step, StepContext, StepError, StepFuture, Workflow};
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// How often the copy is looked at while nothing is heard of it.
const LOOK: Duration = Duration::from_secs(2);
const THAW_TRIES: u32 = 5;
const THAW_PAUSE: Duration = Duration::from_millis(300);
const MIB: u64 = 1 << 20;
/// The longest that copying a disk may take.
const DEADLINE: Duration = Duration::from_secs(8 * 3600);

/// What a workflow that makes an image of its server's root disk says about it.
pub trait Capturing {
    /// What the server shows while its disk is copied.
    const COPYING: TaskState;
    /// What it shows while the copy becomes the image.
    const PUBLISHING: TaskState;
    /// Whether it is a failure when somebody deletes the image meanwhile.
    const VITAL: bool;

    fn task(&self) -> &ServerTask;

    /// The image that is waiting for the disk.
    fn image(&self) -> ImageId;
}

/// The steps from the disk to the image: "copy" and "publish".
pub fn steps<W>() -> [Step<W>; 2]
where
    W: Workflow<Env = ServerEnv>,
    W::State: Capturing,
{
    [
        Step::<W>::new("copy", copy_disk)
            .enter(|c, state, info, now| {
                begin_saving(c, state.image(), now)?;
                record::enter(c, state.task(), info, W::State::COPYING, now)
            })
            .undo(discard_copy)
            .deadline(DEADLINE),
        Step::<W>::new("publish", publish_copy)
            .enter(|c, state, info, now| record::enter(c, state.task(), info, W::State::PUBLISHING, now))
            .undo(remove_bytes)
            .deadline(DEADLINE),
    ]
}

fn copy_disk<'a, S: Capturing>(
    env: &'a ServerEnv,
    state: &'a mut S,
    context: &'a StepContext,
) -> StepFuture<'a> {
    let id = state.task().server;
    Box::pin(async move { copy(env, &env.load(id).await?.server, context).await })
}

fn discard_copy<'a, S: Capturing>(
    env: &'a ServerEnv,
    state: &'a mut S,
    _: &'a StepContext,
) -> StepFuture<'a> {
    Box::pin(discard(env, state.task().server))
}

fn publish_copy<'a, S: Capturing>(
    env: &'a ServerEnv,
    state: &'a mut S,
    _: &'a StepContext,
) -> StepFuture<'a> {
    let (server, image) = (state.task().server, state.image());
    Box::pin(async move {
        publish(env, &env.load(server).await?.server, image, env.now()).await?;
        if !S::VITAL {
            return Ok(());
        }
        if env.store.read(move |c| images::get(c, image)).await?.is_none() {
            let words = format!("Image {image} was deleted while the server was being shelved.");
            return Err(StepError::new(409, words));
        }
        // Last, since a server that was suspended and could not be shelved is suspended still.
        env.hypervisor.discard_saved(server).await.blame("Letting the guest's saved memory go")
    })
}

fn remove_bytes<'a, S: Capturing>(
    env: &'a ServerEnv,
    state: &'a mut S,
    _: &'a StepContext,
) -> StepFuture<'a> {
    let image = state.image();
    Box::pin(async move {
        env.storage.remove_image(image).await.blame("Removing the bytes of an unfinished image")
    })
}

/// Ensures that no copy of the server's disk is being made and that no file system of the guest is frozen.
async fn settle(env: &ServerEnv, id: ServerId) -> Result<(), StepError> {
    // Without an agent nothing can be frozen.
    let thawed = env.hypervisor.thaw(id).await.blame("Thawing the guest's file systems");
    env.hypervisor.abort_copy(id).await.blame("Breaking off a copy of the disk")?;
    thawed.map(drop)
}

/// Ensures that there is no copy of the server's disk.
pub async fn discard(env: &ServerEnv, id: ServerId) -> Result<(), StepError> {
    settle(env, id).await?;
    env.storage.drop_capture(id).await.blame("Removing the copy of the disk")
}

/// Ensures a copy of what the root disk shows to the guest at one moment.
async fn copy(env: &ServerEnv, server: &Server, context: &StepContext) -> Result<(), StepError> {
    let id = server.id;
    settle(env, id).await?;
    if env.storage.has_capture(id).await.blame("Looking for a copy of the disk")? {
        return Ok(());
    }
    if shut_down::runs(env, id).await? {
        copy_live(env, server, context).await
    } else {
        tokio::select! {
            copied = env.storage.capture(id) => copied.blame("Copying the disk"),
            () = context.preempted.cancelled() => shut_down::gave_way(context),
        }
    }
}

async fn copy_live(env: &ServerEnv, server: &Server, context: &StepContext) -> Result<(), StepError> {
    let id = server.id;
    let files = env.storage.begin_capture(id).await.blame("Making room for a copy of the disk")?;
    let mut events = env.hypervisor.events();
    let frozen = freeze(env, server).await?;
    let begun = env.hypervisor.begin_copy(id, &files.disk, &files.copy).await;
    if frozen {
        thaw(env, id).await?;
    }
    begun.blame("Copying the disk")?;
    loop {
        match env.hypervisor.look_at_copy(id).await.blame("Looking at the copy of the disk")? {
            Copying::Done => break,
            Copying::Running => {}
            Copying::Failed(reason) => {
                return Err(StepError::new(500, format!("Copying the disk failed: {reason}")));
            }
            Copying::Nothing => {
                // A guest that shut itself down took the copy with it. What it left can be copied now.
                let error = StepError::new(500, "The guest went off while its disk was being copied.");
                return Err(error.transient());
            }
        }
        tokio::select! {
            () = shut_down::changed(&mut events, id) => {}
            () = tokio::time::sleep_until(Instant::now() + LOOK) => {}
            () = context.preempted.cancelled() => return shut_down::gave_way(context),
        }
    }
    env.storage.end_capture(id).await.blame("Keeping the copy of the disk")
}

/// Freezes the guest's file systems, if an agent listens, and says whether it did. An image may insist on it.
async fn freeze(env: &ServerEnv, server: &Server) -> Result<bool, StepError> {
    let insists = server.image_properties.get("os_require_quiesce").is_some_and(|word| word == "yes");
    let state = env.hypervisor.state(server.id).await.blame("Looking at the guest")?;
    if state != Some(DomainState::Running) {
        return Ok(false);
    }
    match env.hypervisor.freeze(server.id).await {
        Ok(true) => Ok(true),
        Ok(false) if insists => Err(StepError::new(
            409,
            "The image asks for frozen file systems, and no agent in the guest answers. Start the agent.",
        )),
        Ok(false) => Ok(false),
        Err(error) => {
            // Some of them may be frozen.
            thaw(env, server.id).await?;
            if insists {
                return Err(error).blame("Freezing the guest's file systems");
            }
            tracing::warn!(server = %server.id, %error, "the guest's file systems could not be frozen");
            Ok(false)
        }
    }
}

/// Thaws what was frozen, patiently: a guest that stays frozen is as good as dead.
async fn thaw(env: &ServerEnv, id: ServerId) -> Result<(), StepError> {
    for _ in 1..THAW_TRIES {
        match env.hypervisor.thaw(id).await {
            Ok(true) => return Ok(()),
            Ok(false) => tracing::warn!(server = %id, "the agent does not answer a thaw; trying again"),
            Err(error) => tracing::warn!(server = %id, %error, "the guest could not be thawed; trying again"),
        }
        tokio::time::sleep(THAW_PAUSE).await;
    }
    if env.hypervisor.thaw(id).await.blame("Thawing the guest's file systems")? {
        return Ok(());
    }
    Err(StepError::new(500, "The guest's agent froze its file systems and does not thaw them."))
}

/// Makes the copy the bytes of the image, and the image active. An image that was deleted meanwhile is no failure: then
/// the copy is for nobody.
async fn publish(env: &ServerEnv, server: &Server, id: ImageId, now: Timestamp) -> Result<(), StepError> {
    let found = env.store.read(move |c| images::get(c, id)).await?;
    let Some(found) = found else { return discard(env, server.id).await };
    if found.status == Status::Active {
        return Ok(());
    }
    let facts = env.storage.publish_capture(server.id, id).await.blame("Making the image")?;
    let facts = Facts {
        size: facts.size,
        virtual_size: Some(facts.virtual_size),
        md5: facts.md5,
        sha512: facts.sha512,
        file_format: facts.format.name().to_owned(),
    };
    let server = server.clone();
    let filled = env
        .store
        .write::<_, StoreError, _>(move |c| {
            let Some(mut image) = images::get(c, id)? else { return Ok(Filled::Gone) };
            if let Some(room) = lacks_room(c, &image, facts.size)? {
                return Ok(Filled::NoRoom(room));
            }
            snapshot::complete(&mut image, &server);
            image.take_facts(facts);
            (image.status, image.updated_at) = (Status::Active, now);
            images::update(c, &image)?;
            Ok(Filled::Whole)
        })
        .await?;
    match filled {
        Filled::Whole => Ok(()),
        Filled::Gone => env.storage.remove_image(id).await.blame("Removing the bytes of a deleted image"),
        Filled::NoRoom(left) => Err(StepError::new(
            403,
            format!("The image is larger than what the project's quota leaves: {left} bytes. Delete images."),
        )),
    }
}

enum Filled {
    Whole,
    Gone,
    /// How many bytes the project may still store.
    NoRoom(u64),
}

/// How many bytes are left, if the project may not store that many.
fn lacks_room(c: &Connection, image: &Image, bytes: u64) -> Result<Option<u64>, StoreError> {
    let Some(owner) = &image.owner else { return Ok(None) };
    let limit = images::limit(c, owner, "image_size_total")?.and_then(|mib| u64::try_from(mib).ok());
    let Some(limit) = limit else { return Ok(None) };
    let left = limit.saturating_mul(MIB).saturating_sub(images::usage(c, owner)?.bytes);
    Ok((left < bytes).then_some(left))
}

/// Shows that the image is about to get its bytes.
fn begin_saving(c: &Connection, id: ImageId, now: Timestamp) -> Result<(), StoreError> {
    let Some(mut image) = images::get(c, id)?.filter(|image| image.status == Status::Queued) else {
        return Ok(());
    };
    (image.status, image.updated_at) = (Status::Saving, now);
    images::update(c, &image)?;
    Ok(())
}

/// Deletes an image that nobody deletes for us, with its bytes unless somebody still reads them.
pub async fn delete_image(env: &ServerEnv, id: ImageId, now: Timestamp) -> Result<(), StepError> {
    let wanted = env
        .store
        .write::<_, StoreError, _>(move |c| {
            images::delete(c, id, now)?;
            images::wants_file(c, id)
        })
        .await?;
    if wanted {
        // The sweep of the image store removes them when nobody does any more.
        return Ok(());
    }
    env.storage.remove_image(id).await.blame("Removing the bytes of an image")
}
