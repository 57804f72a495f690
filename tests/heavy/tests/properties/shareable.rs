//! Which bytes are a value.

use procshare::Shareable;
use proptest::prelude::*;

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum State {
    Idle,
    Busy,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
#[allow(dead_code, reason = "only its bytes are looked at")]
struct Worker {
    done: u64,
    initial: char,
    state: State,
    flags: [bool; 3],
}

proptest! {
    #[test]
    fn char_is_valid_exactly_when_from_u32_accepts_it(value: u32, near in 0_u32..=0x11_0000) {
        for value in [value, near] {
            prop_assert_eq!(char::is_valid(&value.to_ne_bytes()), char::from_u32(value).is_some());
        }
    }

    #[test]
    fn written_values_are_valid(done: u64, initial: char, busy: bool, flags: [bool; 3]) {
        let state = if busy { State::Busy } else { State::Idle };
        let mut bytes = Vec::new();
        bytes.extend(done.to_ne_bytes());
        bytes.extend(u32::from(initial).to_ne_bytes());
        bytes.push(state as u8);
        bytes.extend(flags.map(u8::from));
        prop_assert!(Worker::is_valid(&bytes));
    }

    #[test]
    fn random_bytes_are_judged_field_by_field(bytes: [u8; 16]) {
        let expected = char::is_valid(&bytes[8..12]) && bytes[12..].iter().all(|byte| *byte < 2);
        prop_assert_eq!(Worker::is_valid(&bytes), expected);
    }
}
