//! How the descriptors of what a job brings along reach the worker that has claimed it.
//!
//! No process knows in advance which worker will claim a job, so the worker asks: in a word of its own, which it stores before it
//! rings the pool's thread. The answer comes as a message on a socket that no other worker has. This needs no right to look into
//! another process, unlike a way through `/proc`.
//!
//! | word of a worker | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | 0 | the worker, which then rings, and waits at its socket | asked | the word is cleared with the seat |
//! | asked | the pool's thread, which then sends | 0, an answer under way | the workers end with their parent |
//! | 0, an answer under way | the worker, which receives it | 0 | the kernel closes the socket, and with it what the answer holds |
//!
//! A worker has at most one open question, so there is always room for its answer: the pool's thread never waits. An answer that
//! the system refuses for the moment is tried again with the next tick.

use super::engine::Engine;
use super::memory::Memory;
use super::state::State;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{Ordering, crash_point};
use crate::segment::os_error;
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{event, socket};
use crate::travel::Attachments;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to retry an answer that the system refuses.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of an answer: the question, and an error number.
const ANSWER: usize = 12;

/// A question: `[ number:24 | place in the table:24 | slot:16 ]`. The number distinguishes it from the one before, and is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Question(u64);

impl Question {
    fn new(number: u64, place: usize, slot: usize) -> Self {
        Question((number % 0xff_ffff + 1) << 40 | (place as u64 & 0xff_ffff) << 16 | slot as u64 & 0xffff)
    }

    fn place(self) -> usize {
        (self.0 >> 16 & 0xff_ffff) as usize
    }

    fn slot(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn answer(self, errno: i32) -> [u8; ANSWER] {
        let mut bytes = [0; ANSWER];
        bytes[..8].copy_from_slice(&self.0.to_ne_bytes());
        bytes[8..].copy_from_slice(&errno.to_ne_bytes());
        bytes
    }

    /// The error number of the answer, if it is the answer to this question.
    fn errno_of(self, answer: &[u8]) -> Option<i32> {
        let rest = answer.strip_prefix(&self.0.to_ne_bytes())?;
        Some(i32::from_ne_bytes(rest.try_into().ok()?))
    }
}

/// A worker's side.
pub(super) struct Asker<'a> {
    pub(super) memory: &'a Memory,
    pub(super) seat: usize,
    pub(super) socket: &'a OwnedFd,
    pub(super) bell: &'a OwnedFd,
    /// The number of questions so far.
    pub(super) asked: &'a mut u64,
}

impl Asker<'_> {
    /// Gets descriptors of what the job in the slot brings along, beginning at that place in its table.
    pub(super) fn ask(&mut self, slot: usize, place: usize) -> Result<Vec<OwnedFd>> {
        let failed = |error| os_error("receiving the descriptors of what the job brings along", error);
        let question = Question::new(*self.asked, place, slot);
        *self.asked += 1;
        // Relaxed: the word carries all the information; a thread that the bell does not wake looks with the next tick.
        self.memory.asked()[self.seat].store(question.0, Ordering::Relaxed);
        crash_point!("board.asking");
        // If the event cannot be signalled, the parent has closed it, being about to end.
        let _ = event::signal(self.bell.as_fd());
        loop {
            let message = match socket::receive(self.socket.as_fd(), ANSWER, true) {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Error::new(ErrorKind::Spawn, "the process that has the pool is gone")),
                // Descriptors were lost in transit: this process has no room for them.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message =
                        "no room for the descriptors of what the job brings along: raise the limit of open files";
                    return Err(Error::new(ErrorKind::TooManyDescriptors, message));
                }
                Err(error) => return Err(failed(error)),
            };
            crash_point!("board.received");
            match question.errno_of(&message.bytes) {
                Some(0) => return Ok(message.descriptors),
                Some(errno) => return Err(failed(io::Error::from_raw_os_error(errno))),
                // The answer to a question this worker had given up.
                None => {}
            }
        }
    }
}

/// The parent's end of a worker's socket.
pub(super) struct Counter {
    socket: Arc<OwnedFd>,
    /// The question whose answer was last refused by the system, and the time of the first refusal.
    refused: Option<(Question, Instant)>,
}

impl Counter {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Counter {
            socket: Arc::new(socket),
            refused: None,
        }
    }

    /// Records that the answer to the question is refused, and returns since when.
    fn refused_since(&mut self, question: Question) -> Instant {
        let known = self.refused.filter(|(other, _)| *other == question);
        self.refused
            .insert(known.unwrap_or_else(|| (question, Instant::now())))
            .1
    }
}

/// An answer that is due to a worker.
pub(super) struct Due {
    seat: usize,
    question: Question,
    socket: Arc<OwnedFd>,
    /// `None` if none of the worker's jobs brings along what it asks for.
    attachments: Option<Arc<Attachments>>,
}

impl Engine {
    /// Answers the workers that ask; returns whether some answers have to wait. Only the pool's thread calls this.
    pub(super) fn hand_over(&self, due: Vec<Due>) -> bool {
        let mut is_left = false;
        for due in due {
            let word = &self.memory.asked()[due.seat];
            // Relaxed, both: see `Asker::ask`. Before the answer, as the next question may follow it at once; the word cannot
            // change meanwhile, since the worker waits.
            word.store(0, Ordering::Relaxed);
            // A worker that is gone needs no answer.
            let Some(error) = due.send().err().filter(|error| !socket::is_gone(error)) else {
                continue;
            };
            let mut state = self.state.lock();
            let Some(counter) = state.counters[due.seat].as_mut() else {
                continue;
            };
            let since = counter.refused_since(due.question);
            drop(state);
            if since.elapsed() < PATIENCE || due.refuse(&error).is_err() {
                word.store(due.question.0, Ordering::Relaxed);
                is_left = true;
            }
        }
        is_left
    }

    /// The open questions, and where the answers go.
    pub(super) fn questions(&self, state: &State) -> Vec<Due> {
        let words = self.memory.asked().iter().enumerate();
        let asked = words.filter_map(|(seat, word)| {
            let question = Question(word.load(Ordering::Relaxed)); // Relaxed: see `Asker::ask`.
            // A worker whose start has not yet finished is answered when it has.
            let counter = state.counters[seat].as_ref().filter(|_| question.0 != 0)?;
            let is_its_own = self.memory.board().worker_of(question.slot()) == Some(seat);
            let job = state.posted.get(question.slot()).and_then(Option::as_ref);
            Some(Due {
                seat,
                question,
                socket: counter.socket.clone(),
                attachments: job.filter(|_| is_its_own).map(|job| job.attachments.clone()),
            })
        });
        asked.collect()
    }
}

impl Due {
    fn send(&self) -> io::Result<()> {
        let Some(attachments) = &self.attachments else {
            return self.refuse(&io::ErrorKind::NotFound.into());
        };
        let fds = attachments.descriptors().skip(self.question.place());
        let fds: Vec<_> = fds.take(socket::MOST_DESCRIPTORS).collect();
        let sent = socket::send(self.socket.as_fd(), &self.question.answer(0), &fds, false);
        crash_point!("board.handed");
        sent
    }

    fn refuse(&self, error: &io::Error) -> io::Result<()> {
        let errno = error.raw_os_error().unwrap_or(-1);
        socket::send(self.socket.as_fd(), &self.question.answer(errno), &[], false)
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_refused_for_a_time_of_its_own() {
        let mut counter = Counter::new(event::new().unwrap());
        let (first, second) = (Question::new(0, 0, 0), Question::new(1, 0, 0));
        let since = counter.refused_since(first);
        while Instant::now() == since {}
        assert_eq!(counter.refused_since(first), since);
        assert!(counter.refused_since(second) > since);
    }
}
