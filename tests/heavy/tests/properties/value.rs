//! Values of every length.

use procshare::SharedValue;
use proptest::prelude::*;

fn round_trip<const N: usize>(bytes: &[u8]) {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    let value = SharedValue::new(array).unwrap();
    assert_eq!(value.get(), array);
    let reversed = std::array::from_fn(|at| array[N - 1 - at]);
    value.set(reversed);
    assert_eq!(*value.get_lock(), reversed);
    *value.get_lock() = array;
    assert_eq!(value.get(), array);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Slots are whole words; values that end within one keep all their bytes and no other.
    #[test]
    fn values_of_every_length_keep_their_bytes(bytes in prop::collection::vec(any::<u8>(), 33)) {
        round_trip::<1>(&bytes);
        round_trip::<2>(&bytes);
        round_trip::<3>(&bytes);
        round_trip::<7>(&bytes);
        round_trip::<8>(&bytes);
        round_trip::<9>(&bytes);
        round_trip::<15>(&bytes);
        round_trip::<16>(&bytes);
        round_trip::<17>(&bytes);
        round_trip::<33>(&bytes);
    }
}
