//! `PerProcess`: what one process keeps in a `static`, and none of its copies has.

use super::identity::Home;
use parking_lot::{Mutex, MutexGuard};

/// Keeps a value for the process that put it there.
pub(crate) struct PerProcess<T>(Mutex<Kept<T>>);

/// The value, as its lock shows it.
pub(crate) struct Kept<T> {
    own: Option<(Home, T)>,
    listed: bool,
}

/// All that are in use.
static LIST: Mutex<Vec<&'static dyn Forget>> = Mutex::new(Vec::new());

trait Forget: Sync {
    fn forget(&self);
}

impl<T: Send> Forget for PerProcess<T> {
    fn forget(&self) {
        let own = self.0.lock().own.take();
        drop(own); // Unlocked: a destructor may use this very static.
    }
}

/// Called in a copy of this process, whose only thread this is: drops what its parent kept, and the descriptors therein.
pub(crate) fn forget_all() {
    let list = LIST.lock().clone();
    list.into_iter().for_each(Forget::forget);
}

impl<T: Send> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(Mutex::new(Kept {
            own: None,
            listed: false,
        }))
    }

    pub(crate) fn lock(&'static self) -> MutexGuard<'static, Kept<T>> {
        let mut kept = self.0.lock();
        if !kept.listed {
            kept.listed = true;
            LIST.lock().push(self);
        }
        kept
    }
}

impl<T> Kept<T> {
    /// The value, if this process has put one there.
    pub(crate) fn get(&mut self) -> Option<&mut T> {
        let own = self.own.as_mut().filter(|(home, _)| home.is_here());
        own.map(|(_, value)| value)
    }

    /// Puts the value of this process there.
    pub(crate) fn put(&mut self, home: Home, value: T) {
        self.own = Some((home, value));
    }

    /// The value; its default if this process has put none there.
    pub(crate) fn get_or_default(&mut self) -> &mut T
    where
        T: Default,
    {
        let own = self.own.take().filter(|(home, _)| home.is_here());
        &mut self.own.insert(own.unwrap_or_else(|| (Home::here(), T::default()))).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_for_its_own_process_only() {
        static NUMBERS: PerProcess<Vec<u32>> = PerProcess::new();
        assert_eq!(NUMBERS.lock().get(), None);
        for home in [Home::here(), Home::by_pid()] {
            NUMBERS.lock().put(home, vec![5]);
            NUMBERS.lock().get_or_default().push(6);
            assert_eq!(NUMBERS.lock().get(), Some(&mut vec![5, 6]));
        }
        NUMBERS.lock().put(Home::elsewhere(), vec![7]);
        assert_eq!(NUMBERS.lock().get(), None);
        assert!(NUMBERS.lock().get_or_default().is_empty());
        assert!(LIST.lock().iter().any(|one| std::ptr::addr_eq(*one, &NUMBERS)));
        NUMBERS.forget();
        assert_eq!(NUMBERS.lock().get(), None);
    }
}
