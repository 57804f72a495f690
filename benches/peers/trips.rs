//! Round trips of messages between two processes: through our pipe, and through two pipes of the system.

use crate::contended::pace;
use crate::measure::{Effort, Measured, each, interleave};
use crate::race::{Outcome, displaced_of};
use procshare::{Connection, Process, pipe};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROUNDS: usize = 15;
const TRIPS: u64 = 20_000;

/// 64 bytes, as they are sent as well as in memory.
type Message = [f64; 8];
const BYTES: usize = size_of::<Message>();

/// A pipe of ours to a process that sends back what comes.
pub(crate) struct EchoProcess<T> {
    connection: Connection<T>,
    child: Process<()>,
}

impl<T: Serialize + DeserializeOwned + PartialEq + Copy + 'static> EchoProcess<T> {
    pub(crate) fn start() -> Self {
        let (connection, theirs) = pipe().unwrap();
        let child = Process::spawn(echo::<T>, (theirs,)).unwrap();
        EchoProcess { connection, child }
    }

    fn trip(&self, message: T) {
        self.connection.send(message).unwrap();
        assert!(self.connection.recv() == Ok(message));
    }

    /// Sends so many messages there and back, one after the other.
    pub(crate) fn trips(&self, trips: u64, message: impl Fn(u64) -> T) -> Outcome {
        let child = self.child.id().to_string();
        let displaced = || [displaced_of("self"), displaced_of(&child)];
        let before = displaced();
        let mut number = 0;
        let pace = each(trips, || {
            self.trip(message(number));
            number += 1;
        });
        let after = displaced();
        let longest = (after[0] - before[0]).max(after[1] - before[1]);
        Outcome {
            pace,
            disturbed: longest as f64 / (pace * trips as f64),
        }
    }

    pub(crate) fn end(self) {
        self.connection.close();
        self.child.join().unwrap();
    }
}

fn echo<T: Serialize + DeserializeOwned>(connection: Connection<T>) {
    while let Ok(message) = connection.recv() {
        connection.send(message).unwrap();
    }
}

/// The argument with which this program sends back what comes through its standard input.
pub(crate) const ECHO: &str = "--echo";

/// The other end of [`SystemPipes`]: messages come through one pipe and go through the other.
pub(crate) fn echo_system_pipes() {
    let mut input = File::from(stdin().as_fd().try_clone_to_owned().unwrap());
    let mut output = File::from(stdout().as_fd().try_clone_to_owned().unwrap());
    let mut message = [0; BYTES];
    while input.read_exact(&mut message).is_ok() {
        output.write_all(&message).unwrap();
    }
}

/// Two pipes of the system to a process that sends back what comes.
struct SystemPipes {
    child: Child,
    there: ChildStdin,
    back: ChildStdout,
}

impl SystemPipes {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.arg(ECHO).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (there, back) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        SystemPipes { child, there, back }
    }

    fn trip(&mut self, message: Message) {
        let mut bytes = [0; BYTES];
        for (place, part) in bytes.chunks_exact_mut(8).zip(message) {
            place.copy_from_slice(&part.to_ne_bytes());
        }
        self.there.write_all(&bytes).unwrap();
        let mut returned = [0; BYTES];
        self.back.read_exact(&mut returned).unwrap();
        assert!(returned == bytes);
    }

    fn end(mut self) {
        drop(self.there);
        assert!(self.child.wait().unwrap().success());
    }
}

fn numbered(number: u64) -> Message {
    [number as f64; 8]
}

pub(crate) fn pipe_round_trip(effort: Effort) -> Option<Measured> {
    let trips = effort.operations(TRIPS);
    let ours = EchoProcess::<Message>::start();
    let mut peer = SystemPipes::start();
    let mut number = 0;
    let measured = interleave(
        effort.rounds(ROUNDS),
        || pace(|| Some(ours.trips(trips, numbered))),
        || {
            each(trips, || {
                peer.trip(numbered(number));
                number += 1;
            })
        },
    );
    ours.end();
    peer.end();
    Some(measured)
}
