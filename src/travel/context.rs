//! What the thread is currently packing or unpacking: the way by which handles, which serde calls, reach their attachments.

use super::attachments::Attachments;
use super::received::Received;
use crate::error::{Error, ErrorKind, Result};
use std::cell::RefCell;
use std::mem::ManuallyDrop;

enum Direction {
    /// Arguments for another process.
    Packing(Attachments),
    /// Arguments of this process.
    Unpacking(Received),
    /// A result.
    Refusing,
}

struct Context {
    direction: Direction,
    /// Why a handle was refused: the encoder does not keep error texts.
    fault: Option<Error>,
}

thread_local! {
    /// Without a destructor, so that it works while the thread ends; the code that begins a context ends it.
    static CONTEXT: RefCell<ManuallyDrop<Option<Context>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Replaces the context by another one, or by none.
fn replace(context: Option<Context>) -> Option<Context> {
    ManuallyDrop::into_inner(CONTEXT.replace(ManuallyDrop::new(context)))
}

/// Ends the context it was made for, also after a panic.
struct Restore(Option<Context>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        // Dropped outside the borrow: segments detach here.
        drop(replace(before));
    }
}

/// Runs `work` in a context, and returns what that has become.
fn within<T>(direction: Direction, work: impl FnOnce() -> T) -> (T, Option<Direction>) {
    let context = Context { direction, fault: None };
    // A value that spawns a child while it is serialised is odd, but must not mix up two tables.
    let _restore = Restore(replace(Some(context)));
    (work(), replace(None).map(|context| context.direction))
}

/// Runs `work`, which may encode arguments by [`pack`](super::pack); their handles are added to the attachments.
pub(crate) fn packing<T>(attachments: Attachments, work: impl FnOnce() -> T) -> (T, Attachments) {
    match within(Direction::Packing(attachments), work) {
        (outcome, Some(Direction::Packing(attachments))) => (outcome, attachments),
        (outcome, _) => (outcome, Attachments::default()),
    }
}

/// Runs `work`, which may decode arguments by [`unpack`](super::unpack); their handles lie in what was received.
pub(crate) fn unpacking<T>(received: Received, work: impl FnOnce() -> T) -> T {
    within(Direction::Unpacking(received), work).0
}

/// Runs `work`, which may encode or decode results; handles among them are an error.
pub(crate) fn refusing<T>(work: impl FnOnce() -> T) -> T {
    within(Direction::Refusing, work).0
}

fn refusal() -> Error {
    let message = "a handle of a shared object can be serialised only in the arguments of a child or a job: pass it to \
        Process::spawn, or give the segment a name and open it by that name";
    Error::new(ErrorKind::NotTransferable, message)
}

/// Runs `work` on the context, and keeps the reason if it fails.
fn with_direction<T>(work: impl FnOnce(&mut Direction) -> Result<T>) -> Result<T, String> {
    CONTEXT.with_borrow_mut(|context| {
        let Some(context) = (**context).as_mut() else {
            return Err(refusal().to_string());
        };
        work(&mut context.direction).map_err(|error| {
            let text = error.to_string();
            context.fault.get_or_insert(error);
            text
        })
    })
}

/// Runs `work` on the attachments of what is being packed.
pub(super) fn with_attachments<T>(work: impl FnOnce(&mut Attachments) -> Result<T>) -> Result<T, String> {
    with_direction(|direction| match direction {
        Direction::Packing(attachments) => work(attachments),
        Direction::Unpacking(_) | Direction::Refusing => Err(refusal()),
    })
}

/// Runs `work` on what was received with what is being unpacked.
pub(super) fn with_received<T>(work: impl FnOnce(&mut Received) -> Result<T>) -> Result<T, String> {
    with_direction(|direction| match direction {
        Direction::Unpacking(received) => work(received),
        Direction::Packing(_) | Direction::Refusing => Err(refusal()),
    })
}

/// Whether anything is attached to what is being packed.
pub(super) fn has_attachments() -> bool {
    CONTEXT.with_borrow(|context| match context.as_ref().map(|context| &context.direction) {
        Some(Direction::Packing(attachments)) => !attachments.is_empty(),
        _ => false,
    })
}

/// Why a handle was refused, if one was; the packing or unpacking can go on.
pub(super) fn take_fault() -> Option<Error> {
    CONTEXT.with_borrow_mut(|context| context.as_mut().and_then(|context| context.fault.take()))
}
