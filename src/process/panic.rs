//! `PanicMessage`: what a function said as it panicked in another process, and where.
//!
//! The payload of a panic has the words only. The place is known to the panic hook alone, so a process that runs functions
//! for others puts one before its own, which notes the place and then calls that.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

/// Holds the words of a panic in another process, and its place.
///
/// It is used like the text it holds, and equal to another whose words are the same. The place is not known of panics that
/// ran no panic hook (`resume_unwind`), or only one that the function itself has set.
///
/// # Examples
///
/// ```
/// use procshare::{JoinError, Process};
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let child = Process::spawn(|| -> u8 { panic!("no more") }, ())?;
///     match child.join() {
///         Err(JoinError::Panicked(message)) => {
///             assert_eq!(message, "no more");
///             assert!(message.file().is_some() && message.line() > Some(1));
///         }
///         outcome => unreachable!("{outcome:?}"),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct PanicMessage {
    words: String,
    place: Option<Place>,
}

/// A place in a source file.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Place {
    file: String,
    line: u32,
    column: u32,
}

thread_local! {
    /// Where this thread has panicked last.
    static LAST: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Has this process note where its panics happen, from now on.
pub(crate) fn note_places() {
    static ONCE: Once = Once::new();
    if ONCE.is_completed() || std::thread::panicking() {
        return; // A thread that panics must not change the hook.
    }
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            usual(info);
        }));
    });
}

fn note(info: &PanicHookInfo<'_>) {
    let place = info.location().map(|place| Place {
        file: place.file().to_owned(),
        line: place.line(),
        column: place.column(),
    });
    // A thread that ends may have none any more.
    let _ = LAST.try_with(|last| last.replace(place));
}

impl PanicMessage {
    /// The words of a panic this thread has just caught.
    pub(crate) fn caught(payload: Box<dyn Any + Send>) -> Self {
        PanicMessage {
            words: words(payload),
            place: LAST.try_with(RefCell::take).ok().flatten(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default() // Texts and numbers: nothing of it can fail to be encoded.
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
    }

    /// Returns the source file it panicked in, as the compiler was told of it.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::process::PanicMessage::from("no 7").file(), None);
    /// ```
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.file.as_str())
    }

    /// Returns the line it panicked at.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procshare::process::PanicMessage::from("no 7").line(), None);
    /// ```
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The place, as it is said in an error: ` at src/main.rs:7:5`.
    pub(crate) fn at(&self) -> String {
        let place = self.place.as_ref();
        place.map_or_else(String::new, |Place { file, line, column }| {
            format!(" at {file}:{line}:{column}")
        })
    }
}

/// The words of a panic.
fn words(payload: Box<dyn Any + Send>) -> String {
    let payload = match payload.downcast::<String>() {
        Ok(text) => return *text,
        Err(payload) => payload,
    };
    match payload.downcast::<&'static str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => {
            // Dropping what the user threw may panic again.
            std::mem::forget(payload);
            "a panic without words".to_owned()
        }
    }
}

impl Deref for PanicMessage {
    type Target = str;

    fn deref(&self) -> &str {
        &self.words
    }
}

impl fmt::Display for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Debug for PanicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.words, self.at())
    }
}

impl PartialEq for PanicMessage {
    fn eq(&self, other: &Self) -> bool {
        self.words == other.words
    }
}

impl Eq for PanicMessage {}

impl PartialEq<str> for PanicMessage {
    fn eq(&self, other: &str) -> bool {
        self.words == other
    }
}

impl PartialEq<&str> for PanicMessage {
    fn eq(&self, other: &&str) -> bool {
        self.words == *other
    }
}

impl PartialEq<String> for PanicMessage {
    fn eq(&self, other: &String) -> bool {
        self.words == *other
    }
}

impl From<String> for PanicMessage {
    fn from(words: String) -> Self {
        PanicMessage { words, place: None }
    }
}

impl From<&str> for PanicMessage {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<PanicMessage> for String {
    fn from(message: PanicMessage) -> Self {
        message.words
    }
}
