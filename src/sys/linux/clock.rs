//! Tells time on a clock that all processes of the machine share.

use core::time::Duration;

/// Returns milliseconds since boot, not counting time suspended.
///
/// All processes of one time namespace read the same clock.
pub(crate) fn monotonic_millis() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    millis(seconds, nanoseconds)
}

/// Returns nanoseconds of the same clock.
#[cfg(feature = "process")]
pub(crate) fn monotonic_nanos() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Returns milliseconds since boot, including time suspended.
#[cfg(feature = "map")]
pub(crate) fn boot_millis() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_BOOTTIME);
    millis(seconds, nanoseconds)
}

fn millis(seconds: u64, nanoseconds: u64) -> u64 {
    seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000)
}

/// Seconds, and nanoseconds of the next second.
fn read(clock: libc::clockid_t) -> (u64, u64) {
    // SAFETY: every field of a timespec is an integer, for which zero is a value.
    let mut now: libc::timespec = unsafe { core::mem::zeroed() };
    // SAFETY: `now` is writable for one timespec. The call cannot fail for these clocks.
    unsafe { libc::clock_gettime(clock, &mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    (seconds, u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Puts this thread to sleep for at least `duration`.
pub(crate) fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::{monotonic_millis, sleep};
    use core::time::Duration;

    #[test]
    fn the_clock_counts_a_sleep() {
        let before = monotonic_millis();
        assert!(before > 0);
        sleep(Duration::from_millis(3));
        assert!(monotonic_millis() >= before + 2);
    }
}
