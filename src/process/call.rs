//! `Entry`: the functions a child can run, and how one is identified in another process.

use super::encoded;
use super::mailbox::{Answer, Arguments, Mailbox};
use super::panic::Panic;
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::Home;
use crate::travel::Received;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

mod sealed {
    pub trait Sealed<Args> {}
}

/// Marks functions that a child process can run with the argument tuple `Args`.
///
/// These are plain functions, and closures that capture nothing, of up to twelve arguments. The compiler refuses a closure that
/// captures a variable: the child is another process, where that variable does not exist.
///
/// # Examples
///
/// ```
/// use procshare::Process;
/// use procshare::process::{Argument, Entry, Returned};
///
/// /// Runs a function elsewhere and waits for what it returns.
/// fn call<F, Args, R>(function: F, arguments: Args) -> procshare::Result<R>
/// where
///     F: Entry<Args, Output = R>,
///     Args: Argument,
///     R: Returned,
/// {
///     Ok(Process::spawn(function, arguments)?.join()?)
/// }
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     assert_eq!(call(|a: u32, b: u32| a + b, (40, 2))?, 42);
///     Ok(())
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a child process cannot run `{Self}` with the arguments `{Args}`",
    label = "cannot run in a child process",
    note = "the function takes what the tuple holds, in that order: `(a,)` for one argument, `()` for none",
    note = "it captures nothing: handles and values are passed as arguments"
)]
pub trait Entry<Args>: sealed::Sealed<Args> + Copy + Send + Sync + 'static {
    /// What the function returns.
    type Output;

    #[doc(hidden)]
    fn call(self, arguments: Args) -> Self::Output;
}

macro_rules! entries {
    ($($argument:ident)*) => {
        impl<F, R, $($argument),*> sealed::Sealed<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + Copy + Send + Sync + 'static,
        {
        }

        #[diagnostic::do_not_recommend]
        impl<F, R, $($argument),*> Entry<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + Copy + Send + Sync + 'static,
        {
            type Output = R;

            #[allow(non_snake_case, reason = "the types' names serve the arguments as well")]
            fn call(self, ($($argument,)*): ($($argument,)*)) -> R {
                self($($argument),*)
            }
        }
    };
}

entries!();
entries!(A);
entries!(A B);
entries!(A B C);
entries!(A B C D);
entries!(A B C D E);
entries!(A B C D E G);
entries!(A B C D E G H);
entries!(A B C D E G H I);
entries!(A B C D E G H I J);
entries!(A B C D E G H I J K);
entries!(A B C D E G H I J K L);
entries!(A B C D E G H I J K L M);

/// What a child runs: decodes the arguments, calls one function with them, encodes what it returns.
pub(crate) type EntryPoint = fn(&Mailbox, Arguments, Received) -> Answer;

/// The entry point of a function.
pub(crate) fn entry_point<F, Args, R>(_function: F) -> EntryPoint
where
    F: Entry<Args, Output = R>,
    Args: DeserializeOwned,
    R: Serialize,
{
    run::<F, Args, R>
}

/// Refuses functions whose type does not determine them completely.
///
/// A function that takes one from a caller evaluates this in a constant of its own: the compiler learns what a closure has captured
/// only when it generates code, and then reports the caller's line.
pub(crate) const fn refuse_captures<F>() {
    assert!(
        size_of::<F>() == 0,
        "a child process cannot receive captured variables or function pointers: name a function, or a closure \
         that captures nothing, and pass all else as arguments"
    );
}

/// A value of a function's type, which has no bytes.
///
/// # Safety
///
/// There has been a value of this type, in this process or in one that runs the same program.
pub(crate) unsafe fn summon<F: Copy>() -> F {
    const { refuse_captures::<F>() };
    // SAFETY: F has no bytes, so any aligned address holds one, and it is inhabited, as the caller promises. F is Copy, so any
    // number of its values may exist.
    unsafe { NonNull::<F>::dangling().read() }
}

/// The entry point at an address that the parent, which runs the same executable, got from `entry_point`.
///
/// # Safety
///
/// `address` is that of an [`EntryPoint`].
pub(super) unsafe fn entry_point_at(address: *const ()) -> EntryPoint {
    // SAFETY: a function pointer is as large as an address, and the caller knows that this one's type is right.
    unsafe { mem::transmute::<*const (), EntryPoint>(address) }
}

fn run<F, Args, R>(mailbox: &Mailbox, arguments: Arguments, received: Received) -> Answer
where
    F: Entry<Args, Output = R>,
    Args: DeserializeOwned,
    R: Serialize,
{
    let arguments = match catch_unwind(AssertUnwindSafe(|| decode::<Args>(mailbox, arguments, received))) {
        Ok(Ok(arguments)) => arguments,
        Ok(Err(error)) => return refusal(&error),
        Err(payload) => return Answer::Panicked(Panic::caught(payload)),
    };
    // SAFETY: the parent had a value of F when it took this function's address. A captured value without bytes is created again, as
    // the documentation of `Process::spawn` says.
    let function = unsafe { summon::<F>() };
    answer(mailbox, || function.call(arguments))
}

fn decode<Args: DeserializeOwned>(mailbox: &Mailbox, arguments: Arguments, received: Received) -> Result<Args> {
    match arguments {
        Arguments::Short(bytes) => encoded::unpack(&bytes, received),
        Arguments::Long(len) => {
            let unreadable = |error| Error::new(ErrorKind::Spawn, "reading the arguments failed").with_source(error);
            let _given_back = GivenBack(mailbox, Home::here());
            let bytes = mailbox.long(len).map_err(unreadable)?;
            encoded::unpack(&bytes, received)
        }
    }
}

/// Gives back the memory of long arguments once they are decoded, or decoding has failed.
struct GivenBack<'a>(&'a Mailbox, Home);

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        // A copy of this process does not own it.
        if self.1.is_here() {
            self.0.give_back();
        }
    }
}

/// The answer that a call results in.
pub(super) fn answer<R: Serialize>(mailbox: &Mailbox, call: impl FnOnce() -> R) -> Answer {
    match catch_unwind(AssertUnwindSafe(|| encoded::pack_result(&call(), mailbox))) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Refused(error.kind(), error.to_string()),
        Err(payload) => Answer::Panicked(Panic::caught(payload)),
    }
}

/// The answer if there are no arguments.
fn refusal(error: &Error) -> Answer {
    match error.kind() {
        kind @ (ErrorKind::NotTransferable | ErrorKind::Encoding) => Answer::Refused(kind, error.to_string()),
        _ => Answer::not_started(error),
    }
}
