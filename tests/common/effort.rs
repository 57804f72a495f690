//! How much of what is long is done: all of it where `PROCSHARE_THOROUGH` is set, as by `.ci/run`, otherwise a part.

/// One of the two amounts, as the environment says.
pub(crate) fn thorough<T>(all: T, part: T) -> T {
    match std::env::var_os("PROCSHARE_THOROUGH") {
        Some(_) => all,
        None => part,
    }
}
