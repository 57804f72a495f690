//! `Mailbox`: one memory file through which a child gets its start request and returns its answer.
//!
//! | state | bytes after the header | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | posted | start request and arguments | the child, once it has read the start request | begun | the parent reads that the child never began |
//! | begun | long arguments until they are decoded, then the answer | the child, when the answer is complete | one of the answers | the parent reads begun, and relies on the exit status |
//! | an answer | the answer | – | – | – |
//!
//! The state is written last, and read only after the child has ended.
//!
//! Long arguments and results are encoded directly into the file, and decoded from a mapping of it.
//!
//! One word of the header is for starts by a server: the child's id, which the kernel writes while it makes the child.

use super::marker::Marker;
use super::panic::Panic;
use crate::encoding::Store;
use crate::error::{Error, ErrorKind};
use crate::primitive::Home;
use crate::segment::{FileBytes, os_error};
use crate::sys::file::{AsFd, OwnedFd};
use crate::sys::{file, identity};
use crate::travel::{check_memory, check_memory_behind};
use std::borrow::Cow;
use std::io;

/// Words: state, length of the start request or answer, length of the arguments, id of a child made by a server, offset of the
/// start request, offset of the arguments.
const HEADER_WORDS: usize = 6;
const HEADER: u64 = (HEADER_WORDS * 8) as u64;

/// Byte offset of the child's id, an `i32` in native byte order.
pub(super) const CHILD_AT: usize = 24;

/// Where long arguments or a long result begin: on a page of their own, however large pages are.
const LONG_AT: u64 = 1 << 16;

const POSTED: u64 = 0;
const BEGUN: u64 = 1;
const VALUE: u64 = 2;
const PANICKED: u64 = 3;
const LONG_VALUE: u64 = 8;

/// The reasons why there is no result; any other travels as the first.
const REFUSED: [(u64, ErrorKind); 5] = [
    (9, ErrorKind::Io),
    (4, ErrorKind::Encoding),
    (5, ErrorKind::NotTransferable),
    (6, ErrorKind::Spawn),
    (7, ErrorKind::OutOfMemory),
];

/// What a child leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has not read its start request.
    Unread,
    /// It has read its start request, and ended before its answer.
    Begun,
    /// What the function returned, encoded.
    Value(Vec<u8>),
    /// The same, but it lies in the mailbox; with its length in bytes.
    LongValue(u64),
    /// The function panicked.
    Panicked(Panic),
    /// There is no result, for one of the reasons in the table; `Spawn` if the function was not called.
    Refused(ErrorKind, String),
}

impl Answer {
    /// The function was not called.
    pub(super) fn not_started(error: &Error) -> Self {
        Answer::Refused(ErrorKind::Spawn, error.to_string())
    }

    /// The exit status of a child that gives this answer.
    pub(super) fn exit_code(&self) -> i32 {
        match self {
            Answer::Panicked(_) => 101,
            Answer::Refused(ErrorKind::Spawn, _) => 1,
            _ => 0,
        }
    }

    fn state(&self) -> u64 {
        match self {
            Answer::Unread => POSTED,
            Answer::Begun => BEGUN,
            Answer::Value(_) => VALUE,
            Answer::LongValue(_) => LONG_VALUE,
            Answer::Panicked(_) => PANICKED,
            Answer::Refused(kind, _) => {
                let known = REFUSED.iter().find(|(_, known)| known == kind);
                known.unwrap_or(&REFUSED[0]).0
            }
        }
    }

    fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Answer::Unread | Answer::Begun | Answer::LongValue(_) => Cow::Borrowed(&[]),
            Answer::Value(bytes) => bytes.into(),
            Answer::Panicked(message) => message.to_bytes().into(),
            Answer::Refused(_, text) => text.as_bytes().into(),
        }
    }

    fn read(state: u64, bytes: Vec<u8>) -> Self {
        match state {
            POSTED => Answer::Unread,
            BEGUN => Answer::Begun,
            VALUE => Answer::Value(bytes),
            PANICKED => Answer::Panicked(Panic::from_bytes(&bytes)),
            other => match REFUSED.iter().find(|(state, _)| *state == other) {
                Some((_, kind)) => Answer::Refused(*kind, String::from_utf8_lossy(&bytes).into_owned()),
                None => Answer::Refused(
                    ErrorKind::Encoding,
                    format!("expected a known state in the child's mailbox, found {other}"),
                ),
            },
        }
    }
}

/// The file of a mailbox that is not yet posted: made if arguments are long.
#[derive(Default)]
pub(super) struct Draft {
    /// The file, and the process that made it: a copy of that process, made while the arguments were encoded, does not own the
    /// file.
    file: Option<(Mailbox, Home)>,
    /// How long they are.
    pub(super) len: u64,
}

impl Store for Draft {
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some((Mailbox::new()?, Home::here()));
        }
        self.own()?.write_long(at, bytes)
    }

    fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        look(&self.own()?.long(len as u64)?);
        Ok(())
    }
}

impl Draft {
    /// The file, if this process made it.
    fn own(&self) -> io::Result<&Mailbox> {
        match &self.file {
            Some((file, home)) if home.is_here() => Ok(file),
            _ => Err(io::Error::other(
                "the process was forked while it was encoding arguments",
            )),
        }
    }
}

/// Arguments as a child finds them.
pub(crate) enum Arguments {
    Short(Vec<u8>),
    /// They lie in the mailbox, and take this many bytes.
    Long(u64),
}

/// The memory file, on the child's or the parent's side.
#[derive(Debug)]
pub(crate) struct Mailbox(OwnedFd);

/// A mailbox as the store for a long result.
impl Store for &Mailbox {
    fn write(&mut self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.write_long(at, bytes)
    }

    fn read(&self, len: usize, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        look(&self.long(len as u64)?);
        Ok(())
    }
}

impl Mailbox {
    /// The answer that replaces a result that cannot be handed over or read.
    pub(super) fn explain(step: &str, error: io::Error) -> Answer {
        let error = os_error(&format!("{step} the result"), error);
        Answer::Refused(error.kind(), error.to_string())
    }

    fn new() -> io::Result<Self> {
        file::memfd(c"procshare-mailbox").map(Mailbox)
    }

    /// Makes a mailbox with a child's start request and arguments in it; long ones are in the draft.
    pub(super) fn post(start_request: &[u8], arguments: &[u8], draft: Draft) -> io::Result<Self> {
        let long = draft.len;
        if long > 0 {
            draft.own()?;
        }
        // What was taken back from the draft needs no file.
        let file = draft.file.filter(|_| long > 0).map(|(file, _)| file);
        let (request_len, short) = (start_request.len() as u64, arguments.len() as u64);
        let is_long = file.is_some();
        let (len, arguments_at) = if is_long {
            (long, LONG_AT)
        } else {
            (short, HEADER + request_len)
        };
        let request_at = if is_long && request_len > LONG_AT - HEADER {
            LONG_AT + long
        } else {
            HEADER
        };
        let mailbox = file.map_or_else(Mailbox::new, Ok)?;
        let header = [POSTED, request_len, len, 0, request_at, arguments_at];
        let header: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        file::write_at(mailbox.0.as_fd(), &header, 0)?;
        file::write_at(mailbox.0.as_fd(), start_request, request_at)?;
        if !is_long {
            check_memory(short)?;
            file::write_at(mailbox.0.as_fd(), arguments, arguments_at)?;
        }
        Ok(mailbox)
    }

    fn write_long(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        check_memory_behind(at as u64, bytes.len() as u64)?;
        file::write_at(self.0.as_fd(), bytes, LONG_AT + at as u64)
    }

    /// The long arguments or the long result.
    pub(super) fn long(&self, len: u64) -> io::Result<FileBytes> {
        check_memory(len)?;
        // SAFETY: the parent writes arguments before it posts them, and the child its result before it ends; arguments are given
        // back only after they have been decoded. Only these two processes have a mailbox, and a server that makes the child, which
        // writes in the header only.
        unsafe { FileBytes::map(self.0.as_fd(), LONG_AT, len) }
    }

    /// Gives back the memory of long arguments.
    pub(super) fn give_back(&self) {
        let _ = file::set_len(self.0.as_fd(), HEADER); // Otherwise the file goes with the child.
    }

    /// The mailbox this process inherited, if it is the one the marker names.
    pub(super) fn inherited(marker: &Marker) -> Option<Self> {
        let fd = marker.inherited()?;
        // The process that starts a program that acts for another user must not choose what it runs.
        let mailbox = Mailbox(fd);
        mailbox.is_trusted().ok()?.then_some(mailbox)
    }

    /// Whether a process that acts for the same user as this one accepts it.
    pub(super) fn is_trusted(&self) -> io::Result<bool> {
        Ok(file::stat(self.0.as_fd())?.uid == identity::user_id())
    }

    /// A mailbox that came with a message.
    pub(super) fn received(fd: OwnedFd) -> Self {
        Mailbox(fd)
    }

    /// The child that a server has made for it, if there is one.
    pub(super) fn child(&self) -> io::Result<Option<u32>> {
        let mut bytes = [0; 4];
        file::read_at(self.0.as_fd(), &mut bytes, CHILD_AT as u64)?;
        Ok(Some(u32::from_ne_bytes(bytes)).filter(|pid| *pid != 0))
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Takes start request and arguments out, once: their memory is given back, that of long arguments by
    /// [`give_back`](Self::give_back).
    pub(super) fn take(&self) -> io::Result<(Vec<u8>, Arguments)> {
        let [_, request_len, len, _, request_at, arguments_at] = self.header()?;
        let start_request = self.part(request_at, request_len)?;
        let arguments = if arguments_at == LONG_AT {
            Arguments::Long(len)
        } else {
            let arguments = self.part(arguments_at, len)?;
            self.give_back();
            Arguments::Short(arguments)
        };
        self.set_state(BEGUN)?;
        Ok((start_request, arguments))
    }

    /// Records that the child has begun, where it has no start request to read.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.set_state(BEGUN)
    }

    /// Writes the answer, its state last.
    pub(super) fn answer(&self, answer: &Answer) -> io::Result<()> {
        let bytes = answer.bytes();
        let len = match answer {
            Answer::LongValue(len) => *len,
            _ => {
                // A result may have been written there and then withdrawn, or its writing may have failed.
                if file::stat(self.0.as_fd())?.len > LONG_AT {
                    self.give_back();
                }
                bytes.len() as u64
            }
        };
        check_memory(bytes.len() as u64)?;
        file::write_at(self.0.as_fd(), &bytes, HEADER)?;
        file::write_at(self.0.as_fd(), &len.to_le_bytes(), 8)?;
        self.set_state(answer.state())
    }

    /// Reads the answer of a child that has ended.
    pub(super) fn read_answer(&self) -> io::Result<Answer> {
        let [state, len, ..] = self.header()?;
        match state {
            POSTED | BEGUN => Ok(Answer::read(state, Vec::new())),
            LONG_VALUE => Ok(Answer::LongValue(len)),
            _ => Ok(Answer::read(state, self.part(HEADER, len)?)),
        }
    }

    /// As [`read_answer`](Self::read_answer), but without the bytes of a result.
    pub(super) fn read_verdict(&self) -> io::Result<Answer> {
        match self.header()? {
            [VALUE, ..] => Ok(Answer::Value(Vec::new())),
            _ => self.read_answer(),
        }
    }

    fn header(&self) -> io::Result<[u64; HEADER_WORDS]> {
        let mut bytes = [0; HEADER as usize];
        file::read_at(self.0.as_fd(), &mut bytes, 0)?;
        let mut words = bytes.chunks_exact(8);
        let mut word = || {
            words
                .next()
                .and_then(|word| word.try_into().ok())
                .map(u64::from_le_bytes)
        };
        Ok(core::array::from_fn(|_| word().unwrap_or_default()))
    }

    fn part(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        // The length is what the other process claims; the file's length comes from the kernel.
        if len > file::stat(self.0.as_fd())?.len.saturating_sub(offset) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(len as usize)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(len as usize, 0);
        file::read_at(self.0.as_fd(), &mut bytes, offset)?;
        Ok(bytes)
    }

    fn set_state(&self, state: u64) -> io::Result<()> {
        file::write_at(self.0.as_fd(), &state.to_le_bytes(), 0)
    }
}
