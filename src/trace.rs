//! `event!`: what happened, for programs that listen with the crate `tracing`.
//!
//! Levels: `trace` for children that start and end as they should, `debug` for workers and for what a pool copes with, `warn`
//! for jobs that are lost. All have the target `procshare`, and come from the process that holds the children or the pool.
//! Some come while the pool's state is locked: a subscriber that used the pool of an event would wait for itself.

/// Tells of an event, if the condition before `=>` holds; without the feature `tracing` nothing is left of it.
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
