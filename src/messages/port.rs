//! `Port`: a handle's access to a channel: its seat, and putting and taking items of a type.

use super::channel::Channel;
use super::codec::{self, Records, Small, UNIT};
use super::error::{RecvError, SendError, no_seat};
use super::extent::LongStore;
use super::passed::{PassedHandle, Reservation};
use super::seat::Seat;
use super::taken::Taken;
use crate::encoding::{EncodingReason, Limit, Store, Trial, Unfit, Whole};
use crate::error::Result;
use crate::primitive::Deadline;
use crate::raw::{NoSeat, Role, Stop};
use crate::segment::{Segment, check_memory};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many bytes are encoded at a time: more than enough to be worth a lock, and little to keep.
const AT_ONCE: usize = 1 << 15;

/// A channel and a share in it; given up on drop.
pub(super) struct Port {
    channel: Channel,
    seat: Seat,
    /// Whether what this handle sends can be decoded again.
    trial: Trial,
}

/// Why items were not sent, without the items.
enum Refusal {
    Stop(Stop),
    TooLarge { bytes: usize, capacity: usize },
    NotEncodable(EncodingReason),
}

impl<S: Into<Stop>> From<S> for Refusal {
    fn from(stop: S) -> Self {
        Refusal::Stop(stop.into())
    }
}

impl Refusal {
    fn with<T>(self, item: T) -> SendError<T> {
        match self {
            Refusal::Stop(stop) => SendError::of(stop, item),
            Refusal::TooLarge { bytes, capacity } => SendError::TooLarge { item, bytes, capacity },
            Refusal::NotEncodable(reason) => SendError::NotEncodable { item, reason },
        }
    }

    /// Why an item has no record, for a channel that takes records of up to `capacity` bytes.
    fn of(unfit: Unfit, capacity: usize) -> Self {
        match unfit {
            Unfit::NotEncodable(reason) => Refusal::NotEncodable(reason),
            Unfit::TooLarge(len) => Refusal::TooLarge {
                bytes: len.saturating_add(2 * UNIT - 1) & !(UNIT - 1),
                capacity,
            },
            Unfit::OutOfMemory => Refusal::Stop(Stop::OutOfMemory),
            Unfit::Io(_) => Refusal::Stop(Stop::Io),
        }
    }
}

/// The limit of a record in a channel that takes records of up to `largest` bytes. Memory is checked for before it is taken.
fn limit_of(largest: usize) -> Limit<'static> {
    Limit {
        most: largest - UNIT,
        has_memory: &|len| check_memory(len as u64).is_ok(),
    }
}

impl Port {
    pub(super) fn new(channel: Channel, seat: Seat) -> Self {
        Port {
            channel,
            seat,
            trial: Trial::default(),
        }
    }

    /// Takes the seat reserved for this process.
    pub(super) fn unpack(channel: Channel, passed: &PassedHandle, role: Role, sole: bool) -> Result<Self> {
        let seat = Seat::redeem(&channel.seats, passed.first_seat()?, role, sole)
            .map_err(|cause| no_seat(cause, "peer").in_segment(channel.handle().segment().label()))?;
        Ok(Self::new(channel, seat))
    }

    /// What a process is told that joins by itself.
    pub(super) fn pack_unreserved(&self) -> PassedHandle {
        let channel = &self.channel;
        self.seat.pack_unreserved(channel.handle().name(), channel.number())
    }

    /// Reserves a seat for a child, and returns what it must be told.
    pub(super) fn pack(&self) -> Result<(PassedHandle, Vec<Reservation>)> {
        self.seat.pack(&self.channel.seats, self.channel.number())
    }

    pub(super) fn segment(&self) -> &Segment {
        self.channel.handle().segment()
    }

    /// How many items are queued, as a hint.
    pub(super) fn len(&self) -> usize {
        self.channel.raw().queued(self.channel.bounds()).items as usize
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn wait_for_peers(&self) {
        self.seat.wait_for_peers(&self.channel.seats);
    }

    /// A further handle of this process.
    pub(super) fn share(&self) -> Result<Self, NoSeat> {
        let seat = self.seat.share(&self.channel.seats)?;
        Ok(Self::new(self.channel.clone(), seat))
    }

    /// Frees the seats of peers that are dead, so that the next call fails at once.
    pub(super) fn look_for_peer(&self) {
        for role in [Role::Producer, Role::Consumer] {
            self.seat.has_peer(&self.channel.seats, role, true);
        }
    }

    /// Gives the share up before the handle goes.
    pub(super) fn close(&self) {
        if self.seat.leave(&self.channel.seats) {
            self.channel.raw().wake_all();
        }
    }

    #[inline]
    pub(super) fn put<T: Serialize + DeserializeOwned>(&self, item: T, deadline: Deadline) -> Result<(), SendError<T>> {
        let mut small = Small::new();
        let units = if self.trial.is_on() { None } else { small.encode(&item) };
        let outcome = match units {
            Some(units) => self.put_record(&small.bytes()[..units * UNIT], deadline),
            None => self.put_large(&item, deadline),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(refusal) => Err(refusal.with(item)),
        }
    }

    /// Sends an item that does not fit on the stack, or is due to be tried, or cannot be encoded at all.
    #[cold]
    fn put_large<T: Serialize + DeserializeOwned>(&self, item: &T, deadline: Deadline) -> Result<(), Refusal> {
        if let Some(whole) = Whole::of(item).filter(|_| !self.trial.is_on()) {
            return self.put_whole(&whole, deadline);
        }
        codec::with_records(|records| {
            let largest = self.channel.largest();
            let mut store = self.channel.overflow().map(|_| LongStore::new(&self.channel));
            let store_of = store.as_mut().map(|store| store as &mut dyn Store);
            let encoded = records.append_large(item, limit_of(largest), &self.trial, store_of);
            let stored = encoded.map_err(|unfit| Refusal::of(unfit, largest))?;
            match store {
                Some(mut store) if stored > 0 => self.put_long(&mut store, stored, deadline),
                store => {
                    drop(store);
                    self.put_record(records.bytes(), deadline)
                }
            }
        })
    }

    fn put_long(&self, store: &mut LongStore<'_>, len: usize, deadline: Deadline) -> Result<(), Refusal> {
        let turns = self.check(UNIT + len.next_multiple_of(UNIT), deadline)?;
        self.channel
            .put_long(store, len, deadline, &|| self.has_consumers(deadline))?;
        self.turn_if(turns, Role::Producer);
        Ok(())
    }

    pub(super) fn put_all<T: Serialize + DeserializeOwned>(&self, mut items: Vec<T>) -> Result<(), SendError<Vec<T>>> {
        let mut sent = 0;
        let outcome = codec::with_records(|records| self.put_many(records, &items, &mut sent));
        outcome.map_err(|refusal| {
            items.drain(..sent);
            refusal.with(items)
        })
    }

    /// Sends `items` and counts those it has sent.
    fn put_many<T: Serialize + DeserializeOwned>(
        &self,
        records: &mut Records,
        items: &[T],
        sent: &mut usize,
    ) -> Result<(), Refusal> {
        let largest = self.channel.largest();
        while *sent < items.len() {
            records.clear();
            let (mut outcome, mut encoded) = (Ok(()), 0);
            for item in &items[*sent..] {
                outcome = records.append(item, limit_of(largest), &self.trial);
                encoded += u32::from(outcome.is_ok());
                if outcome.is_err() || records.len() >= AT_ONCE {
                    break;
                }
            }
            let mut rest = records.bytes();
            while !rest.is_empty() {
                let (items, bytes) = self.put_records(rest, encoded, Deadline::Never)?;
                encoded -= items;
                *sent += items as usize;
                rest = &rest[bytes..];
            }
            outcome.map_err(|unfit| Refusal::of(unfit, largest))?;
        }
        Ok(())
    }

    /// Puts as many of the first records as fit, and returns how many items and bytes that was.
    fn put_records(&self, records: &[u8], items: u32, deadline: Deadline) -> Result<(u32, usize), Refusal> {
        let turns = self.check(codec::first_bytes(records), deadline)?;
        let moved = self
            .channel
            .put_records(records, items, deadline, &|| self.has_consumers(deadline))?;
        self.turn_if(turns, Role::Producer);
        Ok(moved)
    }

    #[inline]
    fn put_record(&self, record: &[u8], deadline: Deadline) -> Result<(), Refusal> {
        let turns = self.check(record.len(), deadline)?;
        self.channel
            .put_record(record, deadline, &|| self.has_consumers(deadline))?;
        self.turn_if(turns, Role::Producer);
        Ok(())
    }

    fn put_whole(&self, whole: &Whole<'_>, deadline: Deadline) -> Result<(), Refusal> {
        let turns = self.check(UNIT + whole.len().next_multiple_of(UNIT), deadline)?;
        self.channel
            .put_whole(whole, deadline, &|| self.has_consumers(deadline))?;
        self.turn_if(turns, Role::Producer);
        Ok(())
    }

    /// Refuses a record that this handle cannot put at all; otherwise tells whether the handle still has to turn to the role of
    /// a producer.
    #[inline]
    fn check(&self, bytes: usize, deadline: Deadline) -> Result<bool, Refusal> {
        let capacity = self.channel.largest();
        if bytes > capacity {
            return Err(Refusal::TooLarge { bytes, capacity });
        }
        let turns = self.begin(Role::Producer, deadline)?;
        // An end whose peer is gone sends nothing; a queue keeps items for peers that arrive later.
        if self.seat.is_sole() && self.channel.seats.raw().is_missing(Role::Consumer) && !self.has_consumers(deadline) {
            return Err(Refusal::Stop(Stop::Gone));
        }
        Ok(turns)
    }

    /// Makes sure that the handle may take `role`. If the call may wait, it takes the role at once; otherwise it does so only
    /// when it moves something, and the result says so.
    #[inline]
    fn begin(&self, role: Role, deadline: Deadline) -> Result<bool, Stop> {
        let turns = self.seat.must_turn(&self.channel.seats, role, deadline)?;
        if turns && deadline != Deadline::Now {
            self.seat.turn(&self.channel.seats, role);
            return Ok(false);
        }
        Ok(turns)
    }

    #[inline]
    fn turn_if(&self, turns: bool, role: Role) {
        if turns {
            self.seat.turn(&self.channel.seats, role);
        }
    }

    #[inline]
    pub(super) fn get<T: DeserializeOwned>(&self, deadline: Deadline) -> Result<T, RecvError> {
        let turns = self.begin(Role::Consumer, deadline)?;
        let mut small = Small::new();
        let taken = self
            .channel
            .get_record(&mut small, deadline, &|| self.has_producers(deadline))?;
        self.turn_if(turns, Role::Consumer);
        match taken {
            Taken::Small => decode_record(small.bytes()),
            Taken::Large(record) => decode_record(&record),
            Taken::Whole(item) => Ok(item),
            Taken::Long(item) => item.decode().map_err(RecvError::Invalid),
            Taken::Copied(bytes) => codec::decode(&bytes).map_err(RecvError::Invalid),
        }
    }

    /// Takes up to `most` records out and appends them to `buffer`.
    pub(super) fn get_records(&self, buffer: &mut Vec<u8>, most: u32) -> Result<(), RecvError> {
        self.begin(Role::Consumer, Deadline::Never)?;
        self.channel
            .get_records(buffer, most, Deadline::Never, &|| self.has_producers(Deadline::Never))?;
        Ok(())
    }

    /// Waits until there is something to take.
    pub(super) fn await_item(&self, deadline: Deadline) -> Result<(), RecvError> {
        self.begin(Role::Consumer, deadline)?;
        self.channel.await_item(deadline, &|| self.has_producers(deadline))?;
        Ok(())
    }

    #[cold]
    fn has_consumers(&self, deadline: Deadline) -> bool {
        self.has_peer(Role::Consumer, deadline)
    }

    #[cold]
    fn has_producers(&self, deadline: Deadline) -> bool {
        self.has_peer(Role::Producer, deadline)
    }

    /// No call waits for ever at a queue that nobody can find and that nobody else has ever held.
    fn has_peer(&self, role: Role, deadline: Deadline) -> bool {
        let seats = &self.channel.seats;
        let may_come = deadline != Deadline::Never || !seats.are_private();
        if deadline != Deadline::Now {
            self.channel.sweep();
        }
        self.seat.has_peer(seats, role, may_come)
    }
}

#[inline]
fn decode_record<T: DeserializeOwned>(record: &[u8]) -> Result<T, RecvError> {
    let item = codec::first_item(record).ok_or(RecvError::Corrupt)?;
    codec::decode(item).map_err(RecvError::Invalid)
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close();
    }
}
