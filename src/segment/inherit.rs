//! Passing a segment to a child that runs another program, by an inherited descriptor and an environment variable.

use super::name::SegmentName;
use super::passed::PassedDescriptor;
use super::{Inner, Segment, attach};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::descriptor;
#[cfg(feature = "process")]
use crate::sys::file::OwnedFd;
use crate::sys::file::{AsFd, BorrowedFd};
use parking_lot::Mutex;
use std::collections::HashMap;
#[cfg(feature = "process")]
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Weak};

const VARIABLE: &str = "PROCSHARE_SEGMENT_";

/// The segments received so far: a descriptor can be taken over only once. Weak, so that the last handle still detaches.
static RECEIVED: Mutex<Option<HashMap<String, Weak<Inner>>>> = Mutex::new(None);

/// A segment that stays attached as long as a command may still pass it on: until then its file lock is needed.
struct Kept(Segment);

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.fd.as_fd()
    }
}

impl Segment {
    /// Passes this segment to the child that `command` will start.
    ///
    /// The child, which may be any program that uses this crate, gets it by calling [`inherited`](Self::inherited) with the same
    /// key. No other child inherits the descriptor. The key consists of letters, digits and underscores.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName), [`TooManyDescriptors`](ErrorKind::TooManyDescriptors).
    ///
    /// # Examples
    ///
    /// ```
    /// use procshare::Segment;
    /// use std::process::Command;
    ///
    /// let segment = Segment::new(4096)?;
    /// let mut command = Command::new("true");
    /// segment.pass_to(&mut command, "stats")?; // there: Segment::inherited("stats")
    /// assert!(command.status().is_ok_and(|status| status.success()));
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn pass_to(&self, command: &mut Command, key: &str) -> Result<()> {
        let variable = variable(key)?;
        let fail = |error| super::refused::os_error("passing the segment", error).in_segment(self.label());
        let passed = PassedDescriptor::of(&self.0.fd).map_err(fail)?;
        let path = match &self.0.name_removal.name {
            None => "",
            Some(name) => name.path.to_str().ok_or_else(|| {
                Error::new(ErrorKind::InvalidName, "the segment's path is not valid UTF-8").in_segment(self.label())
            })?,
        };
        command.env(variable, format!("{passed}:{path}"));
        descriptor::keep_in_child(command, Kept(self.clone()));
        Ok(())
    }

    /// Attaches to the segment the parent process passed under `key`.
    ///
    /// Further calls with the same key return the same segment, as long as a handle of it exists; after that, the descriptor is
    /// closed and the key is unknown.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](ErrorKind::InvalidName) if the key is not valid, [`NotFound`](ErrorKind::NotFound) if the parent passed
    /// nothing under it, and one kind for each check the segment fails.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procshare::Segment::inherited("stats").unwrap_err();
    /// assert_eq!(error.kind(), procshare::ErrorKind::NotFound);
    /// ```
    pub fn inherited(key: &str) -> Result<Self> {
        let mut received = RECEIVED.lock();
        let received = received.get_or_insert_default();
        if let Some(inner) = received.get(key).and_then(Weak::upgrade) {
            return Ok(Segment(inner));
        }
        let segment = receive(key)?;
        received.insert(key.to_owned(), Arc::downgrade(&segment.0));
        Ok(segment)
    }

    /// Attaches to the segment behind an inherited descriptor; `path` if it has a name.
    #[cfg(feature = "process")]
    pub(crate) fn from_descriptor(fd: OwnedFd, path: Option<OsString>) -> Result<Self> {
        attach::from_descriptor(fd, path.map(|path| SegmentName::known(path.into())))
    }

    /// The path of a segment that has a name.
    #[cfg(feature = "messages")]
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.0.name_removal.name.as_ref().map(|name| name.path.clone())
    }
}

fn receive(key: &str) -> Result<Segment> {
    let absent = |what: &str| Error::new(ErrorKind::NotFound, format!("{what} under the key {key:?}"));
    let value = std::env::var(variable(key)?).map_err(|_| absent("the parent passed no segment"))?;
    let (passed, name) = parse(&value).ok_or_else(|| absent("the environment variable describes no descriptor"))?;
    let fd = passed
        .take_inherited()
        .ok_or_else(|| absent("this process did not inherit the descriptor that was passed"))?;
    attach::from_descriptor(fd, name)
}

fn parse(value: &str) -> Option<(PassedDescriptor, Option<SegmentName>)> {
    let mut parts = value.splitn(4, ':');
    let passed = PassedDescriptor::parse(&mut parts)?;
    let path = parts.next()?;
    let name = (!path.is_empty()).then(|| SegmentName::known(PathBuf::from(path)));
    Some((passed, name))
}

fn variable(key: &str) -> Result<String> {
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let message = format!("expected a key of letters, digits and underscores, found {key:?}");
        return Err(Error::new(ErrorKind::InvalidName, message));
    }
    Ok(format!("{VARIABLE}{key}"))
}
