//! Types with every attribute that `serde`'s derive has, and some that implement its traits by hand.

use serde::de::{self, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

macro_rules! item {
    ($($item:item)*) => {$(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        $item
    )*};
}

item! {
    pub(crate) struct SkippedIf {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        pub(crate) a: Option<u8>,
        pub(crate) s: Vec<String>,
    }
    pub(crate) struct SkippedIfInTuple(
        pub(crate) u8,
        #[serde(skip_serializing_if = "Option::is_none", default)] pub(crate) Option<u8>,
    );
    pub(crate) enum SkippedIfInVariant {
        Fields {
            #[serde(skip_serializing_if = "Vec::is_empty", default)]
            list: Vec<u8>,
            last: u8,
        },
    }
    pub(crate) struct SkippedOneWay {
        #[serde(skip_serializing, default)]
        pub(crate) gone: u8,
        pub(crate) kept: u16,
    }
    pub(crate) struct NotRead {
        #[serde(skip_deserializing)]
        pub(crate) gone: u8,
        pub(crate) kept: u16,
    }
    pub(crate) struct Skipped {
        #[serde(skip)]
        pub(crate) gone: u8,
        pub(crate) kept: u16,
    }
    #[serde(default)]
    pub(crate) struct Defaults {
        #[serde(skip_serializing_if = "is_seven")]
        pub(crate) a: u8,
        pub(crate) b: String,
    }
    pub(crate) struct DefaultOfPath {
        #[serde(default = "seven", skip_serializing_if = "is_seven")]
        pub(crate) a: u8,
    }
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub(crate) struct Renamed {
        pub(crate) first_field: u8,
        #[serde(rename = "second field, whose name is longer than 32 bytes", alias = "zweites")]
        pub(crate) second: String,
        #[serde(alias = "a", alias = "b")]
        pub(crate) third: u8,
        pub(crate) fourth: i16,
    }
    pub(crate) enum Shapes {
        Unit,
        Newtype(u8),
        Nested(Box<Shapes>),
        Tuple(u8, String),
        Empty(),
        Struct { a: u8, b: Option<u8> },
        #[serde(rename = "a name that takes more than thirty-two bytes")]
        Long,
        #[serde(alias = "alt")]
        Other(Option<Option<u8>>),
        Nothing(()),
    }
    #[serde(untagged)]
    pub(crate) enum Untagged {
        Number(i64),
        Float(f64),
        Text(String),
        List(Vec<u16>),
        Fields { name: String, at: Option<u8> },
        Pair(u8, String, Vec<f32>),
        Nothing,
    }
    #[serde(untagged)]
    pub(crate) enum UntaggedAddress {
        Number(u64),
        Address { address: IpAddr, bytes: Bytes },
    }
    #[serde(tag = "type", rename_all = "kebab-case")]
    pub(crate) enum Internal {
        Unit,
        TheStruct { a: u8, address: IpAddr, by_number: BTreeMap<u16, String> },
        Newtype(SkippedIf),
        Map(BTreeMap<String, f64>),
        Deep { inner: Box<Internal> },
    }
    #[serde(tag = "t", content = "c")]
    pub(crate) enum Adjacent {
        Unit,
        Newtype(u8),
        Optional(Option<u8>),
        Tuple(u8, String),
        Struct { a: Vec<u64> },
    }
    #[serde(tag = "kind")]
    pub(crate) struct TaggedStruct {
        pub(crate) a: u8,
    }
    pub(crate) enum PartlyUntagged {
        Known(u8),
        #[serde(untagged)]
        Other(String),
        #[serde(untagged)]
        Numbers(Vec<u32>),
    }
    pub(crate) struct Flattened {
        pub(crate) id: u32,
        #[serde(flatten)]
        pub(crate) inner: Small,
        #[serde(flatten)]
        pub(crate) rest: BTreeMap<String, serde_json::Value>,
    }
    pub(crate) struct FlattenedEnum {
        #[serde(flatten)]
        pub(crate) shape: Internal,
        pub(crate) wide: Vec<f64>,
    }
    pub(crate) struct FlattenedOption {
        pub(crate) id: u32,
        #[serde(flatten)]
        pub(crate) inner: Option<Small>,
    }
    pub(crate) struct FlattenedExternal {
        #[serde(flatten)]
        pub(crate) shape: Adjacent,
        #[serde(flatten)]
        pub(crate) more: HashMap<String, u8>,
    }
    pub(crate) struct Small {
        pub(crate) x: f64,
        pub(crate) y: Option<i8>,
    }
    #[serde(transparent)]
    pub(crate) struct Transparent {
        pub(crate) inner: Vec<u8>,
    }
    pub(crate) struct Newtype(pub(crate) Vec<f32>);
    pub(crate) struct OfOption(pub(crate) Option<Box<OfOption>>);
    pub(crate) struct TupleStruct(pub(crate) u8, pub(crate) String, pub(crate) Option<()>);
    pub(crate) struct Unit;
    pub(crate) struct NoFields {}
    pub(crate) struct Generic<T, U = u8> {
        pub(crate) value: T,
        pub(crate) other: U,
        pub(crate) nothing: PhantomData<T>,
    }
    #[serde(bound(serialize = "T: ToString", deserialize = "T: std::str::FromStr"))]
    pub(crate) struct Bound<T> {
        #[serde(with = "as_text")]
        pub(crate) value: T,
    }
    #[serde(from = "String", into = "String")]
    pub(crate) struct FromInto {
        pub(crate) letters: usize,
    }
    #[serde(try_from = "u8", into = "u8")]
    pub(crate) struct TryFrom {
        pub(crate) even: u8,
    }
    pub(crate) struct OneWith {
        #[serde(serialize_with = "as_text::serialize", deserialize_with = "as_text::deserialize")]
        pub(crate) value: i64,
    }
    pub(crate) struct OfRemote(#[serde(with = "RemoteOf")] pub(crate) Remote);
    pub(crate) struct Borrowing {
        pub(crate) text: Cow<'static, str>,
        pub(crate) list: Cow<'static, [u16]>,
    }
    pub(crate) struct Tree {
        pub(crate) name: String,
        pub(crate) children: Vec<Tree>,
    }
    pub(crate) struct Chain {
        pub(crate) next: Option<Box<Chain>>,
    }
    #[serde(untagged)]
    pub(crate) enum Choice {
        Handle { count: u8, list: VecDeque<i32> },
        Either(Option<Option<u8>>),
    }
    pub(crate) struct Collections {
        pub(crate) set: BTreeSet<u64>,
        pub(crate) ring: VecDeque<u8>,
        pub(crate) by_pair: BTreeMap<(u8, String), Vec<Option<u8>>>,
        pub(crate) by_option: BTreeMap<Option<Option<u8>>, ()>,
        pub(crate) hash: [u8; 32],
        pub(crate) matrix: Vec<[f32; 3]>,
        pub(crate) nested: Vec<Vec<i64>>,
    }
    pub(crate) enum Refusing {
        #[serde(skip)]
        Never,
        Fine,
    }
    pub(crate) struct DifferentNames {
        #[serde(rename(serialize = "a", deserialize = "b"))]
        pub(crate) field: u8,
    }
    pub(crate) struct DifferentTypes {
        pub(crate) before: u8,
        #[serde(serialize_with = "as_text::serialize")]
        pub(crate) value: u64,
    }
    #[serde(untagged)]
    pub(crate) enum TooWide {
        Number(u128),
        List(Vec<u128>),
        Text(String),
    }
    #[serde(tag = "t")]
    pub(crate) enum WithOther {
        Known { a: u8 },
        #[serde(other)]
        Unknown,
    }
    #[serde(rename_all = "lowercase", rename_all_fields = "UPPERCASE")]
    pub(crate) enum RenamedFields {
        Fields { first: u8, second: u8 },
    }
}

/// As is usual with JSON, and not needed here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Patch {
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub(crate) field: Option<Option<u32>>,
}

fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Key {
    Unit,
    Pair(u8, u8),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlattenedKeys {
    pub(crate) a: u8,
    #[serde(flatten)]
    pub(crate) map: BTreeMap<Key, u8>,
}

/// Takes an error for the end, and wraps others.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Sloppy(pub(crate) Vec<String>);

impl Serialize for Sloppy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for text in &self.0 {
            if sequence.serialize_element(text).is_err() {
                break;
            }
        }
        sequence
            .end()
            .map_err(|error| serde::ser::Error::custom(format!("wrapped: {error}")))
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            a: 7,
            b: "seven".to_owned(),
        }
    }
}

fn seven() -> u8 {
    7
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_seven(number: &u8) -> bool {
    *number == 7
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_string())
    }

    pub(super) fn deserialize<'de, T: std::str::FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| de::Error::custom(format!("`{text}` cannot be parsed")))
    }
}

impl From<String> for FromInto {
    fn from(text: String) -> Self {
        FromInto { letters: text.len() }
    }
}

impl From<FromInto> for String {
    fn from(value: FromInto) -> Self {
        "x".repeat(value.letters)
    }
}

impl std::convert::TryFrom<u8> for TryFrom {
    type Error = String;
    fn try_from(even: u8) -> Result<Self, String> {
        if even % 2 == 0 {
            Ok(TryFrom { even })
        } else {
            Err(format!("{even} is odd"))
        }
    }
}

impl From<TryFrom> for u8 {
    fn from(value: TryFrom) -> Self {
        value.even
    }
}

/// As of another crate, which does not know of serde.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remote {
    secret: u16,
}

impl Remote {
    pub(crate) fn new(secret: u16) -> Self {
        Remote { secret }
    }

    fn secret(&self) -> u16 {
        self.secret
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Remote")]
struct RemoteOf {
    #[serde(getter = "Remote::secret")]
    secret: u16,
}

impl From<RemoteOf> for Remote {
    fn from(of: RemoteOf) -> Self {
        Remote::new(of.secret)
    }
}

/// Written and read as bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Read)
    }
}

/// A sequence whose writer does not know its length, or says a wrong one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counted<const SAID: usize>(pub(crate) Vec<u32>);

impl<const SAID: usize> Serialize for Counted<SAID> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq((SAID > 0).then_some(SAID))?;
        self.0
            .iter()
            .try_for_each(|element| sequence.serialize_element(element))?;
        sequence.end()
    }
}

impl<'de, const SAID: usize> Deserialize<'de> for Counted<SAID> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Counted)
    }
}

/// Elements of several types, as no derive would write them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mixed(pub(crate) usize);

impl Serialize for Mixed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0 + 2))?;
        for number in 0..self.0 {
            sequence.serialize_element(&(number as u16))?;
        }
        sequence.serialize_element(&1.5f64)?;
        sequence.serialize_element("the end")?;
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for Mixed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Mixed;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, and an end")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Mixed, A::Error> {
                let count = sequence.size_hint().unwrap_or(0) - 2;
                for number in 0..count {
                    assert_eq!(sequence.next_element::<u16>()?, Some(number as u16));
                }
                assert_eq!(sequence.next_element::<f64>()?, Some(1.5));
                assert_eq!(sequence.next_element::<String>()?.as_deref(), Some("the end"));
                Ok(Mixed(count))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}

/// Fields whose number is said wrongly, some of them of no interest to the reader.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Miscounted;

impl Serialize for Miscounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Miscounted", 40)?;
        fields.serialize_field("a", &vec![vec![1u8; 40]; 2])?;
        fields.serialize_field("b", "text")?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Miscounted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        assert!(fields.keys().eq(["a", "b"]));
        Ok(Miscounted)
    }
}

/// A map whose writer does not know how many entries there are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Uncounted(pub(crate) BTreeMap<u16, String>);

impl Serialize for Uncounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in &self.0 {
            map.serialize_key(key)?;
            map.serialize_value(value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Uncounted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Uncounted)
    }
}

/// Whatever is written, it fails.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Failing {
    pub(crate) list: Vec<Fails>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Fails;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Failing", 1)?;
        fields.serialize_field("list", &self.list)?;
        fields.end()
    }
}

impl Serialize for Fails {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it never can be"))
    }
}
