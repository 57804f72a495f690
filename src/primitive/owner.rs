//! `OwnerId`: who holds a lock, packed into one word beside the lock's flag.
//!
//! ```text
//!  63        54 53                32 | 31  30 29      22 21                 0
//!  [ start:10 ][ PID:22            ] | [I][-][ image:8 ][ TID:22            ]
//!  high half: the process            | low half: the futex word
//! ```
//!
//! *start* is the process's start time reduced to 1 … 1022; 0 means that it is not known, and never counts as different.
//! *image* marks the executable image: `exec` keeps PID, TID and start time but not the memory, so without the mark a process that
//! replaced itself while holding a lock would take its former self for itself.

/// The last owner died or panicked, and the data has not been declared whole since.
pub(crate) const INCONSISTENT: u64 = 1 << 31;

/// Bit 30 is free.
const FLAGS: u64 = 1 << 30 | INCONSISTENT;
const ID_BITS: u64 = (1 << 22) - 1;

/// Identifies one thread of one image of one process; never zero for a real owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnerId(u64);

impl OwnerId {
    #[cfg(any(test, procshare_loom))]
    /// Packs the parts; `start_bits` comes from [`start_bits`].
    pub(crate) fn pack(tid: u32, image: u8, pid: u32, start_bits: u16) -> Self {
        Self::of_thread(tid, image, Self::process_half(pid, start_bits))
    }

    /// Packs a thread's part beside the process half it belongs to.
    pub(crate) fn of_thread(tid: u32, image: u8, process_half: u64) -> Self {
        OwnerId(process_half << 32 | u64::from(image) << 22 | (u64::from(tid) & ID_BITS))
    }

    /// Reverses [`word`](Self::word).
    #[cfg(not(procshare_loom))]
    #[inline]
    pub(crate) fn from_cache(word: u64) -> Self {
        OwnerId(word)
    }

    /// The same id for every thread of the process.
    pub(crate) fn of_process(self) -> Self {
        OwnerId(self.0 & !ID_BITS)
    }

    /// The process's id with a number in the thread's place, which is 0 in [`of_process`](Self::of_process).
    pub(crate) fn with_ticket(self, number: u16) -> Self {
        OwnerId(self.0 & !ID_BITS | u64::from(number))
    }

    /// The number in the thread's place.
    pub(crate) fn ticket(self) -> u16 {
        self.0 as u16
    }

    /// The id of a child that has not begun to run its image.
    #[cfg(all(feature = "process", not(procshare_loom)))]
    pub(crate) fn of_child(pid: u32, start: u64) -> Self {
        Self::of_thread(0, 0, Self::process_half(pid, start_bits(start)))
    }

    /// The half of the id that all threads of a process share, as a number of 32 bits.
    pub(crate) fn process_half(pid: u32, start_bits: u16) -> u64 {
        (u64::from(start_bits) & 0x3ff) << 22 | (u64::from(pid) & ID_BITS)
    }

    /// The PID in the half that all threads of a process share.
    #[cfg(not(procshare_loom))]
    pub(crate) fn pid_of_half(half: u64) -> u32 {
        (half & ID_BITS) as u32
    }

    /// The owner named by a lock word, or `None` if the word says "free".
    pub(crate) fn in_word(word: u64) -> Option<Self> {
        let id = word & !FLAGS;
        (id != 0).then_some(OwnerId(id))
    }

    /// The lock word of this owner without flags.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    #[cfg(not(procshare_loom))]
    pub(crate) fn process(self) -> u64 {
        self.0 >> 32
    }

    pub(crate) fn pid(self) -> u32 {
        (self.0 >> 32 & ID_BITS) as u32
    }

    pub(crate) fn image(self) -> u8 {
        (self.0 >> 22) as u8
    }

    #[allow(dead_code, reason = "models have no start times")]
    pub(crate) fn start_bits(self) -> u16 {
        (self.0 >> 54) as u16
    }
}

/// Reduces a start time in ticks to 1 … 1022; an unknown one (0) stays 0.
///
/// 1023 is left out so that no process half is ever all ones, which marks a cache not filled yet.
pub(crate) fn start_bits(ticks: u64) -> u16 {
    if ticks == 0 { 0 } else { (ticks % 1022) as u16 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_packing() {
        let id = OwnerId::pack(0x3f_fffe, 0xa5, 0x2a_5a5a, 1022);
        assert_eq!((id.pid(), id.image(), id.start_bits()), (0x2a_5a5a, 0xa5, 1022));
        assert_eq!(OwnerId::in_word(id.word() | FLAGS), Some(id));
        assert_eq!(id.word() & FLAGS, 0);
    }

    #[test]
    fn flags_alone_name_nobody() {
        assert_eq!(OwnerId::in_word(0), None);
        assert_eq!(OwnerId::in_word(FLAGS), None);
    }

    #[test]
    fn unknown_start_stays_unknown_and_known_never_is() {
        assert_eq!(start_bits(0), 0);
        for ticks in [1, 1021, 1022, 1023, 2044, u64::MAX] {
            assert!((1..=1022).contains(&start_bits(ticks)), "{ticks}");
        }
    }
}
