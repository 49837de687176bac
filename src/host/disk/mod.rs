//! Disks and images on the machine: the state folder, the image store, what servers have on the disk.
//!
//! Concrete, since there is one backend. Files are reached through [`Tree`] alone, QEMU's tools are run by `qemu_img` alone and only
//! on [`VettedImage`]s and on disks made here. Knows nothing of who may do what.

mod bases;
mod capture;
mod chain;
mod console;
mod error;
mod images;
pub mod inspect;
mod layers;
mod leaving;
mod qemu_img;
mod rescue;
mod server_disks;
mod tree;

pub use bases::Base;
pub use capture::CopyFiles;
pub use chain::{Layer, is_sealed, layers};
pub use error::DiskError;
pub use images::{ImageFacts, ImageReader, ImageStore, Upload, VettedImage};
pub use inspect::{ImageFormat, Refusal};
pub use server_disks::{Disk, DiskRole, ServerDisks};
pub use tree::Tree;

/// Runs work that blocks on the blocking pool.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DiskError> + Send + 'static,
) -> Result<T, DiskError> {
    tokio::task::spawn_blocking(work).await?
}
