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

/// Fewer bytes than this are appended one by one: numbers mostly, for which a call would take longer.
const SHORT: usize = 8;

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() < SHORT {
            self.0.reserve(SHORT);
            bytes.iter().for_each(|byte| self.0.push(*byte));
        } else {
            self.0.extend_from_slice(bytes);
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
