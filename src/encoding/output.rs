//! `Output`: where encoded bytes go, and the buffer that implements it.

use super::fault::Fault;
use std::io;

/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// Where encoded bytes go: after what is there already.
pub(crate) trait Output {
    /// How many bytes are there.
    fn len(&self) -> usize;

    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Appends the first `len` bytes of a word, in little-endian order.
    fn put_word(&mut self, word: u64, len: usize) -> Result<(), Fault>;

    /// The byte at `start`; `None` if it has gone to a store.
    fn byte_at(&self, start: usize) -> Option<u8>;

    /// The bytes from `start` on; those that have gone to a store are read back.
    fn tail(&mut self, start: usize) -> Result<&mut [u8], Fault>;

    /// The bytes from `start` to `end`, unless some have gone to a store.
    fn look(&self, start: usize, end: usize) -> Option<&[u8]>;

    /// Writes over bytes that are there.
    fn overwrite(&mut self, start: usize, bytes: &[u8]) -> Result<(), Fault>;

    /// Whether something was refused for lack of room.
    fn is_refused(&self) -> bool;

    /// Removes all but the first `len` bytes.
    fn truncate(&mut self, len: usize);
}

/// How many bytes an item may take, and what is asked before more than a mebibyte of memory is taken for them.
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

/// A place outside this process's own memory for the bytes of a long item.
pub(crate) trait Store {
    /// Writes bytes of the item that follow its first `at` bytes.
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()>;

    /// Shows all `len` bytes of the item.
    fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()>;
}

/// Why a buffer has no room.
pub(super) enum NoRoom {
    /// At least this many bytes, which is more than allowed.
    TooLarge(usize),
    OutOfMemory,
    /// The store does not give back what it has, for this reason.
    Io(String),
}

/// The end of a buffer, from `start` on. Long items go on to a store, if there is one.
pub(super) struct Append<'a, 's> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    /// How long the buffer may become.
    most: usize,
    limit: Limit<'a>,
    store: Option<&'s mut (dyn Store + 's)>,
    /// How many bytes the store has: those that precede what is in the buffer from `start` on.
    stored: usize,
    pub(super) refused: Option<NoRoom>,
}

/// Memory up to this size is taken without asking.
const UNASKED: usize = 1 << 20;
/// The buffer is handed to the store when it would become longer than this.
const MOST_HELD: usize = 1 << 20;
/// A piece of this size is not copied to the buffer first.
const LONG_PIECE: usize = MOST_HELD / 4;
/// This much stays in the buffer, because the encoder may look back at what it put last.
const KEPT: usize = 4096;

impl<'a, 's> Append<'a, 's> {
    pub(super) fn new(buffer: &'a mut Vec<u8>, limit: Limit<'a>, store: Option<&'s mut (dyn Store + 's)>) -> Self {
        Append {
            start: buffer.len(),
            most: limit.most.saturating_add(buffer.len()),
            buffer,
            limit,
            store,
            stored: 0,
            refused: None,
        }
    }

    /// Ends an item of which the store has a part, by giving it the rest. Returns how many bytes the store has.
    #[inline(always)]
    pub(super) fn finish(&mut self) -> Result<usize, Fault> {
        if self.stored == 0 {
            return Ok(0);
        }
        self.hand_on(0)?;
        Ok(self.stored)
    }

    /// Gives the store what the buffer holds, except the last bytes. If that fails, encoding goes on without the store.
    fn hand_on(&mut self, kept: usize) -> Result<(), Fault> {
        let end = self.buffer.len().saturating_sub(kept).max(self.start);
        let handed = match &mut self.store {
            Some(store) => store.write(self.stored, &self.buffer[self.start..end]).is_ok(),
            None => return Ok(()),
        };
        if !handed {
            return self.take_back();
        }
        self.stored += end - self.start;
        self.buffer.drain(self.start..end);
        Ok(())
    }

    /// Goes on without the store: its bytes come back to the buffer. Serialising the item again would not do, since it may give
    /// away what it holds as it is serialised.
    #[cold]
    fn take_back(&mut self) -> Result<(), Fault> {
        let Some(store) = self.store.take() else {
            return Ok(());
        };
        let stored = self.stored;
        if stored == 0 {
            return Ok(());
        }
        let (start, mut is_back) = (self.start, false);
        if self.fits(self.buffer.len() + stored) {
            let read = store.read(stored, &mut |bytes| {
                is_back = bytes.len() == stored;
                self.buffer.splice(start..start, bytes.iter().copied());
            });
            match read {
                Err(error) if error.kind() != io::ErrorKind::OutOfMemory => {
                    return self.refuse(NoRoom::Io(format!("reading its bytes back failed: {error}")));
                }
                read => is_back &= read.is_ok(),
            }
        }
        if !is_back {
            return self.refuse(NoRoom::OutOfMemory);
        }
        self.stored = 0;
        Ok(())
    }

    /// Fails if something had no room: then not all that was put is there to look back at.
    fn check(&self) -> Result<(), Fault> {
        if self.refused.is_some() {
            Err(Fault::NO_ROOM)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn refuse<T>(&mut self, refusal: NoRoom) -> Result<T, Fault> {
        self.refused.get_or_insert(refusal);
        Err(Fault::NO_ROOM)
    }

    /// Appends bytes for which the buffer has no room yet.
    #[cold]
    fn put_beyond(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let is_long = bytes.len() >= LONG_PIECE && self.buffer.len() - self.start + bytes.len() > MOST_HELD;
        if is_long {
            self.hand_on(0)?;
            if let Some(store) = &mut self.store {
                if store.write(self.stored, bytes).is_ok() {
                    self.stored += bytes.len();
                    return Ok(());
                }
                self.take_back()?;
            }
        }
        self.grow(bytes.len())?;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Where in the buffer a byte of the output lies, if it is there.
    #[inline(always)]
    fn in_buffer(&self, at: usize) -> Option<usize> {
        at.checked_sub(self.stored)
            .filter(|at| *at >= self.start || self.stored == 0)
    }

    /// Makes room for more bytes.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), Fault> {
        if self.store.is_some() && self.buffer.len() - self.start + more > MOST_HELD {
            self.hand_on(KEPT)?;
        }
        let needed = self.buffer.len().saturating_add(more);
        if needed.saturating_add(WORD) <= self.buffer.capacity() {
            return Ok(());
        }
        let most = if self.store.is_some() {
            self.start + MOST_HELD
        } else {
            usize::MAX
        };
        let wanted = needed.max((2 * self.buffer.capacity()).min(most)).max(8 * WORD);
        let refusal = if needed > self.most {
            NoRoom::TooLarge(needed - self.start)
        } else if self.fits(wanted.min(self.most)) || self.fits((needed + needed / 8).min(self.most)) {
            return Ok(());
        } else {
            NoRoom::OutOfMemory
        };
        self.refuse(refusal)
    }

    /// Whether the buffer now has room for `len` bytes in all, plus one word.
    fn fits(&mut self, len: usize) -> bool {
        let more = len.saturating_add(WORD) - self.buffer.len();
        (len <= UNASKED || (self.limit.has_memory)(len)) && self.buffer.try_reserve_exact(more).is_ok()
    }
}

impl Output for Append<'_, '_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.stored + self.buffer.len()
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            return self.put_beyond(bytes);
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

    #[inline(always)]
    fn byte_at(&self, start: usize) -> Option<u8> {
        self.buffer.get(self.in_buffer(start)?).copied()
    }

    fn tail(&mut self, start: usize) -> Result<&mut [u8], Fault> {
        self.check()?;
        if self.in_buffer(start).is_none() {
            self.take_back()?;
        }
        Ok(&mut self.buffer[start - self.stored..])
    }

    fn look(&self, start: usize, end: usize) -> Option<&[u8]> {
        let (start, end) = self.in_buffer(start).zip(self.in_buffer(end))?;
        self.buffer.get(start..end)
    }

    fn overwrite(&mut self, start: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.check()?;
        if let Some(start) = self.in_buffer(start) {
            self.buffer[start..start + bytes.len()].copy_from_slice(bytes);
            return Ok(());
        }
        let at = start - self.start;
        let is_there = at + bytes.len() <= self.stored;
        let store = self.store.as_mut().filter(|_| is_there);
        if store.is_none_or(|store| store.write(at, bytes).is_err()) {
            self.take_back()?;
            self.buffer[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    fn truncate(&mut self, len: usize) {
        if self.check().is_err() || self.in_buffer(len).is_none() && self.take_back().is_err() {
            return; // It is refused.
        }
        self.buffer.truncate(len - self.stored);
    }
}

/// A piece of memory that does not grow.
pub(crate) struct FixedOutput<'a> {
    room: &'a mut [u8],
    at: usize,
    is_refused: bool,
}

impl<'a> FixedOutput<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Self {
        FixedOutput {
            room,
            at: 0,
            is_refused: false,
        }
    }
}

impl Output for FixedOutput<'_> {
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

    /// Writes a whole word at once; what comes next overwrites its unused bytes.
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

    #[inline(always)]
    fn byte_at(&self, start: usize) -> Option<u8> {
        self.room.get(start).copied()
    }

    fn tail(&mut self, start: usize) -> Result<&mut [u8], Fault> {
        Ok(&mut self.room[start..self.at])
    }

    fn look(&self, start: usize, end: usize) -> Option<&[u8]> {
        self.room.get(start..end)
    }

    fn overwrite(&mut self, start: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.room[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn truncate(&mut self, len: usize) {
        self.at = self.at.min(len);
    }
}

#[cfg(feature = "process")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::{decode, encode_bare, encode_through};
    use serde::de::DeserializeOwned;
    use serde::ser::{SerializeMap, SerializeSeq, Serializer};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    /// A store that fails after a given number of writes.
    #[derive(Default)]
    struct Memory {
        bytes: Vec<u8>,
        writes: usize,
        most_writes: Option<usize>,
    }

    impl Store for Memory {
        fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
            self.writes += 1;
            if self.most_writes.is_some_and(|most| self.writes > most) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let end = at + bytes.len();
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[at..end].copy_from_slice(bytes);
            Ok(())
        }

        fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
            look(&self.bytes[..len]);
            Ok(())
        }
    }

    const BEFORE: &[u8] = b"what was there before";

    /// Encodes with a store, and returns the item's bytes, and how many of them the store has.
    fn bytes_by<T: Serialize>(item: &T, most_writes: Option<usize>) -> (Vec<u8>, usize) {
        let (mut buffer, mut store) = (BEFORE.to_vec(), Memory::default());
        store.most_writes = most_writes;
        let stored = encode_through(Limit::NONE, item, &mut buffer, Some(&mut store))
            .unwrap()
            .stored;
        assert_eq!(&buffer[..BEFORE.len()], BEFORE);
        let rest = &buffer[BEFORE.len()..];
        if stored == 0 {
            return (rest.to_vec(), 0);
        }
        assert!(rest.is_empty(), "{} bytes were left behind", rest.len());
        (store.bytes[..stored].to_vec(), stored)
    }

    /// The bytes are the same wherever they go, and however many writes the store allows.
    fn check<T: Serialize + DeserializeOwned + PartialEq>(item: &T, is_stored: bool) {
        let expected = encode_bare(item).unwrap();
        let (bytes, stored) = bytes_by(item, None);
        assert!(
            bytes == expected && (stored > 0) == is_stored,
            "{stored} of {} bytes",
            expected.len()
        );
        assert!(decode::<T>(&bytes).unwrap() == *item);
        for most in 0..4 {
            assert!(bytes_by(item, Some(most)).0 == expected, "{most} writes");
        }
    }

    fn text(len: usize) -> String {
        "letters ".chars().cycle().take(len).collect()
    }

    #[derive(Serialize, Deserialize, PartialEq)]
    struct Flat {
        first: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, String>,
    }

    /// Reports no length.
    #[derive(Deserialize, PartialEq)]
    struct Unknown(Vec<u64>, BTreeMap<u64, String>);

    impl Serialize for Unknown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            struct Numbers<'a>(&'a [u64]);
            struct Texts<'a>(&'a BTreeMap<u64, String>);
            impl Serialize for Numbers<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut numbers = serializer.serialize_seq(None)?;
                    self.0.iter().try_for_each(|number| numbers.serialize_element(number))?;
                    numbers.end()
                }
            }
            impl Serialize for Texts<'_> {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut texts = serializer.serialize_map(None)?;
                    self.0
                        .iter()
                        .try_for_each(|(key, value)| texts.serialize_entry(key, value))?;
                    texts.end()
                }
            }
            (Numbers(&self.0), Texts(&self.1)).serialize(serializer)
        }
    }

    #[test]
    fn long_items_are_the_same_bytes_in_a_store() {
        check(&text(1000), false);
        check(&text(MOST_HELD - 100), false);
        check(&text(2 * MOST_HELD), true);
        check(&(1_u8, vec![7_u8; 3 * MOST_HELD], Some(2_u8)), true);
        check(&(1_u8, vec![Some(vec![0.5; MOST_HELD]); 3], None::<u8>), true);
        check(&vec![(1_u32, text(90)); 50_000], true);
        check(
            &(0..500_000_u64)
                .map(|at| (at % 7) as u16)
                .collect::<std::collections::LinkedList<_>>(),
            false,
        );
        check(
            &BTreeMap::from([(text(2 * MOST_HELD), 1_u8), (text(MOST_HELD), 2)]),
            true,
        );
    }

    #[test]
    fn what_is_changed_later_may_be_in_the_store() {
        let flat = |len: usize| Flat {
            first: 1,
            rest: (0..len).map(|at| (at.to_string(), text(MOST_HELD / 2))).collect(),
        };
        // A header of one byte is overwritten in place; if it becomes longer, everything comes back.
        check(&flat(10), true);
        check(&flat(20), false);
        let texts = |len| (0..len).map(|at| (at, text(MOST_HELD / 3))).collect();
        check(&Unknown(vec![1, 2], texts(12)), true);
        check(&Unknown(vec![1, 2], texts(17)), false);
        check(&Unknown((0..300_000).collect(), texts(1)), false);
    }

    #[test]
    fn a_store_that_fails_where_memory_is_lacking_is_an_error() {
        let map: BTreeMap<u32, String> = (0..20).map(|at| (at, text(MOST_HELD / 3))).collect();
        for most in 1..6 {
            let (mut buffer, mut store) = (BEFORE.to_vec(), Memory::default());
            store.most_writes = Some(most);
            let limit = Limit {
                most: usize::MAX,
                has_memory: &|_| false,
            };
            let outcome = encode_through(limit, &(1_u8, &map, &map), &mut buffer, Some(&mut store));
            assert!(
                matches!(outcome, Err(crate::encoding::Unfit::OutOfMemory)),
                "{most} writes"
            );
        }
    }

    #[test]
    fn an_item_that_fails_leaves_the_buffer_to_the_next() {
        let mut buffer = BEFORE.to_vec();
        let deep = (0..200).fold(serde_json::Value::Null, |inner, _| vec![inner].into());
        let item = (text(2 * MOST_HELD), deep);
        assert!(encode_through(Limit::NONE, &item, &mut buffer, Some(&mut Memory::default())).is_err());
        assert!(buffer.starts_with(BEFORE));
    }
}
