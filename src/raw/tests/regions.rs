use super::{check, process};
use crate::primitive::{AtomicU64, Ordering};
use crate::raw::map::heap::{claim_region, free_region};
use crate::raw::map::shape::Shape;
use std::sync::Arc;

/// Where a map says which region to look at first.
const HINT: usize = 5;
const OWNERS: usize = 8;

/// The owners of a map's regions, and a word that stands for the contents of the first.
struct Pool {
    shape: Shape,
    words: Vec<AtomicU64>,
    content: AtomicU64,
}

impl Pool {
    fn new(regions: u32) -> Self {
        Pool {
            shape: Shape::of_owners(regions),
            words: (0..OWNERS + regions as usize).map(|_| AtomicU64::new(0)).collect(),
            content: AtomicU64::new(0),
        }
    }

    fn claim(&self, shard: u32) -> Option<u32> {
        claim_region(&self.shape, &self.words, shard)
    }

    fn free(&self, region: u32) {
        free_region(&self.shape, &self.words, region);
    }
}

/// One shard gives the last region back while others look for one.
fn returned_while_claimed(give_back: fn(&Pool)) {
    check(3, move || {
        let pool = Pool::new(1);
        assert_eq!(pool.claim(0), Some(0));
        assert_eq!(pool.claim(1), None);
        let pool = Arc::new(pool);
        let giver = process(&pool, 1, give_back);
        let taker = process(&pool, 2, |pool| pool.claim(1));
        giver.join().expect("the model thread ends");
        let taken = taker.join().expect("the model thread ends");
        assert!(taken.or_else(|| pool.claim(1)) == Some(0), "lost");
    });
}

#[test]
fn loom_regions_given_back_are_found() {
    returned_while_claimed(|pool| pool.free(0));
}

#[test]
#[should_panic(expected = "lost")]
fn loom_mutant_regions_hint_before_the_region_is_free() {
    returned_while_claimed(|pool| {
        // Relaxed: as in `free_region`, in the wrong order.
        pool.words[HINT].store(1 << 32, Ordering::Relaxed);
        pool.words[OWNERS].store(0, Ordering::Release);
    });
}

#[test]
#[should_panic(expected = "lost")]
fn loom_mutant_regions_hint_that_does_not_count() {
    returned_while_claimed(|pool| {
        pool.words[OWNERS].store(0, Ordering::Release);
        // Relaxed, as in `free_region`; but a fruitless look that began before takes it for the hint it saw.
        pool.words[HINT].store(0, Ordering::Relaxed);
    });
}

#[test]
fn loom_regions_go_to_one_only() {
    check(3, || {
        let pool = Arc::new(Pool::new(2));
        let takers = [1, 2, 3].map(|shard| process(&pool, shard, move |pool| pool.claim(shard)));
        let mut taken: Vec<_> = takers
            .into_iter()
            .filter_map(|taker| taker.join().expect("the model thread ends"))
            .collect();
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
    });
}

#[test]
fn loom_regions_come_with_what_was_done_before() {
    check(3, || {
        let pool = Pool::new(1);
        assert_eq!(pool.claim(0), Some(0));
        let pool = Arc::new(pool);
        let giver = process(&pool, 1, |pool| {
            pool.content.store(1, Ordering::Relaxed);
            pool.free(0);
        });
        if pool.claim(1).is_some() {
            assert_eq!(pool.content.load(Ordering::Relaxed), 1, "stale");
        }
        giver.join().expect("the model thread ends");
    });
}
