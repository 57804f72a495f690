//! Sleeps on and wakes words that several processes map.
//!
//! The futex is the low half of a 64-bit word. It is never a private one: a private futex is keyed
//! by address space, and the sleepers sit in other processes.

use core::ptr;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

pub(crate) use super::super::types::Wait;

/// Sleeps while the low half of `word` is `expected_low`.
pub(crate) fn wait(word: &AtomicU64, expected_low: u32, timeout: Option<Duration>) -> Wait {
    let limit = timeout.map(timespec);
    let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the address is the aligned low half of a live word; the limit is null or a timespec
    // that outlives the call; the kernel only reads both.
    let result = unsafe { libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAIT, expected_low, limit) };
    if result == 0 {
        return Wait::Woken;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Wait::Changed,
        Some(libc::ETIMEDOUT) => Wait::TimedOut,
        // A signal (EINTR) is a spurious wake-up, which every waiter must tolerate anyway.
        _ => Wait::Woken,
    }
}

/// Wakes at most `count` of the threads that sleep on `word`.
pub(crate) fn wake(word: &AtomicU64, count: u32) {
    let count = libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX);
    // SAFETY: the address is the aligned low half of a live word; the kernel uses it as a key and
    // does not touch the bytes.
    unsafe { libc::syscall(libc::SYS_futex, low_half(word), libc::FUTEX_WAKE, count) };
}

/// Finds the 32 bits of `word` whose value is `word & 0xffff_ffff`.
fn low_half(word: &AtomicU64) -> *mut u32 {
    let index = if cfg!(target_endian = "little") { 0 } else { 1 };
    word.as_ptr().cast::<u32>().wrapping_add(index)
}

fn timespec(duration: Duration) -> libc::timespec {
    // A timespec has padding fields on some targets, so it cannot be written as a literal there.
    // SAFETY: every field of a timespec is an integer, for which zero is a value.
    let mut spec: libc::timespec = unsafe { core::mem::zeroed() };
    spec.tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    spec.tv_nsec = duration.subsec_nanos().into();
    spec
}

#[cfg(test)]
mod tests {
    use super::{Wait, wait, wake};
    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;
    use std::time::Instant;

    const HIGH: u64 = 0xdead_beef << 32;

    #[test]
    fn only_the_low_half_is_compared() {
        let word = AtomicU64::new(HIGH | 7);
        assert_eq!(wait(&word, 8, None), Wait::Changed);
        let started = Instant::now();
        let limit = Duration::from_millis(5);
        assert_eq!(wait(&word, 7, Some(limit)), Wait::TimedOut);
        assert!(started.elapsed() >= limit);
    }

    #[test]
    fn an_endless_timeout_is_not_an_error() {
        let word = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Relaxed: the futex call itself orders the store before the wake-up.
                word.store(1, Ordering::Relaxed);
                wake(&word, u32::MAX);
            });
            // Relaxed: only the value matters.
            while word.load(Ordering::Relaxed) == 0 {
                assert_ne!(wait(&word, 0, Some(Duration::MAX)), Wait::TimedOut);
            }
        });
    }

    #[test]
    fn a_wake_up_reaches_a_sleeper() {
        let word = AtomicU64::new(HIGH);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                loop {
                    // Relaxed: only the value matters.
                    if word.load(Ordering::Relaxed) != HIGH {
                        return;
                    }
                    assert_ne!(wait(&word, 0, Some(Duration::from_secs(20))), Wait::TimedOut);
                }
            });
            word.store(HIGH | 1, Ordering::Relaxed); // Relaxed: as above.
            wake(&word, 1);
            assert!(sleeper.join().is_ok());
        });
    }
}
