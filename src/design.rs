//! How procshare works: byte map, protocols, invariants, orderings, crash table. No code, only this text.
//!
//! The promise everything here serves: **kill any process at any instruction; no survivor hangs, no value is torn, nothing is left
//! behind.** The one thing that stays has a name and is meant to be found: a named segment whose last user was killed (see
//! [Lifetime](#lifetime)). The glossary of `CONTRIBUTING.md` explains the words of the code.
//!
//! # Map
//!
//! A stack of floors: a file imports only from its own folder and from lower floors, never from a neighbour on the same floor
//! (`tests/layering.rs` enforces it).
//!
//! ```text
//! floor 7  src/pool/         worker processes that run jobs
//! floor 6  src/process/      start a child, hand it its arguments, take its result
//! floor 5  src/travel/       handles as arguments: what is encoded, what goes along
//! floor 4  src/messages/     SharedQueue, pipe, ring: items and handles, over channels and seats
//!          src/collections/  SharedValue, SharedArray, SharedCounter, SharedAtomic, FrozenArray, SharedMap
//! floor 3  src/segment/      create, attach, lifetime, placing objects and handles to them
//! floor 2  src/layout/       what the bytes mean   |   src/raw/  state machines in shared memory   |   src/encoding/  items as bytes
//! floor 1  src/primitive/    what state machines use of the machine: atomics, futexes, owner ids, liveness; real or modelled
//! floor 0  src/sys/          the only place that names libc       src/error.rs, src/trace.rs
//! ```
//!
//! `layout` and `raw` do not import each other: layout finds the place, raw says what happens there, and the floors above join
//! them. With `--cfg procshare_loom`, only `error`, `primitive` (its model half) and `raw` are built.
//!
//! What is absent: no pointer, reference or process-local address is ever stored in a segment. No Rust reference ever leads to
//! plain bytes that a peer may be writing. No death is ever inferred from elapsed time. The only processes are those a program
//! starts, and the fork server if it asks for `ForkServer`. The only threads are: in a daemon child, one that watches the parent;
//! in the parent of a pool, one that runs the pool, and briefly one that starts workers and one that gives up the seats of
//! finished jobs; and one that reaps children whose handles were dropped, as long as there are any.
//!
//! # Bytes of a segment
//!
//! Everything is 64-bit words in the machine's byte order. Layout version 4. A *line* is a cache line, 64 bytes. An *overflow area*
//! is a sparse stretch of the file, beyond what is mapped; a *seat* is a participant's slot; an *event count* is a futex word with
//! a waiters flag and a wake-up count.
//!
//! | word | content |
//! |---|---|
//! | 0 | magic, `procshr\0` in memory on a little-endian machine |
//! | 1 | layout version (low half), flags: 1 persistent, 2 frozen (high half) |
//! | 2 | length in bytes; the file has exactly this length, or, with overflow areas, the length that includes them |
//! | 3 | creator's user id (for tools; access is decided by the file's owner) |
//! | 4, 5 | inode numbers of the PID and the time namespace; 0 is unknown and matches nothing |
//! | 6, 7 | boot id |
//! | 8, 9 | the directory's lock (a raw mutex) |
//! | 10 | bytes in use |
//! | 11, 12 | number of directory buckets (a power of two); number of objects |
//! | 13 | offset of the newest entry; it ends where the bytes in use end |
//! | 14 | whether the file has overflow areas beyond what is mapped: 0 undecided, 1 never, 2 always |
//! | 15 | zero |
//! | 16–79 | attach table: `[ start time:32 \| image:8 \| PID:22 ]`, one word per process, 0 is free |
//! | 80– | buckets: byte offset of the first entry of each chain |
//! | then | objects, each starting on its own cache line and followed by its directory entry |
//!
//! An entry is eight words (next, hash, `kind | name length << 16 | schema length << 32`, object offset, object bytes,
//! fingerprint, elements, 0), then the name and the schema text, each padded with zeros to whole words. The hash is FNV-1a,
//! folded; the fingerprint is FNV-1a over the schema text; both are part of the layout.
//!
//! | object | bytes |
//! |---|---|
//! | value, counter | raw mutex (16), version (8), two slots of the value rounded up to words |
//! | array | raw mutex (16), 48 unused, elements |
//! | atomic, atomic array, frozen array | elements |
//! | queue | one channel |
//! | pipe | two channels of the same size |
//! | ring | tail, head (a line each), two event counts on a third line, 64 seats, slots (a power of two of them) |
//! | pool | tail and closing, head, when to wake the parent (a line each), done bits (16 lines), a line per worker that says whether it sleeps, a word per worker with its process id once it is ready, another with its request for descriptors, ring of slot numbers, slots (128 each), pages of slots (8192 each) |
//! | map | see below |
//!
//! | channel | bytes |
//! |---|---|
//! | shape | units of the ring, number of seats, flags (1: bounded by the number of items only); padded to a line |
//! | producers' side | raw mutex (16), the head it last saw (8), three words of `raw/overflow_cursor.rs`, padded to a line |
//! | tail | on its own line: `[ items:32 \| units:31 \| closed:1 ]`, counted from the beginning; closing (0 or 1) |
//! | consumers' side, head | the same two lines again, without closing |
//! | event counts | two words on one line: consumers wait at the first, producers at the second |
//! | seats | raw mutex (16), joined (8), two pairs of stamps (16), summary `[ changes:32 \| seats used:16 \| roles missing:16 ]` (8), two counts of arrivals (16); then the seats, two words each, as many as the shape says, padded to a line |
//! | ring of units | a power of two of 8-byte units, at least 512 |
//! | extents | if the number of items alone bounds the queue: eight, of a lock, a mark (8) and 8 unused bytes each |
//!
//! A record is a header of one unit, `[ length ^ mark:32 | length:32 ]`, followed by the item [encoded](crate::wire_format),
//! padded to whole units. The record of an item stored outside the ring is two units: such a header with a different mark and the
//! lower half of the length, then `[ rest of the length:16 | position:48 ]`; a third mark says that the position is that of an
//! extent. A seat is an owner as in a lock word, with a ticket's number in the thread's place, and `[ both:16 | consumer:16 |
//! producer:16 | either:16 ]`, the number of handles in each role. Queues and pipes have no structural schema: they record a name,
//! by default that of the Rust type.
//!
//! The file of an in-memory segment grows beyond what is mapped when a queue bounded only by its number of items is placed in it;
//! an anonymous one is that long from the start. It gains one overflow area for each 4096 bytes of the mapping, all of the same
//! length: the largest power of two, up to 2^41, that keeps the file within 2^62 bytes. A queue uses the overflow area of the place
//! where it begins. Overflow areas take no memory where nothing was written. No process maps one as a
//! whole: items are written and read by system calls, and only a long item is mapped, while it is decoded.
//!
//! | map | words |
//! |---|---|
//! | header | `[ shards:32 \| evicts:32 ]`, `[ words of a region:32 \| regions:32 ]`, buckets of a shard, seed of the hash, epoch of the clock, hint to a free region, milliseconds an entry lives, hash of a known text |
//! | tallies | 16 lines of hits and misses |
//! | shards | 176 words each: raw mutex (2), overwrites, entries, `[ regions:32 \| free words:32 ]`, `[ newest:32 \| oldest:32 ]`, soonest expiry, evictions; journal, which size lists are not empty, garbage, 5 unused; 64 list heads, two to a word; 64 notes of two words |
//! | owners | one for each region: `[ shard + 1:32 \| owned:32 ]`, 0 is free |
//! | buckets | the same number for each shard, two to a word: the first entry of each chain; padded to a line |
//! | regions | a power of two of words each; blocks fill them, see `raw/map/heap.rs` and `raw/map/entry.rs` |
//!
//! Words of a map are numbered from its first, in 32 bits; 0 leads nowhere. A key's hash is rapidhash (version 3) with the map's
//! seed: its upper half chooses the shard, its lower half the chain, and the entry keeps the lower half. Scalars, strings and byte
//! vectors are stored as they are, all other types [encoded](crate::wire_format). A map's schema is the names of its types, or a
//! name the user gives, and the name of the hash.
//!
//! A slot of a pool is a state `[ position:40 | worker:16 | phase:8 ]`, eight words that describe its job (function as an
//! offset in the program, items, items to skip, bytes, bytes of the table of what is sent along, how far the worker is with
//! that, extents of items and of results), and six that report the worker's progress (items begun, bytes of results written,
//! bytes of those in the file, when the item was begun, failures, bytes of long results). Its page holds the first 1024 bytes
//! of the job and a window of 7168 bytes for results. The rest of both lies in a second memory file: that of slot `n` from `2n`
//! TiB on, its results from `2n + 1` TiB on, or in smaller steps where the limit of file sizes allows less. The
//! extents of long arguments and results follow; with smaller steps there are none. Holes take no memory.
//!
//! A raw mutex is two words. The first says who holds it: `[ start:10 | PID:22 | inconsistent | - | image:8 | TID:22 ]`, 0 is
//! free. The second is an event count: `[ stamp:32 | count:31 | raised ]`; its low half is the futex that waiters sleep on, its
//! high half says when a waiter last asked whether the owner is alive. *Image* comes from a number the kernel draws at each `exec`.
//! It is needed because nothing else tells a process from what it was before it called `exec`: PID, TID and start times stay.
//! Without it, a process that calls `exec` while it holds a lock, attaches the same segment again and asks for the same lock would
//! wait for itself, and so would all others.
//!
//! # Invariants
//!
//! Each file states its own; this table says where to look.
//!
//! | | in | in short |
//! |---|---|---|
//! | R1–R4 | `raw/mod.rs` | atomics only, zero is initial, `primitive` only, states first, every word is checked before it is used |
//! | B1–B3 | `raw/event_count.rs` | sleeper and waker see each other; the one that lowers the flag wakes a sleeper; a call that slept wakes the next |
//! | M1–M5 | `raw/mutex.rs` | only its owner frees a held lock, and only an heir, on proof that the owner is dead, takes it over; sleepers raise the event count |
//! | E1, E2 | `raw/extent.rs` | an extent is written only by the holder of its lock, and not at all once it is queued; nobody waits for that lock |
//! | Q1–Q7 | `raw/queue.rs` | one lock and one word for each side; whole before tail passes, copied before head does; no call waits while it holds a lock |
//! | F1–F2 | `raw/overflow_cursor.rs` | bytes outside the ring belong to a queued item or to the holder of the producers' lock; given back once head has passed |
//! | N1–N3 | `raw/ring.rs` | each end stores only its own word |
//! | S1–S6 | `raw/seats.rs`; kept in `raw/inheritance.rs` too | taken under a lock, changed by their own process; freed by it or on proof; a role is never missing while it moves; the last to sum up has seen all |
//! | W1–W5 | `raw/wait.rs` | asleep only after raising the event count, for a slice at most; peers are asked about only when a slice ends in vain; "nobody is left" is believed after one more look for what they left |
//! | P1–P4 | `raw/map/mod.rs` | only the holder of a shard's lock changes its words; blocks fill regions; entries are whole before a chain leads to them |
//! | J1–J3 | `raw/map/journal.rs` | noted before it changes; undone backwards; freed memory is reused only in a later change |
//! | C1–C3 | `raw/work_queue.rs` | a job is whole before it is ready, its results before it is done; a place is reused once all have passed it; sleeper and waker see each other |
//! | A1–A5 | `pool/jobs.rs` | a slot is free or has a job; every item ends once; what a job brought along stays open until its worker cannot hold it |
//! | G1–G3 | `pool/workers.rs` | one worker a number; removed once it was waited for and its jobs were taken; failed starts delay the next |
//! | K1–K4 | `pool/engine/mod.rs` | no lock that a worker could hold; no foreign code under the state's lock; a thread as long as there are workers |
//! | L1–L3 | `raw/latch.rs` | only the owner writes, only the slot that is not current, version last |
//! | D1–D3 | `layout/directory.rs` | entries are whole before a bucket leads to them; everything read is checked |
//! | T1–T2 | `segment/lifetime.rs` | names are removed only under the exclusive lock, except by `unlink`; no lock is ever upgraded |
//!
//! # Orderings
//!
//! | store | load it pairs with | what it carries |
//! |---|---|---|
//! | lock word, Release, in `unlock` | Acquire of the compare-exchange in `lock` | what the holder wrote |
//! | version, Release, in `publish` | Acquire load in `try_read` | the slot |
//! | fence, Release, before the slot is written | fence, Acquire, after it is copied | that a reader of a newer word also sees a newer version |
//! | journal of a shard, Release, in `publish` and `undo` | Acquire load in `read` | all words of the change |
//! | fence, Release, before a word under the journal changes | fence, Acquire, after the words are read | that a reader of a newer word also sees a newer count |
//! | value of one word, Release | fence, Acquire, after it is read | what its writer did before; the count of overwrites |
//! | owner of a region, Release, when it is freed | Acquire of the compare-exchange that claims it | that the changes of the shard that had it came first |
//! | hint to a free region, Release | Acquire load in the search for one | that it is free |
//! | bucket, Release | relaxed load and Acquire fence | entry and object |
//! | tail of a queue or ring, Release | Acquire load by the consumer | the records |
//! | head of a queue or ring, Release | Acquire load by the producer | that they were copied out |
//! | tail of a pool's work queue, Release, in `post` | Acquire load in `claim` | the job, its slot and its place |
//! | head of a work queue, Release | Acquire load by the parent | that the place may be reused |
//! | state of a slot, Release, in `finish` | Acquire load in `is_done` | the results |
//! | owner and counts of a seat, Release | Acquire of the check whether anybody is left | what its process put before it left |
//! | summary of seats, Release | Acquire of those that look at seats, or sum up | the changes it counts |
//! | place of a side outside the ring, Release | Acquire load by the other side | that the bytes before it have been given back, or written |
//! | entry of the attach table, Release, when it is taken | Acquire of the check whether an owner is dead | that entries of former images are gone |
//! | entry of the attach table, Release, when it is given back | the same Acquire | what its process did before |
//! | addresses of process-local pages, Release | Acquire | that the page is mapped |
//! | mark of an extent, Release, when an item is placed or cleared | Acquire load of the next to hold its lock | the bytes, or that they were given back |
//! | counts of arrivals at the seats, Release | Acquire load of those that wait for peers | the seats taken |
//! | items begun and settled of a pool's slot, Release | Acquire load by the parent | what the worker did before |
//!
//! Everything else is relaxed, with the reason given in place. A pool's work queue has SeqCst fences between a process about to
//! sleep and those that wake it (C3). All other sleepers rely on the one pair in `primitive/asymmetric.rs`: a
//! thread about to sleep raises a flag and then looks at a word; a thread that has changed the word then looks at the flag; one of
//! the two must see the other. The sleeper has the kernel fence every running thread of every process that uses this crate
//! (`membarrier`), so the other side, which is the frequent one, only has to keep the compiler from reordering. That is what makes
//! unlocking a plain store: one read-modify-write for lock and unlock together. Where the kernel lacks the call, both sides fence.
//!
//! The fence before the slot is written is needed: without it a reader may copy words of version `v + 2` and still read version
//! `v` afterwards. The model `loom_mutant_publish_without_fence_tears` shows it.
//!
//! # Who is dead
//!
//! A waiter spins, then sleeps in slices of 1 ms, doubling to 32 ms. It asks the kernel in two cases: a slice ends and the
//! word has not moved, or the call is about to give up, because it may not wait or its time is up. All waiters together ask at most
//! once per word in 10 ms: five hundred sleepers each asking for itself would keep half a core busy (a test in `tests/liveness.rs`
//! measures it). Dead is the *process*, and only on proof:
//!
//! - it does not exist, or its PID is now the TID of another process's thread;
//! - its start time is different;
//! - it has exited, reaped or not; or all its threads are exiting (the zombie state comes only once memory has been torn down,
//!   tens of milliseconds later for a large process), or waiting for one that writes a core file; two looks at its threads must
//!   agree;
//! - it has called `exec`: the segment is no longer in its maps (asked when the word has stood still for 50 ms, and before a call
//!   that does not wait gives up); or the attach table has it under another image, and the kernel says that it has called `exec`
//!   since it was forked. That a process has no entry there proves nothing: fork children have none, nor do those that found the
//!   table full;
//! - in our own process: the image is not ours.
//!
//! Stopped and traced processes are alive. A thread that has ended is no proof: it may have leaked its guard, and the data behind
//! it may still be in use. `/proc` is believed only if it shows us our own PID. What cannot be read proves nothing.
//!
//! (`CoreDumping` in `/proc` is no proof: it appears while other threads are still in system calls that write to memory.) Before
//! the asker counts a start time as different, it makes sure that it has not itself moved to another time namespace.
//!
//! PIDs and start times mean nothing across PID and time namespaces. A process computes its id and its namespaces once, and stores
//! a mark of that on a page that the kernel empties in each child (`MADV_WIPEONFORK`). A process that finds the page empty was made
//! by `fork` or `clone`, and computes both anew. A child in other namespaces than its parent's is refused every lock of the
//! segments it inherited. Where a filter refuses such a page, the mark is the PID, compared at each lock and unlock: a `getpid`
//! each. Whether a lock, a seat or a child is the caller's own is decided from the word alone: giving something back needs no
//! descriptor, no memory and no `/proc`.
//!
//! A *child by `Fork`* is one that this crate makes; a *forked child* is one of any other `fork`; *copy* means either.
//!
//! # Who is stopped
//!
//! A stopped process is alive, and keeps what it holds. `tests/stopped` stops a process at every point of the crash table and
//! makes every call beside it.
//!
//! | call | what it does while a peer is stopped in the middle of a call |
//! |---|---|
//! | `drop`, `clone`, `Debug`, `get` of an atomic, `try_get` of a value or counter, `len`, `stats`, `objects`, `clean` | does not wait, but for the copies by `fork` and the last drops below |
//! | `try_…`, `…_timeout`, `…_deadline`, a map `with_timeout` or `without_waiting` | keeps the caller's limit |
//! | `get` of a value or counter | does not wait, unless writers have disturbed 32 attempts to copy it: then it takes the lock |
//! | closing a queue | 20 ms for each of its sides, if the peer is putting or getting |
//! | calls without a limit: a lock, a put or get that must wait, a map's other calls, `join` | wait until the peer goes on, or dies |
//! | placing an object, `unlink` | 10 s, then `Busy`, if the peer holds the directory; what exists already is opened at once |
//! | opening a name | 2 s, then `Busy`, if the peer is removing the name, or resetting the file |
//! | opening a queue, pipe or ring, passing a handle on | 10 s, then an error, if the peer is taking a seat |
//! | the first call on a queue's handle in a copy by `fork` | 10 s, then an error (`clone`: a panic), if the peer is taking a seat; a limit of its own is kept, `try_…` waits 20 ms and finds the queue full, or empty |
//! | `drop` of such a handle, or of one that is left to a copy | 20 ms, if the peer is taking a seat |
//! | the last `drop` | 250 ms, if the peer has the file open and is not in the attach table; after that, removing the name is left to the peer |
//! | a start by a fork server | a server stopped for 1 s is killed, and another is asked |
//! | jobs of a pool | run on the other workers, except those it holds; `terminate` and `drop` kill it |
//! | `kill`, `terminate` of a child | `kill` kills it; `terminate` asks it to end once it goes on |
//!
//! Limits are wall-clock time: they run on while the caller itself is stopped. A call that retries therefore reads the clock
//! before each attempt, and makes one last attempt after the limit.
//!
//! # Who takes part
//!
//! The rule: a call that need not wait checks on nobody. A call that would have to wait ends when nobody but the caller's own
//! handle is left that could end the wait. An end of a pipe or ring has one known peer, so once it is known that this
//! peer is gone (it has left, or a call that waited has found it dead), a send is refused even if there is room: nobody would read
//! the item. A queue is open to anybody who comes later, its own producer included.
//!
//! A queue knows who may put and who may take: each process has a seat in it, which counts the process's handles by role. A new
//! handle may do either. It counts as a producer from its first put, or its first wait to put, and as a consumer from its first
//! take, or its first wait to take. A call that finds nothing to take, or no room, and whose slice of sleep ends without news, asks
//! whether another handle is left that may be on the other side. Its own handle is not counted, whatever it has done, since nothing
//! shows whether another thread has a reference to it. The kernel is asked as for a lock's owner, once in 10 ms for each side of a
//! queue. Seats of the dead are freed by whichever process finds them. If nobody else has ever had a seat, the peers are yet to
//! come, and the call waits. One exception: nobody could ever find a queue that is alone in an anonymous segment. There a call
//! without a limit returns at once, unless a living child by `Fork` maps the segment: it has all its handles.
//!
//! The seats' lock is taken only to look for a seat, with a limit of 10 s where the call has none of its own, and to drop a handle
//! that is inherited or left to a copy (below), with a limit of 20 ms. Every other change (leaving, being cloned, turning to a
//! role, handing a ticket over or taking it back) is one compare-exchange on a word of the process's own, so that no stopped
//! process holds up a drop. A summary of all seats, for those that do not look at each, is computed after each change and written
//! by a compare-exchange as well (S5). Closing a queue waits 20 ms at most for the lock of each side. Closing has two
//! steps: `close` sets a word, and the queue is *closing*; then a process that finds the queue empty, once nobody can be about to
//! put, marks `tail`, and it is *closed*.
//!
//! A handle among a child's arguments is a *ticket*: a seat that belongs to the spawner until the child has been started, then to
//! the child, which makes it its own when it attaches. So the role never seems to be gone, and a process that dies takes its own
//! with it. An end of a pipe or ring, which only one process may have, moves with its ticket.
//!
//! A spawner killed between starting its child and handing the ticket over takes the ticket with it: until the child attaches,
//! about a millisecond later, nothing shows that it is coming.
//!
//! A child by `Fork` has copies of the handles its closure holds. As the parent drops its own, it leaves each to the child: it is
//! counted in a seat beside the child's own, its *inheritance*, until the child uses or drops it. So the child is not taken for
//! gone before it has begun. What the child has used or dropped before the parent leaves it, the child notes in a page shared with
//! its parent alone, and the parent then leaves nothing (`raw/inheritance.rs`).
//!
//! # Items of any size
//!
//! A queue bounded by its number of items has a ring of a few units for each item, with room for a reference to every item there
//! may be. An item goes into the ring as long as that room is kept, otherwise into the queue's overflow area, by `pwrite` under the
//! producers' lock. A consumer copies it out by `pread`, publishes `head`, and then gives its memory back by punching a hole. An
//! error of memory or of the file system comes before anything is published. An item of a page or more has pages of its own.
//! Smaller ones share pages, the last of which stays in use until they have filled it.
//!
//! | state of an overflow area's bytes | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | at or after the producers' `at` | holder of the producers' lock writes an item | written | its heir gives their memory back |
//! | written | before `at`; `tail` is the `mark` | the same, by one store to `tail` | queued | its heir takes `at` back, and the same |
//! | queued | a record in `head .. tail` refers to them | holder of the consumers' lock, by one store to `head` | taken | it is still there |
//! | taken | before `aside`; `head` is the `mark` | the same, by punching a hole and a store to its `at` | free | its heir does both |
//!
//! A long item, of more than a mebibyte, that is not a plain vector of numbers is not copied twice: it is encoded into an *extent*
//! (a reserved stretch) of the overflow area's second half, put as a reference, and decoded in place. Encoding and decoding run
//! user code and may take long, so they hold neither of the queue's locks, only the extent's own, which nobody waits for: a process
//! that gets no extent copies. An extent records how many items had been put before the one it holds, so after a death the next to
//! lock it can tell from `head` whether that item is still queued (`raw/extent.rs`).
//!
//! # Waiting for messages
//!
//! A call that finds nothing keeps looking for some tens of microseconds (less if that has not paid lately, not at all on a
//! machine with one processor), then sleeps in slices of 1 ms doubling to 64 ms. A sleep that turns out short lengthens the next
//! look: otherwise two processes that stream would fall into a rhythm of waking each other. The faster side waits for the other
//! all the time, and each of its looks takes the cache line away from the other side. So once it has seen news it lets more
//! gather, for up to 64 pauses, as long as that brings more than one item. Both rules are in `primitive/spin.rs`.
//!
//! For a vector that takes long to copy, the producer wakes a sleeper before the last quarter of a mebibyte is copied, so that
//! copying and waking overlap. A process that is woken and finds nothing yet looks again for the longest time it ever does.
//!
//! # Entries of a map
//!
//! A map is made of shards, each with a lock, a journal (an undo log), and memory of its own. A change notes what a word holds,
//! counts the note, and changes the word; one store publishes all of it. The process that takes a shard's lock from a dead holder
//! puts the noted words back, in as many steps as were taken, however large the map. The alternative, a redo log, costs as much to
//! write, but each look at a word during the change would have to search the notes.
//!
//! A reader takes no lock: it looks at the journal's word before and after, as at a value's version, and looks again if the shard
//! has changed; after some attempts it takes the lock. So a stopped or long-running `update` holds up no reader, and a writer
//! stopped inside a change holds up only those that use its shard. A value of one word is overwritten by one store, without the
//! journal, and counted beside the lock, for those that copy whole shards.
//!
//! Memory is handed to shards in regions, each claimed by one compare-exchange and given back by one store, so that no change
//! covers words of two shards, and no death holds up another shard. Within its regions a shard keeps free blocks in lists by size,
//! and joins them with their neighbours when they are given back. A value that fits into no single block is stored in parts. When
//! a shard finds no room and there is no free region left, it asks others, those with most to spare first, to compact their
//! entries until they can give up a region; in a map that evicts, to evict. Since it holds its own lock meanwhile, it waits only a
//! millisecond for each of theirs; if that was not enough, it releases its own and begins again. It also takes over any shard
//! whose holder it finds dead. In a map that evicts, one region is reserved for each shard, so that every shard can store at least
//! something. When a value stored in parts is removed, the parts are garbage; whoever locks the shard next frees a few thousand at
//! a time.
//!
//! An `update` runs its closure with the shard's lock held, and no map can be used inside: two updates that used each other's keys
//! would wait for one another. Entries expire by a clock of the map's own: the first process to need it stores the wall
//! clock's time, and from then on only the time since the machine was started is added. Setting the wall clock moves nothing.
//!
//! # Jobs of a pool
//!
//! The parent posts jobs in slots of the work queue; workers claim them in order, each by one compare-exchange on the slot's
//! own word, which names the worker from then on. So the words alone tell what a dead worker held, the parent alone acts on
//! that, and nothing has to be recovered from a queue. There is no lock: the parent never waits for a worker, stopped or dead.
//!
//! A job is one item, or a chunk of a map's neighbouring items. A worker announces each item before it begins it, and publishes
//! the record of its result by one store, in memory that outlives it. From a dead worker's chunk the parent takes the records that
//! were published, gives the item begun after them its error (or begins it again, if retries allow), and posts the rest again in
//! the same slot, where the arguments still are. A worker that reaches its limit of items ends in the same way, without the error.
//!
//! | a worker dies | what becomes of its item |
//! |---|---|
//! | before it announces the item | it runs elsewhere |
//! | from there until its record is published | it is lost with the worker, or begun again: nobody can tell how far it came |
//! | afterwards | it has its result |
//!
//! Workers are daemons: they end when the parent does, which they learn from its pidfd. The parent learns of a worker's end from
//! its pidfd as well, and of finished jobs by an event descriptor, signalled only while it sleeps. A worker that is stopped, and
//! so does not come when woken for a job, delays the others by a tick of the pool's thread: 20 ms, or 200 ms after a second
//! without news.
//!
//! Descriptors of the handles among the arguments are passed to the worker that has claimed the job. It asks for them, unless it
//! still has them from the job before, by a word of its own and the event descriptor. The pool's thread answers on a socket that
//! no other worker has, and that holds one answer at most, so the thread waits for no worker; no process needs the right to look
//! into another. The parent keeps the descriptors open until the job has ended. `pool/request.rs` has the states.
//!
//! An item or result of more than a mebibyte is encoded straight into an *extent*: a stretch of the pool's file, of which the job,
//! or the slot, has one of its own. Its reader maps the bytes and decodes them in place, so that they are copied once each way.
//! `pool/extent.rs` has the states. Arguments and results of a child lie in its mailbox in the same way.
//!
//! The pool's thread ends while this process is being copied (`Fork`), and is started again afterwards. Workers keep running, and
//! what they have done, or ask for, is found then.
//!
//! # Lifetime
//!
//! Each attachment of a named segment holds a shared `flock` through an open file description of its own, which lives as long as
//! descriptor *or mapping* (on overlayfs as the descriptor alone, since a mapping there keeps another file open). So a segment is
//! unmapped before the last check whether anybody else is there. The exclusive lock is only ever tried on a newly opened file.
//! `segment/lifetime.rs` has the states.
//!
//! A named segment is made without a name (`O_TMPFILE`), filled, registered and locked, and then linked into place:
//! nobody ever sees a half-made one. Where a file system has no unnamed files, it is made under a hidden name and
//! renamed.
//!
//! What lies in a `static` is never dropped. So at the end of a `main` with `#[procshare::main]`, and of every child, the process
//! gives up the names of all segments still attached. It clears its entry in the attach table, replaces the open file behind
//! mapping and descriptor, in place, by one that holds no lock, and then looks for other users as at any drop. The memory stays
//! mapped for code that still uses it. A copy of this process by `fork` shares the open file and its lock; it keeps the name until
//! it ends in the same way.
//!
//! A program that ends by `std::process::exit` or by a signal runs none of this: to its segments that is a kill, and their names
//! remain until the next `create` or [`clean`](fn@crate::clean).
//!
//! # Crash table
//!
//! Each line is a named point in the sources; a test kills a real process at every one of them: `tests/crash.rs` at those of
//! locks, values and segments, `crash_messages`, `crash_map`, `crash_process` and `crash_pool` at the others.
//!
//! | point | what it held or had begun | what survivors find |
//! |---|---|---|
//! | `lock.acquired`, `lock.taken_over` | the lock | the lock, after proof of death; the value as it was; an array says `OwnerDied` |
//! | `lock.waiting`, `lock.woken` | a place among the sleepers, or a wake-up | the lock; the lost wake-up costs others a slice |
//! | `unlock.begin` | the lock, its change published | the change, and the lock after proof of death |
//! | `unlock.released` | nothing; a wake-up not sent | the lock; sleepers look again when their slice ends |
//! | `publish.begin`, `publish.half`, `publish.written` | the lock, a slot nobody reads | the value as it was |
//! | `publish.published` | the lock | the new value |
//! | `array.guarded` | an array's lock | `OwnerDied` until a process recovers it |
//! | `create.opened` to `create.registered` | a file without a name | nothing; the kernel frees it |
//! | `create.linked` | a named segment, whole | an orphan that can be opened; the next `create` or `clean` removes it |
//! | `open.opened` to `open.registered` | at most a shared lock and an entry of the attach table | the segment; the entry is taken by the next process that needs one |
//! | `place.locked`, `place.object`, `place.entry` | the directory's lock, bytes beyond those in use | no such object; the bytes are used again |
//! | `place.published` | the directory's lock | the object, whole; the next to place one corrects the count |
//! | `place.counted` | the directory's lock | the object, whole |
//! | `detach.begin`, `detach.deregistered`, `detach.unlocked` | the last attachment | an orphan |
//! | `detach.exclusive` | the exclusive lock of an orphan | an orphan |
//! | `detach.unlinked`, `unlink.done` | nothing | no such name |
//! | `unlink.begin` | the directory's lock | the segment, its name in place |
//! | `bell.lowered` | a wake-up not sent | sleepers look again when their slice ends |
//! | `bell.sleeping`, `bell.woken` | a place among the sleepers, or a wake-up | the lost wake-up costs others a slice |
//! | `queue.put.outside` | the producers' lock, bytes of an item outside the ring | no such item; the lock's heir gives their memory back |
//! | `queue.put.copied` | the producers' lock, a record beyond `tail` | no such item; the units are overwritten |
//! | `queue.put.published`, `queue.put.unlocked` | the lock, or nothing | the item |
//! | `queue.get.copied` | the consumers' lock | the item is still there |
//! | `queue.get.taken`, `queue.get.unlocked` | the lock, or nothing | the item is gone with its taker; its room is free, its memory outside the ring once the lock has an heir |
//! | `queue.get.returned` | the consumers' lock, a word that says what was given back | the same; the heir gives it back again |
//! | `queue.extent.locked` | an extent's lock | no such item, or the item is still there |
//! | `queue.extent.written`, `queue.extent.placed` | an extent's lock, the bytes of a long item | no such item; the next to put a long item gives their memory back |
//! | `queue.extent.taken`, `queue.extent.cleared` | an extent's lock | the item is gone with its taker; the next to put a long item, or to wait, gives its memory back |
//! | `queue.close.stored` | nothing, or one side's lock | closed; sleepers look when their slice ends |
//! | `ring.used` | a slot written, or read | the item was not delivered, or is still there |
//! | `ring.advanced` | nothing; a wake-up not sent | the item was delivered, or is gone |
//! | `seat.counted`, `seat.taken`, `seat.turned`, `seat.redeemed` | counts of a seat that is its own, its copy's or free, mostly the seats' lock | it is gone: its seats are freed |
//! | `seat.freed` | nothing, or the seats' lock; the summary of all seats is out of date | it has left; a waiting call finds that out |
//! | `seat.ticket` | the seats' lock, a ticket in its own name | it is gone: ticket and seat are freed |
//! | `map.noted`, `map.changed` | a shard's lock, words half changed | the map as it was; the words are put back |
//! | `map.published` | a shard's lock | the change |
//! | `map.undone`, `map.recovered` | a shard's lock, words half put back; or garbage not freed | the map as it was; the next holder continues |
//! | `map.replaced` | a shard's lock | the new value of one word |
//! | `map.claimed` | a shard's lock, a region without blocks | the region is free again |
//! | `map.freed` | a shard's lock; the free region not announced | it is found when the shard is locked next |
//! | `map.part` | a shard's lock, parts of a value that nothing leads to | no such value; the parts are freed |
//! | `pool.ready` (the parent) | a job written and not yet posted | nothing: the workers end with their parent |
//! | `pool.claimed` | a job it has not begun | the job runs elsewhere |
//! | `pool.handed` (the parent) | a descriptor under way to a worker | nothing: the workers end with their parent |
//! | `pool.asking`, `pool.received` | a job whose descriptors it has asked for, or got | its first item's error, or it is begun again; the kernel closes what was under way; the others run elsewhere |
//! | `pool.begun`, `pool.answering`, `pool.spilled`, `pool.stored` | an item begun | its error, or it is begun again; the items before it have their results, those after it run elsewhere |
//! | `pool.answered`, `pool.finishing` | a job whose last results are published | the results |
//! | `pool.finished`, `pool.told` | a finished job that the parent does not know of yet | the results, when the parent learns of the death |
//! | `pool.asleep`, `pool.awake` | a place among the sleepers, or a wake-up | the parent wakes another |
//! | `start.posted` | a mailbox nobody knows of | nothing; the kernel frees it |
//! | `start.asked` | a request a server has, or is about to get | a child that nobody waits for; the server ends, and the child if it is a daemon |
//! | `start.made`, `start.named` | a child that runs | the child without its parent; it ends if it is a daemon |
//! | `start.born`, `start.begun`, `start.done`, `start.answered` | the start request, or an answer | the parent: a child that a signal ended |
//! | `start.serving`, `start.heard` | a request | the caller: no child; it asks another server, once |
//! | `start.cloned`, `start.told` | a child made, its id written by the kernel | the caller: the child |
//! | `reset.locks`, `reset.stamped` | a file of an earlier start of the machine, half reset | the next opener resets it from the beginning |
//!
//! # Children
//!
//! `Process::spawn` runs `/proc/self/exe` again, and names the function by its offset from a known symbol. Three checks make sure
//! that both run the same program: the inode, a digest of the program headers and notes (which hold the build id), and that the
//! address lies in the program's own text. Arguments
//! and result travel through one memfd. Handles in the arguments become numbers in a table of descriptors, one per segment;
//! close-on-exec is cleared in the child only, so that no other child inherits them, and set again when the child takes them over.
//! A marker in the environment says which descriptor is the mailbox and whose child it is for; the child uses it up. A process
//! that finds a marker naming its parent, and gets no mailbox, ends at once: in its `main` it would start children, and they would
//! start theirs, without end. A marker that names another process means nothing: a grandchild that runs the same program starts in
//! its own `main`. A program that runs with more rights than its caller (`AT_SECURE`) ignores the marker. So before it starts a
//! child, a process works out from its ids, and from the mode and capabilities of the file, whether the child would run so. If it
//! would, or if `/proc/self/exe` leads to the dynamic loader, it refuses to start a child this way.
//!
//! `Fork` copies this process, and only where that is sound: there is one thread (this crate's own, those of pools included, are
//! stopped for the moment), and there is no loan: no guard of an array and no chunk of a ring is alive or was leaked, by any
//! thread (`primitive/loans.rs`). A server about to copy itself checks the same. The copy has no children on record, watches no
//! orphans, runs one closure or start request, and leaves by `_exit`, also where it panics.
//!
//! `ForkServer` has a process with one thread copy itself. `clone(CLONE_PARENT)` makes the copy a child of the server's parent,
//! which is the caller: it is waited for, signalled and reaped like any other. Mailbox, streams, folder and handles go to the
//! server as descriptors of one message; the environment is in the mailbox. The copy restores what the C library's own `fork`
//! would: the thread id the library keeps, and the list of robust mutexes. With glibc the kernel tells where that id is stored;
//! with musl it is searched for: a value is written to a candidate, and a mutex that records its owner is locked; if it records
//! that value, the place is right. Where none is found, no server runs.
//!
//! | state of a start | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | mailbox posted | the caller: `posix_spawn`, `fork`, or a request to the server | made, or asked | nothing is left; a server ends with its parent |
//! | asked of a server (word 0) | the kernel, in the server's `clone`, which writes the id into the mailbox | made | no child: the caller asks a new server, once, and then gets an error |
//! | made (word: the id) | the server, by its reply | made and told | the caller reads the word, and goes on as if told |
//! | made | the caller, which gets no pidfd although it kept a descriptor free for one: by a kill and a wait | ended | the child runs on; it ends if it is a daemon |
//! | made | the child, by reading its start request | begun | its end is reported to the parent: a signal, or "not started" |
//! | begun | the child, by its answer, the state last | answered | the same; what it held of shared objects is free |
//! | answered | the parent, by reaping | ended | the answer is lost with its reader |
//!
//! | who dies | the others |
//! |---|---|
//! | a child | the parent is told, by join or by the thread that waits for children whose handle was dropped |
//! | the parent | daemons and servers end: they watch its pidfd, which a reused PID cannot fool; other children run on |
//! | a server | not affected: its children are the caller's; the next start has a new one. Until then it is a zombie |
//!
//! The kernel reports a child's end once, and it is noted in one place for all handles. A stop is not an end: for a child that
//! this process traces the kernel reports stops as well, which are left to the tracer. Children whose handle was dropped are
//! waited for by a thread that exists only while there are any. What one process knows of its children, servers and orphans is
//! marked with the process it belongs to, so that a copy made by any other `fork` ignores all of it.
//!
//! At the end of a `main` with `#[procshare::main]`, the process kills its daemons, then waits for its other children, except those
//! detached. A child does the same at its end, unless it is a daemon. Workers of pools are left alone: they end with the process.
//! If a daemon killed so was the last user of a name, this process removes the name, provided it had used it as well; otherwise the
//! name stays, as after any kill.
//!
//! What children need while a thread or the program ends has no destructor there: what a thread is packing or unpacking is kept in
//! thread-local storage that is never torn down.
//!
//! # What is outside
//!
//! Peers cooperate. They may crash, be killed, or be old builds; one that truncates a named segment's file, or writes without the
//! locks, can make others read wrong numbers, get errors, wait, or be sent SIGBUS; one that overwrites a long item while another
//! decodes it in place can cause undefined behaviour there. For segments in files, three things are outside: file
//! systems that allocate on write (btrfs), network file systems, and loss of power. Smaller ones:
//!
//! - A process that calls `exec` while it holds a lock, and then attaches the same segment again, is told from its former self by
//!   eight bits: one time in 255 they do not differ. Nor is it told apart if more than 64 processes are attached and it found no
//!   entry in the table.
//! - Where the kernel refuses to empty a page on `fork`: if a process with PID 1 makes a child by a bare `clone` in a new PID
//!   namespace, the child has PID 1 too, and is taken for its parent.
//! - A function that a child runs is identified by its type alone. A closure that captures only zero-sized values has a zero-sized
//!   type too, and the child makes such values out of nothing: a type whose only purpose is to prove that something was done in
//!   this process proves nothing there. The compiler offers no way to refuse it.
//! - What a closure has captured, and how large a type is, the compiler knows only when it builds a program: a closure with a
//!   captured number, a value of more than 64 KiB, an array of `bool` pass `cargo check`, and `cargo build` refuses them with the
//!   line they are in. Borrows are refused by lifetimes alone, where the compiler's wording cannot be chosen: it names a trait
//!   whose path says what to do.
//! - The guard of an array may move to another thread, since an error that contains a guard must be able to. Its lock is then
//!   still held in the name of the thread that locked, even after that thread has ended: only a process's end frees a lock. The
//!   locking thread is refused the lock as if it held it, and the thread that has the guard is not warned that it would wait for
//!   itself.
//! - A stopped daemon or worker watches nobody: if its parent ends meanwhile, it ends once it is continued. A parent that calls
//!   `exec` has not ended.
//! - A fork child that never calls `exec` holds its parent's share of the file lock: the parent's last drop waits for
//!   250 ms, and leaves the name to the child, or to `clean`.
//! - A child by `Fork` holds that share too: the name goes when the child ends. If it is killed, `create` or `clean` removes the
//!   name.
//! - A name used by a pool's workers at the end of `main`, the pool being in a `static`, is removed by `create` or `clean`.
//! - An unnamed thread that a plain `#[test]` starts beside a `#[procshare::test]` borrows the latter's entry.
//! - A child forked by a process with several threads may use what it has inherited, but not create or open segments: another
//!   thread may have held a lock that this needs, as with any allocation.
//! - Guards and chunks are inherited by a child of a `fork` that this crate did not make. Dropping or committing them there does
//!   nothing; using an array's guard or a ring's chunk there uses what belongs to the parent.
//! - With [`allow_user`](crate::SegmentBuilder::allow_user) the last to leave may lack the right to remove the name; its owner's
//!   `create` or `clean` removes it.
//! - A child forked inside the closure of a map's `update` does not hold the lock, and its changes are refused.
//! - `clear`, `retain` and `extend` of a map are as many steps as there are entries: a death inside leaves some of them done.
//! - A queue's handle in a copy by `Fork` that the copy drops unused while some process is stopped taking a seat counts until the
//!   copy ends, or calls `exec`.
//! - Items of a queue that a consumer has taken die with it: there is no acknowledgement.
//! - An `exec` of a process that holds a seat is noticed when a call has waited for it for about half a second.
//! - If a `Serialize` called while a child is being spawned writes a handle twice, or writes one that does not go to the child, a
//!   ticket is left over; it counts until that child has ended.
//! - A `fork` from a signal handler that interrupts a put or get: its child must not return from the handler.
//! - Where `membarrier` is filtered away for one process only, wake-ups between it and others may come one slice late.
//! - A kernel thread that still writes to a dead process's buffers (asynchronous direct input into a locked array) is
//!   not seen.
