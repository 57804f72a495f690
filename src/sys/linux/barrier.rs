//! Orders the memory of all running threads at once, so that the frequent side of a protocol need not.

/// Registers each process before its `main` begins.
///
/// While there is only one thread, registering takes less than a microsecond. With more, the kernel waits until every processor has
/// passed a quiescent state: ten milliseconds, for which the first job of a worker would wait, or the first lock of a program with
/// threads. A copy made by `fork` is registered if its parent is.
#[cfg(not(miri))]
#[used]
// SAFETY: the C library calls what is in this section once, before `main`, without any arguments that this function would lack; it
// makes one system call, and needs nothing of the standard library.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn enlist_early() {
        enlist(); // If the kernel cannot, `enlist` reports that again when it is called later.
    }
    enlist_early
};

/// Registers this process among those whose threads [`everywhere`] reaches; false if the kernel cannot.
pub(crate) fn enlist() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// Executes a full fence on every running thread of every registered process; false if the kernel cannot.
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
