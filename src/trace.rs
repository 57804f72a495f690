//! `event!`: what happened, for programs that listen with the crate `tracing`.
//!
//! Levels: `trace` for what goes as it should with every child, `debug` for what a pool copes with, `warn` for jobs that are
//! lost. Events come from this process only, not from its children, and all have the target `procshare`.

/// Tells of an event, as the macros of `tracing` do; nothing is left of it without the feature `tracing`.
macro_rules! event {
    ($level:ident, $($what:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "procshare", $($what)+)
    };
}
