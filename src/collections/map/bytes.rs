//! Keys and values as bytes: scalars, strings and byte vectors as they are, everything else through `serde`.
//!
//! Which types are stored as they are is part of the layout. If a map's keys are stored as they are, only keys that are stored
//! alike can be looked up: the type itself, `str` for `String`, `[u8]` for `Vec<u8>`.

use super::error::MapError;
use crate::encoding::{self, Encoded, EncodingReason, Limit, Trial};
use crate::primitive::{AtomicU64, Ordering};
use crate::raw::map::{Output, Shape, Short};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::marker::PhantomData;

/// A buffer that has grown larger than this is not kept.
const KEPT: usize = 1 << 16;

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this thread, given back on drop.
pub(super) struct Scratch(pub(super) Vec<u8>);

impl Scratch {
    pub(super) fn new() -> Self {
        Scratch(scratch())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        keep(core::mem::take(&mut self.0));
    }
}

/// A buffer of this thread, if it keeps one.
fn scratch() -> Vec<u8> {
    let kept = SCRATCH.try_with(|scratch| scratch.borrow_mut().pop());
    kept.ok().flatten().unwrap_or_default()
}

/// Keeps a buffer for this thread.
fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT {
        buffer.clear();
        // A thread that is ending keeps none.
        let _ = SCRATCH.try_with(|scratch| scratch.borrow_mut().push(buffer));
    }
}

macro_rules! scalars {
    ($with:ident) => {
        $with!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 bool char)
    };
}

#[inline(always)]
fn is<T: ?Sized + 'static, U: ?Sized + 'static>() -> bool {
    TypeId::of::<T>() == TypeId::of::<U>()
}

/// Whether a type is one of the scalars that are stored as they are.
#[inline(always)]
fn is_scalar<T: ?Sized + 'static>() -> bool {
    macro_rules! any {
        ($($scalar:ident)*) => { $(is::<T, $scalar>())||* };
    }
    scalars!(any)
}

/// Whether a type is stored as it is.
#[inline(always)]
fn is_plain<T: ?Sized + 'static>() -> bool {
    is_scalar::<T>() || is::<T, String>() || is::<T, str>() || is::<T, Vec<u8>>() || is::<T, [u8]>()
}

/// The bytes of a type that is stored as it is.
#[inline(always)]
fn plain<T: ?Sized + 'static>(item: &T) -> Option<&[u8]> {
    let address = core::ptr::from_ref(item).cast::<u8>();
    if is_scalar::<T>() {
        // SAFETY: T is a scalar: that many initialised bytes, without padding.
        Some(unsafe { core::slice::from_raw_parts(address, size_of_val(item)) })
    } else if is::<T, String>() {
        // SAFETY: T is String.
        Some(unsafe { &*address.cast::<String>() }.as_bytes())
    } else if is::<T, Vec<u8>>() {
        // SAFETY: T is Vec<u8>.
        Some(unsafe { &*address.cast::<Vec<u8>>() })
    } else if is::<T, str>() || is::<T, [u8]>() {
        // SAFETY: T is a slice of initialised bytes, as long as the value is large.
        Some(unsafe { core::slice::from_raw_parts(address, size_of_val(item)) })
    } else {
        None
    }
}

/// The assumed size in bytes of an item whose type does not determine it.
const GUESS: usize = 24;

/// The size of an item in bytes, guessed where necessary.
pub(super) fn usual_bytes<T: 'static>() -> usize {
    if is_scalar::<T>() { size_of::<T>() } else { GUESS }
}

/// Runs `work` with the bytes of a value that is stored.
#[inline]
pub(super) fn with_value<V: Serialize + DeserializeOwned + 'static, R>(
    shape: &Shape,
    trial: &Trial,
    value: &V,
    work: impl FnOnce(&[u8]) -> Result<R, MapError>,
) -> Result<R, MapError> {
    match plain(value) {
        Some(bytes) => work(bytes),
        None => {
            let check = |encoded, bytes: &[u8]| trial.check::<V>(encoded, bytes).map_err(MapError::NotEncodable);
            with_encoded(shape, false, !trial.is_on(), value, check, work)
        }
    }
}

/// Runs `work` with the bytes of a key that is looked up in a map of `K`s, or stored if there is a trial.
#[inline]
pub(super) fn with_key<K: Serialize + DeserializeOwned + 'static, Q: Serialize + ?Sized + 'static, R>(
    shape: &Shape,
    trial: Option<&Trial>,
    key: &Q,
    work: impl FnOnce(&[u8]) -> Result<R, MapError>,
) -> Result<R, MapError> {
    if is_plain::<K>() {
        return work(plain(key).ok_or_else(other_type::<Q>)?);
    }
    let is_sure = is::<K, Q>() && trial.is_none_or(|trial| !trial.is_on());
    let check = |encoded, bytes: &[u8]| match trial {
        _ if !is::<K, Q>() => check_borrowed::<K, Q>(bytes),
        Some(trial) => trial.check::<K>(encoded, bytes).map_err(MapError::NotEncodable),
        None => Ok(()),
    };
    with_encoded(shape, true, is_sure, key, check, work)
}

/// A borrowed form of a key may be encoded differently, and would then find nothing.
fn check_borrowed<K: Serialize + DeserializeOwned, Q: ?Sized>(bytes: &[u8]) -> Result<(), MapError> {
    let mut again = Scratch::new();
    let key = encoding::decode::<K>(bytes).map_err(|_| other_type::<Q>())?;
    match encoding::encode(&key, &mut again.0) {
        Ok(_) if again.0 == bytes => Ok(()),
        _ => Err(other_type::<Q>()),
    }
}

#[cold]
fn other_type<Q: ?Sized>() -> MapError {
    let why = "its type is encoded differently from the map's key type";
    MapError::NotEncodable(EncodingReason::new::<Q>(why, String::new()))
}

/// Runs `work` with the encoded item. A short one lies on the stack, and needs no check if the type `is_sure`.
fn with_encoded<T: Serialize + ?Sized, R>(
    shape: &Shape,
    is_key: bool,
    is_sure: bool,
    item: &T,
    check: impl FnOnce(Encoded, &[u8]) -> Result<(), MapError>,
    work: impl FnOnce(&[u8]) -> Result<R, MapError>,
) -> Result<R, MapError> {
    let most = shape.capacity() as usize;
    let (mut few, mut scratch) = (Few([[0; 8]; FEW]), None);
    let few = few.0.as_flattened_mut();
    let room = most.min(few.len());
    let filled = if is_sure {
        encoding::fill(item, &mut few[..room])
    } else {
        None
    };
    let bytes = match filled {
        Some(len) => &few[..len],
        None => {
            let buffer = &mut scratch.insert(Scratch::new()).0;
            let encoded = encoding::encode_within(Limit { most, ..Limit::NONE }, item, buffer);
            let encoded = encoded.map_err(|unfit| MapError::unfit::<T>(unfit, most, is_key))?;
            check(encoded, buffer)?;
            buffer
        }
    };
    work(bytes)
}

/// How many words may be encoded on the stack, or copied there.
const FEW: usize = 16;

/// The bytes of words, aligned as words are.
#[repr(align(8))]
struct Few([[u8; 8]; FEW]);

/// What is copied out of a map for an item of type `T`: a scalar, the very bytes of the item, or their encoding, which lies on
/// the stack if it is short and in one piece.
pub(super) struct Copied<T: 'static> {
    short: Short,
    few: Option<Few>,
    few_len: usize,
    long: Vec<u8>,
    item: PhantomData<fn() -> T>,
}

impl<T: 'static> Copied<T> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Copied {
            short: Short::default(),
            few: None,
            few_len: 0,
            long: Vec::new(),
            item: PhantomData,
        }
    }

    /// The encoding.
    #[inline(always)]
    fn encoded(&self) -> &[u8] {
        match &self.few {
            Some(few) => &few.0.as_flattened()[..self.few_len],
            None => &self.long,
        }
    }

    /// Appends what is long, or is not the first piece.
    #[cold]
    fn append_long(&mut self, words: &[AtomicU64], len: usize) {
        if self.long.capacity() == 0 {
            self.long = scratch();
        }
        if let Some(few) = self.few.take() {
            self.long.extend_from_slice(&few.0.as_flattened()[..self.few_len]);
        }
        Output::append(&mut self.long, words, len);
    }
}

impl<T: DeserializeOwned + 'static> Copied<T> {
    /// The item; this consumes what was copied.
    #[inline(always)]
    pub(super) fn decode(&mut self) -> Result<T, MapError> {
        let item = if is_scalar::<T>() {
            let bytes = self.short.bytes();
            bytes.and_then(|bytes| scalar(bytes.get(..self.short.len())?))
        } else if is_plain::<T>() {
            owned(core::mem::take(&mut self.long))
        } else {
            return encoding::decode(self.encoded()).map_err(MapError::NotDecodable);
        };
        item.ok_or_else(|| MapError::NotDecodable(EncodingReason::no_value::<T>()))
    }
}

/// The buffer is kept whether it held an item or not.
impl<T> Drop for Copied<T> {
    #[inline(always)]
    fn drop(&mut self) {
        if !is_plain::<T>() && self.long.capacity() > 0 {
            keep(core::mem::take(&mut self.long));
        }
    }
}

impl<T> Output for Copied<T> {
    #[inline(always)]
    fn clear(&mut self) {
        self.short.clear();
        self.few = None;
        self.long.clear();
    }

    #[inline(always)]
    fn append(&mut self, words: &[AtomicU64], len: usize) {
        if is_scalar::<T>() {
            self.short.append(words, len);
        } else if is_plain::<T>() {
            Output::append(&mut self.long, words, len);
        } else if words.len() <= FEW && self.few.is_none() && self.long.is_empty() {
            let few = self.few.insert(Few([[0; 8]; FEW]));
            for (bytes, word) in few.0.iter_mut().zip(words) {
                *bytes = word.load(Ordering::Relaxed).to_ne_bytes(); // Relaxed: the reader checks it for changes.
            }
            self.few_len = len;
        } else {
            self.append_long(words, len);
        }
    }
}

/// The item in `bytes`.
pub(super) fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, MapError> {
    let item = if is_scalar::<T>() {
        scalar(bytes)
    } else if is_plain::<T>() {
        owned(bytes.to_vec())
    } else {
        return encoding::decode(bytes).map_err(MapError::NotDecodable);
    };
    item.ok_or_else(|| MapError::NotDecodable(EncodingReason::no_value::<T>()))
}

/// `value` as a `T`, if it is one.
#[inline(always)]
fn same<U: 'static, T: 'static>(value: U) -> Option<T> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

/// The scalar that consists of these bytes.
#[inline(always)]
fn scalar<T: 'static>(bytes: &[u8]) -> Option<T> {
    macro_rules! numbers {
        ($($number:ident)*) => {$(
            if is::<T, $number>() {
                return same($number::from_ne_bytes(bytes.try_into().ok()?));
            }
        )*};
    }
    numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);
    if is::<T, bool>() {
        return match bytes {
            [0] => same(false),
            [1] => same(true),
            _ => None,
        };
    }
    same(char::from_u32(u32::from_ne_bytes(bytes.try_into().ok()?))?)
}

/// The string or vector of these bytes.
fn owned<T: 'static>(bytes: Vec<u8>) -> Option<T> {
    if is::<T, String>() {
        return same(String::from_utf8(bytes).ok()?);
    }
    same(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape::for_capacity(4096, 16, None, false).unwrap()
    }

    fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(item: T) {
        let bytes = with_value(&shape(), &Trial::default(), &item, |bytes| Ok(bytes.to_vec())).unwrap();
        assert_eq!(decode::<T>(&bytes), Ok(item));
    }

    #[test]
    fn items_come_back_as_they_were() {
        there_and_back(7u64);
        there_and_back(-1i128);
        there_and_back(0.5f32);
        there_and_back('ß');
        there_and_back(true);
        there_and_back("text".to_owned());
        there_and_back(vec![1u8, 2, 3]);
        there_and_back((1u8, "text".to_owned(), Some(vec![1.5f64])));
        there_and_back(());
    }

    #[test]
    fn what_is_copied_in_pieces_is_whole() {
        for len in [0, 1, 60, 120, 125, 126, 127, 300] {
            let item = "x".repeat(len).into_boxed_str();
            let mut bytes = encoding::encode_bare(&item).unwrap();
            let whole = bytes.len();
            bytes.resize(whole.next_multiple_of(8), 0);
            let words = bytes
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
            let words: Vec<_> = words.map(AtomicU64::new).collect();
            let mut copied = Copied::<Box<str>>::new();
            for first in (0..=whole / 8).chain([0, whole / 8]) {
                copied.clear();
                copied.append(&words[..first], 8 * first);
                copied.append(&words[first..], whole - 8 * first);
                assert_eq!(copied.decode(), Ok(item.clone()), "{first} of {whole}");
                copied.clear();
                copied.append(&words, whole);
                assert_eq!(copied.decode(), Ok(item.clone()), "{whole}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_item_are_refused() {
        fn is_none<T: DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(bytes: &[u8]) {
            let reason = MapError::NotDecodable(EncodingReason::no_value::<T>());
            assert_eq!(decode::<T>(bytes), Err(reason));
        }
        is_none::<bool>(&[2]);
        is_none::<char>(&[0, 0xd8, 0, 0]);
        is_none::<u64>(&[1; 9]);
        is_none::<u64>(&[1; 7]);
        is_none::<String>(&[0xff]);
        let short = decode::<(u8, u8)>(&[0x92, 1]).unwrap_err();
        assert!(short.to_string().contains("unexpected end"), "{short}");
    }

    #[test]
    fn what_is_borrowed_from_a_key_has_the_same_bytes() {
        let of = |key: &str| with_key::<String, str, _>(&shape(), None, key, |bytes| Ok(bytes.to_vec()));
        let owned = with_key::<String, String, _>(&shape(), None, &"key".to_owned(), |bytes| Ok(bytes.to_vec()));
        assert_eq!(of("key"), owned);
        let boxed: Box<str> = "key".into();
        let boxed = with_key::<Box<str>, Box<str>, _>(&shape(), None, &boxed, |bytes| Ok(bytes.to_vec()));
        assert_eq!(
            with_key::<Box<str>, str, _>(&shape(), None, "key", |bytes| Ok(bytes.to_vec())),
            boxed
        );
    }
}
