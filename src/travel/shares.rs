//! `Shares`: what the attachments of a pool's jobs have in place of reservations.
//!
//! There may be more jobs than a queue has seats, and it is not known in advance which worker runs one. So a worker joins the
//! queues of its job by itself, and until it has, a share in this process keeps their peers from finding themselves alone.

use crate::error::Result;
use crate::messages::Share;
use crate::primitive::per_process::PerProcess;
use std::any::Any;
use std::sync::{Arc, Weak};

/// The shares of some jobs, each once.
#[derive(Default)]
pub(super) struct Shares(Vec<Share>);

/// Identifies the object of a share.
type Key = ((u64, u64), String);
type Known = Vec<(Key, Weak<dyn Any + Send + Sync>)>;

/// All that this process keeps: one for each object, however many jobs use it.
static SHARES: PerProcess<Known> = PerProcess::new();

impl Shares {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the share of an object in a file; `take` takes it, unless that was done before.
    pub(super) fn keep(&mut self, file: (u64, u64), object: &str, take: impl FnOnce() -> Result<Share>) -> Result<()> {
        let share = share_of(file, object, take)?;
        if !self.0.iter().any(|kept| Arc::ptr_eq(kept, &share)) {
            self.0.push(share);
        }
        Ok(())
    }
}

fn share_of(file: (u64, u64), object: &str, take: impl FnOnce() -> Result<Share>) -> Result<Share> {
    let key = (file, object.to_owned());
    let known = |shares: &Known| {
        let known = shares.iter().find(|(other, _)| *other == key);
        known.and_then(|(_, share)| share.upgrade())
    };
    if let Some(share) = known(SHARES.lock().get_or_default()) {
        return Ok(share);
    }
    // Not under the lock, as it may wait for a stopped process; another thread may be faster.
    let share = take()?;
    let mut shares = SHARES.lock();
    let shares = shares.get_or_default();
    if let Some(first) = known(shares) {
        return Ok(first);
    }
    shares.retain(|(_, share)| share.strong_count() > 0);
    shares.push((key, Arc::downgrade(&share)));
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Result<Share> {
        Ok(Arc::new(()))
    }

    #[test]
    fn who_waits_for_a_share_keeps_nobody_from_another() {
        let mut others = vec![];
        let slow = share_of((0, 0), "slow", || {
            others.push(share_of((0, 0), "other", share)?);
            others.push(share_of((0, 0), "slow", share)?);
            share()
        });
        // The share of the faster thread is used by both.
        assert!(Arc::ptr_eq(&slow.unwrap(), &others[1]));
        assert!(Arc::ptr_eq(&share_of((0, 0), "other", share).unwrap(), &others[0]));
    }
}
