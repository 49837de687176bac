//! What the creator of a server wishes for the server's own disks, and which disks follow from that and the flavor.

use super::Server;
use serde::{Deserialize, Serialize};

/// How a guest is to get a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskWish {
    /// The bus that it hangs on, by Nova's name; `None` leaves it to the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// What it is to the guest, by Nova's name: `disk`, `cdrom`, ...; `None` for what is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_type: Option<String>,
    /// What the guest is told that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// An ephemeral disk or a swap disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlankDisk {
    /// Of an ephemeral disk in GiB, of a swap disk in MiB; `None` for the flavor's, which is also what 0 means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(flatten)]
    pub wish: DiskWish,
}

/// The wishes for all disks of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDisks {
    #[serde(default)]
    pub root: DiskWish,
    /// Empty for one of the flavor's size.
    #[serde(default)]
    pub ephemeral: Vec<BlankDisk>,
    #[serde(default)]
    pub swap: BlankDisk,
}

/// The name of the root disk among a server's own.
pub const ROOT: &str = "root";
/// The name of the swap disk.
pub const SWAP: &str = "swap";

/// The name of an ephemeral disk, counted from 0.
pub fn ephemeral(number: impl Into<usize>) -> String {
    format!("ephemeral{}", number.into())
}

impl BlankDisk {
    fn size_or(&self, usual: u64) -> u64 {
        self.size.filter(|size| *size > 0).unwrap_or(usual)
    }
}

/// The sizes in GiB of ephemeral disks that were asked for, where the flavor has so much of it.
pub fn ephemeral_sizes(asked: &[BlankDisk], flavor_gib: u64) -> Vec<u64> {
    if asked.is_empty() {
        return vec![flavor_gib];
    }
    asked.iter().map(|disk| disk.size_or(flavor_gib)).collect()
}

impl OwnDisks {
    /// The wish for an ephemeral disk, counted from 0, if there is one.
    pub fn ephemeral_wish(&self, number: impl Into<usize>) -> Option<&DiskWish> {
        self.ephemeral.get(number.into()).map(|disk| &disk.wish)
    }

    /// All wishes with the names of their disks.
    pub fn wishes(&self) -> impl Iterator<Item = (String, &DiskWish)> {
        let blank = self.ephemeral.iter().enumerate().map(|(number, disk)| (ephemeral(number), &disk.wish));
        let root = (ROOT.to_owned(), &self.root);
        std::iter::once(root).chain(blank).chain([(SWAP.to_owned(), &self.swap.wish)])
    }

    /// The tags that the guest is told, with the names of their disks.
    pub fn tags(&self) -> impl Iterator<Item = (String, &str)> {
        self.wishes().filter_map(|(name, wish)| Some((name, wish.tag.as_deref()?)))
    }
}

impl Server {
    /// The sizes of its ephemeral disks in GiB, in their order; 0 for one that is not there.
    pub fn ephemeral_gib(&self) -> Vec<u64> {
        ephemeral_sizes(&self.disks.ephemeral, self.flavor.ephemeral_gib)
    }

    /// The size of its swap disk in MiB; 0 for none.
    pub fn swap_mib(&self) -> u64 {
        // A resize may give less than was once asked for.
        self.disks.swap.size_or(self.flavor.swap_mib).min(self.flavor.swap_mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::server::sample;

    #[test]
    fn sizes_are_those_asked_for_or_the_flavors() {
        let mut server = sample();
        (server.flavor.ephemeral_gib, server.flavor.swap_mib) = (4, 64);
        assert_eq!((server.ephemeral_gib(), server.swap_mib()), (vec![4], 64));
        let blank = |size| BlankDisk { size, ..BlankDisk::default() };
        server.disks.ephemeral = vec![blank(Some(1)), blank(Some(3))];
        server.disks.swap = blank(Some(8));
        assert_eq!((server.ephemeral_gib(), server.swap_mib()), (vec![1, 3], 8));
        server.disks.ephemeral = vec![blank(Some(0))];
        server.disks.swap = blank(None);
        assert_eq!((server.ephemeral_gib(), server.swap_mib()), (vec![4], 64));
        server.disks.swap = blank(Some(65));
        assert_eq!(server.swap_mib(), 64);
    }

    #[test]
    fn what_was_stored_before_there_were_wishes_has_none() {
        assert_eq!(serde_json::from_str::<OwnDisks>("{}").unwrap(), OwnDisks::default());
        let wish = DiskWish { tag: Some("db".into()), ..DiskWish::default() };
        let blank = BlankDisk { size: Some(1), wish: wish.clone() };
        let disks = OwnDisks { ephemeral: vec![BlankDisk::default(), blank], ..OwnDisks::default() };
        let text = serde_json::to_string(&disks).unwrap();
        assert_eq!(serde_json::from_str::<OwnDisks>(&text).unwrap(), disks);
        assert_eq!(disks.tags().collect::<Vec<_>>(), [("ephemeral1".to_owned(), "db")]);
        assert_eq!(disks.ephemeral_wish(1_u8), Some(&wish));
    }
}
