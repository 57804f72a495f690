//! `event!`: what happened, for programs that listen with the crate `tracing`.
//!
//! Levels: `trace` for children that start and end as they should, `debug` for workers and for what a pool copes with, `warn`
//! for jobs that are lost. All have the target `procshare`, and come from the process that holds the children or the pool. Some
//! are emitted while the pool's state is locked: a subscriber that uses that same pool deadlocks.

/// Emits an event if the condition before `=>` holds; without the feature `tracing` it expands to nothing.
macro_rules! event {
    ($condition:expr => $level:ident, $($what:tt)+) => {
        #[cfg(feature = "tracing")]
        if $condition {
            tracing::$level!(target: "procshare", $($what)+);
        }
    };
    ($level:ident, $($what:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "procshare", $($what)+);
    };
}
