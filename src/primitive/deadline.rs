//! The one time limit of every blocking call.

use std::time::{Duration, Instant};

/// How long a call may wait: not at all, until an instant, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// Do not wait.
    Now,
    /// Wait until then.
    At(Instant),
    /// Wait for ever.
    Never,
}

impl Deadline {
    /// A limit that far from now; one too far to be expressed as an instant is no limit.
    pub(crate) fn after(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or(Deadline::Never, Deadline::At)
    }

    /// The time left: `None` without a limit, zero when it has passed.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Deadline::Now => Some(Duration::ZERO),
            Deadline::At(instant) => Some(instant.saturating_duration_since(Instant::now())),
            Deadline::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_the_clock_is_no_limit() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::Never);
        assert_eq!(Deadline::Never.left(), None);
    }

    #[test]
    fn a_passed_limit_leaves_nothing() {
        assert_eq!(Deadline::At(Instant::now()).left(), Some(Duration::ZERO));
        assert_eq!(Deadline::Now.left(), Some(Duration::ZERO));
    }
}
