//! Any serde type through every door: it comes back as it was, or is refused where it is sent.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "../common/mod.rs"]
mod common;
mod doors;
mod types;

use common::watchdog;
use doors::{alone, are_refused, through_doors};
use procshare::{Pool, SharedMap};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, LinkedList, VecDeque};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, Wrapping};
use std::ops::Bound as Limit;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use types::*;

fn text(text: &str) -> String {
    text.to_owned()
}

#[procshare::test]
fn attributes_of_fields_come_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    let s = vec![text("\u{1}\u{1}A")];
    through_doors(
        &pool,
        &(
            alone(&[SkippedIf { a: None, s: s.clone() }, SkippedIf { a: Some(3), s }]),
            alone(&[SkippedIfInTuple(1, Some(2)), SkippedIfInTuple(1, None)]),
            alone(&[
                SkippedIfInVariant::Fields { list: vec![], last: 1 },
                SkippedIfInVariant::Fields { list: vec![1], last: 1 },
            ]),
            alone(&[SkippedOneWay { gone: 0, kept: 7 }]),
            alone(&[NotRead { gone: 0, kept: 7 }]),
            alone(&[Skipped { gone: 0, kept: 7 }]),
            alone(&[Defaults::default(), Defaults { a: 1, b: text("x") }]),
            alone(&[DefaultOfPath { a: 7 }, DefaultOfPath { a: 8 }]),
            alone(&[Renamed {
                first_field: 1,
                second: text("x"),
                third: 3,
                fourth: -4,
            }]),
        ),
    );
    through_doors(
        &pool,
        &(
            alone(&[Bound { value: 77u16 }]),
            alone(&[OneWith { value: -5 }]),
            alone(&[OfRemote(Remote::new(300))]),
        ),
    );
}

#[procshare::test]
fn attributes_of_containers_come_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    through_doors(
        &pool,
        &(
            alone(&[Transparent { inner: vec![1, 2] }, Transparent { inner: vec![3; 3000] }]),
            alone(&[Newtype(vec![0.5; 3]), Newtype(vec![0.5; 300])]),
            alone(&[
                OfOption(None),
                OfOption(Some(Box::new(OfOption(Some(Box::new(OfOption(None))))))),
            ]),
            alone(&[TupleStruct(1, text("x"), Some(())), TupleStruct(1, text("x"), None)]),
            alone(&[Unit]),
            alone(&[NoFields {}]),
            alone(&[Generic {
                value: text("x"),
                other: 1u8,
                nothing: PhantomData,
            }]),
            alone(&[FromInto { letters: 5 }]),
            alone(&[TryFrom { even: 4 }]),
        ),
    );
    through_doors(
        &pool,
        &(
            alone(&[TaggedStruct { a: 1 }]),
            alone(&[Borrowing {
                text: "x".into(),
                list: vec![1; 100].into(),
            }]),
        ),
    );
}

#[procshare::test]
fn enums_of_every_representation_come_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    through_doors(
        &pool,
        &(
            alone(&[
                Shapes::Unit,
                Shapes::Newtype(1),
                Shapes::Nested(Box::new(Shapes::Struct { a: 1, b: None })),
                Shapes::Tuple(1, text("x")),
                Shapes::Empty(),
                Shapes::Struct { a: 1, b: Some(2) },
                Shapes::Long,
                Shapes::Other(Some(None)),
                Shapes::Other(None),
                Shapes::Nothing(()),
            ]),
            alone(&[
                Untagged::Number(-7),
                Untagged::Float(1.0),
                Untagged::Text(text("x")),
                Untagged::List(vec![1; 3]),
                Untagged::List((0..300).collect()),
                Untagged::Fields {
                    name: text("x"),
                    at: None,
                },
                Untagged::Pair(1, text("x"), vec![0.25; 40]),
                Untagged::Nothing,
            ]),
        ),
    );
    let address: IpAddr = Ipv4Addr::LOCALHOST.into();
    through_doors(
        &pool,
        &(
            alone(&[
                UntaggedAddress::Number(u64::MAX),
                UntaggedAddress::Address {
                    address,
                    bytes: Bytes(vec![1, 2, 3]),
                },
            ]),
            alone(&[
                Internal::Unit,
                Internal::TheStruct {
                    a: 1,
                    address,
                    by_number: BTreeMap::from([(300, text("x"))]),
                },
                Internal::Newtype(SkippedIf { a: None, s: vec![] }),
                Internal::Map(BTreeMap::from([(text("x"), 0.5)])),
                Internal::Deep {
                    inner: Box::new(Internal::Unit),
                },
            ]),
            alone(&[
                Adjacent::Unit,
                Adjacent::Newtype(1),
                Adjacent::Optional(None),
                Adjacent::Tuple(1, text("x")),
                Adjacent::Struct { a: vec![1; 50] },
            ]),
            alone(&[
                PartlyUntagged::Known(1),
                PartlyUntagged::Other(text("x")),
                PartlyUntagged::Numbers(vec![7; 70]),
            ]),
            alone(&[WithOther::Known { a: 1 }, WithOther::Unknown]),
            alone(&[RenamedFields::Fields { first: 1, second: 2 }]),
            alone(&[
                Choice::Handle {
                    count: 1,
                    list: VecDeque::from([-1; 30]),
                },
                Choice::Either(Some(None)),
                Choice::Either(None),
                Choice::Either(Some(Some(1))),
            ]),
            alone(&[Refusing::Fine]),
        ),
    );
}

#[procshare::test]
fn what_is_flattened_comes_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    let inner = Small { x: 0.5, y: Some(-1) };
    let rest = BTreeMap::from([
        (text("list"), serde_json::json!([1, 2.5, null, "x", {"deep": [true]}])),
        (text("none"), serde_json::Value::Null),
    ]);
    through_doors(
        &pool,
        &(
            alone(&[Flattened {
                id: 1,
                inner: inner.clone(),
                rest,
            }]),
            alone(&[FlattenedEnum {
                shape: Internal::Newtype(SkippedIf { a: Some(1), s: vec![] }),
                wide: vec![0.5; 99],
            }]),
            alone(&[
                FlattenedOption { id: 1, inner: None },
                FlattenedOption {
                    id: 1,
                    inner: Some(inner),
                },
            ]),
            alone(&[FlattenedExternal {
                shape: Adjacent::Tuple(1, text("x")),
                more: HashMap::from([(text("one"), 1)]),
            }]),
        ),
    );
}

#[procshare::test]
fn numbers_texts_and_options_come_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    macro_rules! extremes {
        ($number:ident) => {{
            let edges = [
                0,
                1,
                $number::MAX,
                $number::MIN,
                $number::MAX - 1,
                $number::MAX / 2,
                $number::MIN / 2,
            ];
            let steps: Vec<$number> = (0..$number::BITS).flat_map(|bit| [1 << bit, !0 << bit]).collect();
            (alone(&edges), alone(&[steps]))
        }};
    }
    through_doors(
        &pool,
        &(
            (
                extremes!(u8),
                extremes!(u16),
                extremes!(u32),
                extremes!(u64),
                extremes!(u128),
                extremes!(usize),
            ),
            (
                extremes!(i8),
                extremes!(i16),
                extremes!(i32),
                extremes!(i64),
                extremes!(i128),
                extremes!(isize),
            ),
        ),
    );
    through_doors(
        &pool,
        &(
            alone(&[0.0f32, -0.5, f32::INFINITY, f32::MIN_POSITIVE, f32::MAX]),
            alone(&[0.0f64, -0.5, f64::NEG_INFINITY, f64::EPSILON, f64::MAX]),
            alone(&[true, false]),
            alone(&['a', 'ß', '\u{10ffff}', '\0']),
            alone(&[
                String::new(),
                text("ß"),
                "x".repeat(31),
                "x".repeat(32),
                "x".repeat(300),
                "x".repeat(70_000),
            ]),
            alone::<Box<str>>(&["x".into()]),
            alone::<Arc<str>>(&["x".into()]),
            alone(&[None, Some(None), Some(Some(None)), Some(Some(Some(())))]),
            alone(&[None, Some(())]),
        ),
    );
    through_doors(
        &pool,
        &(
            alone(&[None, Some(Unit)]),
            alone(&[(), ()]),
            alone(&[Ok(1u8), Err(text("x"))]),
            alone(&[Some(Err::<u8, Option<Option<u8>>>(Some(None))), None]),
            alone(&[PhantomData::<u8>]),
        ),
    );
}

#[procshare::test]
fn types_of_the_standard_library_come_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    let six: IpAddr = Ipv6Addr::LOCALHOST.into();
    through_doors(
        &pool,
        &(
            alone(&[six, Ipv4Addr::BROADCAST.into()]),
            alone(&[SocketAddr::new(six, 443)]),
            alone(&[Duration::new(1, 5), Duration::MAX]),
            alone(&[SystemTime::UNIX_EPOCH + Duration::new(7, 3)]),
            alone(&[PathBuf::from("/tmp/x"), PathBuf::new()]),
            alone(&[std::ffi::OsString::from("x")]),
            alone(&[1u8..7, 7..9]),
            alone(&[Limit::Included(1u8), Limit::Unbounded]),
            alone(&[(Wrapping(7u8), Reverse(3i32), NonZeroU32::MIN)]),
        ),
    );
    through_doors(
        &pool,
        &(
            alone(&[LinkedList::from([text("x"), text("y")])]),
            alone(&[vec![1u16; 40].into_boxed_slice()]),
            alone::<Arc<[f64]>>(&[vec![0.5; 40].into(), vec![].into()]),
            alone(&[[1u64; 32], [u64::MAX; 32]]),
            alone(&[(1u8, 2u8, 3u8, 4u8, 5u8, 6u8, 7u8, 8u8, 9u8, 10u8, 11u8, 12u8)]),
            alone(&[vec![Some(1u8); 40], vec![None; 40]]),
            alone(&[vec![(1u32, 0.5f32); 100]]),
            alone(&[serde_json::json!({"a": [1, -2, 0.5, "x", null, true], "b": {"c": []}})]),
            alone(&[Collections {
                set: (0..100).collect(),
                ring: (0..100).collect(),
                by_pair: BTreeMap::from([((1, text("x")), vec![None, Some(1)])]),
                by_option: BTreeMap::from([(None, ()), (Some(None), ()), (Some(Some(1)), ())]),
                hash: [9; 32],
                matrix: vec![[0.5; 3]; 40],
                nested: vec![vec![], vec![-1; 15], vec![-1; 16], vec![i64::MIN; 17]],
            }]),
        ),
    );
}

#[procshare::test]
fn what_implements_the_traits_by_hand_comes_back() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    through_doors(
        &pool,
        &(alone(&[Bytes(vec![]), Bytes(vec![1; 40]), Bytes(vec![2; 70_000])]),),
    );
    for len in [0, 1, 15, 16, 17, 300] {
        let numbers: Vec<u32> = (0..len).collect();
        through_doors(
            &pool,
            &(
                alone(&[Counted::<0>(numbers.clone())]),
                alone(&[Counted::<2>(numbers.clone())]),
                alone(&[Counted::<16>(numbers.clone())]),
                alone(&[Counted::<1000>(numbers)]),
            ),
        );
    }
    for count in [0, 13, 14, 15, 400] {
        through_doors(&pool, &(alone(&[Mixed(count)]),));
    }
    through_doors(
        &pool,
        &(
            alone(&[Miscounted]),
            alone(&[
                Uncounted((0..40).map(|key| (key, text("x"))).collect()),
                Uncounted(BTreeMap::new()),
            ]),
        ),
    );
    let mut tree = Tree {
        name: text("leaf"),
        children: vec![],
    };
    for level in 0..20 {
        tree = Tree {
            name: format!("level {level}"),
            children: vec![
                tree.clone(),
                Tree {
                    name: text("x"),
                    children: vec![],
                },
            ],
        };
    }
    through_doors(&pool, &(alone(&[tree]), alone(&[chain(100)])));
}

fn chain(len: usize) -> Chain {
    (1..len).fold(Chain { next: None }, |chain, _| Chain {
        next: Some(Box::new(chain)),
    })
}

#[procshare::test]
fn what_cannot_come_back_is_refused_where_it_is_sent() {
    let _watchdog = watchdog(120);
    let pool = Pool::new(1).unwrap();
    are_refused(&pool, &Refusing::Never, "Never");
    are_refused(&pool, &DifferentNames { field: 1 }, "missing field `b`");
    are_refused(&pool, &DifferentTypes { before: 1, value: 7 }, "at `...value` of");
    are_refused(&pool, &TooWide::Number(u128::MAX), "128");
    are_refused(&pool, &TooWide::Number(5), "did not match any variant");
    are_refused(&pool, &chain(200), "nested deeper than 128 levels");
    are_refused(&pool, &Failing { list: vec![Fails] }, "it never can be...list[0]` of");
    use std::os::unix::ffi::OsStringExt;
    let path = PathBuf::from(std::ffi::OsString::from_vec(vec![0xff]));
    are_refused(&pool, &path, "path contains invalid UTF-8");
    // Each that is in doubt, not the first ones only.
    let queue = procshare::SharedQueue::new(1).unwrap();
    for _ in 0..100 {
        queue.put(TooWide::Text(text("x"))).unwrap();
        assert!(queue.get().is_ok());
    }
    assert!(queue.put(TooWide::Number(5)).is_err());
    assert!(queue.put(TooWide::List(vec![5; 100])).is_err());
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Words(Vec<String>);

impl std::borrow::Borrow<[String]> for Words {
    fn borrow(&self) -> &[String] {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    name: Vec<u16>,
}

impl std::borrow::Borrow<[u16]> for Named {
    fn borrow(&self) -> &[u16] {
        &self.name
    }
}

#[procshare::test]
fn keys_are_found_by_what_is_borrowed_from_them() {
    let _watchdog = watchdog(60);
    for len in [0usize, 3, 15, 16, 17, 300] {
        let map = SharedMap::<Vec<u16>, u8>::with_capacity(1 << 16).unwrap();
        map.insert(&vec![7; len], &1).unwrap();
        assert_eq!(map.get(&[7u16; 300][..len]).unwrap(), Some(1));
        let map = SharedMap::<Words, u8>::with_capacity(1 << 16).unwrap();
        map.insert(&Words(vec![text("x"); len]), &1).unwrap();
        assert_eq!(map.get(&vec![text("x"); len][..]).unwrap(), Some(1));
        let map = SharedMap::<VecDeque<u8>, u8>::with_capacity(1 << 16).unwrap();
        map.insert(&VecDeque::from(vec![7; len]), &1).unwrap();
        let mut turned = VecDeque::from(vec![7; len]);
        turned.rotate_left(len / 2);
        assert_eq!(map.get(&turned).unwrap(), Some(1));
    }
    let map = SharedMap::<[u8; 32], u8>::with_capacity(1 << 16).unwrap();
    map.insert(&[200; 32], &1).unwrap();
    assert_eq!(map.get(&[200u8; 32][..]).unwrap(), Some(1));
    let map = SharedMap::<[u8; 8], u8>::with_capacity(1 << 16).unwrap();
    map.insert(&[200; 8], &1).unwrap();
    assert_eq!(map.get(&[200u8; 8][..]).unwrap(), Some(1));
    // Encoded otherwise: it is said, not searched for.
    let map = SharedMap::<Named, u8>::with_capacity(1 << 16).unwrap();
    let error = map.get(&[1u16, 2][..]).unwrap_err();
    assert!(error.to_string().contains("encoded differently"), "{error}");
}

/// Those after the first are not tried, unless there is doubt.
#[procshare::test]
fn what_is_sent_late_is_refused_as_well() {
    let _watchdog = watchdog(60);
    let queue = procshare::SharedQueue::new(1).unwrap();
    for _ in 0..20 {
        queue.put(Patch { field: Some(Some(1)) }).unwrap();
        queue.get().unwrap();
    }
    assert!(queue.put(Patch { field: Some(None) }).is_err());
    let queue = procshare::SharedQueue::new(1).unwrap();
    let keys = |key: Key| FlattenedKeys {
        a: 1,
        map: BTreeMap::from([(key, 1)]),
    };
    for _ in 0..20 {
        queue.put(keys(Key::Unit)).unwrap();
        assert_eq!(queue.get(), Ok(keys(Key::Unit)));
    }
    assert!(queue.put(keys(Key::Pair(1, 2))).is_err());
}

#[procshare::test]
fn an_error_that_was_ignored_or_wrapped_loses_nothing() {
    let _watchdog = watchdog(60);
    let queue = procshare::SharedQueue::new(procshare::Capacity::items(2).bytes(4096)).unwrap();
    let item = |len: usize| Sloppy(vec![text("twenty letters or so"); len]);
    for len in [1, 4, 5, 6, 7, 8, 50, 150] {
        for _ in 0..20 {
            queue.put(item(len)).unwrap();
            assert_eq!(queue.get(), Ok(item(len)));
        }
    }
    match queue.put(item(400)) {
        Err(procshare::SendError::TooLarge { item: back, bytes, .. }) => assert!(back == item(400) && bytes > 4096),
        outcome => panic!("{outcome:?}"),
    }
}

#[procshare::test]
fn options_as_deep_as_they_like_are_refused_without_harm() {
    let deep = |len: usize| (0..len).fold(OfOption(None), |inner, _| OfOption(Some(Box::new(inner))));
    assert!(procshare::__private::encode(&deep(128)).is_ok());
    // As deep as it can be dropped.
    assert!(procshare::__private::encode(&deep(5000)).is_err());
}

#[test]
fn wide_numbers_that_are_short_are_read_as_short_ones() {
    let wide = procshare::__private::encode(&vec![1i128 << 63; 16]).unwrap();
    assert_eq!(procshare::__private::decode(&wide), Ok(vec![1u64 << 63; 16]));
}

#[procshare::test]
fn what_is_not_a_number_comes_back_bit_by_bit() {
    let queue = procshare::SharedQueue::new(1).unwrap();
    for bits in [0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0001u64] {
        queue.put(vec![f64::from_bits(bits); 20]).unwrap();
        assert!(queue.get().unwrap().iter().all(|number| number.to_bits() == bits));
        queue.put(vec![f64::from_bits(bits); 2]).unwrap();
        assert!(queue.get().unwrap().iter().all(|number| number.to_bits() == bits));
    }
}
