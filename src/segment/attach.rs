//! Attaching to a segment that another process made: nothing is believed before it is checked.

use super::check::{boot_id, check_namespaces, is_known, map_and_check};
use super::lifetime::NameRemoval;
use super::mapping::Mapping;
use super::name::SegmentName;
use super::refused::{folder_error, foreign_self, os_error};
use super::registration::Registration;
use super::{ANONYMOUS, Inner, Segment};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::header::{FROZEN, word};
use crate::layout::{Directory, Header};
use crate::primitive::{AtomicU64, Ordering, crash_point, identity};
use crate::raw::RawMutex;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, file};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long an opener waits for a process that is currently removing or resetting the segment.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_TRIES: Duration = Duration::from_micros(100);

/// Opens the segment called `name`, of this user or the one that is allowed as well. `file` says that it may come from an earlier
/// start of the machine.
pub(super) fn open(name: &SegmentName, allowed_user: Option<u32>, file: bool) -> Result<Segment> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        // Checked before the attempt, as this process may be stopped during it.
        let is_last = Instant::now() > give_up;
        match try_open(name, allowed_user, file) {
            Ok(Some(segment)) => return Ok(segment),
            Err(error) => return Err(error.in_segment(name)),
            Ok(None) if is_last => {
                return Err(Error::new(
                    ErrorKind::Busy,
                    "another process, perhaps stopped, keeps the segment's file locked",
                )
                .in_segment(name));
            }
            Ok(None) => sys::clock::sleep(BETWEEN_TRIES),
        }
    }
}

/// One attempt; `None` if the segment is currently being removed or reset.
fn try_open(name: &SegmentName, allowed_user: Option<u32>, file: bool) -> Result<Option<Segment>> {
    let fd = file::open(&name.path).map_err(|error| not_opened(name, error))?;
    crash_point!("open.opened");
    let stat = file::stat(fd.as_fd()).map_err(|error| os_error("fstat", error))?;
    if !stat.is_file {
        return Err(Error::new(
            ErrorKind::NotARegularFile,
            "expected a regular file, found another kind",
        ));
    }
    check_user(stat.uid, allowed_user)?;
    if !file::lock_shared(fd.as_fd()).map_err(|error| os_error("flock", error))? {
        return Ok(None);
    }
    crash_point!("open.locked");
    // If the name was removed before we held the lock, what we opened no longer belongs to any name.
    match file::stat_path(&name.path) {
        Ok(found) if found.id() == stat.id() => {}
        _ => return Ok(None),
    }
    let (mapping, header) = map_and_check(&fd)?;
    let this_boot = boot_id()?;
    let other_boot = header.boot_id != this_boot && (file || is_known(header.boot_id) && is_known(this_boot));
    if other_boot && !file {
        let message = "the segment was created before the last boot of this machine";
        return Err(Error::new(ErrorKind::ForeignBoot, message));
    }
    if other_boot || file && check_namespaces(&header).is_err() {
        drop((mapping, fd));
        let reset = reset_file(name)?;
        // The holder of the lock either is resetting the segment, or uses it in the other namespace.
        return if reset || other_boot {
            Ok(None)
        } else {
            check_namespaces(&header).map(|()| None)
        };
    }
    attach(fd, mapping, &header, Some(name.clone())).map(Some)
}

fn not_opened(name: &SegmentName, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return os_error("opening", error);
    }
    if file::stat_path(name.folder()).is_err() {
        return folder_error("looking for the segment in", name.folder(), error);
    }
    let message = "no segment has that name: its creator has not created it yet, or its last user has removed it";
    Error::new(ErrorKind::NotFound, message).with_source(error)
}

/// Attaches to the segment behind a descriptor that was passed to us; `name` if it has one.
pub(super) fn from_descriptor(fd: OwnedFd, name: Option<SegmentName>) -> Result<Segment> {
    let label = name
        .as_ref()
        .map_or_else(|| ANONYMOUS.to_owned(), SegmentName::to_string);
    let attach_now = || {
        // The process that passed it has judged its owner, and we run under the same user id.
        let own = match &name {
            None => fd,
            Some(name) => own_description(fd, name)?,
        };
        let (mapping, header) = map_and_check(&own)?;
        attach(own, mapping, &header, name)
    };
    attach_now().map_err(|error| error.in_segment(label))
}

/// Opens the file again: locks taken through a descriptor shared with our parent would be our parent's as well.
fn own_description(shared: OwnedFd, name: &SegmentName) -> Result<OwnedFd> {
    let own = match open_anew(&shared, name) {
        // A process that has given up the right to open it may use what was opened before. The lock stays a shared one, and
        // removing the name is left to processes that may.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(shared),
        own => own?,
    };
    // The parent's lock, which we share until `shared` closes, keeps others from removing the name meanwhile.
    match file::lock_shared(own.as_fd()) {
        Ok(true) => Ok(own),
        Ok(false) => Err(Error::new(
            ErrorKind::Busy,
            "another process holds the exclusive lock of the segment's file",
        )),
        Err(error) => Err(os_error("flock", error)),
    }
}

/// Through `/proc`, otherwise through the name.
fn open_anew(shared: &OwnedFd, name: &SegmentName) -> Result<OwnedFd> {
    let failed = |error| os_error("reopening the passed segment", error);
    let first = match file::reopen(shared.as_fd()) {
        Ok(own) => return Ok(own),
        Err(error) => failed(error),
    };
    let file = |fd: &OwnedFd| file::stat(fd.as_fd()).map(|stat| stat.id()).ok();
    match file::open(&name.path) {
        Ok(own) if file(&own) == file(shared) => Ok(own),
        // The name may be gone as well, or refer to another file by now.
        _ if first.kind() == ErrorKind::PermissionDenied => Err(first),
        Ok(_) => Err(Error::new(
            ErrorKind::NotFound,
            "another segment now has the name of the one that was passed",
        )),
        Err(error) => Err(failed(error)),
    }
}

fn attach(fd: OwnedFd, mapping: Mapping, header: &Header, name: Option<SegmentName>) -> Result<Segment> {
    check_namespaces(header)?;
    crash_point!("open.mapped");
    // A frozen segment cannot be written to, and needs no entry.
    let registration = if header.flags & FROZEN != 0 {
        None
    } else {
        Some(Registration::new(mapping.words(), &fd)?)
    };
    crash_point!("open.registered");
    let segment = Segment(Arc::new(Inner {
        mapping,
        fd,
        flags: header.flags,
        buckets: header.buckets,
        registration,
        left: OnceLock::new(),
        name_removal: NameRemoval::new(name),
    }));
    #[cfg(feature = "process")]
    super::names::enter(&segment.0);
    Ok(segment)
}

fn check_user(found: u32, allowed: Option<u32>) -> Result<()> {
    let own = sys::identity::user_id();
    if found == own || Some(found) == allowed {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ForeignUser,
        format!("expected a segment of user {own}, found one of user {found}"),
    ))
}

/// Frees the locks of processes that are certainly gone: a restart of the machine has ended them, or they lived in another
/// namespace and nobody holds the file's lock any more. False if some process does.
///
/// | state | header's boot id, namespaces | moved by | if that party dies there |
/// |---|---|---|---|
/// | of an earlier start, or elsewhere | another | the holder of the file's exclusive lock | the next opener starts over |
/// | of this start, here | ours, written last | – | – |
fn reset_file(name: &SegmentName) -> Result<bool> {
    let fd = file::open(&name.path).map_err(|error| os_error("opening", error))?;
    if !file::lock_exclusive(fd.as_fd()).map_err(|error| os_error("flock", error))? {
        return Ok(false);
    }
    let (mapping, header) = map_and_check(&fd)?;
    let this_boot = boot_id()?;
    if header.boot_id == this_boot && check_namespaces(&header).is_ok() {
        return Ok(true);
    }
    if !is_known(this_boot) {
        return Err(Error::new(
            ErrorKind::ForeignBoot,
            "cannot tell whether the machine was restarted: its boot id is unreadable",
        ));
    }
    let namespaces = identity::namespaces().map_err(foreign_self)?;
    if namespaces.pid == 0 || namespaces.time == 0 {
        check_namespaces(&header)?;
    }
    let words = mapping.words();
    let directory = Directory::new(words, header.buckets);
    RawMutex::in_words(words, word::DIRECTORY_LOCK).reset();
    directory.recover()?;
    reset_locks(words, &directory)?;
    words[word::ATTACHED..word::END]
        .iter()
        .for_each(|slot| slot.store(0, Ordering::Relaxed));
    crash_point!("reset.locks");
    // Unknown until everything is stamped, so that an interrupted reset is repeated.
    words[word::BOOT_ID + 1].store(!this_boot[1], Ordering::Relaxed);
    // Relaxed: the exclusive lock excludes every other process.
    words[word::PID_NAMESPACE].store(namespaces.pid, Ordering::Relaxed);
    words[word::TIME_NAMESPACE].store(namespaces.time, Ordering::Relaxed);
    words[word::BOOT_ID].store(this_boot[0], Ordering::Relaxed);
    crash_point!("reset.stamped");
    words[word::BOOT_ID + 1].store(this_boot[1], Ordering::Relaxed);
    Ok(true)
}

fn reset_locks(words: &[AtomicU64], directory: &Directory<'_>) -> Result<()> {
    for entry in directory.entries()? {
        for lock in entry.locks() {
            RawMutex::in_words(words, lock as usize / 8).reset();
        }
        for range in entry.forgets(words) {
            // Relaxed: the exclusive lock excludes every other process.
            words[range].iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }
    Ok(())
}
