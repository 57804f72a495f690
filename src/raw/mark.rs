//! `Mark`: how far one side of a queue has come, in one word; and what lies between two of them.
//!
//! `[ items:32 | units:31 | closed:1 ]`, counted from the beginning. Waiters compare the whole word, and sleep on an event count.
//! `queue` says who moves it.

/// In `tail` and `head`: no further record will come.
pub(super) const CLOSED: u64 = 1;
/// Units are counted modulo this number.
const UNITS: u64 = 1 << 31;

/// The most a queue may hold, as set by its creator: not more than 2^30 units, a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) items: u32,
    pub(crate) units: u32,
    /// Units of a reference to an item outside the ring; 0 if all items lie in it.
    pub(crate) reserve: u32,
}

/// Records side by side: where the first begins, in units not yet reduced to the ring, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: u32,
    pub(crate) items: u32,
    pub(crate) units: u32,
}

impl Stretch {
    /// What follows the first `moved` of these records.
    #[inline]
    pub(crate) fn without(self, moved: Moved) -> Self {
        Stretch {
            start: self.start.wrapping_add(moved.units),
            items: self.items - moved.items,
            units: self.units - moved.units,
        }
    }
}

/// How much was put or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) items: u32,
    pub(crate) units: u32,
}

/// `tail` or `head`, as it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(pub(super) u64);

impl Mark {
    #[inline]
    pub(super) fn items(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) fn units(self) -> u32 {
        (self.0 >> 1 & (UNITS - 1)) as u32
    }

    #[inline]
    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// Adds without carrying from one part into the next.
    #[inline]
    pub(super) fn after(self, moved: Moved) -> Self {
        let items = u64::from(self.items().wrapping_add(moved.items));
        let units = (u64::from(self.units()) + u64::from(moved.units)) & (UNITS - 1);
        Mark(items << 32 | units << 1 | self.0 & CLOSED)
    }

    /// The difference between `head` and this tail, or `None` if the two contradict each other (Q1).
    #[inline]
    pub(super) fn since(self, head: Mark, bounds: Bounds) -> Option<Stretch> {
        let items = self.items().wrapping_sub(head.items());
        let units = self.units().wrapping_sub(head.units()) & (UNITS - 1) as u32;
        let fits = items <= bounds.items && units <= bounds.units && items <= units;
        fits.then_some(Stretch {
            start: head.units(),
            items,
            units,
        })
    }

    /// The free stretch after this tail, without what is reserved for further items (Q7).
    #[inline]
    pub(super) fn room(self, head: Mark, bounds: Bounds) -> Option<Stretch> {
        let queued = self.since(head, bounds)?;
        let items = bounds.items - queued.items;
        let kept = bounds.reserve.wrapping_mul(items.wrapping_sub(1));
        Some(Stretch {
            start: self.units(),
            items,
            units: (bounds.units - queued.units).saturating_sub(kept),
        })
    }
}
