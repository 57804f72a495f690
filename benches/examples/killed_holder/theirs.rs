//! The number in a mapping of `shared_memory`, behind a mutex of `raw_sync`.

use crate::counter::Counter;
use raw_sync::Timeout;
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use shared_memory::{Shmem, ShmemConf};
use std::error::Error;
use std::time::Duration;

/// Where the number lies, behind the mutex.
const NUMBER: usize = 64;

pub(crate) struct Number {
    mutex: Box<dyn LockImpl>, // dropped before the memory it lies in
    memory: Shmem,
}

impl Counter for Number {
    type Address = String;

    fn create() -> Result<Self, Box<dyn Error>> {
        let memory = ShmemConf::new().size(4096).create()?;
        let number = memory.as_ptr().wrapping_add(NUMBER);
        // SAFETY: the mapping is new, so nobody uses it, and has room for a mutex before the number.
        let (mutex, _) = unsafe { Mutex::new(memory.as_ptr(), number) }?;
        Ok(Number { mutex, memory })
    }

    fn address(&self) -> String {
        self.memory.get_os_id().to_owned()
    }

    fn open(address: String) -> Result<Self, Box<dyn Error>> {
        let memory = ShmemConf::new().os_id(address).open()?;
        let number = memory.as_ptr().wrapping_add(NUMBER);
        // SAFETY: the creator made a mutex there before it gave the address to anybody.
        let (mutex, _) = unsafe { Mutex::from_existing(memory.as_ptr(), number) }?;
        Ok(Number { mutex, memory })
    }

    fn increment(&self, limit: Duration) -> Result<u64, Box<dyn Error>> {
        let guard = self.mutex.try_lock(Timeout::Val(limit))?;
        let number = guard.cast::<u64>();
        // SAFETY: the number is aligned, lies in the mapping and began as zero; the mutex is held.
        unsafe { *number += 1 };
        // SAFETY: the number is aligned and lies in the mapping; the mutex is held.
        Ok(unsafe { *number })
    }

    fn hold(&self, then: impl FnOnce()) {
        let _guard = self.mutex.lock();
        then();
    }
}
