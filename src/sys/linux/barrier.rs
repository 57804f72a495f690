//! Orders the memory of all running threads at once, so that the frequent side of a protocol need not.

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
