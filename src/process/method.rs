//! `StartMethod`: how a child process is created.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// Says how a child process is created.
///
/// The results of a child do not depend on it; the cost, and what the program has to observe, do. The [module's](crate::process)
/// documentation compares the three.
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
    /// The program is started again and reaches the function through `init`.
    #[default]
    Spawn,
    /// This process, which has no other threads, is copied.
    Fork,
    /// A small server, started once like a child, is copied; Python's `forkserver`.
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
        // Python writes it as one word, and identifiers contain no hyphen.
        let is_same = |name: &str| name == text || name.replace('-', "") == text || name.replace('-', "_") == text;
        let named = NAMES.into_iter().find(|(_, name)| is_same(name));
        named.map(|(method, _)| method).ok_or_else(|| {
            let message = format!(
                "expected the start method spawn, fork or fork-server (also written forkserver or fork_server), found \
                    {text:?}"
            );
            Error::new(ErrorKind::InvalidName, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_write_a_method_is_read_and_others_are_refused() {
        for (method, name) in NAMES {
            assert_eq!(method.to_string(), name);
            assert_eq!(name.parse::<StartMethod>().unwrap(), method);
        }
        for name in ["forkserver", "fork_server", "fork-server"] {
            assert_eq!(name.parse::<StartMethod>().unwrap(), StartMethod::ForkServer);
        }
        for name in ["", "Spawn", "fork ", "forkServer", "fork--server", "thread"] {
            let error = name.parse::<StartMethod>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            let text = error.to_string();
            let listed = ["spawn, fork or fork-server", "forkserver", "fork_server"];
            assert!(listed.iter().all(|way| text.contains(way)), "{text}");
        }
    }
}
