//! Items that are one long run: a vector of numbers, which is sent without a buffer.
//!
//! Only the item itself can be such a run. What is met while an item is being serialised may be gone when its `Serialize`
//! returns, and what lies inside other values is decoded by them.

use super::decoder::{Decoder, Head};
use super::format::{ElementType, FormatHeader};
use super::numbers::{each_number, is, same};
use core::mem::MaybeUninit;

/// Items of fewer bytes go the usual way.
const LEAST: usize = 4096;
/// Enough bytes for the header of any run.
pub(crate) const HEAD: usize = 16;

/// The bytes of an item in two parts.
pub(crate) struct Whole<'a> {
    header: FormatHeader,
    piece: &'a [u8],
}

impl<'a> Whole<'a> {
    /// The item's bytes, if it is one long run.
    pub(crate) fn of<T>(item: &'a T) -> Option<Self> {
        let address = core::ptr::from_ref(item);
        macro_rules! find {
            ($($number:ident $kind:ident),*) => {$(
                if is::<T, Vec<$number>>() {
                    // SAFETY: T is this type, and `item` refers to one.
                    return Self::new(ElementType::$kind, unsafe { &*address.cast::<Vec<$number>>() });
                }
                if is::<T, Box<[$number]>>() {
                    // SAFETY: T is this type, and `item` refers to one.
                    return Self::new(ElementType::$kind, unsafe { &*address.cast::<Box<[$number]>>() });
                }
            )*};
        }
        if cfg!(target_endian = "little") {
            each_number!(find);
        }
        None
    }

    fn new<N>(kind: ElementType, numbers: &'a [N]) -> Option<Self> {
        // SAFETY: the numeric types, of which N is one, are initialised bytes without padding.
        let piece = unsafe { core::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) };
        // 128-bit numbers are doubtful, see `Encoder`.
        let fits = size_of_val(numbers) >= LEAST && size_of::<N>() <= 8;
        fits.then_some(Whole {
            header: FormatHeader::run(kind, size_of_val(numbers)),
            piece,
        })
    }

    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [self.header.bytes(), self.piece]
    }

    pub(crate) fn len(&self) -> usize {
        self.header.bytes().len() + self.piece.len()
    }
}

/// Takes an item of `len` bytes that begins with `head` as a whole, if it is a run and `T` a vector of the same numbers: `copy`
/// is told where the run begins, and fills it in. The outer `None` says that it is no such item, the inner one that there is no
/// memory for it.
///
/// # Safety
///
/// Where `copy` succeeds, it has written all of its target.
pub(crate) unsafe fn receive<T, E>(
    head: &[u8],
    len: usize,
    copy: impl FnOnce(usize, &mut [MaybeUninit<u8>]) -> Result<(), E>,
) -> Option<Result<T, Option<E>>> {
    let mut decoder = Decoder::new(head.get(..HEAD)?);
    let Ok(Head::Run(kind, bytes)) = decoder.head() else {
        return None;
    };
    let begins = HEAD - decoder.rest.len();
    if bytes < LEAST || len.checked_sub(bytes) != Some(begins) || bytes % kind.size() != 0 {
        return None;
    }
    macro_rules! find {
        ($($number:ident $kind:ident),*) => {$(
            if kind == ElementType::$kind && is::<T, Vec<$number>>() {
                let numbers = read::<$number, E>(bytes, |target| copy(begins, target));
                // SAFETY: T is this type.
                return Some(numbers.map(|numbers| unsafe { same::<Vec<$number>, T>(numbers) }));
            }
            if kind == ElementType::$kind && is::<T, Box<[$number]>>() {
                let numbers = read::<$number, E>(bytes, |target| copy(begins, target));
                // SAFETY: T is this type.
                return Some(numbers.map(|numbers| unsafe { same::<Box<[$number]>, T>(numbers.into_boxed_slice()) }));
            }
        )*};
    }
    if cfg!(target_endian = "little") {
        each_number!(find);
    }
    None
}

/// A vector of numbers filled in by `copy`, which writes all of its target if it succeeds.
fn read<N, E>(bytes: usize, copy: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<(), E>) -> Result<Vec<N>, Option<E>> {
    let (mut numbers, len) = (Vec::<N>::new(), bytes / size_of::<N>());
    numbers.try_reserve_exact(len).map_err(|_| None)?;
    let target = numbers.spare_capacity_mut().as_mut_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: the vector has room for that many bytes, which nobody else knows of.
    copy(unsafe { core::slice::from_raw_parts_mut(target, bytes) }).map_err(Some)?;
    // SAFETY: that many numbers have just been written: the caller of `receive` has made sure of it, and any bytes are a number.
    unsafe { numbers.set_len(len) };
    Ok(numbers)
}
