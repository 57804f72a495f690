//! How descriptors reach a child: through `exec`, with a message, or as part of a copy of its parent.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::Segment;
use crate::sys::descriptor;
use crate::sys::map::{self, AsFd, OwnedFd};
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// A descriptor that a child gets, as it is told of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Passed {
    /// Its number in the process that passes it.
    pub(super) number: i32,
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Passed {
    /// Opens the file it leads to in the process that describes it.
    fn fetch(&self, process: u32) -> Result<OwnedFd> {
        let lost = |what: String| Error::new(ErrorKind::NotTransferable, what);
        let path = PathBuf::from(format!("/proc/{process}/fd/{}", self.number));
        let fd = map::open_link(&path)
            .map_err(|error| lost(format!("{} cannot be opened", path.display())).with_source(error))?;
        let found = map::stat(fd.as_fd()).map_err(|error| lost("fstat".to_owned()).with_source(error))?;
        if (found.dev, found.ino) != (self.dev, self.ino) {
            return Err(lost(format!("{} leads to another file by now", path.display())));
        }
        Ok(fd)
    }

    /// Describes a descriptor of this process.
    pub(super) fn describe(fd: &OwnedFd) -> std::io::Result<Self> {
        let stat = map::stat(fd.as_fd())?;
        Ok(Passed {
            number: descriptor::number(fd),
            dev: stat.dev,
            ino: stat.ino,
        })
    }
}

/// A segment that travels, as the child is told of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PassedSegment {
    pub(super) descriptor: Passed,
    /// Where it stands, if it has a name.
    pub(super) path: Option<OsString>,
}

impl PassedSegment {
    /// Whether this is the file the segment lies in.
    pub(super) fn is(&self, segment: &Segment) -> bool {
        map::stat(segment.fd().as_fd())
            .is_ok_and(|found| (found.dev, found.ino) == (self.descriptor.dev, self.descriptor.ino))
    }

    /// Attaches to it, as long as the process that describes it keeps it open.
    pub(super) fn fetch(&self, process: u32) -> Result<Segment> {
        let fd = self.descriptor.fetch(process)?;
        Segment::from_descriptor(fd, self.path.clone().map(PathBuf::from))
    }
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

/// How this process has come by the descriptors it was passed.
pub(super) enum Passage {
    /// They went through `exec` and have the numbers they had.
    Inherited,
    /// They came with a message, under the numbers they had elsewhere.
    Received(HashMap<i32, OwnedFd>),
    /// This process is a copy of the one that passes them, whose objects still own those numbers.
    Copied,
}

impl Passage {
    /// Takes a descriptor over.
    pub(super) fn take(&mut self, passed: &Passed) -> Result<OwnedFd> {
        let Passed { number, dev, ino } = *passed;
        let taken = match self {
            Passage::Inherited => descriptor::take_inherited(number, dev, ino),
            Passage::Copied => descriptor::duplicate(number, dev, ino),
            Passage::Received(received) => received.remove(&number).filter(|fd| {
                let is_it = |stat: map::Stat| (stat.dev, stat.ino) == (dev, ino);
                map::stat(fd.as_fd()).is_ok_and(is_it)
            }),
        };
        taken.ok_or_else(|| {
            let message = format!("descriptor {number} was passed but did not arrive");
            Error::new(ErrorKind::Spawn, message)
        })
    }

    /// Takes a segment's descriptor over.
    pub(super) fn take_segment(&mut self, segment: PassedSegment) -> Result<TakenSegment> {
        let fd = self.take(&segment.descriptor)?;
        let path = segment.path.map(PathBuf::from);
        Ok(TakenSegment { fd, path })
    }
}
