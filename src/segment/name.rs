//! `SegmentName`: where a segment's file lies, and its name in messages.

use crate::error::{Error, ErrorKind, Result};
use crate::sys::file::SHARED_MEMORY;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

/// The prefix of every named segment's file, so that `clean` touches no other file.
pub(super) const PREFIX: &str = "procshare.";
/// Prefix of files not yet named, on file systems without unnamed files.
pub(super) const UNFINISHED: &str = ".procshare-unfinished.";
/// Including the prefix, a file name may have 255 bytes.
const LONGEST: usize = 200;

/// A segment's place in the file system, and its name in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentName {
    /// Absolute: this process may change its folder before it looks for the segment again, and a child may start in another one.
    pub(super) path: PathBuf,
    label: String,
}

impl SegmentName {
    /// The segment called `name` in `folder`.
    pub(super) fn new(folder: &Path, name: &OsStr) -> Result<Self> {
        let shown = name.to_string_lossy().into_owned();
        let fault = match name.to_str() {
            None => Some("is not UTF-8".to_owned()),
            Some("") => Some("is empty".to_owned()),
            Some(name) if name.contains('/') => Some("contains a slash".to_owned()),
            Some(name) if name.contains('\0') => Some("contains a NUL byte".to_owned()),
            Some(name) if name.len() > LONGEST => {
                Some(format!("has {} bytes, at most {LONGEST} are allowed", name.len()))
            }
            Some(_) => None,
        };
        match fault {
            Some(fault) => Err(invalid(&shown, &fault)),
            None => Ok(SegmentName {
                path: from_root(&folder.join(format!("{PREFIX}{shown}"))),
                label: shown,
            }),
        }
    }

    /// The segment in the file at `path`.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let shown = path.to_string_lossy().into_owned();
        let has_nul = path.as_os_str().as_encoded_bytes().contains(&0);
        match path.file_name() {
            Some(_) if !has_nul => Ok(SegmentName {
                path: from_root(path),
                label: shown,
            }),
            _ => Err(invalid(
                &shown,
                if has_nul {
                    "contains a NUL byte"
                } else {
                    "does not name a file"
                },
            )),
        }
    }

    /// The segment that another process found at `path`.
    pub(super) fn known(path: PathBuf) -> Self {
        let name = path
            .strip_prefix(SHARED_MEMORY)
            .ok()
            .and_then(Path::to_str)
            .and_then(|name| name.strip_prefix(PREFIX));
        let label = name.map_or_else(|| path.to_string_lossy().into_owned(), str::to_owned);
        SegmentName { path, label }
    }

    /// Whether it was given as the path of a file.
    pub(super) fn is_path(&self) -> bool {
        self.path.file_name() != Some(OsStr::new(&format!("{PREFIX}{}", self.label)))
    }

    /// The folder that contains the file.
    pub(super) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// The absolute path; unchanged where this process's folder cannot be determined.
fn from_root(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn invalid(name: &str, fault: &str) -> Error {
    Error::new(ErrorKind::InvalidName, format!("the name {fault}")).in_segment(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_files_in_the_folder() {
        let name = SegmentName::new(Path::new("/dev/shm"), OsStr::new("hits")).unwrap();
        assert_eq!(name.path, Path::new("/dev/shm/procshare.hits"));
        assert_eq!(
            (name.folder(), name.to_string().as_str()),
            (Path::new("/dev/shm"), "hits")
        );
    }

    #[test]
    fn relative_names_stay_where_they_were_given() {
        let here = std::env::current_dir().unwrap();
        let name = SegmentName::new(Path::new("shm"), OsStr::new("hits")).unwrap();
        assert_eq!(name.path, here.join("shm/procshare.hits"));
        assert_eq!((name.to_string().as_str(), name.is_path()), ("hits", false));
        let file = SegmentName::of_file(Path::new("hits")).unwrap();
        assert_eq!(file.path, here.join("hits"));
        assert_eq!((file.to_string().as_str(), file.is_path()), ("hits", true));
    }

    #[cfg(unix)]
    #[test]
    fn bad_names_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        let long = "x".repeat(300);
        for bad in [&b""[..], b"a/b", b"a\0b", b"\xff", long.as_bytes()] {
            let error = SegmentName::new(Path::new("/dev/shm"), OsStr::from_bytes(bad)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{bad:?}");
        }
        assert!(SegmentName::of_file(Path::new("/")).is_err());
        assert!(SegmentName::of_file(Path::new("a\0b")).is_err());
    }
}
