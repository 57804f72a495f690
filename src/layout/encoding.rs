//! Items as bytes: what `serde` types are stored as.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An item's `Serialize` failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotEncodable;

/// Appends an item to `buffer`; what it holds after a failure is no item.
pub(crate) fn encode<T: Serialize + ?Sized>(item: &T, buffer: &mut Vec<u8>) -> Result<(), NotEncodable> {
    postcard::serialize_with_flavor(item, Append(buffer)).map_err(|_| NotEncodable)
}

/// The item in `bytes`, all of which it must take.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((item, [])) => Some(item),
        _ => None,
    }
}

/// The encoder's output: the end of a buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl Append<'_> {
    /// Appends the first `N` bytes, if there are so many, and returns the rest.
    #[inline]
    fn append_chunk<'a, const N: usize>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match bytes.split_first_chunk::<N>() {
            Some((chunk, rest)) => {
                self.0.extend_from_slice(chunk);
                rest
            }
            None => bytes,
        }
    }
}

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let mut rest = bytes;
        if rest.len() < 16 {
            // Numbers, mostly: pieces of known sizes are copied without a call.
            rest = self.append_chunk::<8>(rest);
            rest = self.append_chunk::<4>(rest);
            rest = self.append_chunk::<2>(rest);
            self.append_chunk::<1>(rest);
        } else {
            self.0.extend_from_slice(rest);
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

    #[test]
    fn an_item_takes_all_its_bytes() {
        assert_eq!(decode::<u8>(&[1]), Some(1));
        assert_eq!(decode::<u8>(&[1, 2]), None);
        assert_eq!(decode::<u16>(&[0x80]), None);
    }

    #[test]
    fn items_follow_one_another() {
        let mut buffer = vec![9];
        assert_eq!(encode("hello", &mut buffer), Ok(()));
        assert_eq!(buffer, [9, 5, b'h', b'e', b'l', b'l', b'o']);
    }
}
