//! How descriptors reach a child: through `exec`, in a message, or as part of a copy of its parent.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::Segment;
use crate::sys::descriptor;
use crate::sys::file::{self, AsFd, BorrowedFd, OwnedFd};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// Describes a descriptor to the child that receives it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Passed {
    /// Its number in the process that passes it.
    pub(super) number: i32,
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Passed {
    /// Identifies the file it refers to.
    fn file(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Describes a descriptor of this process.
    pub(super) fn describe(fd: &OwnedFd) -> std::io::Result<Self> {
        let stat = file::stat(fd.as_fd())?;
        Ok(Passed {
            number: descriptor::number(fd),
            dev: stat.dev,
            ino: stat.ino,
        })
    }
}

/// A segment on its way to a child, as described to that child.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PassedSegment {
    pub(super) descriptor: Passed,
    /// Its path, if it has a name.
    pub(super) path: Option<OsString>,
}

impl PassedSegment {
    /// Identifies the file it lies in.
    pub(super) fn file(&self) -> (u64, u64) {
        self.descriptor.file()
    }

    /// Attaches to it by a descriptor that has arrived.
    pub(super) fn attach(&self, fd: OwnedFd) -> Result<Segment> {
        if file_of(fd.as_fd()) != Some(self.file()) {
            let message = "the descriptor of a segment was passed, but leads elsewhere";
            return Err(Error::new(ErrorKind::NotTransferable, message));
        }
        Segment::from_descriptor(fd, self.path.clone().map(PathBuf::from))
    }
}

/// Identifies the file a descriptor refers to.
pub(super) fn file_of(fd: BorrowedFd<'_>) -> Option<(u64, u64)> {
    file::stat(fd).ok().map(|stat| (stat.dev, stat.ino))
}

/// A segment that has arrived, not yet attached.
pub(super) struct TakenSegment {
    fd: OwnedFd,
    path: Option<PathBuf>,
}

impl TakenSegment {
    pub(super) fn attach(self) -> Result<Segment> {
        Segment::from_descriptor(self.fd, self.path)
    }
}

/// How this process got the descriptors passed to it.
pub(super) enum Passage {
    /// They went through `exec` and kept their numbers.
    Inherited,
    /// They came in a message, under the numbers they had in the sender.
    Received(HashMap<i32, OwnedFd>),
    /// This process is a copy of the one that passes them, whose objects still own those numbers.
    Copied,
}

impl Passage {
    /// Takes over a descriptor.
    pub(super) fn take(&mut self, passed: &Passed) -> Result<OwnedFd> {
        let Passed { number, dev, ino } = *passed;
        let taken = match self {
            Passage::Inherited => descriptor::take_inherited(number, dev, ino),
            Passage::Copied => descriptor::duplicate(number, dev, ino),
            Passage::Received(received) => {
                let is_it = |fd: &OwnedFd| file_of(fd.as_fd()) == Some((dev, ino));
                received.remove(&number).filter(is_it)
            }
        };
        taken.ok_or_else(|| {
            let message = format!("descriptor {number} was passed but did not arrive");
            Error::new(ErrorKind::Spawn, message)
        })
    }

    /// Takes over a segment's descriptor.
    pub(super) fn take_segment(&mut self, segment: PassedSegment) -> Result<TakenSegment> {
        let fd = self.take(&segment.descriptor)?;
        let path = segment.path.map(PathBuf::from);
        Ok(TakenSegment { fd, path })
    }
}
