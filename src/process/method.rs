//! `StartMethod`: how a child process comes to be.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// Says how a child process comes to be.
///
/// The results of a child do not depend on it; its price does, and what the program must see to. The
/// [module's](crate::process) documentation compares the three.
///
/// # Examples
///
/// ```
/// use procshare::Process;
/// use procshare::process::StartMethod;
///
/// #[procshare::main]
/// fn main() -> procshare::Result<()> {
///     let method: StartMethod = "fork-server".parse()?;
///     let child = Process::builder().start_method(method).spawn(|a: u32, b: u32| a + b, (40, 2))?;
///     assert_eq!(child.join()?, 42);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is started again and comes to the function through `init`.
    #[default]
    Spawn,
    /// This process, which has no other thread, is copied.
    Fork,
    /// A small server, started once like a child, is copied.
    ForkServer,
}

const NAMES: [(StartMethod, &str); 3] = [
    (StartMethod::Spawn, "spawn"),
    (StartMethod::Fork, "fork"),
    (StartMethod::ForkServer, "fork-server"),
];

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = NAMES.into_iter().find(|(method, _)| method == self);
        f.pad(own.map_or("", |(_, name)| name))
    }
}

impl FromStr for StartMethod {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let named = NAMES.into_iter().find(|(_, name)| *name == text);
        named.map(|(method, _)| method).ok_or_else(|| {
            let message = format!("a start method is spawn, fork or fork-server, found {text:?}");
            Error::new(ErrorKind::InvalidName, message)
        })
    }
}
