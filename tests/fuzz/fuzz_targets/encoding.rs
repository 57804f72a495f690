//! Any bytes are decoded as types of every shape: no panic, no hang, and what is decoded is encoded and comes back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use procshare::__private::{decode, encode};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use types::*;

#[path = "../../wire_format/types.rs"]
mod types;

fuzz_target!(|bytes: &[u8]| {
    macro_rules! each {
        ($($type:ty),*) => { $(there_and_back::<$type>(bytes);)* };
    }
    decoded_types!(each);
    there_and_back::<Deep>(bytes);
    let is_skipped = decode::<IgnoredAny>(bytes).is_ok();
    // What is nested too deep can be skipped, but not taken.
    assert!(is_skipped || decode::<serde_json::Value>(bytes).is_err());
});

fn there_and_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = decode::<T>(bytes) else {
        return;
    };
    let once = encode(&value).expect("it has been decoded");
    let again = decode::<T>(&once).expect("it has just been encoded");
    assert_eq!(encode(&again).expect("it has been decoded"), once);
}
