//! Handles as arguments: descriptors in, descriptors out.
//!
//! While the arguments of a child are encoded, each handle enters its segment into a table and leaves its place there and its
//! object's name among the bytes. The table lists each file once: however many handles refer to one, a single descriptor travels,
//! and the child attaches once. At any other time a handle refuses to be serialised, since its bytes would mean nothing to their
//! reader.

use super::mailbox::{Answer, Draft, Mailbox, check_memory};
use super::passage::{Passed, PassedSegment, file_of};
use crate::collections::{
    AtomicInteger, FrozenArray, SharedArray, SharedAtomic, SharedAtomicArray, SharedCounter, SharedMap, SharedValue,
};
use crate::encoding::{EncodingReason, Limit, Store, Trial, Unfit, decode, encode_through};
use crate::error::{Error, ErrorKind, Result};
use crate::layout::{Kind, Shareable};
use crate::messages::{
    Connection, Consumer, Parcel, Producer, Receiver, Reservation, Sender, Share, SharedQueue, Travel,
};
use crate::primitive::liveness::child_id;
use crate::segment::{Handle, Object, Segment, os_error};
use crate::sys::descriptor;
use crate::sys::file::{AsFd, BorrowedFd, OwnedFd};
use parking_lot::Mutex;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{self, Serialize, Serializer};
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

/// What arrived with the arguments of this process.
#[derive(Default)]
pub(crate) struct Arrivals {
    pub(crate) segments: Vec<Segment>,
    /// Each is taken once.
    pub(crate) files: Vec<Option<OwnedFd>>,
}

/// A descriptor among the arguments of a child, of a file that is not a segment.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor(pub(crate) Arc<OwnedFd>);

/// What travels with a child's arguments: segments, which stay attached here until the child has inherited them, other files, and
/// reserved seats, which are taken back if the child is not started.
#[derive(Default)]
pub(crate) struct Luggage {
    segments: Vec<(Segment, Passed)>,
    files: Vec<Descriptor>,
    seats: Vec<Reservation>,
    /// It belongs to jobs, of which there may be more than a queue has seats.
    is_for_jobs: bool,
    /// Keeps peers of the jobs' handles from finding themselves alone until workers have joined.
    shares: Vec<Share>,
}

/// Identifies the object of a share, and the process that took it.
type ShareKey = (u32, u64, u64, String);

/// The shares that luggage keeps, one for each object, however many jobs use it.
static SHARES: Mutex<Vec<(ShareKey, Weak<dyn Any + Send + Sync>)>> = Mutex::new(Vec::new());

impl Luggage {
    /// The descriptors the child must inherit, those of segments first and in the order of their table.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let segments = self.segments.iter().map(|(segment, _)| segment.fd().as_fd());
        segments.chain(self.files.iter().map(|Descriptor(file)| file.as_fd()))
    }

    /// The files the child must be told about.
    pub(super) fn files(&self) -> std::io::Result<Vec<Passed>> {
        self.files
            .iter()
            .map(|Descriptor(file)| Passed::describe(file))
            .collect()
    }

    /// The table of segments that is sent to the child.
    pub(super) fn table(&self) -> Vec<PassedSegment> {
        let passed = |(segment, descriptor): &(Segment, Passed)| PassedSegment {
            descriptor: descriptor.clone(),
            path: segment.path().map(PathBuf::into_os_string),
        };
        self.segments.iter().map(passed).collect()
    }

    /// The child has been started: the seats now belong to it.
    pub(super) fn hand_over(&mut self, pid: u32) {
        if self.seats.is_empty() {
            return;
        }
        // A child that has already ended cannot claim its seats: they are taken back when they are dropped.
        let child = child_id(pid);
        for seat in self.seats.drain(..) {
            if let Some(child) = child {
                seat.hand_over(child);
            }
        }
    }

    /// The share of an object in the segment at `place`; other luggage may already keep it.
    fn share_of(&self, place: u32, object: &str, keep: impl FnOnce() -> Result<Share>) -> Result<Share> {
        let file = self
            .segments
            .get(place as usize)
            .map(|(_, passed)| (passed.dev, passed.ino));
        let (dev, ino) = file.unwrap_or_default();
        // A copy of the process that took a share does not have it.
        let key = (std::process::id(), dev, ino, object.to_owned());
        let known = |shares: &[(ShareKey, Weak<_>)]| {
            let known = shares.iter().find(|(other, _)| *other == key);
            known.and_then(|(_, share)| share.upgrade())
        };
        if let Some(share) = known(&SHARES.lock()) {
            return Ok(share);
        }
        // Not under the lock, as it may wait for a stopped process; another thread may be faster.
        let share = keep()?;
        let mut shares = SHARES.lock();
        if let Some(first) = known(&shares) {
            return Ok(first);
        }
        shares.retain(|(_, share)| share.strong_count() > 0);
        shares.push((key, Arc::downgrade(&share)));
        Ok(share)
    }

    /// Whether nothing travels.
    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.files.is_empty() && self.seats.is_empty() && self.shares.is_empty()
    }

    /// Whether dropping it takes locks that others may hold.
    pub(crate) fn has_seats(&self) -> bool {
        !self.seats.is_empty() || !self.shares.is_empty()
    }

    /// The segment's place in the table, one for each file.
    fn place_of(&mut self, segment: &Segment) -> Result<u32> {
        let number = descriptor::number(segment.fd());
        let known = self.segments.iter().position(|(_, passed)| passed.number == number);
        let place = match known {
            Some(place) => place,
            None => {
                let passed = Passed::describe(segment.fd())
                    .map_err(|error| os_error("fstat", error).in_segment(segment.label()))?;
                let same_file = |(_, other): &(Segment, Passed)| (other.dev, other.ino) == (passed.dev, passed.ino);
                self.segments.iter().position(same_file).unwrap_or_else(|| {
                    self.segments.push((segment.clone(), passed));
                    self.segments.len() - 1
                })
            }
        };
        u32::try_from(place).map_err(|_| Error::new(ErrorKind::NotTransferable, "too many segments"))
    }
}

/// What the thread is currently encoding or decoding for a child.
enum Direction {
    /// The arguments of a child.
    Out(Luggage),
    /// The arguments of this process.
    In(Arrivals),
    /// The result of this process.
    Back,
}

struct Transfer {
    direction: Direction,
    /// Why a handle was refused: the encoder does not keep error texts.
    fault: Option<Error>,
}

thread_local! {
    /// Without a destructor, so that it works while the thread ends; the code that begins a transfer ends it.
    static TRANSFER: RefCell<ManuallyDrop<Option<Transfer>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Replaces the transfer under way by another one, or by none.
fn replace(transfer: Option<Transfer>) -> Option<Transfer> {
    ManuallyDrop::into_inner(TRANSFER.replace(ManuallyDrop::new(transfer)))
}

/// Ends the transfer it was made for, also after a panic.
struct Restore(Option<Transfer>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        // Dropped outside the borrow: segments detach here.
        drop(replace(before));
    }
}

/// Encodes or decodes by `work`, during which handles are serialised in that direction.
fn transfer<T>(
    direction: Direction,
    work: impl FnOnce() -> Result<T, EncodingReason>,
) -> (Result<T, EncodingReason>, Option<Transfer>) {
    let transfer = Transfer { direction, fault: None };
    // A value that spawns a child while it is serialised is odd, but must not mix up two tables.
    let _restore = Restore(replace(Some(transfer)));
    let outcome = work();
    (outcome, replace(None))
}

fn explain(what: &str, reason: &EncodingReason, transfer: Option<Transfer>) -> Error {
    let fault = transfer.and_then(|transfer| transfer.fault);
    fault.unwrap_or_else(|| error_of(what, reason))
}

fn error_of(what: &str, reason: &EncodingReason) -> Error {
    let kind = if reason.is_of_memory() {
        ErrorKind::OutOfMemory
    } else {
        ErrorKind::Encoding
    };
    Error::new(kind, format!("{what}: {reason}"))
}

/// Arguments and results are limited only by memory, and the question precedes the allocation.
const BY_MEMORY: Limit<'static> = Limit {
    most: usize::MAX,
    has_memory: &|len| check_memory(len as u64).is_ok(),
};

/// Encodes an item, and decodes it on trial if nothing travels with it: what travels can arrive only once. Returns how many bytes
/// are in the store: all of them, or none.
#[inline]
fn encode_tried<D: DeserializeOwned>(
    item: &impl Serialize,
    buffer: &mut Vec<u8>,
    store: &mut dyn Store,
    trial: &Trial,
) -> Result<usize, EncodingReason> {
    let start = buffer.len();
    let encoded = encode_through(BY_MEMORY, item, buffer, Some(store)).map_err(Unfit::reason::<D>)?;
    if trial.is_due(encoded) && has_no_luggage() {
        match encoded.stored {
            0 => trial.check::<D>(encoded, &buffer[start..])?,
            _ => trial.check_stored::<D>(encoded, store)?,
        }
    }
    Ok(encoded.stored)
}

fn has_no_luggage() -> bool {
    TRANSFER.with_borrow(|transfer| match transfer.as_ref().map(|transfer| &transfer.direction) {
        Some(Direction::Out(luggage)) => luggage.is_empty(),
        _ => true,
    })
}

/// The arguments of a child; in the draft if they are long.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) draft: Draft,
}

/// Encodes a child's arguments, which the child decodes as a `D`.
pub(super) fn pack<D: DeserializeOwned>(arguments: &impl Serialize) -> Result<(Encoded, Luggage)> {
    let direction = Direction::Out(Luggage::default());
    let work = || {
        let mut encoded = Encoded::default();
        let Encoded { bytes, draft } = &mut encoded;
        draft.len = encode_tried::<D>(arguments, bytes, draft, Trial::of_type::<D>())? as u64;
        Ok(encoded)
    };
    match transfer(direction, work) {
        (
            Ok(encoded),
            Some(Transfer {
                direction: Direction::Out(luggage),
                ..
            }),
        ) => Ok((encoded, luggage)),
        (Ok(encoded), _) => Ok((encoded, Luggage::default())),
        (Err(reason), end) => Err(explain("the arguments cannot be encoded", &reason, end)),
    }
}

/// The segments that a job brings to a running worker, as described to it.
pub(crate) type Table = Vec<PassedSegment>;

impl Luggage {
    /// What the receiver has to fetch from this process; `None` if there is nothing.
    pub(crate) fn to_fetch(&self) -> Option<Table> {
        (!self.segments.is_empty()).then(|| self.table())
    }

    /// Its shares, if there are any, for release before the rest.
    pub(crate) fn split_shares(&mut self) -> Option<Luggage> {
        (!self.shares.is_empty()).then(|| Luggage {
            shares: core::mem::take(&mut self.shares),
            ..Luggage::default()
        })
    }
}

/// Encodes the arguments of several jobs with one luggage; `work` does so by [`pack_one`].
pub(crate) fn packing(work: impl FnOnce()) -> Luggage {
    let begun = Transfer {
        direction: Direction::Out(Luggage {
            is_for_jobs: true,
            ..Luggage::default()
        }),
        fault: None,
    };
    let _restore = Restore(replace(Some(begun)));
    work();
    match replace(None) {
        Some(Transfer {
            direction: Direction::Out(luggage),
            ..
        }) => luggage,
        _ => Luggage::default(),
    }
}

/// Appends the arguments of one job to `buffer`, or puts them into the store if they are long; returns how many bytes are in the
/// store. Bytes appended before a failure do not count.
#[inline]
pub(crate) fn pack_one<T: Serialize + DeserializeOwned>(
    arguments: &T,
    buffer: &mut Vec<u8>,
    store: &mut dyn Store,
    trial: &Trial,
) -> Result<usize> {
    encode_tried::<T>(arguments, buffer, store, trial)
        .map_err(|reason| why_not("the arguments cannot be encoded", &reason))
}

/// What went wrong in the transfer under way, which can then go on.
#[cold]
fn why_not(what: &str, reason: &EncodingReason) -> Error {
    let fault = TRANSFER.with_borrow_mut(|transfer| transfer.as_mut().and_then(|transfer| transfer.fault.take()));
    fault.unwrap_or_else(|| error_of(what, reason))
}

/// Attaches to what a job brings along, reusing what this process has already attached: `ask` gets descriptors of segments of the
/// table, beginning at the given place.
pub(crate) fn fetch(
    table: &Table,
    kept: &[Segment],
    mut ask: impl FnMut(usize) -> Result<Vec<OwnedFd>>,
) -> Result<Vec<Segment>> {
    let known: HashMap<_, _> = kept
        .iter()
        .filter_map(|segment| Some((file_of(segment.fd().as_fd())?, segment)))
        .collect();
    let mut arrived = HashMap::new();
    let mut attach = |(place, passed): (usize, &PassedSegment)| {
        if let Some(known) = known.get(&passed.file()) {
            return Ok(Segment::clone(known));
        }
        if !arrived.contains_key(&place) {
            arrived.extend((place..).zip(ask(place)?));
        }
        let lost = || Error::new(ErrorKind::NotTransferable, "the descriptor of a segment did not arrive");
        passed.attach(arrived.remove(&place).ok_or_else(lost)?)
    };
    table.iter().enumerate().map(&mut attach).collect()
}

/// Runs `work`, which may decode jobs by [`unpack_next`]; their handles lie in these segments.
pub(crate) fn unpacking<T>(segments: Vec<Segment>, work: impl FnOnce() -> T) -> T {
    let begun = Transfer {
        direction: Direction::In(Arrivals {
            segments,
            files: Vec::new(),
        }),
        fault: None,
    };
    let _restore = Restore(replace(Some(begun)));
    work()
}

/// Decodes the arguments of one job.
pub(crate) fn unpack_next<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    decode(bytes).map_err(|reason| why_not("the arguments cannot be decoded", &reason))
}

/// Encodes the result of one job, as [`pack_one`] does arguments.
pub(crate) fn pack_next<T: Serialize>(result: &T, buffer: &mut Vec<u8>, store: &mut dyn Store) -> Result<usize> {
    let outcome = encode_through(BY_MEMORY, result, buffer, Some(store)).map(|encoded| encoded.stored);
    outcome.map_err(|unfit| why_not("the result cannot be encoded", &unfit.reason::<T>()))
}

/// Decodes the arguments of this process, whose handles lie in the segments that arrived.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8], arrivals: Arrivals) -> Result<T> {
    let (outcome, end) = transfer(Direction::In(arrivals), || decode(bytes));
    outcome.map_err(|reason| explain("the arguments cannot be decoded", &reason, end))
}

/// Encodes the result of this process, which may hold no handle: the process will have ended by the time it is read.
pub(super) fn pack_result<T: Serialize>(result: &T, mut mailbox: &Mailbox) -> Result<Answer> {
    let (outcome, end) = transfer(Direction::Back, || {
        let mut bytes = Vec::new();
        let outcome = encode_through(BY_MEMORY, result, &mut bytes, Some(&mut mailbox));
        Ok(match outcome.map_err(Unfit::reason::<T>)?.stored {
            0 => Answer::Value(bytes),
            stored => Answer::LongValue(stored as u64),
        })
    });
    outcome.map_err(|reason| explain("the result cannot be encoded", &reason, end))
}

/// Decodes the result of a child.
pub(super) fn unpack_result<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let (outcome, end) = transfer(Direction::Back, || decode(bytes));
    outcome.map_err(|reason| explain("the result cannot be decoded", &reason, end))
}

fn refusal() -> Error {
    let message = "a handle of shared memory was to be serialised elsewhere than in the arguments of a child: pass it \
                   to Process::spawn, or give the segment a name and open it there";
    Error::new(ErrorKind::NotTransferable, message)
}

/// Runs `work` on the transfer under way, and keeps the reason if it fails.
fn with_direction<T>(work: impl FnOnce(&mut Direction) -> Result<T>) -> Result<T, String> {
    TRANSFER.with_borrow_mut(|transfer| {
        let Some(transfer) = (**transfer).as_mut() else {
            return Err(refusal().to_string());
        };
        work(&mut transfer.direction).map_err(|error| {
            let text = error.to_string();
            transfer.fault.get_or_insert(error);
            text
        })
    })
}

fn place_of(segment: &Segment) -> Result<u32, String> {
    with_direction(|direction| match direction {
        Direction::Out(luggage) => luggage.place_of(segment),
        Direction::In(_) | Direction::Back => Err(refusal()),
    })
}

fn arrived<T>(place: u32, open: impl FnOnce(&Segment) -> Result<T>) -> Result<T, String> {
    with_direction(|direction| {
        let segments: &[Segment] = match direction {
            Direction::In(arrivals) => &arrivals.segments,
            Direction::Out(_) | Direction::Back => return Err(refusal()),
        };
        let segment = segments
            .get(place as usize)
            .ok_or_else(|| Error::new(ErrorKind::Encoding, format!("no segment {place} among the arguments")))?;
        open(segment)
    })
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        place_of(self).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = u32::deserialize(deserializer)?;
        arrived(place, |segment| Ok(segment.clone())).map_err(de::Error::custom)
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = with_direction(|direction| match direction {
            Direction::Out(luggage) => {
                luggage.files.push(self.clone());
                Ok(luggage.files.len() - 1)
            }
            Direction::In(_) | Direction::Back => Err(refusal()),
        });
        place.map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Descriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = usize::deserialize(deserializer)?;
        let file = with_direction(|direction| match direction {
            Direction::In(arrivals) => {
                let file = arrivals.files.get_mut(place).and_then(Option::take);
                file.ok_or_else(|| Error::new(ErrorKind::Encoding, format!("no file {place} among the arguments")))
            }
            Direction::Out(_) | Direction::Back => Err(refusal()),
        });
        Ok(Descriptor(Arc::new(file.map_err(de::Error::custom)?)))
    }
}

macro_rules! handles_travel {
    ($($handle:ident $(<$parameter:ident: $bound:ident>)?),*) => {$(
        impl $(<$parameter: $bound>)? Serialize for $handle $(<$parameter>)? {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let handle = Object::handle(self);
                let place = place_of(handle.segment()).map_err(ser::Error::custom)?;
                (place, handle.name()).serialize(serializer)
            }
        }

        impl<'de $(, $parameter: $bound)?> Deserialize<'de> for $handle $(<$parameter>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (place, name) = <(u32, String)>::deserialize(deserializer)?;
                arrived(place, |segment| Object::open_in(segment, &name, None)).map_err(de::Error::custom)
            }
        }
    )*};
}

handles_travel!(SharedValue<T: Shareable>, SharedCounter, SharedArray<T: Shareable>, FrozenArray<T: Shareable>);
handles_travel!(SharedAtomic<A: AtomicInteger>, SharedAtomicArray<A: AtomicInteger>);

impl<K, V> Serialize for SharedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let handle = self.handle();
        let place = place_of(handle.segment()).map_err(ser::Error::custom)?;
        (place, handle.name()).serialize(serializer)
    }
}

impl<'de, K, V> Deserialize<'de> for SharedMap<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, name) = <(u32, String)>::deserialize(deserializer)?;
        // The types were checked where it was opened; its own schema need not be given again.
        arrived(place, |segment| {
            SharedMap::adopt(Handle::find_passed(segment, &name, Kind::Map)?)
        })
        .map_err(de::Error::custom)
    }
}

/// The handle's place in the luggage, and its parcel; seats are reserved for it there.
fn send_off<H: Travel>(handle: &H) -> Result<(u32, Parcel), String> {
    with_direction(|direction| match direction {
        Direction::Out(luggage) => {
            let place = luggage.place_of(handle.segment())?;
            match handle.send_without_ticket().filter(|_| luggage.is_for_jobs) {
                Some((parcel, keep)) => {
                    let share = luggage.share_of(place, &parcel.name, || keep(handle))?;
                    if !luggage.shares.iter().any(|kept| Arc::ptr_eq(kept, &share)) {
                        luggage.shares.push(share);
                    }
                    Ok((place, parcel))
                }
                None => {
                    let (parcel, seats) = handle.send_off()?;
                    luggage.seats.extend(seats);
                    Ok((place, parcel))
                }
            }
        }
        Direction::In(_) | Direction::Back => Err(refusal()),
    })
}

macro_rules! seats_travel {
    ($($handle:ident $(: $bound:ident)?),*) => {$(
        impl<T $(: $bound)?> Serialize for $handle<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                send_off(self).map_err(ser::Error::custom)?.serialize(serializer)
            }
        }

        impl<'de, T $(: $bound)?> Deserialize<'de> for $handle<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (place, parcel) = <(u32, Parcel)>::deserialize(deserializer)?;
                arrived(place, |segment| Travel::arrive(segment, &parcel)).map_err(de::Error::custom)
            }
        }
    )*};
}

seats_travel!(SharedQueue, Connection, Sender, Receiver, Producer: Shareable, Consumer: Shareable);

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Result<Share> {
        Ok(Arc::new(()))
    }

    #[test]
    fn who_waits_for_a_share_keeps_nobody_from_another() {
        let luggage = Luggage::default();
        let mut others = vec![];
        let slow = luggage.share_of(0, "slow", || {
            others.push(luggage.share_of(0, "other", share)?);
            others.push(luggage.share_of(0, "slow", share)?);
            share()
        });
        // The share of the faster thread is used by both.
        assert!(Arc::ptr_eq(&slow.unwrap(), &others[1]));
        assert!(Arc::ptr_eq(&luggage.share_of(0, "other", share).unwrap(), &others[0]));
    }
}
