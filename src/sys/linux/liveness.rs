//! Tells whether another process can still act.
//!
//! A process is declared dead only on positive proof: its number is free or names a mere thread, its pidfd says it has ended, or
//! all its threads are exiting, perhaps while a core file is written. What cannot be read proves nothing.

use core::ops::Range;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

pub(crate) use super::super::types::Life;
use super::{procfs, retry};

/// Marks a thread that has begun to exit; its memory goes later.
const PF_EXITING: u64 = 0x4;
/// Marks a process that was forked and has not called `exec` since.
const PF_FORKNOEXEC: u64 = 0x40;
/// Marks a thread that waits, while exiting, for another one to write a core file.
const PF_POSTCOREDUMP: u64 = 0x8;
/// Marks the thread that writes the core file; it exits when it is done.
const PF_DUMPCORE: u64 = 0x200;
/// A thread with one of these never returns to its program, nor to a system call. (`CoreDumping` in `status` is no proof: it
/// appears before the other threads have stopped, and a thread in a system call may be writing to its memory.)
const FINAL: u64 = PF_EXITING | PF_POSTCOREDUMP | PF_DUMPCORE;

/// Limits how often a changing list of threads is read.
const PASSES: u32 = 4;

/// Asks the kernel whether process `pid` is alive.
pub(crate) fn life(pid: u32) -> Life {
    let pidfd = match open_pidfd(pid) {
        Ok(pidfd) => pidfd,
        Err(error) if proves_absence(&error, pid) => return Life::Dead,
        Err(_) => return Life::Alive { start: 0 },
    };
    if has_exited(pidfd.as_fd()) {
        return Life::Dead;
    }
    let facts = if procfs::is_trusted() {
        observe(pid)
    } else {
        Facts::default()
    };
    // Polled last: a process that has not exited still owns its number, so the facts are about it.
    if facts.doomed || has_exited(pidfd.as_fd()) {
        return Life::Dead;
    }
    Life::Alive { start: facts.start }
}

/// Opens a descriptor that names process `pid` and never another one.
pub(super) fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let Some(pid) = process_number(pid) else {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    };
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let fd = retry(|| unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Returns `pid` as the kernel's type if it is valid.
fn process_number(pid: u32) -> Option<libc::pid_t> {
    libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// Tells whether a failure to open a pidfd proves death.
fn proves_absence(error: &io::Error, pid: u32) -> bool {
    match error.raw_os_error() {
        Some(libc::ESRCH) => true,
        // The number names a thread of another process: EINVAL before Linux 6.15, ENOENT since.
        Some(libc::EINVAL | libc::ENOENT) => true,
        // No descriptor is available (EMFILE, ENFILE, ENOMEM) or allowed: these ways need none.
        _ => process_number(pid).is_none_or(is_gone) || has_left_its_memory(pid),
    }
}

/// Tells, without a descriptor, whether the process has ended or is about to.
///
/// A thread has no executable once it has released its memory while exiting. If it was the leader, and the process has no other
/// thread, nothing of the process runs any more.
fn has_left_its_memory(pid: u32) -> bool {
    let without_memory = || {
        let link = fs::read_link(format!("/proc/{pid}/exe"));
        link.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    // The folder of threads has a link for each thread, besides its own two.
    let is_alone = || fs::metadata(format!("/proc/{pid}/task")).is_ok_and(|task| task.nlink() == 3);
    procfs::was_trusted() && without_memory() && is_alone() && without_memory()
}

fn is_gone(pid: libc::pid_t) -> bool {
    // SAFETY: signal 0 is only a question; the call touches no memory of ours.
    let answer = retry(|| unsafe { libc::kill(pid, 0) });
    answer.is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Tells whether the process has ended; a leader that ended before its threads has not.
fn has_exited(pidfd: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is to one writable entry, and the count says one.
    let ready = retry(|| unsafe { libc::poll(&mut entry, 1, 0) });
    ready.is_ok() && entry.revents & libc::POLLIN != 0
}

/// What `/proc` says about a process.
#[derive(Default)]
struct Facts {
    /// When it started; 0 is unknown.
    start: u64,
    /// It is proven to be ending.
    doomed: bool,
}

fn observe(pid: u32) -> Facts {
    let Some(leader) = read_stat(pid, pid) else {
        return Facts::default();
    };
    // The leader first: that it is running is the most common answer, and the cheapest.
    let doomed = leader.flags & FINAL != 0 && census(pid) == Some(Census::AllExiting);
    Facts {
        start: leader.start,
        doomed,
    }
}

/// Tells whether process `pid` has called `exec` since it was forked; false if that cannot be told.
pub(crate) fn has_execed(pid: u32) -> bool {
    procfs::is_trusted() && read_stat(pid, pid).is_some_and(|stat| stat.flags & PF_FORKNOEXEC == 0)
}

/// Returns when a process started, or 0.
pub(crate) fn start_of(pid: u32) -> u64 {
    read_stat(pid, pid).map_or(0, |stat| stat.start)
}

#[derive(PartialEq, Eq)]
enum Census {
    /// Every thread has begun to exit, so none can start another.
    AllExiting,
    /// A thread has not.
    Runs,
}

/// Looks for a thread that is not exiting.
///
/// A list read while threads come and go may miss some: a thread can start behind the reader, and the kernel ends the list early
/// when the thread it stands at goes away. So every thread must be exiting in two lists, the lists must be the same, and the
/// kernel's own count, read between them, must equal their length. Then the process had exactly these threads at that moment.
fn census(pid: u32) -> Option<Census> {
    let mut before = None;
    for _ in 0..PASSES {
        let count = read_stat(pid, pid)?.threads;
        let now = match survey(pid)? {
            Survey::Exiting(threads) => Some(threads),
            Survey::Runs => return Some(Census::Runs),
            Survey::Changing => None,
        };
        let agreed = now.as_ref().filter(|_| now == before);
        if agreed.is_some_and(|threads| threads.len() as u64 == count) {
            return Some(Census::AllExiting);
        }
        before = now;
    }
    None
}

enum Survey {
    /// All threads seen, each exiting.
    Exiting(Vec<u32>),
    /// At least one is not exiting.
    Runs,
    /// A thread went away before it could be looked at.
    Changing,
}

fn survey(pid: u32) -> Option<Survey> {
    let mut exiting = Vec::new();
    for thread in threads(pid)? {
        match read_stat(pid, thread) {
            None => return Some(Survey::Changing),
            Some(stat) if stat.flags & FINAL == 0 => return Some(Survey::Runs),
            Some(_) => exiting.push(thread),
        }
    }
    exiting.sort_unstable();
    Some(Survey::Exiting(exiting))
}

/// Lists the threads of a process, its leader first.
fn threads(pid: u32) -> Option<impl Iterator<Item = u32>> {
    let folder = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(
        folder
            .map_while(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok()),
    )
}

/// The fields of a thread's `stat` file that matter here.
#[derive(Debug, PartialEq, Eq)]
struct ThreadStat {
    flags: u64,
    threads: u64,
    start: u64,
}

fn read_stat(pid: u32, thread: u32) -> Option<ThreadStat> {
    parse_stat(&read_small(&format!("/proc/{pid}/task/{thread}/stat")).ok()?)
}

fn parse_stat(text: &[u8]) -> Option<ThreadStat> {
    // The second field is the program's name in brackets, which may itself contain brackets, spaces and bytes that are not text.
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = core::str::from_utf8(text.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some(ThreadStat {
        flags: field(9)?,
        threads: field(20)?,
        start: field(22)?,
    })
}

fn read_small(path: &str) -> io::Result<Vec<u8>> {
    // Such a file comes in one read, if the buffer is large enough; asking whether more follows would take another read.
    let mut bytes = vec![0; 2048];
    let mut file = File::open(path)?;
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    if len == bytes.capacity() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Tells whether `pid` provably lacks the file mapped here at `base`.
///
/// That is what a process looks like after `exec`. When anything cannot be read the answer is no.
pub(crate) fn lacks_mapping(pid: u32, base: *const u8) -> bool {
    if pid == std::process::id() || !procfs::is_trusted() {
        return false;
    }
    let Some(file) = file_mapped_at(base.addr()) else {
        return false;
    };
    if let Some(found) = maps_file(&format!("/proc/{pid}/maps"), &file) {
        return !found;
    }
    // A leader that has ended has no memory, but its threads may still have it.
    let answer = threads(pid).and_then(|mut threads| {
        threads.find_map(|thread| maps_file(&format!("/proc/{pid}/task/{thread}/maps"), &file))
    });
    answer == Some(false)
}

/// Returns device and inode text of the file mapped at `address`.
fn file_mapped_at(address: usize) -> Option<Vec<u8>> {
    let mut file = None;
    // The thread's, as a leader that has ended has no memory.
    each_mapping("/proc/thread-self/maps", |mapping| {
        if !mapping.range.contains(&address) {
            return false;
        }
        file = mapping.file.map(<[u8]>::to_vec);
        true
    })
    .ok()?;
    file
}

/// Tells whether a list of mappings contains that file; `None` if the list is unreadable or empty.
fn maps_file(path: &str, file: &[u8]) -> Option<bool> {
    let mut found = false;
    let lines = each_mapping(path, |mapping| {
        found = mapping.file == Some(file);
        found
    });
    lines.ok().filter(|lines| *lines > 0).map(|_| found)
}

/// One line of a list of mappings.
struct MappedRange<'a> {
    range: Range<usize>,
    /// Device and inode as text, if it maps a file.
    file: Option<&'a [u8]>,
}

/// Shows mappings to `visit` until it returns true; counts them.
fn each_mapping(path: &str, mut visit: impl FnMut(MappedRange<'_>) -> bool) -> io::Result<usize> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let mut line = Vec::new();
    let mut seen = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        let mapping = parse_mapping(&line).ok_or(io::ErrorKind::InvalidData)?;
        seen += 1;
        if visit(mapping) {
            break;
        }
        line.clear();
    }
    Ok(seen)
}

/// Parses `7f00-7f10 rw-s 00000000 00:01 1234   /path`.
fn parse_mapping(line: &[u8]) -> Option<MappedRange<'_>> {
    let mut ends = line
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b' ')
        .map(|(at, _)| at);
    let addresses = line.get(..ends.next()?)?;
    let file_start = ends.nth(1)? + 1;
    let file_end = ends.nth(1).unwrap_or(line.trim_ascii_end().len());
    let file = line.get(file_start..file_end)?;
    let dash = addresses.iter().position(|byte| *byte == b'-')?;
    let range = parse_hex(&addresses[..dash])?..parse_hex(&addresses[dash + 1..])?;
    Some(MappedRange {
        range,
        file: (!file.ends_with(b" 0")).then_some(file),
    })
}

fn parse_hex(digits: &[u8]) -> Option<usize> {
    usize::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"12 (a) R (\xff) S 1 2 3 4 5 4194308 6 7 8 9 10 11 12 13 14 15 3 0 987654 0 0\n";
        assert_eq!(
            parse_stat(line),
            Some(ThreadStat {
                flags: 4_194_308,
                threads: 3,
                start: 987_654
            })
        );
        for bad in [&b""[..], b"12 (a", b"12 (a)", b"12 (a) S 1 2 3", b"1 (a) S - - - - - -"] {
            assert_eq!(parse_stat(bad), None);
        }
    }

    #[test]
    fn mappings_are_parsed() {
        let file = parse_mapping(b"7f00-7f10 rw-s 00000000 00:01 1234       /memfd:a b (deleted)\n");
        let file = file.unwrap();
        assert_eq!((file.range, file.file), (0x7f00..0x7f10, Some(&b"00:01 1234"[..])));
        let bare = parse_mapping(b"7f00-7f10 rw-s 00000000 fe:00 77\n").unwrap();
        assert_eq!(bare.file, Some(&b"fe:00 77"[..]));
        for anonymous in [
            &b"1-2 rw-p 00000000 00:00 0 \n"[..],
            b"1-2 rw-p 00000000 00:00 0  [heap]\n",
        ] {
            assert_eq!(parse_mapping(anonymous).unwrap().file, None);
        }
        for bad in [
            &b"\n"[..],
            b"12 rw-s 0 00:01 1\n",
            b"x-y rw-s 0 00:01 1\n",
            b"1-2 rw-s 0\n",
        ] {
            assert!(parse_mapping(bad).is_none());
        }
    }

    #[test]
    fn numbers_no_process_can_have_are_dead() {
        assert_eq!(life(0), Life::Dead);
        assert_eq!(life(u32::MAX), Life::Dead);
        assert_eq!(life(i32::MAX.unsigned_abs()), Life::Dead);
    }

    #[test]
    fn this_process_is_alive_and_maps_what_it_maps() {
        let start = super::super::identity::identity().unwrap().start;
        assert_eq!(life(std::process::id()), Life::Alive { start });
        assert!(!lacks_mapping(std::process::id(), core::ptr::null()));
    }
}
