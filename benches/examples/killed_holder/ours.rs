//! The number as a value of procshare.

use crate::counter::Counter;
use procshare::SharedValue;
use std::error::Error;
use std::time::Duration;

pub(crate) struct Number(SharedValue<u64>);

impl Counter for Number {
    type Address = SharedValue<u64>;

    fn create() -> Result<Self, Box<dyn Error>> {
        Ok(Number(SharedValue::new(0)?))
    }

    fn address(&self) -> Self::Address {
        self.0.clone()
    }

    fn open(address: Self::Address) -> Result<Self, Box<dyn Error>> {
        Ok(Number(address))
    }

    fn increment(&self, limit: Duration) -> Result<u64, Box<dyn Error>> {
        let mut number = self.0.get_lock_timeout(limit)?;
        *number += 1;
        Ok(*number)
    }

    fn hold(&self, then: impl FnOnce()) {
        let _guard = self.0.get_lock();
        then();
    }
}
