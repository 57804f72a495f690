//! How procshare works: byte map, protocols, invariants, orderings, crash table. No code, only this text.
//!
//! The promise everything here serves: **kill any process at any instruction; no survivor hangs, no value is torn,
//! nothing is left behind.**
//!
//! # Map
//!
//! A stack of floors; a file imports from its own folder and from lower floors (`tests/layering.rs` sees to it).
//!
//! ```text
//! floor 6  src/pool/         worker processes that run jobs
//! floor 5  src/process/      start a child, hand it its arguments, take its result
//! floor 4  src/messages/     SharedQueue, pipe, ring: items and handles, over channels and seats
//! floor 3  src/collections/  SharedValue, SharedArray, SharedCounter, SharedAtomic, FrozenArray, SharedMap
//! floor 2  src/segment/      create, attach, lifetime, placing objects
//! floor 1  src/layout/       what the bytes mean   |   src/raw/  state machines in shared memory   |   src/encoding/  items as bytes
//! floor 0  src/primitive/    the only door to atomics, futexes, owner ids, liveness
//!          src/sys/          the only place that names libc       src/error.rs, src/trace.rs
//! ```
//!
//! `layout` and `raw` do not import each other: layout finds the place, raw says what happens there, and the floors
//! above join them. With `--cfg procshare_loom` only `primitive` (its model half) and `raw` are built.
//!
//! What is absent: no pointer, reference or process-local address is ever stored in a segment. No Rust reference ever
//! leads to plain bytes a peer may write meanwhile. No death is ever concluded from elapsed time. No process runs
//! but those a program starts, and the one that makes its children where it asks for `ForkServer`. The only threads are
//! one in a daemon child, which watches its parent; one in the parent of a pool, and for a moment one that starts workers and one that
//! gives up seats of jobs that have ended; and one that reaps children whose handles were dropped, until they have ended.
//!
//! # Bytes of a segment
//!
//! Everything is 64-bit words in the machine's byte order. Layout version 4.
//!
//! | word | content |
//! |---|---|
//! | 0 | magic, `procshr\0` in memory on a little-endian machine |
//! | 1 | layout version (low half), flags: 1 persistent, 2 frozen (high half) |
//! | 2 | length in bytes; the file has exactly this length, or that with lanes |
//! | 3 | creator's user id (for tools; what counts is the file's owner) |
//! | 4, 5 | inode numbers of the PID and the time namespace; 0 is unknown, and matches nothing |
//! | 6, 7 | boot id |
//! | 8, 9 | the directory's lock (a raw mutex) |
//! | 10 | bytes in use |
//! | 11, 12 | number of directory buckets (a power of two); number of objects |
//! | 13 | where the newest entry stands; it ends where the bytes in use end |
//! | 14 | whether the file has lanes behind what is mapped: 0 undecided, 1 never, 2 always |
//! | 15 | zero |
//! | 16–79 | attach table: `[ start time:32 \| image:8 \| PID:22 ]`, one line for each process, 0 is free |
//! | 80– | buckets: byte offset of the first entry of each chain |
//! | then | objects, each on a cache line of its own and followed by its directory entry |
//!
//! An entry is eight words (next, hash, `kind | name length << 16 | schema length << 32`, object offset, object bytes,
//! fingerprint, elements, 0), then the name and the schema text, each filled up with zeros to whole words. The hash is
//! FNV-1a, folded; the fingerprint is FNV-1a over the schema text; both are part of the layout.
//!
//! | object | bytes |
//! |---|---|
//! | value, counter | raw mutex (16), version (8), two slots of the value rounded up to words |
//! | array | raw mutex (16), 48 unused, elements |
//! | atomic, atomic array, frozen array | elements |
//! | queue | one channel |
//! | pipe | two channels of the same size |
//! | ring | tail, head, two bells (a line of 64 each), 64 seats, slots (a power of two of them) |
//! | pool | tail and closing, head, alarm (a line each), done bits (16 lines), a line with the bell of each worker, a word of each worker that says it came, another by which it asks, ring of slot numbers, slots (128 each), pages of slots (8192 each) |
//! | map | see below |
//!
//! | channel | bytes |
//! |---|---|
//! | shape | units of the ring, number of seats, flags (1: bounded by the number of items alone); to the end of the line |
//! | producers' side | raw mutex (16), the head it last saw (8), three words of `raw/trail.rs`, to the end of the line |
//! | tail | a line of its own: `[ items:32 \| units:31 \| closed:1 ]`, counted from the beginning; closing (0 or 1) |
//! | consumers' side, head | the same two lines again, without closing |
//! | bells | two words of a line: consumers wait at the first, producers at the second |
//! | seats | raw mutex (16), joined (8), two pairs of stamps (16), summary `[ changes:32 \| seats used:16 \| roles missing:16 ]` (8), two counts of arrivals (16); then seats of two words, as many as the shape says, to the end of a line |
//! | ring of units | a power of two of 8-byte units, at least 512 |
//!
//! A record is a header of one unit, `[ length ^ mark:32 | length:32 ]`, and the item [encoded](crate::wire_format), filled up
//! to whole units. That of an item outside the ring is two units: such a header with another mark and the lower half of the
//! length, and `[ rest of the length:16 | position:48 ]`. A seat is an owner as in a lock word, with a ticket's number in the thread's place, and `[ both:16 |
//! consumer:16 | producer:16 | either:16 ]`, the number of handles in each role. Queues and pipes have no structural
//! schema: they record a name, by default that of the Rust type.
//!
//! The file of a segment in memory becomes longer than what is mapped when a queue comes that is bounded by its items alone,
//! and an anonymous one is so from the beginning: by a lane for each 4096 bytes of the mapping, all of the same length, the
//! largest power of two up to 2^41 with which the file is not longer than 2^62. A queue has the lane of the place where it
//! begins. Lanes take no memory where nothing was written, and are never mapped.
//!
//! | map | words |
//! |---|---|
//! | header | `[ shards:32 \| evicts:32 ]`, `[ words of a region:32 \| regions:32 ]`, chains of a shard, seed of the hash, epoch of the clock, hint where a region is free, milliseconds an entry lives, hash of a known text |
//! | tallies | 16 lines of hits and misses |
//! | shards | 176 words each: raw mutex (2), overwrites, entries, `[ regions:32 \| free words:32 ]`, `[ newest:32 \| oldest:32 ]`, soonest expiry, evictions; journal, which size lists are not empty, garbage, 5 unused; 64 list heads, two to a word; 64 notes of two words |
//! | owners | one for each region: `[ shard + 1:32 \| owned:32 ]`, 0 is free |
//! | chains | for each shard the same number, two to a word; filled up to a line |
//! | regions | a power of two of words each; blocks fill them, see `raw/map/heap.rs` and `raw/map/entry.rs` |
//!
//! Words of a map are numbered from its first, in 32 bits; 0 leads nowhere. A key's hash is rapidhash (version 3) with the
//! map's seed: its upper half chooses the shard, its lower half the chain, and the entry keeps the lower half. Scalars,
//! strings and byte vectors are stored as they are, all other types [encoded](crate::wire_format). A map's schema is the names
//! of its types, or what the user says, and the name of the hash.
//!
//! A slot of a pool is a state `[ position:40 | worker:16 | phase:8 ]`, six words that say what its job is (function as an
//! offset in the program, items, items to skip, bytes, bytes of the table of what travels along), and five that say how far the
//! worker is (items begun, bytes of results written, bytes of those in the file, when the item was begun, failures). Its page
//! holds the first 1024 bytes of the job and a window of 7168 bytes for results. The rest of both lies in a second memory
//! file, that of slot `n` from `2n` TiB on and its results from `2n + 1` TiB on: holes take no memory.
//!
//! A raw mutex is two words. The first says who holds it: `[ start:10 | PID:22 | inconsistent | - | image:8 | TID:22
//! ]`, 0 is free. The second is a bell: `[ stamp:32 | count:31 | raised ]`, whose low half is the futex that waiters
//! sleep on, and whose high half says when somebody last asked whether the owner is alive. *Image* comes from a number
//! the kernel draws at each `exec`. It is needed because nothing else tells a process from the one it was before it
//! `exec`ed: PID, TID and start times stay. A process that `exec`s while it holds a lock, attaches the same segment
//! again and asks for the same lock would otherwise wait for itself, and so would everybody else.
//!
//! # Invariants
//!
//! Each file states its own; here is where to look.
//!
//! | | in | in short |
//! |---|---|---|
//! | R1–R4 | `raw/mod.rs` | atomics only, zero is initial, `primitive` only, states first |
//! | B1–B3 | `raw/doorbell.rs` | sleeper and waker see each other; whoever lowers the flag wakes one; whoever slept wakes the next |
//! | M1–M5 | `raw/mutex.rs` | only the owner changes the word of a held lock; sleepers raise the bell; take-over follows proof and compares the whole word |
//! | E1, E2 | `raw/extent.rs` | only the holder of its lock writes an extent, and nobody once it is queued; nobody waits for that lock |
//! | Q1–Q7 | `raw/queue.rs` | one lock and one word for each side; whole before tail passes, copied before head does; nobody waits with a lock |
//! | F1–F2 | `raw/trail.rs` | bytes outside the ring belong to a queued item or to the holder of the producers' lock; given back once head has passed |
//! | N1–N3 | `raw/ring.rs` | each end stores its own word only |
//! | S1–S6 | `raw/seats.rs`, `raw/inheritance.rs` | taken under a lock, changed by their own process; freed by it or on proof; a role never is nowhere while it moves; the last to sum up has seen all |
//! | W1 | `raw/waiting.rs` | "nobody is left" is believed after one more look for what they left |
//! | P1–P4 | `raw/map/mod.rs` | a shard's words are changed by its lock's holder only; blocks fill regions; entries are whole before a chain leads to them |
//! | J1–J3 | `raw/map/journal.rs` | noted before it changes; undone backwards; freed memory is reused in a later change only |
//! | C1–C3 | `raw/board.rs` | a job is whole before it is ready, its results before it is done; a place is reused once all passed it; sleeper and waker see each other |
//! | L1–L3 | `raw/latch.rs` | only the owner writes, only the slot that is not current, version last |
//! | D1–D3 | `layout/directory.rs` | entries are whole before a bucket leads to them; everything read is checked |
//! | T1–T2 | `segment/lifetime.rs` | names go only under the exclusive lock; no lock is ever upgraded |
//!
//! # Orderings
//!
//! | store | load it pairs with | what it carries |
//! |---|---|---|
//! | lock word, Release, in `unlock` | Acquire of the compare-exchange in `lock` | what the holder wrote |
//! | version, Release, in `publish` | Acquire load in `try_read` | the slot |
//! | fence, Release, before the slot is written | fence, Acquire, after it is copied | that a newer version is seen if a newer word was |
//! | journal of a shard, Release, in `publish` and `undo` | Acquire load in `read` | all words of the change |
//! | fence, Release, before a word under the journal changes | fence, Acquire, after they are looked at | that a newer count is seen if a newer word was |
//! | value of one word, Release | fence, Acquire, after it is looked at | what its writer did before; the count of overwrites |
//! | owner of a region, Release, when it is freed | Acquire of the compare-exchange that claims it | that its last shard's changes came first |
//! | hint where a region is free, Release | Acquire load by who looks for one | that it is |
//! | bucket, Release | relaxed load and Acquire fence | entry and object |
//! | tail of a queue or ring, Release | Acquire load by who takes | the records |
//! | head of a queue or ring, Release | Acquire load by who puts | that they were copied out |
//! | tail of a pool's board, Release, in `post` | Acquire load in `claim` | the job, its slot and its place |
//! | head of a board, Release | Acquire load by the poster | that the place may be reused |
//! | state of a slot, Release, in `finish` | Acquire load in `is_done` | the results |
//! | owner and counts of a seat, Release | Acquire of who looks whether anybody is left | what its process put before it left |
//! | summary of seats, Release | Acquire of who looks at seats, or sums up | the changes it counts |
//! | place of a side outside the ring, Release | Acquire load by the other side | that the bytes before it have been given back, or written |
//! | attach slot, Release | Acquire in the judgement of an owner | that entries of former images are gone |
//! | addresses of process-local pages, Release | Acquire | that the page is mapped |
//! | attach slot, Release, when it is given back | Acquire in the judgement | what was done before |
//!
//! Everything else is relaxed, and says why where it stands. The one pair of SeqCst fences is in
//! `primitive/asymmetric.rs`: whoever is about to sleep raises a flag and then looks at a word, whoever has changed the
//! word then looks at the flag, and one of the two must see the other. The sleeper has the kernel fence every running
//! thread of every process that uses this crate (`membarrier`), so that the other side, which is the frequent one, gets
//! by with keeping the compiler from reordering. That is what makes unlocking a plain store: one read-modify-write for
//! lock and unlock together. Where the kernel lacks the call both sides fence.
//!
//! The fence before the slot is written is needed: without it a reader may copy words of version `v + 2` and yet read
//! version `v` afterwards. The model `loom_mutant_publish_without_fence_tears` shows it.
//!
//! # Who is dead
//!
//! A waiter spins, then sleeps in slices of 1 ms, doubling to 32 ms. When a slice ends and the word has not moved, and
//! when a call that may not wait (longer) is about to give up, it asks the kernel; one question per word in 10 ms,
//! whoever asks: five hundred sleepers asking each for itself would keep half a core busy (a test in
//! `tests/liveness.rs` measures it). Dead is the *process*, and only on proof:
//!
//! - it does not exist, or its PID is now the TID of another process's thread;
//! - its start time is another;
//! - it has exited, reaped or not; or all its threads are exiting (the zombie state comes only when memory has been
//!   torn down, tens of milliseconds later for a large process), or wait for one that writes a core file; two looks at
//!   its threads must agree;
//! - it has `exec`ed: the segment is no longer in its maps (asked when the word has stood still for 50 ms, and before a
//!   call that does not wait gives up); or the attach table has it under another image, and the kernel says that it has
//!   `exec`ed since it was forked. That a process has no line there proves nothing: fork children have none, nor have
//!   those that found the table full;
//! - in our own process: the image is another than ours.
//!
//! Stopped and traced processes are alive. A thread that ended is no proof: it may have leaked its guard, and the data
//! behind it may still be in use. `/proc` is believed only if it shows us our own PID. What cannot be read proves
//! nothing.
//!
//! (`CoreDumping` in `/proc` is no proof: it appears while other threads are still in system calls that write to
//! memory.) Before a start time counts as different, the asker makes sure that it has not itself moved to another time
//! namespace.
//!
//! PIDs and start times mean nothing across PID and time namespaces. A process computes its id once, with its
//! namespaces, and again only when it finds the word on its wipe-on-fork page empty: then it is a fork child, `clone`d
//! by whatever means. A child in other namespaces than its parent's is refused every lock of the segments it inherited.
//! Where a filter refuses such a page, the word counts for the process whose PID is in it, which costs a `getpid` for
//! each lock and each unlock. Whether a lock, a seat or a child is the caller's own is told from the word alone: no descriptor,
//! no memory and no `/proc` is needed to give something back.
//!
//! # Who is stopped
//!
//! A process that is stopped lives, and keeps what it holds. `tests/stopped` stops one at every point of the crash table and
//! makes every call beside it.
//!
//! | call | beside a peer stopped in the midst of it |
//! |---|---|
//! | `drop`, `clone`, `Debug`, `get` of a value, counter or atomic, `len`, `stats`, `objects`, `clean` | waits for nobody |
//! | `try_…`, `…_timeout`, `…_deadline`, a map `with_timeout` or `without_waiting` | keeps the caller's limit |
//! | closing a queue | 20 ms for each of its sides, if it is putting or getting |
//! | a lock, a put or get that must wait, a map's other calls, `join`, without a limit | wait until it goes on, or dies |
//! | placing an object, `unlink` | 10 s, then `Busy`, if it holds the directory; what is there is opened at once |
//! | opening a name | 2 s, then `Busy`, if it is removing the name, or resetting the file |
//! | opening a queue, pipe or ring, passing a handle on | 10 s, then an error, if it is taking a seat |
//! | the first call of a copy by `fork` on a queue's handle | 10 s, then an error (`clone`: a panic), if it is taking a seat; a limit of its own is kept, `try_…` waits 20 ms and finds it full, or empty |
//! | `drop` of such a handle, or of one that is left to a copy | 20 ms, if it is taking a seat |
//! | the last `drop` | 250 ms, if it has the file open and is not in the attach table; then the name is its to remove |
//! | a start by a fork server | a server stopped for 1 s is killed, and another asked |
//! | jobs of a pool | run on the other workers, but for what it has in hand; `terminate` and `drop` kill it |
//! | `kill`, `terminate` of a child | kills it; asks it to end once it goes on |
//!
//! Limits are wall-clock time: they run on while the caller itself is stopped. So whoever tries again and again reads the clock
//! before each attempt, and makes one last attempt after the limit.
//!
//! # Who takes part
//!
//! The rule: a call that need not wait looks at nobody. A call that would have to wait ends when nobody is left, beside the
//! caller's own handle, who could end the wait. An end of a pipe or ring has one known peer, so a send is refused as soon
//! as that is gone: what it sent would be read by nobody. A queue is open to whoever comes later, its own producer included.
//!
//! A queue knows who may put and who may take: each process has a seat in it, which counts the process's handles by
//! role. A handle that has done neither may come to do either; it is a producer once it has put or waited to, a
//! consumer once it has taken or waited to. A call that finds nothing to take, or no room, and whose slice of sleep
//! ends without news, asks whether another handle is left that may be on the other side; its own is not counted, whatever it
//! has done, since nothing shows whether another thread has a reference to it. The kernel is asked as for a lock's
//! owner, once in 10 ms for each side of a queue. Seats of the dead are freed by whoever finds them. If nobody else has
//! ever had a seat, the peers are yet to come, and it waits; but not without a limit at a queue alone in an anonymous
//! segment, which nobody could find, unless a copy of this process by `Fork` lives that maps it: that has all its handles.
//!
//! Only who looks for a seat takes the seats' lock, with a limit of 10 s where the call has none of its own, and who drops a
//! handle that is inherited, or left to a copy (below), with a limit of 20 ms. Who leaves otherwise, is cloned, turns to a
//! role, or hands a ticket over or takes it back, changes one word that is its own by a compare-exchange, so that nobody who was
//! stopped holds up a drop. What is known of all seats, for those who do not look at each, is computed after each change and
//! written by a compare-exchange as well (S5). Closing a queue waits 20 ms at most for the lock of each side: a word says that
//! it is *closing*; `tail` says that it is *closed*, which whoever finds the queue empty writes there once nobody can be about to
//! put.
//!
//! A handle among a child's arguments is a *ticket*: a seat that belongs to the spawner until the child has been
//! started, then to the child, who makes it its own when it attaches. So at no time does the role seem to be gone, and
//! whoever dies takes with him what was his. An end of a pipe or ring, which only one may have, goes with its ticket.
//!
//! A spawner killed between starting its child and handing the ticket over takes the ticket with it: until the child
//! attaches, a matter of a millisecond, it is not known to be coming.
//!
//! A child by `Fork` has copies of the handles its closure holds. As the parent drops its own, it leaves each to the child: it
//! is counted in a seat beside the child's own, its *inheritance*, until the child uses or drops it. So the child is not
//! taken for gone before it has begun. What the child has used or dropped before it was left, it notes in a page that it has in
//! common with its parent alone, which then leaves nothing (`raw/inheritance.rs`).
//!
//! # Items of any size
//!
//! A queue bounded by the number of its items has a ring of a few units for each, and room in it for a reference to every item
//! there may be: an item goes into the ring as long as that stays so, else into the queue's lane, by `pwrite` under the
//! producers' lock. Whoever takes it copies it out by `pread`, publishes `head`, and then gives its memory back by a hole. An
//! error of memory or of the file system comes before anything is published. An item of a page or more has pages of its own.
//! Smaller ones share pages, the last of which stays taken until they have filled it.
//!
//! | state of a lane's bytes | shown by | moved by | to | if that party dies there |
//! |---|---|---|---|---|
//! | free | from the producers' `at` on | holder of the producers' lock writes an item | written | its heir gives their memory back |
//! | written | before `at`; `tail` is the `mark` | the same, by one store to `tail` | queued | its heir takes `at` back, and the same |
//! | queued | a record in `head .. tail` refers to them | holder of the consumers' lock, by one store to `head` | taken | it is still there |
//! | taken | before `aside`; `head` is the `mark` | the same, by a hole and a store to its `at` | free | its heir does both |
//!
//! A long item, of more than a mebibyte, that is no plain vector of numbers is not copied twice: it is encoded into an *extent* of the
//! lane's second half, put as a reference, and decoded where it lies. Encoding and decoding are a user's code and take
//! their time, so neither of the queue's locks is held, but a lock of the extent's own that nobody waits for. Whoever gets no
//! extent copies. An extent says how many items had been put before the one it holds: so whoever locks it after a death can tell from
//! `head` whether that is queued (`raw/extent.rs`).
//!
//! # Waiting for messages
//!
//! Who finds nothing looks again for some tens of microseconds, less if that has not paid lately and not at all on a
//! machine with one processor, then sleeps in slices of 1 ms doubling to 64 ms. A sleep that was short after all
//! lengthens the next look: otherwise two processes that stream would fall into a rhythm of waking each other.
//! Whoever is faster waits for the other all the time, and each of its looks takes the cache line
//! away from the other side. So when it has seen news it lets more gather, up to 64 pauses, as long as that brings more
//! than one item. Both rules are in `primitive/polls.rs`.
//!
//! A vector that takes long to copy wakes a sleeper before its last quarter of a mebibyte is copied, so that the copying and the waking
//! go on at the same time. Who is woken and finds nothing yet looks again for as long as it ever does.
//!
//! # Entries of a map
//!
//! A map is made of shards, each with a lock, a journal, and memory of its own. A change notes what a word holds, counts the
//! note, and changes the word; one store publishes all of it. Whoever takes a shard's lock from the dead puts the noted
//! words back, in as many steps as were taken, however large the map. The other way, noting what is to be done and doing it
//! again after a death, costs as much to write, but each look at a word during the change would have to search the notes.
//!
//! Who only reads takes no lock: it looks at the journal's word before and after, as at a value's version, and looks again
//! if somebody changed the shard; after some attempts it takes the lock. So a stopped or long-running `update` holds up no
//! reader, and a writer that is stopped inside a change holds up those of its shard only. A value of one word is
//! overwritten by one store, without the journal, and counted beside the lock, for who copies whole shards.
//!
//! Memory is handed to shards in regions, claimed and given back by one compare-exchange or store each, so that no
//! change covers words of two shards, and no death holds up another shard. Within its regions a shard keeps free blocks in lists by
//! size, and joins them with their neighbours when they are given back. What fits into no single block is stored in parts. When
//! a shard finds no room and there is no free region left, it asks others, those with most to spare first, to move
//! entries together until they can give one up; in a map that evicts, to evict. It holds its own lock meanwhile, and so
//! waits for theirs for a millisecond each; if that was not enough it lets go of its own and begins again. A shard whose
//! holder died is found on the way. In a map that evicts each shard has one region set aside, so that none comes too late.
//! What a value in parts leaves behind is garbage, freed some thousand parts at a time by those who lock the shard next.
//!
//! An `update` runs its closure with the shard's lock held, and no map can be used inside: two that used each other's keys
//! would wait for one another. The clock that entries expire by is the wall clock as the first process that asked saw it,
//! going on with the time since the machine was started, so that setting the wall clock moves nothing.
//!
//! # Jobs of a pool
//!
//! The parent posts jobs in slots; workers claim them in order, each by one compare-exchange on the slot's own word, which
//! names the worker from then on. So whatever a dead worker held can be told from the words alone, by nobody but the parent, and
//! nothing has to be taken back from a queue that the worker had it from. There is no lock: the parent never waits for
//! a worker, stopped or dead.
//!
//! A job is one item, or a chunk of a map's neighbouring items. A worker says of each item that it begins, and publishes
//! the record of its result by one store, in memory that outlives it. Of a dead worker's chunk the parent takes the records
//! that were published, gives the item begun after them its error (or begins it anew, if retries allow), and posts the rest
//! again in the same slot, where its arguments still lie. A worker that has run as many items as it may ends in the same way, but
//! for the error.
//!
//! | a worker dies | what becomes of its item |
//! |---|---|
//! | before it says that it begins it | it runs elsewhere |
//! | from there until its record is published | it is lost with the worker, or begun anew: nobody can tell how far it came |
//! | afterwards | it has its result |
//!
//! Workers are daemons: they end when the parent does, which they learn from its pidfd. The parent learns of a worker's
//! end from its pidfd as well, and of finished jobs by an event descriptor, signalled only while it sleeps. A worker that
//! is woken for a job and does not come, being stopped, costs the others a tick of 20 ms.
//!
//! Descriptors of the handles among the arguments are passed to the worker that has claimed the job. It asks for them, unless it
//! has them from the job before: by a word of its own and the event descriptor. The pool's thread answers on a socket that no other
//! worker has, and that holds one answer at most, so it waits for no worker; nobody needs a right to look into another process. The
//! parent keeps them open until the job has ended. `pool/handover.rs` has the states.
//!
//! An item or result of more than a mebibyte is encoded straight into an *extent*: a stretch of the pool's file, of which the
//! job, or the slot, has one of its own. Whoever takes it maps the bytes and decodes them where they lie, so that they are copied once each
//! way. `pool/extent.rs` has the states. Arguments and results of a child lie in its mailbox in the same way.
//!
//! The pool's thread ends while this process is being copied (`Fork`), and goes on afterwards: workers go on meanwhile, and what
//! they have done, or ask for, is found then.
//!
//! # Lifetime
//!
//! Each attachment of a named segment holds a shared `flock` through an open file description of its own, which lives
//! as long as descriptor *or mapping*. So a segment is unmapped before it is asked for the last time whether anybody
//! else is there. The exclusive lock is only ever tried on a file opened anew. `segment/lifetime.rs` has the states.
//!
//! A named segment is made without a name (`O_TMPFILE`), filled, registered and locked, and then linked into place:
//! nobody ever sees a half-made one. Where a file system has no unnamed files, it is made under a hidden name and
//! renamed.
//!
//! What lies in a `static` is never dropped. So at the end of a `main` with the attribute, and of every child, the names of
//! all segments still attached are given up: the line in the attach table goes, and the open file behind mapping and
//! descriptor is exchanged, in place, for one without a lock; then it is asked as at any drop whether anybody else is
//! there. The memory stays where it is for whoever still uses it. A copy of this process that shares the open file
//! keeps its lock, and so the name, until it ends in the same way.
//!
//! A program that ends by `std::process::exit` or by a signal runs none of this: to its segments that is a kill, and their
//! names wait for the next `create` or [`clean`](fn@crate::clean).
//!
//! # Crash table
//!
//! Each line is a named point in the sources; a test kills a real process at every one of them: `tests/crash.rs` at those of
//! locks, values and segments, `crash_messages`, `crash_map`, `crash_process` and `crash_pool` at the others.
//!
//! | point | what it held or had begun | what survivors find |
//! |---|---|---|
//! | `lock.acquired`, `lock.taken_over` | the lock | the lock, after proof of death; the value as it was; an array says `OwnerDied` |
//! | `lock.waiting`, `lock.woken` | a place among the sleepers, or a wake-up | the lock; the wake-up lost costs others a slice |
//! | `unlock.begin` | the lock, its change published | the change, and the lock after proof of death |
//! | `unlock.released` | nothing; a wake-up not sent | the lock; sleepers look again when their slice ends |
//! | `publish.begin`, `publish.half`, `publish.written` | the lock, a slot nobody reads | the value as it was |
//! | `publish.published` | the lock | the new value |
//! | `array.guarded` | an array's lock | `OwnerDied` until somebody recovers |
//! | `create.opened` to `create.registered` | a file without a name | nothing; the kernel frees it |
//! | `create.linked` | a named segment, whole | an orphan that can be opened; the next `create` or `clean` removes it |
//! | `open.opened` to `open.registered` | at most a shared lock and a line of the attach table | the segment; the line is taken by whoever needs one |
//! | `place.locked`, `place.object`, `place.entry` | the directory's lock, bytes beyond those in use | no such object; the bytes are used anew |
//! | `place.published` | the directory's lock | the object, whole; the count is made good by the next to place one |
//! | `place.counted` | the directory's lock | the object, whole |
//! | `detach.begin`, `detach.deregistered`, `detach.unlocked` | the last attachment | an orphan |
//! | `detach.exclusive` | the exclusive lock of an orphan | an orphan |
//! | `detach.unlinked`, `unlink.done` | nothing | no such name |
//! | `unlink.begin` | the directory's lock | the segment, its name in place |
//! | `bell.lowered` | a wake-up not sent | sleepers look again when their slice ends |
//! | `bell.sleeping`, `bell.woken` | a place among the sleepers, or a wake-up | the wake-up lost costs others a slice |
//! | `queue.put.outside` | the producers' lock, bytes of an item outside the ring | no such item; the lock's heir gives their memory back |
//! | `queue.put.copied` | the producers' lock, a record beyond `tail` | no such item; the units are written anew |
//! | `queue.put.published`, `queue.put.unlocked` | the lock, or nothing | the item |
//! | `queue.get.copied` | the consumers' lock | the item is still there |
//! | `queue.get.taken`, `queue.get.unlocked` | the lock, or nothing | the item is gone with its taker; its room is free, its memory outside the ring once the lock has an heir |
//! | `queue.get.returned` | the consumers' lock, a word that says what was given back | the same; the heir gives it back again |
//! | `queue.extent.locked` | an extent's lock | no such item, or the item is still there |
//! | `queue.extent.written`, `queue.extent.placed` | an extent's lock, the bytes of a long item | no such item; who next puts a long item gives their memory back |
//! | `queue.extent.taken`, `queue.extent.cleared` | an extent's lock | the item is gone with its taker; who next puts a long item, or waits, gives its memory back |
//! | `queue.close.stored` | nothing, or one side's lock | closed; sleepers look when their slice ends |
//! | `ring.used` | a slot written, or read | it was not delivered, or is still there |
//! | `ring.advanced` | nothing; a wake-up not sent | it was delivered, or is gone |
//! | `seat.counted`, `seat.taken`, `seat.turned`, `seat.redeemed` | counts of a seat that is its own, its copy's or free, mostly the seats' lock | nobody: its seats are freed |
//! | `seat.freed` | nothing, or the seats' lock; what is known of all seats is out of date | it has left; whoever waits finds that out |
//! | `seat.ticket` | the seats' lock, a ticket in its own name | nobody: ticket and seat are freed |
//! | `map.noted`, `map.changed` | a shard's lock, words half changed | the map as it was; the words are put back |
//! | `map.published` | a shard's lock | the change |
//! | `map.undone`, `map.recovered` | a shard's lock, words half put back; or garbage not freed | the map as it was; the next goes on with it |
//! | `map.replaced` | a shard's lock | the new value of one word |
//! | `map.claimed` | a shard's lock, a region without blocks | the region is free again |
//! | `map.freed` | a shard's lock; nobody was told of the free region | it is found when the shard is locked next |
//! | `map.part` | a shard's lock, parts of a value nothing leads to | no such value; the parts are freed |
//! | `board.ready` (the parent) | a job written and not yet posted | nothing: the workers end with their parent |
//! | `board.claimed` | a job it has not begun | the job runs elsewhere |
//! | `board.handed` (the parent) | a descriptor under way to a worker | nothing: the workers end with their parent |
//! | `board.asking`, `board.received` | a job whose descriptors it has asked for, or got | its first item's error, or it is begun anew; the kernel closes what was under way; the others run elsewhere |
//! | `board.begun`, `board.answering`, `board.spilled`, `board.stored` | an item begun | its error, or it is begun anew; the items before it have their results, those after it run elsewhere |
//! | `board.answered`, `board.finishing` | a job whose last results are published | the results |
//! | `board.finished`, `board.told` | a job done, of which the parent has not heard | the results, when the parent hears of the death |
//! | `board.asleep`, `board.awake` | a place among the sleepers, or a wake-up | the parent wakes another |
//! | `start.posted` | a mailbox nobody knows of | nothing; the kernel frees it |
//! | `start.asked` | a request a server has, or is about to | a child nobody waits for; the server ends, and the child if it is a daemon |
//! | `start.made`, `start.named` | a child that runs | the child without its parent; it ends if it is a daemon |
//! | `start.born`, `start.begun`, `start.done`, `start.answered` | the errand, or an answer | the parent: a child that a signal ended |
//! | `start.serving`, `start.heard` | a request | the caller: no child; it asks another server, once |
//! | `start.cloned`, `start.told` | a child made, its id written by the kernel | the caller: the child |
//! | `reset.locks`, `reset.stamped` | a file of an earlier start of the machine, half reset | the next opener resets it from the beginning |
//!
//! # Children
//!
//! `Process::spawn` runs `/proc/self/exe` again, with the function as an offset from a known symbol: the same inode, a
//! compared digest of program headers and notes (which hold the build id), an address checked to lie in the program's
//! own text. Arguments and result travel through one memfd. Handles in the arguments become numbers in a table of
//! descriptors, one per segment; close-on-exec is cleared in the child only, so that no other child inherits them, and
//! set again when the child takes them over. A marker in the environment says which descriptor is the mailbox and whose
//! child it is for; the child uses it up. Whoever finds one that names its parent, and gets no mailbox, ends at once: in its
//! `main` it would start children, and they theirs, without end. One that names another means nothing: a grandchild
//! that runs the same program starts in its own `main`. A program that has more rights than its caller takes nothing from
//! it (`AT_SECURE`), so a process foresees whether its child would have: from its ids, and the bits and capabilities of
//! the file. Then, and where `/proc/self/exe` leads to the dynamic loader, it starts nobody so.
//!
//! `Fork` copies this process, and only where that is sound: one thread (this crate's own are stopped for the moment, those
//! of pools too), and no loan: no guard of an array and no chunk of a ring is alive or was leaked, by whichever thread
//! (`primitive/loans.rs`). A server that is to copy itself asks the same. The copy knows of no children, watches nobody's
//! orphans, runs one closure or errand, and leaves by
//! `_exit`, also where it panics.
//!
//! `ForkServer` has a process with one thread copy itself. `clone(CLONE_PARENT)` makes the copy a child of the server's
//! parent, which is the caller: it is waited for, signalled and reaped like any other. Mailbox, streams, folder and handles
//! go to the server as descriptors of one message; the environment is in the mailbox. The copy puts in order what the C
//! library's own `fork` would: the thread id it keeps, and the list of robust mutexes. With glibc the kernel tells where
//! that id stands; with musl it is looked for, and believed to be found when a mutex that knows its owner takes what is
//! written there for its owner. Where it is not found, nobody serves.
//!
//! | state of a start | moved by | to | if that party dies there |
//! |---|---|---|---|
//! | mailbox posted | the caller: `posix_spawn`, `fork`, or a request to the server | made, or asked | nothing is left; a server ends with its parent |
//! | asked of a server (word 0) | the kernel, in the server's `clone`, which writes the id into the mailbox | made | no child: the caller asks a new server, once, and then gets an error |
//! | made (word: the id) | the server, by its reply | made and told | the caller reads the word, and goes on as if told |
//! | made | the child, by reading its errand | begun | its end is told to the parent: a signal, or "not started" |
//! | begun | the child, by its answer, the state last | answered | the same; what it held of shared objects is free |
//! | answered | the parent, by reaping | ended | the answer is lost with its reader |
//!
//! | who dies | the others |
//! |---|---|
//! | a child | the parent is told, by join or by the thread that waits for children whose handle was dropped |
//! | the parent | daemons and servers end: their watch is on its pidfd, which no pid reused can fool; other children run on |
//! | a server | nobody: its children are the caller's; the next start has a new one. Until then it is a zombie |
//!
//! The end of a child is told once by the kernel and noted in one place for all handles. A stop is no end: of a child that
//! this process traces the kernel tells stops as well, which are left for whoever traces it. Children whose handle was dropped
//! are waited for by a thread that exists only while there are any. What one process knows of its children, servers and
//! orphans is marked with the process it belongs to, so that a copy made by somebody else's `fork` believes none of it.
//!
//! At the end of a `main` with the attribute daemons are killed, then all other children waited for, but those let go; in
//! its children the same, unless they are daemons themselves. Workers of pools are left alone: they end with the process.
//! Names that such daemons were the last to use go with them, if this process had used them as well; others stay, as after
//! any kill.
//!
//! What children need while a thread or the program ends has no destructor of its own there: the transfer under way is kept
//! in thread-local storage that is never torn down.
//!
//! # What is outside
//!
//! Peers cooperate. They may crash, be killed, be old builds; one that truncates a named segment's file, or writes
//! behind the locks, can make others read wrong numbers, get errors, or be sent SIGBUS. File systems that allocate on
//! write (btrfs), network file systems and loss of power are outside, for segments in files. And, smaller:
//!
//! - A process that `exec`s while it holds a lock, and then attaches the same segment again, is told from its former
//!   self by eight bits: one time in 255 it is not. Nor if more than 64 processes are attached, and it found no line in
//!   the table.
//! - Where the kernel refuses to empty a page on `fork`, a child that a process with PID 1 makes by a bare `clone` with a PID
//!   namespace of its own has that PID as well, and passes for its parent.
//! - A function that a child runs is known by its type alone. A closure that captures values without bytes has a type without
//!   bytes too, and the child makes such values out of nothing: a type whose only purpose is to prove that something was done in
//!   this process proves nothing there. The compiler offers no way to refuse it.
//! - What a closure has captured, and how large a type is, the compiler knows only once it builds a program: a closure with a
//!   captured number, a value of more than 64 KiB, an array of `bool` pass `cargo check`, and `cargo build` refuses them with the
//!   line they are in. What borrows is refused by lifetimes alone, of which the compiler's words cannot be chosen: they name
//!   a trait whose path says what to do.
//! - The guard of an array may move to another thread, since an error with a guard in it must. Its lock is then held in the name
//!   of the thread that locked, which lives on in the word after its end: only a process's end frees a lock. That thread is
//!   refused the lock as if it held it, and the thread that has the guard is not told that it waits for itself.
//! - A stopped daemon or worker watches nobody: it ends when it is continued after its parent's end. A parent that calls
//!   `exec` has not ended.
//! - A fork child that never calls `exec` holds its parent's share of the file lock: the parent's last drop waits for
//!   250 ms, and leaves the name to the child, or to `clean`.
//! - The same holds for children by `Fork`: a name they are left with goes by `create` or `clean`.
//! - A name used by a pool's workers at the end of `main`, the pool being in a `static`, goes by `create` or `clean`.
//! - A thread without a name that a plain `#[test]` starts beside a `#[procshare::test]` borrows that one's entry.
//! - A child forked by a process with several threads may use what it has inherited, but not create or open segments:
//!   another thread may have held what that needs, as with any allocation.
//! - Guards and chunks are inherited by a child of somebody else's `fork`. Dropping or committing them there does nothing;
//!   using an array's guard or a ring's chunk there is using what is the parent's.
//! - With [`allow_user`](crate::SegmentBuilder::allow_user) the last to leave may lack the right to remove the name;
//!   its owner's `create` or `clean` does.
//! - A child forked inside the closure of a map's `update` has not got the lock, and its changes are refused.
//! - `clear`, `retain` and `extend` of a map are as many steps as there are entries: whoever dies inside has taken some.
//! - A copy by `Fork` of a queue's handle that the copy drops unused while somebody has been stopped taking a seat counts until
//!   the copy ends, or calls `exec`.
//! - Items of a queue that a consumer has taken die with it: there is no acknowledgement.
//! - An `exec` of a process that holds a seat is noticed when somebody has waited for it for about a tenth of a second,
//!   or a few times that.
//! - A `Serialize` that writes a handle twice for one child, or to no child at all while one is being spawned, leaves a ticket
//!   that counts until that child has ended.
//! - A `fork` from a signal handler that interrupts a put or get: its child must not return from the handler.
//! - Where `membarrier` is filtered away for one process only, wake-ups between it and others may come late by a slice.
//! - A kernel thread that still writes to a dead process's buffers (asynchronous direct input into a locked array) is
//!   not seen.
