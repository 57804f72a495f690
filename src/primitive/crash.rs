//! `crash_point!`: a named step of a protocol at which a test can have its process killed, or stopped.
//!
//! Without the feature `crash-points` the macro leaves nothing behind. With it, the environment variable
//! `PROCSHARE_CRASH_AT=name` (or `name:3` for the third passage) makes the process send itself SIGKILL there, and
//! `PROCSHARE_STOP_AT` SIGSTOP: it goes on from there when it is continued.

/// Every crash point of the crate. `tests/crash.rs` compares the list with the sources, and kills a process at those of locks,
/// values and segments; `crash_messages`, `crash_map`, `crash_process` and `crash_pool` at the others.
#[cfg(feature = "crash-points")]
pub const CRASH_POINTS: &[&str] = &[
    "lock.acquired",
    "lock.waiting",
    "lock.woken",
    "lock.taken_over",
    "unlock.begin",
    "unlock.released",
    "publish.begin",
    "publish.half",
    "publish.written",
    "publish.published",
    "array.guarded",
    "create.opened",
    "create.locked",
    "create.allocated",
    "create.formatted",
    "create.registered",
    "create.linked",
    "open.opened",
    "open.locked",
    "open.mapped",
    "open.registered",
    "place.locked",
    "place.object",
    "place.entry",
    "place.published",
    "place.counted",
    "detach.begin",
    "detach.deregistered",
    "detach.unlocked",
    "detach.exclusive",
    "detach.unlinked",
    "unlink.begin",
    "unlink.done",
    "reset.locks",
    "reset.stamped",
    "bell.lowered",
    "bell.sleeping",
    "bell.woken",
    "queue.put.outside",
    "queue.put.copied",
    "queue.put.published",
    "queue.put.unlocked",
    "queue.get.copied",
    "queue.get.taken",
    "queue.get.returned",
    "queue.get.unlocked",
    "queue.extent.locked",
    "queue.extent.written",
    "queue.extent.placed",
    "queue.extent.taken",
    "queue.extent.cleared",
    "queue.close.stored",
    "seat.counted",
    "seat.freed",
    "seat.ticket",
    "seat.taken",
    "seat.turned",
    "seat.redeemed",
    "ring.used",
    "ring.advanced",
    "map.noted",
    "map.changed",
    "map.published",
    "map.replaced",
    "map.claimed",
    "map.freed",
    "map.part",
    "map.undone",
    "map.recovered",
    "pool.ready",
    "pool.handed",
    "pool.claimed",
    "pool.begun",
    "pool.asking",
    "pool.received",
    "pool.answering",
    "pool.spilled",
    "pool.stored",
    "pool.answered",
    "pool.finishing",
    "pool.finished",
    "pool.told",
    "pool.asleep",
    "pool.awake",
    "start.posted",
    "start.asked",
    "start.made",
    "start.named",
    "start.born",
    "start.begun",
    "start.done",
    "start.answered",
    "start.serving",
    "start.heard",
    "start.cloned",
    "start.told",
];

/// Dies, or stops until it is continued, here, if the environment asks for this point.
#[cfg(feature = "crash-points")]
pub(crate) fn hit(point: &str) {
    use std::sync::OnceLock;
    static DEATH: OnceLock<Option<Asked>> = OnceLock::new();
    static STOP: OnceLock<Option<Asked>> = OnceLock::new();
    if is_asked(&DEATH, "PROCSHARE_CRASH_AT", point) {
        crate::sys::identity::kill_self();
    }
    if is_asked(&STOP, "PROCSHARE_STOP_AT", point) {
        crate::sys::identity::stop_self();
    }
}

/// A point, and how many passages are left until the one meant.
#[cfg(feature = "crash-points")]
type Asked = (String, core::sync::atomic::AtomicU32);

/// Whether a variable, read once, asks for this passage of this point.
#[cfg(feature = "crash-points")]
fn is_asked(once: &std::sync::OnceLock<Option<Asked>>, variable: &str, point: &str) -> bool {
    let asked = once.get_or_init(|| {
        let text = std::env::var(variable).ok()?;
        let (name, passage) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), passage.parse().unwrap_or(1).into()))
    });
    // Relaxed: only a count.
    let is_this =
        |(name, passages): &Asked| name == point && passages.fetch_sub(1, core::sync::atomic::Ordering::Relaxed) == 1;
    asked.as_ref().is_some_and(is_this)
}

macro_rules! crash_point {
    ($name:literal) => {{
        #[cfg(all(feature = "crash-points", not(procshare_loom)))]
        $crate::primitive::crash::hit($name);
    }};
}
pub(crate) use crash_point;
