//! `Output`: where encoded bytes go, and the buffer that is one.

use super::fault::Fault;

/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// Where encoded bytes go: to the end of what is there already.
pub(crate) trait Output {
    /// How many bytes are there.
    fn len(&self) -> usize;

    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Appends the first `len` bytes of a word, of which the low ones come first.
    fn put_word(&mut self, word: u64, len: usize) -> Result<(), Fault>;

    /// The bytes from `start` on.
    fn tail(&mut self, start: usize) -> &mut [u8];

    /// Whether there was no room for something.
    fn is_refused(&self) -> bool;

    /// Takes back all but the first `len` bytes.
    fn truncate(&mut self, len: usize);
}

/// How many bytes an item may take, and who is asked before more than a mebibyte of memory is taken for them.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) most: usize,
    pub(crate) has_memory: &'a dyn Fn(usize) -> bool,
}

impl Limit<'_> {
    pub(crate) const NONE: Limit<'static> = Limit {
        most: usize::MAX,
        has_memory: &|_| true,
    };
}

/// Why a buffer has no room.
pub(super) enum Refusal {
    /// So many bytes, at least, are more than there may be.
    TooLarge(usize),
    OutOfMemory,
}

/// The end of a buffer, from `start` on.
pub(super) struct Append<'a> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    /// How long the buffer may become.
    most: usize,
    limit: Limit<'a>,
    pub(super) refused: Option<Refusal>,
}

/// Up to this size memory is taken without asking.
const UNASKED: usize = 1 << 20;

impl<'a> Append<'a> {
    pub(super) fn new(buffer: &'a mut Vec<u8>, limit: Limit<'a>) -> Self {
        Append {
            start: buffer.len(),
            most: limit.most.saturating_add(buffer.len()),
            buffer,
            limit,
            refused: None,
        }
    }

    /// Makes room for more bytes.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), Fault> {
        let needed = self.buffer.len().saturating_add(more);
        let wanted = needed.max(2 * self.buffer.capacity()).max(8 * WORD);
        let refusal = if needed > self.most {
            Refusal::TooLarge(needed - self.start)
        } else if self.fits(wanted.min(self.most)) || self.fits((needed + needed / 8).min(self.most)) {
            return Ok(());
        } else {
            Refusal::OutOfMemory
        };
        self.refused.get_or_insert(refusal);
        Err(Fault::NO_ROOM)
    }

    /// Whether the buffer now has room for `len` bytes in all, and a word beyond.
    fn fits(&mut self, len: usize) -> bool {
        let more = len.saturating_add(WORD) - self.buffer.len();
        (len <= UNASKED || (self.limit.has_memory)(len)) && self.buffer.try_reserve_exact(more).is_ok()
    }
}

impl Output for Append<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.buffer.len()
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    fn put_word(&mut self, word: u64, len: usize) -> Result<(), Fault> {
        if self.buffer.capacity() - self.buffer.len() < WORD {
            self.grow(len)?;
        }
        let end = self.buffer.len() + len.min(WORD);
        if let Some(room) = self.buffer.spare_capacity_mut().first_chunk_mut::<WORD>() {
            *room = word.to_le_bytes().map(core::mem::MaybeUninit::new);
            // SAFETY: the buffer has room for a whole word behind its bytes, which has just been written.
            unsafe { self.buffer.set_len(end) };
        }
        Ok(())
    }

    fn tail(&mut self, start: usize) -> &mut [u8] {
        &mut self.buffer[start..]
    }

    fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    fn truncate(&mut self, len: usize) {
        self.buffer.truncate(len);
    }
}

/// A piece of memory that does not grow.
pub(crate) struct Fill<'a> {
    room: &'a mut [u8],
    at: usize,
    is_refused: bool,
}

impl<'a> Fill<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        Fill {
            room,
            at: 0,
            is_refused: false,
        }
    }
}

impl Output for Fill<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.at
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let target = self
            .room
            .get_mut(self.at..)
            .and_then(|room| room.get_mut(..bytes.len()));
        match target {
            Some(target) => target.copy_from_slice(bytes),
            None => {
                self.is_refused = true;
                return Err(Fault::NO_ROOM);
            }
        }
        self.at += bytes.len();
        Ok(())
    }

    /// A whole word at once, which is followed by what comes next.
    #[inline(always)]
    fn put_word(&mut self, word: u64, len: usize) -> Result<(), Fault> {
        let bytes = word.to_le_bytes();
        match self.room.get_mut(self.at..self.at + WORD) {
            Some(room) => room.copy_from_slice(&bytes),
            None => return self.put(&bytes[..len]),
        }
        self.at += len;
        Ok(())
    }

    fn tail(&mut self, start: usize) -> &mut [u8] {
        &mut self.room[start..self.at]
    }

    fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn truncate(&mut self, len: usize) {
        self.at = self.at.min(len);
    }
}
