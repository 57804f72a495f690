//! Items as bytes: what `serde` types are stored as.

use super::reason::{EncodingReason, Why};
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

impl From<postcard::Error> for EncodingReason {
    fn from(error: postcard::Error) -> Self {
        use postcard::Error::*;
        EncodingReason(match error {
            SerializeSeqLengthUnknown => Why::UnknownLength,
            SerializeBufferFull => Why::NoMemory,
            DeserializeUnexpectedEnd => Why::TooShort,
            DeserializeBadVarint => Why::Number,
            DeserializeBadBool => Why::Bool,
            DeserializeBadChar => Why::Char,
            DeserializeBadUtf8 => Why::Utf8,
            DeserializeBadOption | DeserializeBadEnum => Why::Variant,
            SerdeSerCustom | SerdeDeCustom | CollectStrError => Why::Refused,
            _ => Why::Impossible,
        })
    }
}

thread_local! {
    /// What a `Serialize` of this crate's has to say about its error: the encoder keeps no texts.
    static NOTED: Cell<Option<EncodingReason>> = const { Cell::new(None) };
}

/// Says why the `Serialize` that is just running fails.
#[cfg(feature = "process")]
pub(crate) fn note(reason: EncodingReason) {
    NOTED.set(Some(reason));
}

/// Why there are no bytes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    NotEncodable(EncodingReason),
    /// So many bytes, at least, are more than there may be.
    TooLarge(usize),
    OutOfMemory,
}

impl Unfit {
    /// The reason, where nothing bounds the bytes.
    #[cfg(feature = "map")]
    pub(crate) fn reason(self) -> EncodingReason {
        match self {
            Unfit::NotEncodable(reason) => reason,
            Unfit::TooLarge(_) | Unfit::OutOfMemory => EncodingReason(Why::NoMemory),
        }
    }
}

/// How many bytes an item may take, and who is asked before more than a mebibyte of memory is taken for them.
#[derive(Clone, Copy)]
pub(crate) struct Limit<'a> {
    pub(crate) most: usize,
    pub(crate) has_memory: &'a dyn Fn(usize) -> bool,
}

#[cfg(any(feature = "map", test))]
impl Limit<'_> {
    pub(crate) const NONE: Limit<'static> = Limit {
        most: usize::MAX,
        has_memory: &|_| true,
    };
}

/// Appends an item to `buffer`; what it holds after a failure is no item.
#[cfg(feature = "process")]
pub(crate) fn encode<T: Serialize + ?Sized>(item: &T, buffer: &mut Vec<u8>) -> Result<(), Unfit> {
    encode_within(Limit::NONE, item, buffer)
}

/// As [`encode`], giving up as soon as the item takes more than the limit allows and the buffer would have to grow.
pub(crate) fn encode_within<T: Serialize + ?Sized>(
    limit: Limit<'_>,
    item: &T,
    buffer: &mut Vec<u8>,
) -> Result<(), Unfit> {
    let mut refused = None;
    NOTED.set(None);
    let output = Append {
        most: limit.most.saturating_add(buffer.len()),
        start: buffer.len(),
        buffer,
        limit,
        refused: &mut refused,
    };
    postcard::serialize_with_flavor(item, output).map_err(|error| {
        let reason = || NOTED.take().unwrap_or_else(|| error.into());
        refused.unwrap_or_else(|| Unfit::NotEncodable(reason()))
    })
}

/// The item in `bytes`, all of which it must take.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EncodingReason> {
    match postcard::take_from_bytes(bytes) {
        Ok((item, [])) => Ok(item),
        Ok(_) => Err(EncodingReason(Why::LeftOver)),
        Err(error) => Err(error.into()),
    }
}

/// The encoder's output: the end of a buffer, from `start` on.
struct Append<'a, 'b> {
    buffer: &'a mut Vec<u8>,
    start: usize,
    /// How long the buffer may become.
    most: usize,
    limit: Limit<'b>,
    refused: &'a mut Option<Unfit>,
}

/// Fewer bytes than this are appended one by one: numbers mostly, for which a call would take longer.
const SHORT: usize = 8;
/// Up to this size memory is taken without asking.
const UNASKED: usize = 1 << 20;

impl Append<'_, '_> {
    /// Makes room for more bytes.
    #[cold]
    fn grow(&mut self, more: usize) -> postcard::Result<()> {
        let needed = self.buffer.len().saturating_add(more);
        let wanted = needed.max(2 * self.buffer.capacity()).max(8 * SHORT);
        let refusal = if needed > self.most {
            Unfit::TooLarge(needed - self.start)
        } else if self.fits(wanted.min(self.most)) || self.fits((needed + needed / 8).min(self.most)) {
            return Ok(());
        } else {
            Unfit::OutOfMemory
        };
        *self.refused = Some(refusal);
        Err(postcard::Error::SerializeBufferFull)
    }

    /// Whether the buffer now has room for `len` bytes in all, filled up to whole words.
    fn fits(&mut self, len: usize) -> bool {
        let more = len.saturating_add(SHORT - 1) - self.buffer.len();
        (len <= UNASKED || (self.limit.has_memory)(len)) && self.buffer.try_reserve_exact(more).is_ok()
    }
}

impl Flavor for Append<'_, '_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.buffer.len() == self.buffer.capacity() {
            self.grow(1)?;
        }
        self.buffer.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        if bytes.len() < SHORT {
            bytes.iter().for_each(|byte| self.buffer.push(*byte));
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode<T: Serialize + ?Sized>(item: &T, buffer: &mut Vec<u8>) -> Result<(), Unfit> {
        encode_within(Limit::NONE, item, buffer)
    }

    #[test]
    fn an_item_takes_all_its_bytes() {
        assert_eq!(decode::<u8>(&[1]), Ok(1));
        assert_eq!(decode::<u8>(&[1, 2]), Err(EncodingReason(Why::LeftOver)));
        assert_eq!(decode::<u16>(&[0x80]), Err(EncodingReason(Why::TooShort)));
    }

    #[test]
    fn items_follow_one_another() {
        let mut buffer = vec![9];
        assert_eq!(encode("hello", &mut buffer), Ok(()));
        assert_eq!(buffer, [9, 5, b'h', b'e', b'l', b'l', b'o']);
    }

    /// Counts its elements as they are asked for.
    struct Endless<'a>(&'a Cell<u64>);

    impl Serialize for Endless<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut sequence = serializer.serialize_seq(Some(1 << 40))?;
            for _ in 0..1u64 << 40 {
                self.0.set(self.0.get() + 1);
                sequence.serialize_element(&7u8)?;
            }
            sequence.end()
        }
    }

    #[test]
    fn an_item_beyond_the_limit_is_given_up_when_it_is_passed() {
        let (count, mut buffer) = (Cell::new(0), vec![9]);
        let limit = Limit {
            most: 1000,
            ..Limit::NONE
        };
        let outcome = encode_within(limit, &Endless(&count), &mut buffer);
        // A buffer ends with a whole word.
        assert!(matches!(outcome, Err(Unfit::TooLarge(1001..1016))), "{outcome:?}");
        assert!(count.get() < 1016, "{} elements", count.get());
        let text = "x".repeat(5000);
        assert_eq!(encode_within(limit, &text, &mut Vec::new()), Err(Unfit::TooLarge(5002)));
    }

    #[test]
    fn an_item_for_which_there_is_no_memory_is_given_up() {
        let (count, asked) = (Cell::new(0), Cell::new(0));
        let limit = Limit {
            most: usize::MAX,
            has_memory: &|len| {
                asked.set(asked.get() + 1);
                len < 16 << 20
            },
        };
        let outcome = encode_within(limit, &Endless(&count), &mut Vec::new());
        assert_eq!(outcome, Err(Unfit::OutOfMemory));
        assert!(
            count.get() < 17 << 20 && asked.get() < 60,
            "{} {}",
            count.get(),
            asked.get()
        );
    }
}
