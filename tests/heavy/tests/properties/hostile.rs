//! Bytes that nobody should have sent: they are refused, without a panic and without much memory.

use crate::decoding::decode_as_all;
use crate::round_trip::trees;
use crate::types::*;
use procshare::__private::{decode, encode};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300)) {
        decode_as_all(&bytes);
    }

    #[test]
    fn markers_are_survived(bytes in vec(prop_oneof![0x80..=0x9fu8, 0xc0..=0xdfu8, 0..4u8, 16..28u8], 0..200)) {
        decode_as_all(&bytes);
    }

    #[test]
    fn changed_values_are_survived(
        tree in trees(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let whole = encode(&tree).unwrap();
        let mut bytes = whole.clone();
        for (at, byte, is_inserted) in changes {
            let at = at.index(bytes.len());
            if is_inserted {
                bytes.insert(at, byte);
            } else {
                bytes[at] = byte;
            }
        }
        decode_as_all(&bytes);
        decode_as_all(&whole[..end.index(whole.len())]);
        prop_assert!(decode::<Tree>(&whole[..end.index(whole.len())]).is_err());
    }
}
