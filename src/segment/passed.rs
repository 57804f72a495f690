//! `PassedDescriptor`: a descriptor as described to the process that it is passed to.

#[cfg(feature = "process")]
use super::refused::os_error;
#[cfg(feature = "process")]
use crate::error::Result;
use crate::sys::descriptor;
use crate::sys::file::{self, AsFd, OwnedFd};
use std::fmt;
use std::io;

/// A descriptor and its file. Its text is `number:dev:ino`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "process", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PassedDescriptor {
    /// In the process that passes it.
    pub(crate) number: i32,
    dev: u64,
    ino: u64,
}

impl PassedDescriptor {
    /// Describes a descriptor of this process.
    pub(crate) fn of(fd: &OwnedFd) -> io::Result<Self> {
        let stat = file::stat(fd.as_fd())?;
        Ok(PassedDescriptor {
            number: descriptor::number(fd),
            dev: stat.dev,
            ino: stat.ino,
        })
    }

    /// Reads the first three parts of a text that was split at its colons.
    pub(crate) fn parse<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let number: u32 = parts.next()?.parse().ok()?;
        Some(PassedDescriptor {
            number: number.try_into().ok()?,
            dev: parts.next()?.parse().ok()?,
            ino: parts.next()?.parse().ok()?,
        })
    }

    /// Takes it over, if this process inherited it.
    pub(crate) fn take_inherited(&self) -> Option<OwnedFd> {
        descriptor::take_inherited(self.number, self.dev, self.ino)
    }
}

#[cfg(feature = "process")]
impl PassedDescriptor {
    /// Whether it is this very descriptor, in the process that passes it.
    pub(crate) fn is_number_of(&self, fd: &OwnedFd) -> bool {
        self.number == descriptor::number(fd)
    }

    /// Identifies its file.
    pub(crate) fn file(&self) -> (u64, u64) {
        (self.dev, self.ino)
    }

    /// Whether a descriptor of this process leads to its file.
    pub(crate) fn is_same_file(&self, fd: &OwnedFd) -> bool {
        file::stat(fd.as_fd()).is_ok_and(|stat| stat.id() == self.file())
    }

    /// Duplicates it in a copy of the process that passes it; `None` if it does not have it.
    pub(crate) fn duplicate(&self) -> Result<Option<OwnedFd>> {
        descriptor::duplicate(self.number, self.dev, self.ino)
            .map_err(|error| os_error(&format!("duplicating descriptor {}", self.number), error))
    }
}

impl fmt::Display for PassedDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.number, self.dev, self.ino)
    }
}
