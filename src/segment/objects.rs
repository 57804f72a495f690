//! Placing and finding objects in a segment: the directory under its lock.

use super::Segment;
use super::refused::foreign_self;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Directory, DirectoryEntry, Kind, Spec, directory, header};
use crate::primitive::{Deadline, Foreign, OwnerId, crash_point};
use crate::raw::{Held, RawMutex, Refused};
use std::time::Duration;

/// How long to wait for a process that is placing an object: a matter of microseconds, unless it was stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// Describes one object of a segment, for tools outside the program.
///
/// # Examples
///
/// ```
/// let segment = procshare::Segment::new(4096)?;
/// segment.array::<f64>("samples", 3)?;
/// let info = &segment.objects()?[0];
/// assert_eq!((info.name.as_str(), info.kind, info.schema.as_str(), info.len), ("samples", "array", "f64", 3));
/// # Ok::<(), procshare::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// Its name; empty if the segment was made for this object.
    pub name: String,
    /// What it is: value, array, counter, atomic, atomic array, frozen array, queue, pipe, ring, map or pool.
    pub kind: &'static str,
    /// The structure of its element type, like `{total:u64,per_worker:[u64;8]}`.
    pub schema: String,
    /// Where it begins, in bytes from the start of the segment.
    pub offset: u64,
    /// How many bytes it takes, including its lock.
    pub bytes: u64,
    /// How many elements an array has, items a queue may hold, shards a map has; 1 for others.
    pub len: u64,
}

impl ObjectInfo {
    pub(super) fn of(directory: &Directory<'_>, entry: &DirectoryEntry) -> Self {
        ObjectInfo {
            name: directory.name(entry),
            kind: entry.kind.name(),
            schema: directory.schema(entry),
            offset: entry.offset,
            bytes: entry.bytes,
            len: entry.len,
        }
    }
}

/// Where an object was found or placed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub(crate) entry: DirectoryEntry,
    pub(crate) address: *mut u8,
}

/// The directory lock, held; unlocked on drop.
pub(super) struct DirectoryGuard<'a> {
    mutex: &'a RawMutex,
    held: Held,
}

impl Drop for DirectoryGuard<'_> {
    fn drop(&mut self) {
        self.mutex.unlock(self.held.owner);
    }
}

impl Segment {
    /// Lists the objects of this segment.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if the directory holds something that no version of this crate writes.
    ///
    /// # Examples
    ///
    /// ```
    /// let segment = procshare::Segment::new(4096)?;
    /// segment.counter("hits", 0)?;
    /// assert_eq!(segment.objects()?[0].name, "hits");
    /// # Ok::<(), procshare::Error>(())
    /// ```
    pub fn objects(&self) -> Result<Vec<ObjectInfo>> {
        let directory = self.directory();
        let mut entries = directory.entries().map_err(|error| error.in_segment(self.label()))?;
        entries.sort_by_key(|entry| entry.offset);
        Ok(entries.iter().map(|entry| ObjectInfo::of(&directory, entry)).collect())
    }

    /// Finds the object `name`; `len` is given if the number of elements is known.
    pub(crate) fn locate(&self, name: &str, spec: &Spec<'_>, len: Option<u64>) -> Result<Option<Located>> {
        let found = self
            .directory()
            .find(name)
            .and_then(|entry| entry.map(|entry| self.check(name, entry, spec, len)).transpose());
        found.map_err(|error| error.in_segment(self.label()))
    }

    /// Finds an object of that kind; the process that passed it to this one has checked its type.
    pub(crate) fn locate_passed(&self, name: &str, kind: Kind) -> Result<Located> {
        let found = self
            .directory()
            .find(name)
            .map_err(|error| error.in_segment(self.label()))?;
        match found.filter(|entry| entry.kind == kind) {
            Some(entry) => Ok(Located {
                entry,
                address: self.address(entry.offset),
            }),
            None => {
                let message = format!("no {} has the name {name:?}", kind.name());
                Err(Error::new(ErrorKind::NotFound, message).in_segment(self.label()))
            }
        }
    }

    /// As [`locate`](Self::locate), but an absent object is an error.
    pub(crate) fn locate_existing(&self, name: &str, spec: &Spec<'_>, len: Option<u64>) -> Result<Located> {
        self.locate(name, spec, len)?.ok_or_else(|| {
            let what = if name.is_empty() {
                format!(
                    "expected a segment made for one {}, found a segment of named objects: open it by `Segment::open`",
                    spec.kind.name()
                )
            } else {
                format!("no object has the name {name:?}")
            };
            Error::new(ErrorKind::NotFound, what).in_segment(self.label())
        })
    }

    /// Finds the object `name`, or places it: `init` writes all its bytes, and is told whether they are already zero.
    pub(crate) fn place(&self, name: &str, spec: &Spec<'_>, init: &dyn Fn(*mut u8, bool)) -> Result<Located> {
        match self.locate(name, spec, Some(spec.len))? {
            Some(located) => Ok(located),
            None => self
                .place_new(name, spec, init)
                .map_err(|error| error.in_segment(self.label())),
        }
    }

    fn place_new(&self, name: &str, spec: &Spec<'_>, init: &dyn Fn(*mut u8, bool)) -> Result<Located> {
        directory::check_name(name)?;
        if self.is_frozen() && spec.kind != Kind::FrozenArray {
            return Err(Error::new(
                ErrorKind::Seals,
                "no object can be added to a frozen segment",
            ));
        }
        let _guard = self.lock_directory()?;
        crash_point!("place.locked");
        if let Some(located) = self.locate(name, spec, Some(spec.len))? {
            return Ok(located);
        }
        let directory = self.directory();
        let schema = spec.schema.to_string();
        let place = directory.reserve(name, spec, &schema)?;
        // A segment's own object is placed while the segment is new, and its memory untouched.
        init(self.address(place.object), name.is_empty());
        crash_point!("place.object");
        directory.publish(place, name, spec, &schema);
        self.locate_existing(name, spec, Some(spec.len))
    }

    /// The directory lock, and a directory that is whole.
    fn lock_directory(&self) -> Result<DirectoryGuard<'_>> {
        let guard = self.hold_directory()?;
        if guard.held.inconsistent {
            self.directory().recover()?;
            guard.mutex.mark_consistent();
        }
        Ok(guard)
    }

    /// The directory lock alone.
    pub(super) fn hold_directory(&self) -> Result<DirectoryGuard<'_>> {
        let mutex = RawMutex::in_words(self.words(), header::word::DIRECTORY_LOCK);
        let held = mutex
            .lock(|| self.peers(), Deadline::after(PATIENCE))
            .map_err(|refused| {
                let holder = mutex.owner().map(OwnerId::pid);
                match (refused, holder) {
                    (Refused::Foreign, _) => foreign_self(Foreign::Moved),
                    (Refused::WouldDeadlock, _) => Error::new(
                        ErrorKind::WouldDeadlock,
                        "the calling thread already holds the directory lock",
                    ),
                    (_, Some(holder)) => Error::new(
                        ErrorKind::Busy,
                        format!(
                            "process {holder} has held the directory lock for {PATIENCE:?}: continue it (SIGCONT) \
                            or kill it"
                        ),
                    ),
                    (_, None) => Error::new(
                        ErrorKind::Busy,
                        format!("other processes have held the directory lock for {PATIENCE:?}: try again"),
                    ),
                }
            })?;
        Ok(DirectoryGuard { mutex, held })
    }

    /// Compares what was found with what was requested.
    fn check(&self, name: &str, entry: DirectoryEntry, spec: &Spec<'_>, len: Option<u64>) -> Result<Located> {
        let label = if name.is_empty() {
            String::new()
        } else {
            format!("object {name:?}: ")
        };
        if entry.kind != spec.kind || entry.fingerprint != spec.fingerprint {
            let found = self.directory().schema(&entry);
            let (expected_kind, found_kind) = (spec.kind.name(), entry.kind.name());
            let message = format!(
                "{label}expected {expected_kind} of {}, found {found_kind} of {found}",
                spec.schema
            );
            return Err(Error::new(ErrorKind::TypeMismatch, message));
        }
        match len {
            Some(len) if len != entry.len => {
                let message = format!("{label}expected {len} elements, found {}", entry.len);
                Err(Error::new(ErrorKind::LengthMismatch, message))
            }
            _ => Ok(Located {
                entry,
                address: self.address(entry.offset),
            }),
        }
    }

    /// The address of a byte offset that was checked to lie in the segment.
    fn address(&self, offset: u64) -> *mut u8 {
        self.base().wrapping_add(offset as usize)
    }

    /// The name of the object with this entry, for messages and for passing it on.
    pub(crate) fn object_name(&self, entry: &DirectoryEntry) -> String {
        self.directory().name(entry)
    }
}
