//! Whether `/proc` is there and counts processes as this process does.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, process};

/// What a process needs in order to know its namespaces.
pub(crate) const NAMESPACES_NEED: &str = "/proc must be mounted (mount -t proc proc /proc)";

/// What this process lacks in order to see itself and others, and the cure.
///
/// If `/proc` exists but has no entry for this process, it belongs to another PID namespace, and is not missing.
pub(crate) fn missing_means() -> Option<&'static str> {
    let is_there = Path::new("/proc/self").exists();
    (!is_there).then_some("/proc is needed but is not mounted; mount it (mount -t proc proc /proc)")
}

/// The process that last found its `/proc` to be its own.
static TRUSTING: AtomicU32 = AtomicU32::new(0);
/// The device of that `/proc`; 0 is none. A mount always counts processes as it did at first, and a second one beside it is a
/// different device.
static TRUSTED: AtomicU64 = AtomicU64::new(0);

/// Tells whether `/proc` counts processes as this process does.
///
/// A mount inherited from another PID namespace shows other processes under the same numbers. By chance it may even show this
/// process under its own number; but then it shows more than one number.
pub(super) fn is_trusted() -> bool {
    if !shows_our_number() {
        return false;
    }
    let device = fs::symlink_metadata("/proc/self").map_or(0, |link| link.dev());
    // Relaxed, here and below: every thread that stores these words stores the same values.
    if device != 0 && TRUSTED.load(Ordering::Relaxed) == device && TRUSTING.load(Ordering::Relaxed) == process::id() {
        return true; // A waiting thread asks many times a second, and the file takes the kernel long to write.
    }
    let Ok(status) = fs::read("/proc/thread-self/status") else {
        return false;
    };
    let line = status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"));
    let numbers = line.map(|line| {
        line.split(u8::is_ascii_whitespace)
            .filter(|number| !number.is_empty())
            .count()
    });
    // A kernel without PID namespaces has no such line.
    let trusted = numbers.is_none_or(|numbers| numbers == 1);
    if trusted {
        TRUSTED.store(device, Ordering::Relaxed);
        TRUSTING.store(process::id(), Ordering::Relaxed);
    }
    trusted
}

/// As [`is_trusted`], from earlier findings, for a process that has no descriptor to spare.
pub(super) fn was_trusted() -> bool {
    TRUSTING.load(Ordering::Relaxed) == process::id() && shows_our_number()
}

/// Lets a copy of the process trust the `/proc` that its ancestor found to be its own.
pub(super) fn trust_as_ancestor() {
    if TRUSTING.load(Ordering::Relaxed) != 0 && shows_our_number() {
        TRUSTING.store(process::id(), Ordering::Relaxed);
    }
}

fn shows_our_number() -> bool {
    let target = fs::read_link("/proc/self").ok();
    target.and_then(|number| number.to_str()?.parse().ok()) == Some(process::id())
}
