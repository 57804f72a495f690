//! Orders the memory of all running threads at once, so that the frequent side of a protocol need not.

/// Enlists each process before its `main` begins.
///
/// While there is one thread that takes less than a microsecond. With more, the kernel waits until every processor has passed
/// a quiet state: ten milliseconds, which the first job of a worker would wait for, or the first lock of a program with
/// threads. A copy made by `fork` is enlisted as its parent is.
#[cfg(not(miri))]
#[used]
// SAFETY: the C library calls what stands in this section once, before `main`, without arguments this function would miss;
// it makes one system call, and needs nothing of the standard library.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn enlist_early() {
        enlist(); // Where the kernel cannot, `enlist` says so once more when it is asked for.
    }
    enlist_early
};

/// Enlists this process among those whose threads [`everywhere`] reaches; false if the kernel cannot.
pub(crate) fn enlist() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// Passes a full fence on every running thread of every enlisted process; false if the kernel cannot.
pub(crate) fn everywhere() -> bool {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes three numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enlisted_process_is_reached() {
        assert_eq!(enlist(), everywhere());
    }
}
