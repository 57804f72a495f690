//! `Unfinished`: a segment's file before it has its name.

use super::lifetime::{Standing, remove_if_orphan, remove_unfinished};
use super::name::{SegmentName, UNFINISHED};
use super::refused::{folder_error, proc_error};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, Errno, errno_is, file};
use std::io;
use std::path::{Path, PathBuf};

/// How often `create` removes orphans and `open_or_create` changes its mind before giving up.
pub(super) const ATTEMPTS: u32 = 1000;

/// A file before it gets its name: unnamed where the file system supports that, otherwise under a temporary name that is removed
/// when this value is dropped, or by the next `clean` if the process is killed.
pub(super) struct Unfinished {
    temporary: Option<PathBuf>,
}

impl Unfinished {
    pub(super) fn new(name: &SegmentName, mode: u32) -> Result<(OwnedFd, Self)> {
        match file::open_unnamed(name.folder(), mode) {
            Ok(fd) => Ok((fd, Unfinished { temporary: None })),
            Err(error) if errno_is(&error, Errno::Eopnotsupp) || errno_is(&error, Errno::Eisdir) => {
                Self::with_name(name.folder(), mode)
            }
            Err(error) => Err(folder_error("creating a file in", name.folder(), error)),
        }
    }

    fn with_name(folder: &Path, mode: u32) -> Result<(OwnedFd, Self)> {
        let (process, thread) = (sys::identity::process_id(), sys::identity::thread_id());
        let path = folder.join(format!("{UNFINISHED}{process}.{thread}"));
        // An existing file was left by a dead process that had our process id.
        remove_unfinished(&path);
        let fd =
            file::create_exclusive(&path, mode).map_err(|error| folder_error("creating a file in", folder, error))?;
        let temporary = Some(path);
        Ok((fd, Unfinished { temporary }))
    }

    /// Gives the finished file its name; an orphan with that name is removed first.
    pub(super) fn link(&self, fd: &OwnedFd, name: &SegmentName) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let linked = match &self.temporary {
                None => file::link_unnamed(fd.as_fd(), &name.path),
                Some(temporary) => file::rename_noreplace(temporary, &name.path),
            };
            match linked {
                Ok(()) => return Ok(()),
                Err(error) if errno_is(&error, Errno::Eexist) => make_room(name)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound && file::stat_path(name.folder()).is_ok() => {
                    return Err(self.not_found(error));
                }
                Err(error) => return Err(folder_error("naming a file in", name.folder(), error)),
            }
        }
        Err(Error::new(
            ErrorKind::Busy,
            "other processes keep creating and removing the segment",
        ))
    }

    /// Why something is missing although the folder exists: an unnamed file gets its name through `/proc`.
    fn not_found(&self, error: io::Error) -> Error {
        match self.temporary {
            None => proc_error(ErrorKind::Io, "naming the segment's file", error),
            Some(_) => Error::new(
                ErrorKind::Busy,
                "another process removed the new file before it was renamed; try again",
            )
            .with_source(error),
        }
    }
}

/// Removes an orphan with the name, and refuses anything else.
fn make_room(name: &SegmentName) -> Result<()> {
    let cure = match name.is_path() {
        true => "use `open_file` or `open_or_create_file`",
        false => "use `open` or `open_or_create`",
    };
    let message = match remove_if_orphan(&name.path, true)? {
        Standing::Nothing => return Ok(()),
        Standing::InUse => format!("already exists and is in use; {cure}"),
        Standing::Persistent => format!("already exists and is persistent; {cure}, or unlink it"),
        Standing::Alien => "the name belongs to a file that is not a segment of this user; use another name".to_owned(),
    };
    Err(Error::new(ErrorKind::AlreadyExists, message))
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Fails if the file was renamed, as it should be.
            let _ = file::unlink(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Used on file systems that have no unnamed files.
    #[test]
    fn a_file_made_under_a_hidden_name_gets_its_own_or_goes_away() {
        let folder = std::env::temp_dir().join(format!("procshare-build-{}", sys::identity::process_id()));
        std::fs::create_dir(&folder).unwrap();
        let name = SegmentName::of_file(&folder.join("kept")).unwrap();
        let (fd, unfinished) = Unfinished::with_name(&folder, 0o600).unwrap();
        let hidden = unfinished.temporary.clone().unwrap();
        assert!(hidden.exists());
        unfinished.link(&fd, &name).unwrap();
        drop(unfinished);
        assert!(name.path.exists() && !hidden.exists());

        // If the name is taken by something other than an orphan of ours, it stays taken, and the hidden file is removed.
        let (fd, unfinished) = Unfinished::with_name(&folder, 0o600).unwrap();
        let error = unfinished.link(&fd, &name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        drop(unfinished);
        assert!(!hidden.exists());

        // If the new file was removed by another process, neither the folder nor `/proc` is to blame.
        let (fd, unfinished) = Unfinished::with_name(&folder, 0o600).unwrap();
        remove_unfinished(&hidden);
        let free = SegmentName::of_file(&folder.join("free")).unwrap();
        let error = unfinished.link(&fd, &free).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(!error.to_string().contains("/proc"), "{error}");
        drop(unfinished);

        // What a dead creator left behind is not in the way, and `clean` finds it.
        std::fs::write(&hidden, b"left behind").unwrap();
        drop(Unfinished::with_name(&folder, 0o600).unwrap());
        std::fs::write(&hidden, b"left behind").unwrap();
        crate::clean_folder(&folder).unwrap();
        assert!(!hidden.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
