//! An item that panics where its user least wants it to.

use serde::{Deserialize, Serialize};

/// Panics when it is encoded, or decoded, if it holds such a number.
#[derive(Debug, PartialEq)]
pub(crate) struct Bomb(pub(crate) u8);

impl Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 1, "explodes");
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        assert_ne!(number, 2, "explodes");
        Ok(Bomb(number))
    }
}
