//! Whether this program, if started again, would have more rights than the process that starts it.
//!
//! The kernel reports that in `AT_SECURE`, and such a process takes nothing from its caller. Here the same is predicted from what
//! the kernel uses: the ids, and the bits and capabilities of the file.

use core::mem::MaybeUninit;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::check;
use super::executable::{OWN, PATH};
use super::identity::user_id;

/// The file's permitted capabilities are also effective.
const EFFECTIVE: u32 = 1;

/// Names what would give this program more rights if this process started it again; `None` if nothing would.
pub(crate) fn gain() -> Option<&'static str> {
    if acts_for_another() {
        return Some("its effective user or group differs from its real one");
    }
    if mount_grants_nothing() {
        return None;
    }
    if changes_ids() {
        return Some("its file is set-user-id or set-group-id");
    }
    has_capabilities().then_some("its file has capabilities")
}

fn acts_for_another() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let users = (unsafe { libc::getuid() }, user_id());
    users.0 != users.1 || groups().0 != groups().1
}

/// The real and the effective group.
fn groups() -> (u32, u32) {
    // SAFETY: the call takes nothing and cannot fail.
    let real = unsafe { libc::getgid() };
    // SAFETY: the call takes nothing and cannot fail.
    (real, unsafe { libc::getegid() })
}

/// Whether the rights that the file grants are ineffective on its mount.
fn mount_grants_nothing() -> bool {
    let mut found = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL, and the pointer is to room for one description.
    let told = check(unsafe { libc::statvfs(OWN.as_ptr(), found.as_mut_ptr()) });
    // SAFETY: it is made of integers, and all of it was at least zeroed.
    let found = unsafe { found.assume_init() };
    told.is_ok() && found.f_flag & libc::ST_NOSUID != 0
}

fn changes_ids() -> bool {
    // SAFETY: the call takes numbers and touches no memory.
    let confined = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1;
    let Some(file) = fs::metadata(PATH).ok().filter(|_| !confined) else {
        return false;
    };
    let has = |bits: u32| file.mode() & bits == bits;
    has(libc::S_ISUID) && file.uid() != user_id() || has(libc::S_ISGID | libc::S_IXGRP) && file.gid() != groups().1
}

/// Whether a user other than root would get capabilities from the file.
fn has_capabilities() -> bool {
    // SAFETY: the call takes nothing and cannot fail.
    let is_root = unsafe { libc::getuid() } == 0;
    let words = (!is_root).then(file_capabilities).transpose().ok().flatten();
    words.is_some_and(|words| grants(&words, inheritable()))
}

/// The words of the file's `security.capability`: revision and flags, then pairs of permitted and inheritable ones.
fn file_capabilities() -> io::Result<Vec<u32>> {
    let mut bytes = [0_u8; 64];
    let (path, name) = (OWN.as_ptr(), c"security.capability".as_ptr());
    // SAFETY: both strings end in NUL, and the pointer is to that much room.
    let len = check(unsafe { libc::getxattr(path, name, bytes.as_mut_ptr().cast(), bytes.len()) })?;
    let words = bytes[..len as usize].chunks_exact(4);
    Ok(words
        .filter_map(|word| word.try_into().ok())
        .map(u32::from_le_bytes)
        .collect())
}

fn grants(words: &[u32], inheritable: u64) -> bool {
    let Some((magic, sets)) = words.split_first() else {
        return false;
    };
    let set =
        |at: usize| sets.get(at).copied().map_or(0, u64::from) | sets.get(at + 2).copied().map_or(0, u64::from) << 32;
    let sets = sets.len().min(4);
    magic & EFFECTIVE != 0 && sets > 0 || set(0) != 0 || set(1) & inheritable != 0
}

/// The capabilities that this process would pass on to a file that asks for them.
fn inheritable() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapInh:"));
    line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}
