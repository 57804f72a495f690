use super::{check, lock, process};
use crate::primitive::model::{become_owner, declare_dead};
use crate::primitive::{AtomicU64, Ordering, fence};
use crate::raw::RawMutex;
use crate::raw::map::journal::{self, Change, Journal};
use std::mem::forget;
use std::sync::Arc;

/// What a change adds to the state when it is published.
const GENERATION: u64 = 1 << 16;

/// Two words that are always equal, unless a look at them is torn.
const PAIR: [u32; 2] = [0, 1];

/// Where the blocks in use and free begin. A block is two words, equal while it is in use.
const LINK: u32 = 0;
const FREE: u32 = 1;

/// A shard of a map, and the words it covers.
struct Shard {
    mutex: RawMutex,
    state: AtomicU64,
    log: [AtomicU64; 8],
    words: [AtomicU64; 6],
}

impl Shard {
    fn of(words: [u64; 6]) -> Arc<Self> {
        Arc::new(Shard {
            mutex: RawMutex::new(),
            state: AtomicU64::new(0),
            log: core::array::from_fn(|_| AtomicU64::new(0)),
            words: words.map(AtomicU64::new),
        })
    }

    fn of_pair() -> Arc<Self> {
        Self::of([0; 6])
    }

    fn of_blocks() -> Arc<Self> {
        Self::of([2, 4, 0, 0, 77, 78])
    }

    fn journal(&self) -> Journal<'_> {
        Journal {
            state: &self.state,
            log: &self.log,
            words: &self.words,
        }
    }

    fn load(&self, at: u32) -> u64 {
        self.words[at as usize].load(Ordering::Relaxed)
    }

    /// Writes to memory without a note, as the heap does to what it has taken.
    fn fill(&self, at: u32, value: u64) {
        self.words[at as usize].store(value, Ordering::Relaxed);
    }

    fn pair(&self) -> [u64; 2] {
        PAIR.map(|at| self.load(at))
    }

    fn block(&self) -> [u64; 2] {
        let block = self.load(LINK) as u32;
        [self.load(block), self.load(block + 1)]
    }

    /// Takes the lock from a living holder, or from none, and changes something.
    fn locked(&self, change: impl FnOnce(&Self)) {
        let held = lock(&self.mutex);
        assert!(!held.inconsistent && !journal::is_open(&self.state));
        change(self);
        self.mutex.unlock(held.owner);
    }

    /// Takes the lock from a dead holder, repairs what that one left, and changes something.
    fn inherited(&self, recover: impl FnOnce(&Self), change: impl FnOnce(&Self)) {
        let held = lock(&self.mutex);
        assert!(held.inconsistent);
        recover(self);
        assert!(!journal::is_open(&self.state));
        self.mutex.mark_consistent();
        change(self);
        self.mutex.unlock(held.owner);
    }
}

fn set(change: &mut Change<'_>, at: u32, value: u64) {
    assert_eq!(change.set(at, value), Ok(()));
}

fn recover(shard: &Shard) {
    assert_eq!(shard.journal().recover(), Ok(()));
}

type Look = fn(&Shard) -> [u64; 2];
type Read = fn(&Shard, Look) -> Option<[u64; 2]>;

fn read(shard: &Shard, look: Look) -> Option<[u64; 2]> {
    journal::read(&shard.state, || look(shard))
}

/// Runs `writers` while a reader looks without the lock: nothing is torn, nothing goes back. No thread ticks: the reader's fence
/// would take the ticks for the writers' news, and hide what is missing there.
fn watched(
    looks: usize,
    new: fn() -> Arc<Shard>,
    (read, look): (Read, Look),
    writers: impl Fn(&Arc<Shard>) + Send + Sync + 'static,
) {
    check(2, move || {
        let shard = new();
        let watching = process(&shard, 9, move |shard| {
            let mut last = 0;
            for _ in 0..looks {
                if let Some([first, second]) = read(shard, look) {
                    assert_eq!(first, second, "torn");
                    assert!(first >= last, "went back");
                    last = first;
                }
            }
        });
        writers(&shard);
        watching.join().expect("the model thread ends");
        let [first, second] = read(&shard, look).expect("nobody changes it any more");
        assert_eq!(first, second, "torn for good");
    });
}

// --- a pair of words -----------------------------------------------------------------------------------------

fn add_one(shard: &Shard) {
    let mut change = shard.journal().begin();
    let value = change.get(PAIR[0]).expect("there is such a word") + 1;
    for at in PAIR {
        set(&mut change, at, value);
    }
    change.publish();
}

#[test]
fn loom_journal_one_writer_and_a_reader() {
    one_writer(read, add_one);
}

/// Two changes by one writer.
fn one_writer(read: Read, add_one: fn(&Shard)) {
    watched(2, Shard::of_pair, (read, Shard::pair), move |shard| {
        become_owner(1);
        shard.locked(add_one);
        shard.locked(add_one);
        assert_eq!(shard.pair(), [2, 2]);
    });
}

#[test]
fn loom_journal_two_writers_and_a_reader() {
    watched(2, Shard::of_pair, (read, Shard::pair), |shard| {
        let other = process(shard, 2, |shard| shard.locked(add_one));
        become_owner(1);
        shard.locked(add_one);
        other.join().expect("the model thread ends");
        assert_eq!(shard.pair(), [2, 2]);
    });
}

/// The change of a word by hand: the state before it, which word, and its new value.
struct Step {
    state: u64,
    at: u32,
    value: u64,
}

impl Step {
    fn note(&self, shard: &Shard) {
        let at = 2 * (self.state % GENERATION) as usize;
        shard.log[at].store(u64::from(self.at), Ordering::Relaxed);
        shard.log[at + 1].store(shard.load(self.at), Ordering::Relaxed);
    }

    fn count(&self, shard: &Shard) {
        shard.state.store(self.state + 1, Ordering::Release);
    }

    fn change(&self, shard: &Shard) {
        shard.fill(self.at, self.value);
    }

    fn whole(&self, shard: &Shard) {
        self.note(shard);
        self.count(shard);
        fence(Ordering::Release);
        self.change(shard);
    }

    /// J1 broken.
    fn uncounted(&self, shard: &Shard) {
        self.note(shard);
        self.change(shard);
        self.count(shard);
        fence(Ordering::Release);
    }

    fn unfenced(&self, shard: &Shard) {
        self.note(shard);
        self.count(shard);
        self.change(shard);
    }
}

/// As `add_one`, with each word changed and the whole published as the parameters say.
fn add_one_by_hand(shard: &Shard, set: fn(&Step, &Shard), publish: Ordering) {
    let rest = shard.state.load(Ordering::Relaxed);
    let value = shard.load(PAIR[0]) + 1;
    for (count, at) in PAIR.into_iter().enumerate() {
        let state = rest + count as u64;
        set(&Step { state, at, value }, shard);
    }
    shard.state.store(rest + GENERATION, publish);
}

#[test]
fn loom_journal_by_hand_as_it_should_be() {
    one_writer(read, |shard| add_one_by_hand(shard, Step::whole, Ordering::Release));
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_changing_before_counting_tears() {
    one_writer(read, |shard| add_one_by_hand(shard, Step::uncounted, Ordering::Release));
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_changing_without_fence_tears() {
    one_writer(read, |shard| add_one_by_hand(shard, Step::unfenced, Ordering::Release));
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_publishing_a_change_without_release_tears() {
    one_writer(read, |shard| add_one_by_hand(shard, Step::whole, Ordering::Relaxed));
}

/// As `Journal::read`, with the first look at the state, what it may be, and the fence as the parameters say.
fn read_by_hand(shard: &Shard, look: Look, first: Ordering, may_be: fn(u64) -> bool, fence: fn()) -> Option<[u64; 2]> {
    let before = shard.state.load(first);
    if !may_be(before) {
        return None;
    }
    let seen = look(shard);
    fence();
    (shard.state.load(Ordering::Relaxed) == before).then_some(seen)
}

fn is_rest(state: u64) -> bool {
    state % GENERATION == 0
}

fn acquire() {
    fence(Ordering::Acquire);
}

#[test]
fn loom_journal_read_by_hand_as_it_should_be() {
    let read: Read = |shard, look| read_by_hand(shard, look, Ordering::Acquire, is_rest, acquire);
    one_writer(read, add_one);
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_reading_without_fence_tears() {
    let read: Read = |shard, look| read_by_hand(shard, look, Ordering::Acquire, is_rest, || ());
    one_writer(read, add_one);
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_reading_in_a_change_tears() {
    let read: Read = |shard, look| read_by_hand(shard, look, Ordering::Acquire, |_| true, acquire);
    one_writer(read, add_one);
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_reading_the_state_without_acquire_tears() {
    let read: Read = |shard, look| read_by_hand(shard, look, Ordering::Relaxed, is_rest, acquire);
    one_writer(read, add_one);
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_reading_without_a_second_look_tears() {
    let read: Read = |shard, look| {
        let before = shard.state.load(Ordering::Acquire);
        is_rest(before).then(|| look(shard))
    };
    one_writer(read, add_one);
}

// --- changes that do not happen ------------------------------------------------------------------------------

/// Changes no word more than once.
const ONCE: [(u32, u64); 2] = [(0, 5), (1, 5)];
/// Changes words again, so that what they held first is in the first notes.
const TWICE: [(u32, u64); 4] = [(0, 5), (1, 5), (0, 6), (1, 6)];

/// A change of which the first `sets` were made.
fn begun<'a>(shard: &'a Shard, sets: &[(u32, u64)]) -> Change<'a> {
    let mut change = shard.journal().begin();
    for (at, value) in sets {
        set(&mut change, *at, *value);
    }
    change
}

/// A writer gives up after this many words of `sets`; nobody sees any of them.
fn given_up(sets: &'static [(u32, u64)], give_up: fn(&Shard, Change<'_>)) {
    watched(1, Shard::of_pair, (read, Shard::pair), move |shard| {
        become_owner(1);
        shard.locked(|shard| {
            give_up(shard, begun(shard, sets));
            assert_eq!(shard.pair(), [0, 0], "torn from the past");
        });
    });
}

#[test]
fn loom_journal_change_is_given_up() {
    for count in 0..=TWICE.len() {
        given_up(&TWICE[..count], |_, change| drop(change));
    }
}

/// Puts back what these notes say.
fn put_back(shard: &Shard, notes: impl Iterator<Item = u64>) {
    for note in notes {
        let at = 2 * note as usize;
        let [number, held] = [at, at + 1].map(|at| shard.log[at].load(Ordering::Relaxed));
        shard.fill(number as u32, held);
    }
}

fn notes(shard: &Shard) -> core::ops::Range<u64> {
    0..shard.state.load(Ordering::Relaxed) % GENERATION
}

fn rest(shard: &Shard, ordering: Ordering) {
    let state = shard.state.load(Ordering::Relaxed);
    shard.state.store(state - state % GENERATION + GENERATION, ordering);
}

fn undo(shard: &Shard) {
    fence(Ordering::Release);
    put_back(shard, notes(shard).rev());
    rest(shard, Ordering::Release);
}

/// Enough for the writer that made the change, since each word's change was fenced; not for one that takes its place.
fn undo_unfenced(shard: &Shard) {
    put_back(shard, notes(shard).rev());
    rest(shard, Ordering::Release);
}

/// J2 broken.
fn undo_forward(shard: &Shard) {
    put_back(shard, notes(shard));
    rest(shard, Ordering::Release);
}

fn undo_relaxed(shard: &Shard) {
    put_back(shard, notes(shard).rev());
    rest(shard, Ordering::Relaxed);
}

fn undo_at_rest(shard: &Shard) {
    let notes = notes(shard);
    rest(shard, Ordering::Release);
    put_back(shard, notes.rev());
}

#[test]
fn loom_journal_undo_by_hand_as_it_should_be() {
    given_up(&TWICE, |shard, change| {
        forget(change);
        undo(shard);
    });
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_undoing_forward_leaves_what_was_between() {
    given_up(&TWICE, |shard, change| {
        forget(change);
        undo_forward(shard);
    });
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_undoing_without_release_tears() {
    given_up(&ONCE, |shard, change| {
        forget(change);
        undo_relaxed(shard);
    });
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_undoing_at_rest_tears() {
    given_up(&ONCE, |shard, change| {
        forget(change);
        undo_at_rest(shard);
    });
}

// --- owners that die -----------------------------------------------------------------------------------------

/// An owner dies within `sets`; the next, who waits already, finds none of them.
fn owner_dies(sets: &'static [(u32, u64)], recover: fn(&Shard)) {
    watched(1, Shard::of_pair, (read, Shard::pair), move |shard| {
        become_owner(1);
        lock(&shard.mutex);
        let next = process(shard, 2, move |shard| shard.inherited(recover, add_one));
        forget(begun(shard, sets));
        declare_dead(1);
        next.join().expect("the model thread ends");
        assert_eq!(shard.pair(), [1, 1]);
    });
}

#[test]
fn loom_journal_owner_dies_in_a_change() {
    for count in 0..=ONCE.len() {
        owner_dies(&ONCE[..count], recover);
    }
}

#[test]
fn loom_journal_owner_dies_in_a_change_of_words_changed_before() {
    for count in 3..=TWICE.len() {
        owner_dies(&TWICE[..count], recover);
    }
}

#[test]
fn loom_journal_owner_dies_and_is_undone_by_hand() {
    owner_dies(&TWICE, undo);
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_undoing_for_the_dead_without_fence_tears() {
    owner_dies(&TWICE, undo_unfenced);
}

#[test]
fn loom_journal_owner_dies_after_a_change() {
    watched(1, Shard::of_pair, (read, Shard::pair), |shard| {
        become_owner(1);
        lock(&shard.mutex);
        let next = process(shard, 2, |shard| shard.inherited(recover, add_one));
        begun(shard, &TWICE).publish();
        declare_dead(1);
        next.join().expect("the model thread ends");
        assert_eq!(shard.pair(), [7, 7]);
    });
}

/// The next holder dies too, with `count` words put back.
fn heir_dies(count: usize) {
    watched(1, Shard::of_pair, (read, Shard::pair), move |shard| {
        become_owner(1);
        lock(&shard.mutex);
        forget(begun(shard, &TWICE));
        declare_dead(1);
        become_owner(2);
        assert!(lock(&shard.mutex).inconsistent);
        let next = process(shard, 3, |shard| shard.inherited(recover, |_| ()));
        put_back(shard, notes(shard).rev().take(count));
        declare_dead(2);
        next.join().expect("the model thread ends");
        assert_eq!(shard.pair(), [0, 0]);
    });
}

#[test]
fn loom_journal_heir_dies_too() {
    for count in 1..=3 {
        heir_dies(count);
    }
}

// --- memory that is used again -------------------------------------------------------------------------------

/// Steps of a change that moves the link from one block to the other.
enum Part {
    Take,
    /// Writes to a word of the block that was taken.
    Fill(u32),
    Link,
    /// Writes to what the change itself frees (J3 broken).
    FillFreed,
}

const TURN: [Part; 4] = [Part::Take, Part::Fill(0), Part::Fill(1), Part::Link];

/// A change of which these parts were made.
fn turned<'a>(shard: &'a Shard, parts: &[Part]) -> Change<'a> {
    let [from, to] = [LINK, FREE].map(|at| shard.load(at) as u32);
    let value = shard.load(from) + 1;
    let mut change = shard.journal().begin();
    for part in parts {
        match part {
            Part::Take => set(&mut change, FREE, u64::from(from)),
            Part::Fill(word) => shard.fill(to + word, value),
            Part::Link => set(&mut change, LINK, u64::from(to)),
            Part::FillFreed => shard.fill(from, value),
        }
    }
    change
}

fn turn(shard: &Shard) {
    turned(shard, &TURN).publish();
}

/// Two writers move the link: the second one fills the block that the first has freed.
fn two_turns(turn: fn(&Shard)) {
    watched(1, Shard::of_blocks, (read, Shard::block), move |shard| {
        let other = process(shard, 2, move |shard| shard.locked(turn));
        become_owner(1);
        shard.locked(turn);
        other.join().expect("the model thread ends");
        assert_eq!(shard.block(), [2, 2]);
    });
}

#[test]
fn loom_journal_freed_memory_is_used_again() {
    two_turns(turn);
}

/// J3 broken: the reader need not see the change that freed the block, since no fence comes after that one's lock.
#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_filling_before_the_first_word_tears() {
    two_turns(|shard| {
        turned(shard, &[Part::Fill(0), Part::Fill(1), Part::Take, Part::Link]).publish();
    });
}

/// An owner dies within a turn; the next makes one.
fn dies_in_turn(parts: &'static [Part]) {
    watched(1, Shard::of_blocks, (read, Shard::block), move |shard| {
        become_owner(1);
        lock(&shard.mutex);
        let next = process(shard, 2, |shard| {
            shard.inherited(recover, |shard| {
                assert_eq!(shard.block(), [0, 0], "torn for the next holder");
                turn(shard);
            });
        });
        forget(turned(shard, parts));
        declare_dead(1);
        next.join().expect("the model thread ends");
        assert_eq!(shard.block(), [1, 1]);
    });
}

#[test]
fn loom_journal_owner_dies_using_memory_again() {
    for count in 1..=TURN.len() {
        dies_in_turn(&TURN[..count]);
    }
}

#[test]
#[should_panic(expected = "torn")]
fn loom_mutant_filling_what_the_change_frees_is_not_undone() {
    dies_in_turn(&[Part::Take, Part::FillFreed]);
}
