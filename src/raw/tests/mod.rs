//! Models of the raw types: two or three threads, some of which die, under every schedule within a bound of forced switches.
//!
//! A model that cannot fail proves nothing, so each protocol is also broken here on purpose, `#[should_panic]`.

mod event_count;
mod extent;
mod inheritance;
mod journal;
mod latch;
mod mutex;
mod queue;
mod regions;
mod ring;
mod seats;
mod wait;
mod work_queue;

use crate::primitive::model::become_owner;
use crate::primitive::{AtomicU64, Deadline, Ordering, OwnerId, Peers};
use crate::raw::seat::RawSeat;
use crate::raw::{Held, NoSeat, RawMutex, RawSeats, Role, Ticket};
use loom::thread;
use std::sync::Arc;

/// Runs `model` under every schedule with at most `preemptions` forced switches.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn lock(mutex: &RawMutex) -> Held {
    mutex
        .lock(|| Peers, Deadline::Never)
        .expect("no limit, not held by the caller")
}

/// Where the dead are looked up.
type Judge<'a> = &'a dyn Fn() -> Peers;

/// Three free seats.
fn seats() -> Arc<RawSeats> {
    Arc::new(RawSeats::<[RawSeat; 3]>::new())
}

/// Looks for a seat, holding the lock each time.
trait AtOnce {
    fn join(&self, role: Role, peers: Judge<'_>) -> Result<usize, NoSeat>;
    fn claim(&self, role: Role, peers: Judge<'_>) -> Result<usize, NoSeat>;
    fn issue(&self, role: Role, instead_of: Option<usize>, peers: Judge<'_>) -> Result<Ticket, NoSeat>;
    fn redeem(&self, ticket: Ticket, role: Role, sole: bool, peers: Judge<'_>) -> Result<usize, NoSeat>;
}

impl AtOnce for RawSeats {
    fn join(&self, role: Role, peers: Judge<'_>) -> Result<usize, NoSeat> {
        self.session(Deadline::Never, peers)?.join(role)
    }

    fn claim(&self, role: Role, peers: Judge<'_>) -> Result<usize, NoSeat> {
        self.session(Deadline::Never, peers)?.claim(role)
    }

    fn issue(&self, role: Role, instead_of: Option<usize>, peers: Judge<'_>) -> Result<Ticket, NoSeat> {
        self.session(Deadline::Never, peers)?.issue(role, instead_of)
    }

    fn redeem(&self, ticket: Ticket, role: Role, sole: bool, peers: Judge<'_>) -> Result<usize, NoSeat> {
        self.session(Deadline::Never, peers)?.redeem(ticket, role, sole)
    }
}

/// Runs `play` in a thread of its own as process `pid`.
fn process<S: Send + Sync + ?Sized + 'static, T: 'static>(
    shared: &Arc<S>,
    pid: u32,
    play: impl FnOnce(&S) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = shared.clone();
    thread::spawn(move || {
        become_owner(pid);
        play(&shared)
    })
}

/// Whether process `pid` has not been declared dead.
fn lives(pid: u32) -> bool {
    !Peers.has_left(OwnerId::pack(pid, 1, pid, 1), false)
}

loom::lazy_static! {
    static ref CLOCK: AtomicU64 = AtomicU64::new(0);
}

/// Makes loom try this moment before and after other threads' ticks. By itself it fails to try a load after another thread's
/// store, if that thread has itself loaded the word in between.
fn tick() {
    // Relaxed: it must not order what the model is about.
    CLOCK.fetch_add(1, Ordering::Relaxed);
}
