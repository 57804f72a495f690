//! When a segment's name goes away: with its last user, by `unlink`, or by `clean`.
//!
//! Every attached process holds a shared lock on the file, which the kernel drops at its death. A process that may be the last
//! opens the file again and tries for the exclusive lock: it gets that only if no other process is attached, and then removes the
//! name before it lets go. An opener that finds itself locked out, or the name gone, starts over.
//!
//! | state | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | used | the last user lets go of its shared lock | orphan | the name stays; the next `create` or `clean` removes it |
//! | orphan | the process that gets the exclusive lock | removed | still an orphan, as the kernel drops the lock |
//! | orphan | an opener, by a shared lock | used | orphan again |
//! | used | `unlink`, under the directory's lock | used, without a name | the name is still there |
//!
//! # Invariants
//!
//! - T1. A name is removed only under the exclusive lock of the file it refers to, and only if the attach table names no living
//!   process (a process may have closed all descriptors and still use the mapping). The exception is `unlink`: it is asked for, may
//!   come while the segment is in use, and holds the directory's lock instead.
//! - T2. A shared lock is never converted into an exclusive one: a failed attempt would lose the shared one.

use super::check::{flags_of_any_version, map_and_check};
use super::name::{PREFIX, SegmentName, UNFINISHED};
use super::refused::{folder_error, os_error};
use super::registration::somebody_is_attached;
use crate::error::{ErrorKind, Result};
use crate::layout::header;
use crate::primitive::{Home, crash_point};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, file};
#[cfg(feature = "process")]
use parking_lot::Mutex;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is left of an attachment once it is unmapped and closed: whether the name has to be removed.
pub(super) struct NameRemoval {
    /// The segment's place; `None` for an anonymous one.
    pub(super) name: Option<SegmentName>,
    /// Device and inode of the file, if its name goes with its last user.
    pub(super) file: Option<(u64, u64)>,
    /// The process that attached.
    home: Home,
}

impl NameRemoval {
    pub(super) fn new(name: Option<SegmentName>) -> Self {
        NameRemoval {
            name,
            file: None,
            home: Home::here(),
        }
    }

    /// Whether this process attached, rather than being a copy of the one that did.
    pub(super) fn is_at_home(&self) -> bool {
        self.home.is_here()
    }
}

/// How long the last user waits for children of other threads that are between `fork` and `exec`: until then they share
/// our open file, and with it the shared lock.
pub(super) const FORKED_CHILDREN: Duration = Duration::from_millis(250);
pub(super) const BETWEEN_TRIES: Duration = Duration::from_micros(500);

impl Drop for NameRemoval {
    fn drop(&mut self) {
        crash_point!("detach.unlocked");
        if let (Some(name), Some(file)) = (&self.name, self.file) {
            remove_name_if_last(name, file, self.is_at_home());
        }
    }
}

/// Opens the file once more, if it still has the name.
pub(super) fn open_again(name: &SegmentName, file: (u64, u64)) -> Option<OwnedFd> {
    let fresh = file::open(&name.path).ok()?;
    let is_it = file::stat(fresh.as_fd()).is_ok_and(|stat| stat.id() == file);
    is_it.then_some(fresh)
}

/// Whether any process uses the file with that name, as far as can be determined.
#[cfg(feature = "process")]
fn is_in_use(name: &SegmentName, file: (u64, u64)) -> bool {
    open_again(name, file).is_some_and(|fresh| matches!(file::lock_exclusive(fresh.as_fd()), Ok(false)))
}

/// Removes the name of a file on which this process no longer holds a lock, if no other process does.
pub(super) fn remove_name_if_last(name: &SegmentName, file: (u64, u64), at_home: bool) {
    // The descriptor just closed makes room for this one. A failure leaves an orphan, for `create` and `clean`.
    let Some(fresh) = open_again(name, file) else {
        return;
    };
    if at_home {
        // A child that never calls `exec` outlasts this: then it removes the name, or leaves an orphan.
        let removal = remove_patiently(&fresh, &name.path);
        #[cfg(feature = "process")]
        if matches!(removal, Ok(Removal::Locked { .. })) {
            leave(name, file);
        }
        #[cfg(not(feature = "process"))]
        drop(removal);
    } else {
        // The process that attached holds the lock while it lives: there is nothing to wait for.
        let _ = try_remove(&fresh, &name.path);
    }
}

/// The names that this process let go of while other processes used them.
#[cfg(feature = "process")]
static LEFT: Mutex<Vec<UsedName>> = Mutex::new(Vec::new());

/// A name that this process has used, and the file it referred to.
#[cfg(feature = "process")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedName {
    name: SegmentName,
    file: (u64, u64),
}

/// Records a name that is left to other users.
#[cfg(feature = "process")]
fn leave(name: &SegmentName, file: (u64, u64)) {
    let (name, mut left) = (name.clone(), LEFT.lock());
    let used = UsedName { name, file };
    if left.contains(&used) {
        return;
    }
    if left.len() == left.capacity() {
        left.retain(UsedName::is_there);
    }
    left.push(used);
}

/// The names that this process let go of and other processes use.
#[cfg(feature = "process")]
pub(crate) fn names_of_others() -> Vec<UsedName> {
    let left = LEFT.lock().clone();
    left.into_iter()
        .filter(|used| is_in_use(&used.name, used.file))
        .collect()
}

#[cfg(feature = "process")]
impl UsedName {
    fn is_there(&self) -> bool {
        file::stat_path(&self.name.path).is_ok_and(|stat| stat.id() == self.file)
    }

    /// Removes the name if its last user was killed: a process that has ended could not do so itself.
    pub(crate) fn remove_if_orphaned(&self) {
        remove_name_if_last(&self.name, self.file, false);
    }
}

/// As [`try_remove`], but waits for a process that holds the file's lock and is not in the attach table: a child that does not know
/// it is attached.
fn remove_patiently(fd: &OwnedFd, path: &Path) -> Result<Removal> {
    let give_up = Instant::now() + FORKED_CHILDREN;
    loop {
        // Checked before the attempt, as this process may be stopped during it.
        let is_last = Instant::now() > give_up;
        match try_remove(fd, path)? {
            Removal::Locked { by_users: false } if !is_last => sys::clock::sleep(BETWEEN_TRIES),
            removal => return Ok(removal),
        }
    }
}

/// The outcome of an attempt to remove a name.
enum Removal {
    Done,
    /// The exclusive lock was refused; whether the attach table names a living process.
    Locked {
        by_users: bool,
    },
    /// It stays until it is unlinked.
    Persistent,
    /// The segment is in use without a lock, or the name refers to another file.
    Refused,
}

/// Removes the name `path` of the file behind `fd` if nobody is attached to it (T1). The lock goes with `fd`.
fn try_remove(fd: &OwnedFd, path: &Path) -> Result<Removal> {
    let locked = file::lock_exclusive(fd.as_fd()).map_err(|error| os_error("flock", error))?;
    let (flags, by_users) = match map_and_check(fd) {
        Ok((mapping, header)) => (header.flags, somebody_is_attached(mapping.words())),
        // Users of another layout hold the file's lock in the same way.
        Err(error) if error.kind() == ErrorKind::LayoutVersion => (flags_of_any_version(fd)?, false),
        Err(error) => return Err(error),
    };
    if !locked {
        return Ok(Removal::Locked { by_users });
    }
    crash_point!("detach.exclusive");
    if flags & header::PERSISTENT != 0 {
        return Ok(Removal::Persistent);
    }
    if by_users || !leads_to(path, fd) {
        return Ok(Removal::Refused);
    }
    file::unlink(path).map_err(|error| os_error("unlink", error))?;
    crash_point!("detach.unlinked");
    Ok(Removal::Done)
}

/// Whether the name still refers to the file behind `fd`.
pub(super) fn leads_to(path: &Path, fd: &OwnedFd) -> bool {
    match (file::stat_path(path), file::stat(fd.as_fd())) {
        (Ok(named), Ok(open)) => named.id() == open.id(),
        _ => false,
    }
}

/// What a name refers to after an attempt to remove an orphan there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: the name is free.
    Nothing,
    /// A segment in use.
    InUse,
    /// A segment that stays until it is unlinked.
    Persistent,
    /// Not a segment of this user.
    Alien,
}

/// Removes the segment at `path` if all its users were killed. `patient` says whether to wait for children between `fork`
/// and `exec`.
pub(super) fn remove_if_orphan(path: &Path, patient: bool) -> Result<Standing> {
    let fd = match file::open(path).map_err(|error| os_error("opening the existing file of that name", error)) {
        Ok(fd) => fd,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Standing::Nothing),
        Err(error) if matches!(error.kind(), ErrorKind::NotARegularFile | ErrorKind::PermissionDenied) => {
            return Ok(Standing::Alien);
        }
        Err(error) => return Err(error),
    };
    // Only a complete segment of our own can be an orphan; anything else is left alone.
    let is_ours = file::stat(fd.as_fd()).is_ok_and(|stat| stat.is_file && stat.uid == sys::identity::user_id());
    if !is_ours {
        return Ok(Standing::Alien);
    }
    let removal = if patient {
        remove_patiently(&fd, path)
    } else {
        try_remove(&fd, path)
    };
    match removal {
        Ok(Removal::Done) => Ok(Standing::Nothing),
        Ok(Removal::Persistent) => Ok(Standing::Persistent),
        Ok(Removal::Locked { .. } | Removal::Refused) => Ok(Standing::InUse),
        Err(error) if matches!(error.kind(), ErrorKind::TooManyDescriptors | ErrorKind::OutOfMemory) => Err(error),
        // Not a segment that this version, or any other, could have made.
        Err(_) => Ok(Standing::Alien),
    }
}

/// Removes named segments whose users were all killed.
///
/// Returns the names removed. Segments in use, persistent segments, those of other users, and files that are not segments stay. It
/// may run at any time: it waits for no process, and never removes a segment in use.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound) or [`PermissionDenied`](ErrorKind::PermissionDenied) if the shared-memory folder
/// cannot be read.
///
/// # Examples
///
/// ```
/// for name in procshare::clean()? {
///     println!("removed {name}");
/// }
/// # Ok::<(), procshare::Error>(())
/// ```
pub fn clean() -> Result<Vec<String>> {
    clean_folder(file::SHARED_MEMORY)
}

/// Removes orphaned named segments from the given folder.
///
/// As [`clean`], for segments created with [`SegmentBuilder::folder`](crate::SegmentBuilder::folder).
///
/// # Errors
///
/// As [`clean`].
///
/// # Examples
///
/// ```
/// assert!(procshare::clean_folder(std::env::temp_dir())?.is_empty());
/// # Ok::<(), procshare::Error>(())
/// ```
pub fn clean_folder(folder: impl AsRef<Path>) -> Result<Vec<String>> {
    let folder = folder.as_ref();
    let cannot_read = |error| folder_error("reading", folder, error);
    let mut removed = Vec::new();
    for file in std::fs::read_dir(folder).map_err(cannot_read)? {
        let file = file.map_err(cannot_read)?.file_name();
        match file.to_str() {
            Some(text) if text.starts_with(UNFINISHED) => remove_unfinished(&folder.join(text)),
            Some(text) if text.starts_with(PREFIX) => {
                let name = &text[PREFIX.len()..];
                // What cannot be judged (another user's file, for example) is not an orphan of ours.
                if SegmentName::new(folder, OsStr::new(name)).is_ok_and(|name| was_removed(&name)) {
                    removed.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(removed)
}

fn was_removed(name: &SegmentName) -> bool {
    let is_file = file::stat_path(&name.path).is_ok_and(|stat| stat.is_file);
    is_file && remove_if_orphan(&name.path, false).is_ok_and(|left| left == Standing::Nothing)
}

/// Removes a file whose creator died before giving it a name. A living creator holds the lock; in the instant between making the
/// file and locking it, the loss becomes an error of its `create`.
pub(super) fn remove_unfinished(path: &Path) {
    if let Ok(fd) = file::open(path) {
        if file::lock_exclusive(fd.as_fd()).unwrap_or(false) && leads_to(path, &fd) {
            let _ = file::unlink(path);
        }
    }
}
