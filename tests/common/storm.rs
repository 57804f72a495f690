//! What storms of kills share: how long they last, and chance.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use crate::effort::thorough;
use std::time::Duration;

/// How long a storm lasts: one second, `usual` seconds where tests are thorough, or as many as the environment says.
pub(crate) fn length(usual: u64) -> Duration {
    let seconds = std::env::var("PROCSHARE_STORM_SECONDS").map(|text| text.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(thorough(usual, 1)))
}

/// When a storm that has not ended counts as hung.
pub(crate) fn limit() -> Duration {
    length(3) * 2 + Duration::from_secs(40)
}

/// Random enough to meet every moment; the seed is the time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
