//! What may be shared, how it is described, and which bytes are a value.

#![cfg(feature = "derive")]

use procshare::Shareable;
use procshare::schema::{Field, Schema, Variant};

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Totals {
    total: u64,
    per_worker: [u64; 8],
}

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum State {
    Idle,
    Busy,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Worker {
    done: u64,
    initial: char,
    state: State,
    flags: [bool; 3],
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Pair<T, const N: usize> {
    first: [T; N],
    second: [T; N],
}

#[derive(Clone, Copy, Shareable)]
#[repr(transparent)]
struct Celsius(f64);

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Nothing;

#[derive(Clone, Copy, Shareable)]
#[repr(C, packed)]
struct Tight {
    tag: u8,
    value: u64,
}

#[derive(Clone, Copy, Shareable)]
#[repr(C, align(16))]
struct Wide {
    halves: [u64; 2],
}

#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Raw {
    r#type: u32,
    r#match: u32,
}

const STEP: i16 = 300;

#[derive(Clone, Copy, Shareable)]
#[repr(i16)]
enum Level {
    Low = -STEP,
    Zero = 0,
    High = STEP,
}

#[derive(Clone, Copy, Shareable)]
#[repr(u64)]
enum Ends {
    First = 0,
    Last = u64::MAX,
}

const fn doubled(n: usize) -> usize {
    n * 2
}

macro_rules! same {
    ($ty:ty) => {
        $ty
    };
}

/// Holds no bytes; its parameter may be any type.
struct Marker<T: ?Sized, const N: usize = 0>(std::marker::PhantomData<T>);

impl<T: ?Sized, const N: usize> Clone for Marker<T, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized, const N: usize> Copy for Marker<T, N> {}

// SAFETY: it has no bytes.
unsafe impl<T: ?Sized + Send + Sync + 'static, const N: usize> Shareable for Marker<T, N> {
    const SCHEMA: &'static Schema = <()>::SCHEMA;
    const ANY_BITS: bool = true;

    fn is_valid(bytes: &[u8]) -> bool {
        bytes.is_empty()
    }
}

const WIDE: bool = true;

/// Lengths and arguments may be any constant expression.
#[derive(Clone, Copy, Shareable)]
#[repr(C)]
struct Expressions<const N: usize>
where
    [u8; if WIDE { 8 } else { 4 }]: Shareable,
{
    chosen: [u8; if WIDE { 3 } else { 4 }],
    matched: [[u8; match STEP {
        300 => 2,
        _ => 1,
    }]; if WIDE { 2 } else { 1 }],
    block: [u8; {
        const ONE: usize = 1;
        let two = ONE + 1;
        two + 1
    }],
    called: [u8; doubled(3)],
    listed: [u8; [STEP; 2].len()],
    given: [u8; N],
    macros: same!([u8; if WIDE { 2 } else { 1 }]),
    element: [same!(u8); 1],
    argument: Marker<
        u8,
        {
            let one = 1;
            one + 1
        },
    >,
    function: Marker<fn(u8) -> [u8; if WIDE { 2 } else { 1 }]>,
    behaviour: Marker<dyn Send + Sync, 1>,
}

#[derive(Clone, Copy, Shareable)]
#[repr(u8)]
enum Computed {
    Chosen = if WIDE { 3 } else { 4 },
    Matched = match STEP {
        300 => 5,
        _ => 6,
    },
    Called = doubled(4) as u8,
    Block = {
        let six = 6;
        six + 1
    },
}

fn text<T: Shareable>() -> String {
    T::SCHEMA.to_string()
}

#[test]
fn schema_text_of_scalars_and_arrays() {
    assert_eq!(text::<u128>(), "u128");
    assert_eq!(text::<i8>(), "i8");
    assert_eq!(text::<f32>(), "f32");
    assert_eq!(text::<bool>(), "bool");
    assert_eq!(text::<char>(), "char");
    assert_eq!(text::<()>(), "{}");
    assert_eq!(text::<[[u16; 3]; 0]>(), "[[u16;3];0]");
}

#[test]
fn schema_text_of_derived_types() {
    assert_eq!(text::<Totals>(), "{total:u64,per_worker:[u64;8]}");
    assert_eq!(text::<State>(), "u8{Idle=0,Busy=1}");
    assert_eq!(
        text::<Worker>(),
        "{done:u64,initial:char,state:u8{Idle=0,Busy=1},flags:[bool;3]}"
    );
    assert_eq!(text::<Pair<i32, 2>>(), "{first:[i32;2],second:[i32;2]}");
    assert_eq!(text::<Celsius>(), "{0:f64}");
    assert_eq!(text::<Nothing>(), "{}");
    assert_eq!(text::<Tight>(), "{tag:u8,value:u64}");
    assert_eq!(text::<Wide>(), "{halves:[u64;2]}");
    assert_eq!(text::<Raw>(), "{type:u32,match:u32}");
    assert_eq!(text::<Level>(), "i16{Low=-300,Zero=0,High=300}");
    assert_eq!(text::<Ends>(), "u64{First=0,Last=18446744073709551615}");
}

#[test]
fn schema_text_of_computed_lengths_and_values() {
    assert_eq!(
        text::<Expressions<5>>(),
        "{chosen:[u8;3],matched:[[u8;2];2],block:[u8;3],called:[u8;6],listed:[u8;2],given:[u8;5],\
         macros:[u8;2],element:[u8;1],argument:{},function:{},behaviour:{}}"
    );
    assert_eq!(text::<Computed>(), "u8{Chosen=3,Matched=5,Called=8,Block=7}");
}

#[test]
fn schema_gives_offsets_and_variants_as_data() {
    let Schema::Struct { fields } = Worker::SCHEMA else {
        panic!("not a struct")
    };
    let offsets: Vec<(&str, usize)> = fields.iter().map(|field| (field.name, field.offset)).collect();
    assert_eq!(offsets, [("done", 0), ("initial", 8), ("state", 12), ("flags", 13)]);
    assert_eq!(
        fields[0],
        Field {
            name: "done",
            offset: 0,
            schema: u64::SCHEMA
        }
    );

    let Schema::Enum { repr, variants } = Level::SCHEMA else {
        panic!("not an enum")
    };
    assert_eq!(*repr, i16::SCHEMA);
    assert_eq!(
        variants[0],
        Variant {
            name: "Low",
            value: -300
        }
    );
}

/// Golden numbers: whoever changes one makes every segment of older builds unreadable.
#[test]
fn fingerprints_never_change() {
    assert_eq!(u64::SCHEMA.fingerprint(), 0x4d35_d319_3e8d_66f2);
    assert_eq!(<[u64; 8]>::SCHEMA.fingerprint(), 0xab4b_2b0d_d940_02d3);
    assert_eq!(Totals::SCHEMA.fingerprint(), 0x506c_dcf9_de03_c0a0);
    assert_eq!(State::SCHEMA.fingerprint(), 0x9b40_faec_2ed4_f698);
    assert_eq!(Level::SCHEMA.fingerprint(), 0x754f_db28_715e_dd9f);
}

#[test]
fn fingerprint_is_a_constant_and_digests_the_text() {
    const WORKER: u64 = Worker::SCHEMA.fingerprint();
    let digest = Worker::SCHEMA
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(WORKER, digest);
}

#[test]
fn fingerprint_depends_on_field_names_and_not_on_type_names() {
    mod other {
        #[derive(Clone, Copy, procshare::Shareable)]
        #[repr(C)]
        pub(super) struct Renamed {
            pub(super) total: u64,
            pub(super) per_worker: [u64; 8],
        }

        #[derive(Clone, Copy, procshare::Shareable)]
        #[repr(C)]
        pub(super) struct Swapped {
            pub(super) per_worker: [u64; 8],
            pub(super) total: u64,
        }
    }
    assert_eq!(other::Renamed::SCHEMA.fingerprint(), Totals::SCHEMA.fingerprint());
    assert_ne!(other::Swapped::SCHEMA.fingerprint(), Totals::SCHEMA.fingerprint());
}

#[test]
fn any_bits_holds_only_where_every_part_allows_it() {
    fn any<T: Shareable>() -> bool {
        T::ANY_BITS
    }
    assert!(any::<u8>() && any::<f64>() && any::<[i128; 4]>() && any::<()>());
    assert!(any::<Totals>() && any::<Celsius>() && any::<Tight>() && any::<Pair<f32, 4>>());
    assert!(!any::<bool>() && !any::<char>() && !any::<[bool; 2]>());
    assert!(!any::<State>() && !any::<Worker>() && !any::<Pair<bool, 4>>());
}

#[test]
fn every_length_but_the_size_is_refused() {
    fn check<T: Shareable>() {
        let bytes = vec![0; size_of::<T>() + 1];
        for len in 0..=bytes.len() {
            assert_eq!(
                T::is_valid(&bytes[..len]),
                len == size_of::<T>(),
                "{} in {len} bytes",
                T::SCHEMA
            );
        }
    }
    check::<u8>();
    check::<u128>();
    check::<f32>();
    check::<bool>();
    check::<char>();
    check::<()>();
    check::<[u16; 5]>();
    check::<[bool; 5]>();
    check::<[bool; 0]>();
    check::<[(); 5]>();
    check::<[Nothing; 5]>();
    check::<Totals>();
    check::<State>();
    check::<Worker>();
    check::<Pair<char, 3>>();
    check::<Celsius>();
    check::<Tight>();
    check::<Wide>();
    check::<Level>();
}

#[test]
fn bool_is_zero_or_one() {
    for byte in 0..=u8::MAX {
        assert_eq!(bool::is_valid(&[byte]), byte < 2);
        assert_eq!(<[bool; 3]>::is_valid(&[0, byte, 1]), byte < 2);
    }
}

#[test]
fn enum_is_one_of_its_variants() {
    for byte in 0..=u8::MAX {
        assert_eq!(State::is_valid(&[byte]), byte <= State::Busy as u8);
    }
    for value in i16::MIN..=i16::MAX {
        let is_variant = [Level::Low as i16, Level::Zero as i16, Level::High as i16].contains(&value);
        assert_eq!(Level::is_valid(&value.to_ne_bytes()), is_variant, "{value}");
    }
    assert!(Ends::is_valid(&(Ends::First as u64).to_ne_bytes()));
    assert!(Ends::is_valid(&(Ends::Last as u64).to_ne_bytes()));
    assert!(!Ends::is_valid(&(u64::MAX - 1).to_ne_bytes()));
}

#[test]
fn struct_is_valid_when_each_field_is() {
    let mut good = [0xff; 16];
    good[8..12].copy_from_slice(&u32::from('x').to_ne_bytes());
    good[12..].copy_from_slice(&[1, 0, 1, 0]);
    assert!(Worker::is_valid(&good));

    for (at, bad) in [(8, 0xff), (11, 0xff), (12, 2), (13, 2), (15, 0x80)] {
        let mut bytes = good;
        bytes[at..(at + 1)].fill(bad);
        // One byte of a `char` alone may still leave a value; then its own check decides.
        let char_is_valid = char::is_valid(&bytes[8..12]);
        assert_eq!(Worker::is_valid(&bytes), at < 12 && char_is_valid, "byte {at}");
    }

    let surrogate = 0xd800_u32.to_ne_bytes();
    good[8..12].copy_from_slice(&surrogate);
    assert!(!Worker::is_valid(&good));
}

#[test]
fn validity_does_not_depend_on_alignment() {
    let bytes = [0; 17];
    assert!(Worker::is_valid(&bytes[..16]));
    assert!(Worker::is_valid(&bytes[1..]));
}

macro_rules! shared {
    ($($tokens:tt)*) => {
        #[derive(Clone, Copy, Shareable)]
        $($tokens)*
    };
}

macro_rules! with_field {
    ($field:ident: $kind:ident) => {
        #[derive(Clone, Copy, Shareable)]
        #[repr(C)]
        struct OfMacro {
            $field: $kind,
        }
    };
}

shared!(
    #[repr(C)]
    struct ThroughMacro(bool, u8);
);
with_field!(flag: bool);

/// A field's type may come from outside the macro that derives.
#[test]
fn fields_that_come_through_a_macro_are_checked() {
    assert!(ThroughMacro::is_valid(&[1, 7]) && !ThroughMacro::is_valid(&[2, 7]));
    assert!(OfMacro::is_valid(&[1]) && !OfMacro::is_valid(&[2]));
    let _ = (ThroughMacro(true, 7), OfMacro { flag: true }.flag);
}

/// The macros that start children leave the function as it was.
#[cfg(feature = "process")]
mod entry {
    #[procshare::test]
    fn test_runs() {
        assert_eq!(1 + 1, 2);
    }

    #[procshare::test]
    fn test_may_return_a_result() -> Result<(), std::num::ParseIntError> {
        let two: i32 = "2".parse()?;
        assert_eq!(two, 2);
        Ok(())
    }

    #[procshare::test]
    pub(super) fn test_keeps_its_signature() -> Result<(), [u8; if super::WIDE { 1 } else { 2 }]>
    where
        [u8; if super::WIDE { 1 } else { 2 }]: Copy,
        super::Marker<u8, { super::STEP as usize }>: Copy,
    {
        // Attributes within the body stay first.
        #![allow(unused_variables, reason = "it is what is tested")]
        let unused = if super::WIDE { 1 } else { 2 };
        Ok(())
    }

    #[procshare::test]
    #[should_panic(expected = "as it should")]
    fn test_keeps_should_panic() {
        panic!("as it should");
    }
}
