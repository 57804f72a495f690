//! The first bytes of a segment: what it is, who owns it, who is attached.
//!
//! A segment is read as 64-bit words of the machine's own byte order; a segment of the other order has a different magic.

use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering};

/// The first eight bytes of every segment: `procshr\0` on a little-endian machine.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"procshr\0");
/// Changes whenever a byte of the layout gets another meaning.
pub(crate) const LAYOUT_VERSION: u32 = 4;

/// The segment outlives its last user.
pub(crate) const PERSISTENT: u32 = 1;
/// The segment is sealed against every write: locks and attach table in it are dead bytes.
pub(crate) const FROZEN: u32 = 1 << 1;
const KNOWN_FLAGS: u32 = PERSISTENT | FROZEN;

/// Word numbers of the header's fields.
pub(crate) mod word {
    pub(crate) const MAGIC: usize = 0;
    /// Layout version in the low half, flags in the high half.
    pub(crate) const VERSION: usize = 1;
    pub(crate) const LENGTH: usize = 2;
    /// The creator's user id, for tools; access is decided by the file's owner.
    pub(crate) const USER: usize = 3;
    pub(crate) const PID_NAMESPACE: usize = 4;
    pub(crate) const TIME_NAMESPACE: usize = 5;
    /// Two words.
    pub(crate) const BOOT_ID: usize = 6;
    /// Two words: the lock of the directory.
    pub(crate) const DIRECTORY_LOCK: usize = 8;
    /// Bytes in use from the start; where the next object goes.
    pub(crate) const USED: usize = 10;
    pub(crate) const BUCKETS: usize = 11;
    pub(crate) const OBJECTS: usize = 12;
    /// Where the newest entry begins, 0 if there is none: it must end where the bytes in use end.
    pub(crate) const LAST: usize = 13;
    /// Whether the file has overflow areas (overflow areas) beyond what is mapped: 0 while nobody has asked, then
    /// [`NO_OVERFLOW_AREAS`](super::NO_OVERFLOW_AREAS) or [`OVERFLOW_AREAS`](super::OVERFLOW_AREAS) for ever. Word 15 is zero.
    pub(crate) const OVERFLOW_AREAS: usize = 14;
    pub(crate) const ATTACHED: usize = 16;
    /// The bucket array.
    pub(crate) const END: usize = ATTACHED + super::ATTACH_ENTRIES;
}

/// How many processes the attach table holds; more may attach, but are known by their file lock alone.
pub(crate) const ATTACH_ENTRIES: usize = 64;
/// The header's own words, without attach table and buckets.
pub(crate) const HEADER_WORDS: usize = word::ATTACHED;
/// No segment is shorter: header, attach table, one bucket.
pub(crate) const SHORTEST: u64 = (word::END as u64 + 1) * 8;

/// Refuses a file too short for a header, before any of it is read.
pub(crate) fn check_shortest(length: u64) -> Result<()> {
    if length < SHORTEST {
        return fail(
            ErrorKind::Truncated,
            format!("expected at least {SHORTEST} bytes, found {length}"),
        );
    }
    Ok(())
}

/// The words that have these bytes.
pub(crate) fn words_of(bytes: &[u8; HEADER_WORDS * 8]) -> [u64; HEADER_WORDS] {
    core::array::from_fn(|at| u64::from_ne_bytes(core::array::from_fn(|byte| bytes[at * 8 + byte])))
}

/// The file has no overflow areas, and never will.
pub(crate) const NO_OVERFLOW_AREAS: u64 = 1;
/// The file has overflow areas.
pub(crate) const OVERFLOW_AREAS: u64 = 2;
/// An object this large, or larger, has an overflow area to itself.
pub(crate) const OVERFLOW_EACH: u64 = 4096;
/// No overflow area is longer: memory runs out before.
const LONGEST_OVERFLOW: u64 = 1 << 41;
const SHORTEST_OVERFLOW: u64 = 1 << 20;
/// No file is longer.
const LONGEST_FILE: u64 = 1 << 62;

/// How long each overflow area of a segment of `length` bytes is: a power of two.
pub(crate) fn overflow_size(length: u64) -> Option<u64> {
    let each = LONGEST_FILE.checked_sub(length)? / length.div_ceil(OVERFLOW_EACH).max(1);
    let size = 1 << each.min(LONGEST_OVERFLOW).checked_ilog2()?;
    Some(size).filter(|size| *size >= SHORTEST_OVERFLOW)
}

/// How long the file of a segment of `length` bytes is if it has overflow areas.
pub(crate) fn length_with_overflow(length: u64) -> Option<u64> {
    Some(length + length.div_ceil(OVERFLOW_EACH) * overflow_size(length)?)
}

/// What a creator writes and an attacher checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u64,
    pub(crate) overflow_areas: u64,
    pub(crate) flags: u32,
    pub(crate) user: u32,
    pub(crate) pid_namespace: u64,
    pub(crate) time_namespace: u64,
    pub(crate) boot_id: [u64; 2],
    pub(crate) buckets: u64,
}

impl Header {
    /// Writes the header of a new segment, magic last. No other process sees the segment yet.
    pub(crate) fn format(&self, words: &[AtomicU64], used: u64) {
        let fields = [
            (word::VERSION, u64::from(self.flags) << 32 | u64::from(LAYOUT_VERSION)),
            (word::LENGTH, self.length),
            (word::USER, u64::from(self.user)),
            (word::PID_NAMESPACE, self.pid_namespace),
            (word::TIME_NAMESPACE, self.time_namespace),
            (word::BOOT_ID, self.boot_id[0]),
            (word::BOOT_ID + 1, self.boot_id[1]),
            (word::USED, used),
            (word::BUCKETS, self.buckets),
            (word::OVERFLOW_AREAS, self.overflow_areas),
            (word::MAGIC, MAGIC),
        ];
        for (at, value) in fields {
            // Relaxed: the name is made, or the descriptor passed on, by later system calls.
            words[at].store(value, Ordering::Relaxed);
        }
    }

    /// Reads and checks a copy of the first words; `file_length` is what the operating system says.
    pub(crate) fn parse(words: &[u64; HEADER_WORDS], file_length: u64) -> Result<Self> {
        let version = words[word::VERSION] as u32;
        if words[word::MAGIC] != MAGIC {
            let found = words[word::MAGIC];
            return fail(
                ErrorKind::NotASegment,
                format!("expected magic {MAGIC:#018x}, found {found:#018x}"),
            );
        }
        if version != LAYOUT_VERSION {
            return fail(
                ErrorKind::LayoutVersion,
                format!("expected layout version {LAYOUT_VERSION}, found {version}"),
            );
        }
        let header = Header {
            length: words[word::LENGTH],
            overflow_areas: words[word::OVERFLOW_AREAS],
            flags: (words[word::VERSION] >> 32) as u32,
            user: words[word::USER] as u32,
            pid_namespace: words[word::PID_NAMESPACE],
            time_namespace: words[word::TIME_NAMESPACE],
            boot_id: [words[word::BOOT_ID], words[word::BOOT_ID + 1]],
            buckets: words[word::BUCKETS],
        };
        header.check(file_length)?;
        Ok(header)
    }

    /// The flags of a segment of any layout version: magic, version and flags keep their places for ever. `None` if it is
    /// no segment.
    pub(crate) fn flags_of_any_version(words: &[AtomicU64]) -> Option<u32> {
        let is_segment = words.first()?.load(Ordering::Relaxed) == MAGIC;
        let flags = (words.get(word::VERSION)?.load(Ordering::Relaxed) >> 32) as u32;
        is_segment.then_some(flags)
    }

    fn check(&self, file_length: u64) -> Result<()> {
        let length = self.length;
        // Overflow areas are added before they are recorded.
        let longer = length_with_overflow(length)
            .filter(|longer| *longer == file_length || self.overflow_areas == OVERFLOW_AREAS);
        let expected = longer.unwrap_or(length);
        if file_length < expected {
            return fail(
                ErrorKind::Truncated,
                format!("expected {expected} bytes, found {file_length}"),
            );
        }
        if file_length > expected {
            return fail(
                ErrorKind::LengthMismatch,
                format!("expected {expected} bytes, found {file_length}"),
            );
        }
        if length < SHORTEST || length % 8 != 0 {
            return fail(
                ErrorKind::Corrupt,
                format!(
                    "expected a segment length that is a multiple of 8 and holds the \
                header, found {length} bytes"
                ),
            );
        }
        if self.flags & !KNOWN_FLAGS != 0 {
            return fail(ErrorKind::Corrupt, format!("unknown flags {:#x}", self.flags));
        }
        let most = (length - word::END as u64 * 8) / 8;
        if !self.buckets.is_power_of_two() || self.buckets > most {
            return fail(
                ErrorKind::Corrupt,
                format!(
                    "expected a power of two of directory buckets that fit in the segment, found {}",
                    self.buckets
                ),
            );
        }
        Ok(())
    }
}

fn fail<T>(kind: ErrorKind, message: String) -> Result<T> {
    Err(Error::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> [u64; HEADER_WORDS] {
        let words: Vec<AtomicU64> = (0..word::END).map(|_| AtomicU64::new(0)).collect();
        let header = Header {
            length: 4096,
            overflow_areas: 0,
            flags: PERSISTENT,
            user: 1000,
            pid_namespace: 11,
            time_namespace: 12,
            boot_id: [1, 2],
            buckets: 8,
        };
        header.format(&words, 704);
        core::array::from_fn(|at| words[at].load(Ordering::Relaxed))
    }

    #[test]
    fn what_was_formatted_parses() {
        let header = Header::parse(&good(), 4096).unwrap();
        assert_eq!((header.user, header.flags, header.buckets), (1000, PERSISTENT, 8));
    }

    #[test]
    fn a_file_is_as_long_as_what_is_mapped_or_longer_by_overflow_areas() {
        assert_eq!(length_with_overflow(4096), Some(4096 + (1 << 41)));
        assert_eq!(overflow_size(1 << 40), Some(1 << 33));
        assert_eq!(overflow_size(u64::MAX), None);
        let with = |overflow_areas: u64, length: u64| {
            let mut words = good();
            words[word::OVERFLOW_AREAS] = overflow_areas;
            Header::parse(&words, length).is_ok()
        };
        assert!(with(0, 4096) && with(NO_OVERFLOW_AREAS, 4096) && !with(OVERFLOW_AREAS, 4096));
        let longer = 4096 + (1 << 41);
        assert!(with(0, longer) && with(NO_OVERFLOW_AREAS, longer) && with(OVERFLOW_AREAS, longer));
    }

    /// The byte map: a change here needs a new `LAYOUT_VERSION`.
    #[test]
    fn golden_bytes() {
        let words = good();
        let expected = [MAGIC, 1 << 32 | 4, 4096, 1000, 11, 12, 1, 2, 0, 0, 704, 8, 0, 0, 0, 0];
        assert_eq!(words, expected);
        assert_eq!((word::DIRECTORY_LOCK, word::ATTACHED, word::END), (8, 16, 80));
        assert_eq!(&MAGIC.to_le_bytes(), b"procshr\0");
    }

    #[test]
    fn each_fault_has_its_kind() {
        let cases: [(usize, u64, u64, ErrorKind); 11] = [
            (word::MAGIC, 0, 4096, ErrorKind::NotASegment),
            (word::MAGIC, MAGIC.swap_bytes(), 4096, ErrorKind::NotASegment),
            (word::VERSION, 2, 4096, ErrorKind::LayoutVersion),
            (word::VERSION, 8 << 32 | 4, 4096, ErrorKind::Corrupt),
            (word::LENGTH, 8192, 4096, ErrorKind::Truncated),
            (word::LENGTH, 2048, 4096, ErrorKind::LengthMismatch),
            (word::OVERFLOW_AREAS, OVERFLOW_AREAS, 4096, ErrorKind::Truncated),
            (
                word::OVERFLOW_AREAS,
                OVERFLOW_AREAS,
                4097 + (1 << 41),
                ErrorKind::LengthMismatch,
            ),
            (
                word::OVERFLOW_AREAS,
                NO_OVERFLOW_AREAS,
                4095 + (1 << 41),
                ErrorKind::LengthMismatch,
            ),
            (word::BUCKETS, 3, 4096, ErrorKind::Corrupt),
            (word::BUCKETS, 1 << 40, 4096, ErrorKind::Corrupt),
        ];
        for (at, value, length, kind) in cases {
            let mut words = good();
            words[at] = value;
            assert_eq!(
                Header::parse(&words, length).unwrap_err().kind(),
                kind,
                "word {at} = {value:#x}"
            );
        }
    }
}
