//! What all links have in common: a process at the other end, numbered messages, and the time they take.

use procshare::Process;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::hint::spin_loop;
use std::time::Instant;

/// How long messages are, and how both ends wait for them.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Shape {
    pub bytes: usize,
    /// Whether an end that waits polls, or sleeps.
    pub busy: bool,
}

impl Shape {
    /// How many messages a link holds in each direction, where that can be told.
    pub fn places(self) -> usize {
        if self.bytes <= 1024 { 1024 } else { 4 }
    }
}

/// One end of a link to another process, both ways.
///
/// Whoever sends has the bytes in memory of its own, and whoever receives has them there afterwards.
pub trait Link: Sized {
    /// Starts a process that runs [`answer`] at the other end.
    fn start(shape: Shape) -> (Self, Process<()>);

    /// Sends the bytes, and may keep them.
    fn send(&mut self, message: &mut Vec<u8>);

    /// Waits for a message, by polling if `busy`.
    fn receive(&mut self, busy: bool, message: &mut Vec<u8>);
}

/// Tries until there is something.
pub fn poll<R, E: Debug>(is_empty: fn(&E) -> bool, mut attempt: impl FnMut() -> Result<R, E>) -> R {
    loop {
        match attempt() {
            Err(error) if is_empty(&error) => spin_loop(),
            outcome => return outcome.unwrap(),
        }
    }
}

/// Set in the number of a message that is to be sent back.
const REPLY: u64 = 1 << 62;
/// The number of the last message.
const END: u64 = 1 << 63;

/// Writes the number at both ends of a message.
fn stamp(message: &mut [u8], number: u64) {
    let number = number.to_ne_bytes();
    message[..8].copy_from_slice(&number);
    let end = message.len() - 8;
    message[end..].copy_from_slice(&number);
}

fn number_of(message: &[u8], shape: Shape) -> u64 {
    assert_eq!(message.len(), shape.bytes);
    let number = |at: usize| u64::from_ne_bytes(*message[at..].first_chunk().unwrap());
    assert_eq!(number(0), number(shape.bytes - 8), "a torn message");
    number(0)
}

/// The other process: says that it is there, then takes messages in order and sends back those that want it.
pub fn answer(mut link: impl Link, shape: Shape) {
    let mut message = vec![7; shape.bytes];
    stamp(&mut message, 0);
    link.send(&mut message);
    message.resize(shape.bytes, 7);
    for expected in 1.. {
        link.receive(shape.busy, &mut message);
        let number = number_of(&message, shape);
        if number == END {
            return;
        }
        assert_eq!(number & !REPLY, expected, "a message is missing");
        if number & REPLY != 0 {
            link.send(&mut message);
        }
    }
}

/// This process's end.
struct Caller<L> {
    link: L,
    shape: Shape,
    message: Vec<u8>,
    sent: u64,
}

impl<L: Link> Caller<L> {
    /// Nanoseconds each of so many messages took, all of which come back, or only the last.
    fn time(&mut self, messages: u64, all_come_back: bool) -> f64 {
        let began = Instant::now();
        for left in (0..messages).rev() {
            let reply = if all_come_back || left == 0 { REPLY } else { 0 };
            self.sent += 1;
            self.message.resize(self.shape.bytes, 7); // Whoever kept the last one has to make another.
            stamp(&mut self.message, self.sent | reply);
            self.link.send(&mut self.message);
            if reply == REPLY {
                self.link.receive(self.shape.busy, &mut self.message);
                assert_eq!(number_of(&self.message, self.shape), self.sent | REPLY);
            }
        }
        began.elapsed().as_nanos() as f64 / messages as f64
    }
}

/// Nanoseconds a message takes one way by itself, and in a stream, between this process and a new one.
pub fn measure<L: Link>(shape: Shape, messages: u64) -> [f64; 2] {
    let (link, child) = L::start(shape);
    let mut caller = Caller {
        link,
        shape,
        message: vec![7; shape.bytes],
        sent: 0,
    };
    caller.link.receive(shape.busy, &mut caller.message);
    assert_eq!(number_of(&caller.message, shape), 0);
    caller.time(messages.div_ceil(10), true);
    caller.time(messages.div_ceil(10), false);
    let taken = [caller.time(messages, true) / 2.0, caller.time(messages, false)];
    caller.message.resize(shape.bytes, 7);
    stamp(&mut caller.message, END);
    caller.link.send(&mut caller.message);
    child.join().unwrap();
    taken
}
