//! How each handle is encoded: as its segment's place among the attachments, and what finds the object there.

use super::attachments::Descriptor;
use super::context::{with_attachments, with_received};
use crate::collections::{
    AtomicInteger, FrozenArray, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter, SharedMap, SharedValue,
};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Shareable};
use crate::messages::{Connection, Consumer, Pass, PassedHandle, Producer, Receiver, Sender, SharedQueue};
use crate::segment::{Handle, Object, Segment};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{self, Serialize, Serializer};
use std::sync::Arc;

/// Encodes each handle as what the first function returns, from which the second makes the handle again.
macro_rules! passed_by {
    ($pack:ident, $unpack:ident: $($handle:ident <$($parameter:ident $(: $bound:ident)?),*>),*) => {$(
        impl<$($parameter $(: $bound)?),*> Serialize for $handle<$($parameter),*> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $pack(self).map_err(ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de, $($parameter $(: $bound)?),*> Deserialize<'de> for $handle<$($parameter),*> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $unpack(Deserialize::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    )*};
}

passed_by!(pack_segment, unpack_segment: Segment<>);
passed_by!(pack_file, unpack_file: Descriptor<>);
passed_by!(pack_object, unpack_object: SharedValue<T: Shareable>, SharedCounter<>, SharedArray<T: Shareable>, FrozenArray<T: Shareable>);
passed_by!(pack_object, unpack_object: SharedAtomic<A: AtomicInteger>, SharedAtomicArray<A: AtomicInteger>);
passed_by!(pack_map, unpack_map: SharedMap<K, V>);
passed_by!(pack_participant, unpack_participant: SharedQueue<T>, Connection<T>, Sender<T>, Receiver<T>);
passed_by!(pack_participant, unpack_participant: Producer<T: Shareable>, Consumer<T: Shareable>);

fn pack_segment(segment: &Segment) -> Result<u32, String> {
    with_attachments(|attachments| attachments.add_segment(segment))
}

fn unpack_segment(place: u32) -> Result<Segment, String> {
    find(place, |segment| Ok(segment.clone()))
}

/// Opens something in the segment at a place.
fn find<T>(place: u32, open: impl FnOnce(&Segment) -> Result<T>) -> Result<T, String> {
    with_received(|received| {
        let segment = received.segments.get(place as usize);
        let lost = || Error::new(ErrorKind::Encoding, format!("no segment {place} among the arguments"));
        open(segment.ok_or_else(lost)?)
    })
}

fn pack_file(file: &Descriptor) -> Result<usize, String> {
    with_attachments(|attachments| Ok(attachments.add_file(file)))
}

fn unpack_file(place: usize) -> Result<Descriptor, String> {
    with_received(|received| {
        let file = received.files.get_mut(place).and_then(Option::take);
        let lost = || Error::new(ErrorKind::Encoding, format!("no file {place} among the arguments"));
        Ok(Descriptor(Arc::new(file.ok_or_else(lost)?)))
    })
}

/// An object's segment and name.
type Place = (u32, String);

fn pack_handle(handle: &Handle) -> Result<Place, String> {
    Ok((pack_segment(handle.segment())?, handle.name()))
}

fn pack_object<H: Object>(object: &H) -> Result<Place, String> {
    pack_handle(object.handle())
}

fn unpack_object<H: Object>((place, name): Place) -> Result<H, String> {
    find(place, |segment| H::open_in(segment, &name, None))
}

fn pack_map<K, V>(map: &SharedMap<K, V>) -> Result<Place, String> {
    pack_handle(map.handle())
}

fn unpack_map<K, V>((place, name): Place) -> Result<SharedMap<K, V>, String> {
    // The types were checked where it was opened; its own schema need not be given again.
    find(place, |segment| {
        SharedMap::adopt(Handle::find_passed(segment, &name, Kind::Map)?)
    })
}

fn pack_participant<H: Pass>(handle: &H) -> Result<(u32, PassedHandle), String> {
    with_attachments(|attachments| attachments.add_participant(handle))
}

fn unpack_participant<H: Pass>((place, passed): (u32, PassedHandle)) -> Result<H, String> {
    find(place, |segment| H::unpack(segment, &passed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::AtomicU64;

    fn are_arguments<T: Serialize + de::DeserializeOwned>() {}

    /// Does not compile unless the handles of every kind of object are arguments.
    const _: fn(Kind) = |kind| match kind {
        Kind::Value => are_arguments::<SharedValue<u8>>(),
        Kind::Counter => are_arguments::<SharedCounter>(),
        Kind::Array => are_arguments::<SharedArray<u8>>(),
        Kind::FrozenArray => are_arguments::<FrozenArray<u8>>(),
        Kind::Atomic => are_arguments::<SharedAtomic<AtomicU64>>(),
        Kind::AtomicArray => are_arguments::<SharedAtomicArray<AtomicU64>>(),
        Kind::Map => are_arguments::<SharedMap<u8, u8>>(),
        Kind::Queue => are_arguments::<SharedQueue<u8>>(),
        Kind::Pipe => are_arguments::<(Connection<u8>, Sender<u8>, Receiver<u8>)>(),
        Kind::Ring => are_arguments::<(Producer<u8>, Consumer<u8>)>(),
        Kind::Pool => {} // Its handle is no argument.
    };
}
