//! Attaching to a segment that another process made: nothing is believed before it is checked.

use super::lifetime::Farewell;
use super::mapping::Mapping;
use super::name::SegmentName;
use super::refused::{folder_error, os_error};
use super::{ANONYMOUS, Inner, Segment, SegmentBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::header::{self, ATTACH_ENTRIES, FROZEN, HEADER_WORDS, word};
use crate::layout::{Directory, Header};
use crate::primitive::liveness::Attachment;
use crate::primitive::{AtomicU64, Foreign, Home, Ordering, crash_point, identity};
use crate::raw::RawMutex;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{self, file};
use parking_lot::Mutex;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long an opener waits for a process that is currently removing or resetting the segment.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_TRIES: Duration = Duration::from_micros(100);

/// The lines that this process has in attach tables, one for each file, with the number of attachments that share it.
static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

struct Line {
    file: (u64, u64),
    entry: Attachment,
    /// `None` if the table was full.
    slot: Option<usize>,
    attachments: usize,
}

/// An attachment's share in its process's line of a segment's attach table.
pub(super) struct Registration {
    file: (u64, u64),
    entry: Attachment,
    home: Home,
}

impl Registration {
    /// Enters the calling process into the attach table. A full table is not an error: the file lock counts as well.
    pub(super) fn new(words: &[AtomicU64], fd: &OwnedFd) -> Result<Self> {
        let entry = Attachment::current().map_err(foreign_self)?;
        let home = Home::of_caller().map_err(foreign_self)?;
        let stat = file::stat(fd.as_fd()).map_err(|error| os_error("fstat", error))?;
        let file = (stat.dev, stat.ino);
        let mut lines = LINES.lock();
        match lines.iter_mut().find(|line| (line.file, line.entry) == (file, entry)) {
            Some(line) => line.attachments += 1,
            None => lines.push(Line {
                file,
                entry,
                slot: enter(&words[word::ATTACHED..word::END], entry),
                attachments: 1,
            }),
        }
        Ok(Registration { file, entry, home })
    }

    /// The device and number of the segment's file.
    #[cfg(feature = "messages")]
    pub(super) fn file(&self) -> (u64, u64) {
        self.file
    }

    /// Gives the share back, and the line with the last share; does nothing in a forked child of the process it names.
    pub(super) fn deregister(&self, words: &[AtomicU64]) {
        if !self.home.is_here() {
            return;
        }
        let mut lines = LINES.lock();
        let Some(at) = lines
            .iter()
            .position(|line| (line.file, line.entry) == (self.file, self.entry))
        else {
            return;
        };
        lines[at].attachments -= 1;
        if lines[at].attachments > 0 {
            return;
        }
        if let Some(slot) = lines.swap_remove(at).slot {
            // Release: a process that sees the slot free also sees what we did before.
            let _ =
                words[word::ATTACHED + slot].compare_exchange(self.entry.0, 0, Ordering::Release, Ordering::Relaxed);
        }
    }
}

/// Takes a line of the table: a free one, or a dead process's. Lines of former images of this process are cleared.
fn enter(table: &[AtomicU64], entry: Attachment) -> Option<usize> {
    for slot in table {
        let found = slot.load(Ordering::Relaxed);
        if Attachment(found).is_former_image_of(entry) {
            // Relaxed: ordered before our own entry by its Release.
            let _ = slot.compare_exchange(found, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
    let dead = |slot: &usize| {
        let found = table[*slot].load(Ordering::Relaxed);
        !Attachment(found).may_live() && claim(&table[*slot], found, entry)
    };
    (0..ATTACH_ENTRIES)
        .find(|&slot| claim(&table[slot], 0, entry))
        .or_else(|| (0..ATTACH_ENTRIES).find(dead))
}

/// Whether the attach table names a process that may be alive.
pub(super) fn somebody_is_attached(words: &[AtomicU64]) -> bool {
    words[word::ATTACHED..word::END]
        .iter()
        // Acquire: pairs with the Release of `claim`.
        .map(|slot| slot.load(Ordering::Acquire))
        .any(|found| found != 0 && Attachment(found).may_live())
}

fn claim(slot: &AtomicU64, found: u64, entry: Attachment) -> bool {
    // Release: pairs with the Acquire of processes that judge our locks, which must not see a former image's entry as well.
    slot.compare_exchange(found, entry.0, Ordering::Release, Ordering::Relaxed)
        .is_ok()
}

/// Opens the segment called `name`. `file` says that it may come from an earlier start of the machine.
pub(super) fn open(name: &SegmentName, builder: &SegmentBuilder, file: bool) -> Result<Segment> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        // Checked before the attempt, as this process may be stopped during it.
        let is_last = Instant::now() > give_up;
        match try_open(name, builder, file) {
            Ok(Some(segment)) => return Ok(segment),
            Err(error) => return Err(error.in_segment(name)),
            Ok(None) if is_last => {
                return Err(Error::new(ErrorKind::Busy, "somebody keeps its file locked").in_segment(name));
            }
            Ok(None) => sys::clock::sleep(BETWEEN_TRIES),
        }
    }
}

/// One attempt; `None` if the segment is currently being removed or reset.
fn try_open(name: &SegmentName, builder: &SegmentBuilder, file: bool) -> Result<Option<Segment>> {
    let fd = file::open(&name.path).map_err(|error| not_opened(name, error))?;
    crash_point!("open.opened");
    let stat = file::stat(fd.as_fd()).map_err(|error| os_error("fstat", error))?;
    if !stat.is_file {
        return Err(Error::new(
            ErrorKind::NotARegularFile,
            "expected a regular file, found another kind",
        ));
    }
    check_user(stat.uid, builder.allowed_user)?;
    if !file::lock_shared(fd.as_fd()).map_err(|error| os_error("flock", error))? {
        return Ok(None);
    }
    crash_point!("open.locked");
    // If the name was removed before we held the lock, what we opened no longer belongs to any name.
    match file::stat_path(&name.path) {
        Ok(found) if (found.dev, found.ino) == (stat.dev, stat.ino) => {}
        _ => return Ok(None),
    }
    let (mapping, header) = map_and_check(&fd)?;
    let this_boot = boot_id()?;
    let other_boot = header.boot_id != this_boot && (file || known(header.boot_id) && known(this_boot));
    if other_boot && !file {
        let message = "it was made before the machine was last started";
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
        return folder_error("looking for it in", name.folder(), error);
    }
    let message = "no segment has that name; has its creator started, or its last user gone?";
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
        Ok(false) => Err(Error::new(ErrorKind::Busy, "somebody locked its file")),
        Err(error) => Err(os_error("flock", error)),
    }
}

/// Through `/proc`, otherwise through the name.
fn open_anew(shared: &OwnedFd, name: &SegmentName) -> Result<OwnedFd> {
    let failed = |error| os_error("opening the passed segment anew", error);
    let first = match file::reopen(shared.as_fd()) {
        Ok(own) => return Ok(own),
        Err(error) => failed(error),
    };
    let file = |fd: &OwnedFd| file::stat(fd.as_fd()).map(|stat| (stat.dev, stat.ino)).ok();
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
        farewell: Farewell::new(name),
    }));
    #[cfg(feature = "process")]
    super::names::enter(&segment.0);
    Ok(segment)
}

/// Checks a copy of the file's header and maps the length it gives, which is not all of a file with lanes.
pub(super) fn map_and_check(fd: &OwnedFd) -> Result<(Mapping, Header)> {
    let file_length = || match file::stat(fd.as_fd()) {
        Ok(stat) => Ok(stat.len),
        Err(error) => Err(os_error("fstat", error)),
    };
    header::check_shortest(file_length()?)?;
    let mut copy = [0; HEADER_WORDS * 8];
    file::read_at(fd.as_fd(), &mut copy, 0).map_err(|error| os_error("reading the header", error))?;
    // Asked after the header was read: another process may be adding lanes, which the header mentions once they exist.
    let file_length = file_length()?;
    let header = Header::parse(&header::words_of(&copy), file_length);
    let length = header.as_ref().map_or(file_length, |header| header.length);
    // Files of other file systems have no seals; if that cannot be asked, the file counts as not sealed.
    let sealed = file::seals(fd.as_fd()).ok();
    let frozen = sealed
        .as_ref()
        .is_some_and(|seals| seals.write && seals.shrink && seals.grow && seals.seal);
    let mapping = if frozen {
        Mapping::read_only(fd, length)
    } else {
        Mapping::writable(fd, length)
    };
    let mapping = match mapping {
        Err(_) if !frozen && sealed.is_some_and(|seals| seals.write) => {
            return Err(Error::new(
                ErrorKind::Seals,
                "expected all seals of a frozen segment or none, found some",
            ));
        }
        mapping => mapping.map_err(|error| os_error("mmap", error))?,
    };
    let header = header?;
    match (header.flags & FROZEN != 0, frozen) {
        (true, false) => Err(Error::new(
            ErrorKind::Seals,
            "it says it is frozen, but its file is not sealed",
        )),
        (false, true) => Err(Error::new(
            ErrorKind::Seals,
            "its file is sealed, but it does not say it is frozen",
        )),
        _ => Ok((mapping, header)),
    }
}

/// The flags of a segment whose layout this version does not know.
pub(super) fn flags_of_any_version(fd: &OwnedFd) -> Result<u32> {
    let mapping = Mapping::writable(fd, header::SHORTEST).map_err(|error| os_error("mmap", error))?;
    Header::flags_of_any_version(mapping.words())
        .ok_or_else(|| Error::new(ErrorKind::NotASegment, "its magic has gone meanwhile"))
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

fn check_namespaces(header: &Header) -> Result<()> {
    let own = identity::namespaces().map_err(foreign_self)?;
    let pairs = [
        ("PID", header.pid_namespace, own.pid),
        ("time", header.time_namespace, own.time),
    ];
    for (which, expected, found) in pairs {
        if expected == 0 || found == 0 {
            let whose = if found == 0 { "this process" } else { "its creator" };
            let needed = sys::identity::NAMESPACES_NEED;
            let message = format!("the {which} namespace of {whose} is not known: {needed}");
            return Err(Error::new(ErrorKind::ForeignNamespace, message));
        }
        if expected != found {
            let message = format!("expected {which} namespace {expected}, found this process in {found}");
            return Err(Error::new(ErrorKind::ForeignNamespace, message));
        }
    }
    Ok(())
}

/// The refusal of a process whose ids would mean nothing to its peers.
pub(crate) fn foreign_self(why: Foreign) -> Error {
    match why {
        Foreign::Moved => Error::new(
            ErrorKind::ForeignNamespace,
            "this process was moved to another PID or time namespace, where its locks would mean nothing",
        ),
        Foreign::Starved => Error::new(
            ErrorKind::TooManyDescriptors,
            "two descriptors, or memory, are needed to find out who this process is, and cannot be had",
        ),
    }
}

/// The id of this start of the machine; zeros if it cannot be determined.
pub(super) fn boot_id() -> Result<[u64; 2]> {
    static BOOT_ID: OnceLock<[u64; 2]> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(*known);
    }
    let found = sys::identity::boot_id().map_err(|error| os_error("reading the machine's boot id", error))?;
    let bytes = u128::from_le_bytes(found.unwrap_or_default());
    let boot_id = [bytes as u64, (bytes >> 64) as u64];
    if known(boot_id) {
        return Ok(*BOOT_ID.get_or_init(|| boot_id));
    }
    Ok(boot_id) // It may be available later.
}

fn known(boot_id: [u64; 2]) -> bool {
    boot_id != [0, 0]
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
    if !known(this_boot) {
        return Err(Error::new(
            ErrorKind::ForeignBoot,
            "whether the machine was restarted cannot be told",
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
