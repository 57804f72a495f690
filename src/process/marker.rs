//! `Marker`: what the environment tells a child: which descriptor is its mailbox, and whose child it is.

use crate::segment::PassedDescriptor;
use crate::sys::file::OwnedFd;
use crate::sys::{identity, liveness};
use std::fmt;
use std::io;
use std::str::FromStr;

/// The environment variable that tells a child which descriptor is its mailbox.
///
/// It names the parent as well. A process that finds a marker meant for a child of its own parent, but gets no mailbox, is a child
/// that could not begin, and ends; a marker meant for another process is ignored.
pub(super) const MARKER: &str = "PROCSHARE_CHILD";

/// What the variable holds once the child has begun: its own children, and programs it may `exec`, find no start request.
pub(super) const BEGUN: &str = "begun";

/// What the environment of a child says: which descriptor is its mailbox, and whose child it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    mailbox: PassedDescriptor,
    parent: u32,
    /// When the parent started; 0 is unknown.
    start: u64,
}

impl Marker {
    /// What a child of this process needs to know to find that descriptor.
    pub(super) fn of(fd: &OwnedFd) -> io::Result<Self> {
        let parent = identity::process_id();
        Ok(Marker {
            mailbox: PassedDescriptor::of(fd)?,
            parent,
            start: liveness::start_of(parent),
        })
    }

    /// The one in this process's environment, if it is meant for it.
    pub(super) fn ours() -> Option<Self> {
        let marker: Self = std::env::var(MARKER).ok()?.parse().ok()?;
        marker.is_for_us().then_some(marker)
    }

    /// The descriptor it names, if this process inherited it.
    pub(super) fn inherited(&self) -> Option<OwnedFd> {
        self.mailbox.take_inherited()
    }

    /// Whether the intended reader can be a child of `parent`, which started at `start` (0 if that cannot be seen).
    ///
    /// An orphan's new parent is older than its first one. A parent that is younger inherited the marker from the process named
    /// there, and did not mean it for its own children.
    fn is_for_child_of(&self, parent: u32, start: u64) -> bool {
        parent == self.parent || (start, parent) < (self.start, self.parent)
    }

    /// Whether it can be meant for this process.
    fn is_for_us(&self) -> bool {
        let parent = identity::parent_id();
        self.is_for_child_of(parent, liveness::start_of(parent))
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.mailbox, self.parent, self.start)
    }
}

impl FromStr for Marker {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mailbox = PassedDescriptor::parse(&mut parts).ok_or(())?;
        let (Some(parent), Some(start), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(());
        };
        Ok(Marker {
            mailbox,
            parent: parent.parse().map_err(drop)?,
            start: start.parse().map_err(drop)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_for_children_of_its_parent_and_their_new_parents() {
        let marker: Marker = "3:4:5:700:90".parse().unwrap();
        assert_eq!(marker.to_string(), "3:4:5:700:90");
        for (parent, start) in [(700, 90), (700, 0), (700, 91), (1, 2), (0, 0), (600, 90)] {
            assert!(marker.is_for_child_of(parent, start), "{parent} of {start}");
        }
        for (parent, start) in [(701, 90), (1, 91), (900, 200)] {
            assert!(!marker.is_for_child_of(parent, start), "{parent} of {start}");
        }
        for text in [
            "",
            "begun",
            "1:2:3",
            "1:2:3:4",
            "1:2:3:4:5:6",
            "-1:2:3:4:5",
            "a:b:c:d:e",
        ] {
            assert_eq!(text.parse::<Marker>(), Err(()), "{text}");
        }
    }
}
