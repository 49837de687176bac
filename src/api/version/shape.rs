//! A ledger compiled for one resource and one version: which keys an answer shows and in which form.
//!
//! Views write themselves through a shape straight to the serialiser, so that no answer exists as a tree of values.

use super::ledger::{Change, Entry, holds};
use serde::Serialize;
use serde::ser::SerializeMap;

/// How a resource looks at one version: only what differs from "every key in its newest form".
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sorted by length, then by key: most comparisons end with the length.
    keys: Box<[(&'static str, Treatment)]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Hidden,
    /// How many changes of form lie between this version and the newest; at least one.
    Older(u8),
}

impl Shape {
    /// The shape of `resource` at `minor`.
    pub fn compile<R: PartialEq, I>(ledger: &[Entry<R, I>], resource: &R, minor: u16) -> Self {
        let mut names: Vec<&'static str> = Vec::new();
        for (_, _, keys) in touching(ledger, resource) {
            names.extend(keys);
        }
        names.sort_unstable_by_key(|name| by_length(name));
        names.dedup();
        let keys = names.into_iter().filter_map(|name| {
            let mine = || touching(ledger, resource).filter(move |(_, _, keys)| keys.contains(&name));
            let switches = mine().filter_map(|(at, change, _)| match change {
                Change::Shown(..) => Some((at, true)),
                Change::Hidden(..) => Some((at, false)),
                _ => None,
            });
            if !holds(switches, minor) {
                return Some((name, Treatment::Hidden));
            }
            let later =
                mine().filter(|(at, change, _)| *at > minor && matches!(change, Change::Reshaped(..)));
            match u8::try_from(later.count()) {
                Ok(0) | Err(_) => None,
                Ok(count) => Some((name, Treatment::Older(count))),
            }
        });
        Self { keys: keys.collect() }
    }

    fn treatment(&self, key: &str) -> Option<Treatment> {
        if self.keys.is_empty() {
            return None;
        }
        self.keys
            .binary_search_by_key(&by_length(key), |(name, _)| by_length(name))
            .ok()
            .map(|index| self.keys[index].1)
    }

    pub fn shows(&self, key: &str) -> bool {
        self.treatment(key) != Some(Treatment::Hidden)
    }

    /// Whether the key's value has its newest form at this version.
    pub fn newest(&self, key: &str) -> bool {
        !matches!(self.treatment(key), Some(Treatment::Older(_)))
    }
}

fn by_length(key: &str) -> (usize, &str) {
    (key.len(), key)
}

/// The response changes of one resource in order, each with its version and keys.
fn touching<'l, R: PartialEq, I>(
    ledger: &'l [Entry<R, I>],
    resource: &'l R,
) -> impl Iterator<Item = (u16, &'l Change<R, I>, &'static [&'static str])> {
    ledger.iter().flat_map(move |entry| {
        entry.changes.iter().filter_map(move |change| match change {
            Change::Shown(resources, keys)
            | Change::Hidden(resources, keys)
            | Change::Reshaped(resources, keys)
                if resources.contains(resource) =>
            {
                Some((entry.minor, change, *keys))
            }
            _ => None,
        })
    })
}

/// Writes the fields of a view that its shape shows.
pub struct Writer<'s, M> {
    map: M,
    shape: &'s Shape,
}

impl<'s, M: SerializeMap> Writer<'s, M> {
    pub fn new(map: M, shape: &'s Shape) -> Self {
        Self { map, shape }
    }

    pub fn shape(&self) -> &'s Shape {
        self.shape
    }

    pub fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), M::Error> {
        if self.shape.shows(key) { self.map.serialize_entry(key, value) } else { Ok(()) }
    }

    /// A field that is missing, not null, without a value.
    pub fn optional<T: Serialize>(&mut self, key: &'static str, value: Option<&T>) -> Result<(), M::Error> {
        match value {
            Some(value) => self.field(key, value),
            None => Ok(()),
        }
    }

    pub fn end(self) -> Result<M::Ok, M::Error> {
        self.map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq)]
    struct Thing;

    const LEDGER: &[Entry<Thing, ()>] = &[
        Entry { minor: 3, what: "", changes: &[Change::Shown(&[Thing], &["a"])] },
        Entry { minor: 5, what: "", changes: &[Change::Reshaped(&[Thing], &["b"])] },
        Entry { minor: 7, what: "", changes: &[Change::Hidden(&[Thing], &["c"])] },
    ];

    #[test]
    fn shapes_follow_the_ledger() {
        let at = |minor| {
            let shape = Shape::compile(LEDGER, &Thing, minor);
            (shape.shows("a"), shape.newest("b"), shape.shows("c"))
        };
        assert_eq!(at(2), (false, false, true));
        assert_eq!(at(3), (true, false, true));
        assert_eq!(at(5), (true, true, true));
        assert_eq!(at(7), (true, true, false));
        assert!(Shape::compile(LEDGER, &Thing, 6).shows("other"));
    }
}
