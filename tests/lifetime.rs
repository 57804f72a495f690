//! When a segment's name comes and goes: with its last user, under races, and when everybody is killed.

mod common;
#[path = "common/role.rs"]
mod role;

use common::{unique, watchdog};
use procshare::{Error, ErrorKind, Segment, SegmentBuilder, SharedAtomic, SharedAtomicArray, clean_folder};
use role::{Folder, file_of, listen, say, start};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn plays_a_role() {
    role::play(&[
        ("user", user),
        ("user without descriptors", user_without_descriptors),
        ("fork parent", fork_parent),
        ("exec parent", exec_parent),
        ("exec child", exec_child),
        ("counts descriptors", counts_descriptors),
        ("detacher", detacher),
        ("opener", opener),
        ("creator", creator),
        ("either", either),
        ("cleaner", cleaner),
        ("cleaned", cleaned),
        ("starter", starter),
    ]);
}

fn kind<T>(outcome: Result<T, Error>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn in_folder(arguments: &[String]) -> SegmentBuilder {
    Segment::builder().folder(&arguments[0])
}

/// Does what it is told with the segment `shared`: open, create, count, drop; then ends.
fn user(arguments: &[String]) {
    let builder = in_folder(arguments);
    let mut segment = None;
    say("ready");
    loop {
        let outcome = match listen().as_str() {
            "create" => builder.create("shared").and_then(|made| {
                made.counter("hits", 0)?;
                segment = Some(made);
                Ok(())
            }),
            "open" => builder.open("shared").map(|opened| segment = Some(opened)),
            "count" => {
                let held = segment.as_ref().expect("a segment is held");
                held.open_counter("hits").and_then(|hits| hits.increment()).map(drop)
            }
            "drop" => {
                segment = None;
                Ok(())
            }
            _ => return,
        };
        say(&outcome
            .err()
            .map_or("done".to_owned(), |error| format!("{:?}", error.kind())));
    }
}

fn users<const N: usize>(folder: &Folder) -> [role::Actor; N] {
    std::array::from_fn(|_| {
        let mut user = start("user", &[folder.path()]);
        assert_eq!(user.hear(), "ready");
        user
    })
}

fn ask(user: &mut role::Actor, what: &str) {
    user.tell(what);
    assert_eq!(user.hear(), "done", "{what}");
}

const NAME: [&str; 1] = ["procshare.shared"];

#[test]
fn the_last_user_removes_the_name_whoever_it_is() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let [mut first, mut second, mut third] = users(&folder);
    for last in 0..3 {
        ask(&mut first, "create");
        ask(&mut second, "open");
        ask(&mut third, "open");
        let mut all = [&mut first, &mut second, &mut third];
        all.rotate_left(last);
        for user in all {
            assert_eq!(folder.names(), NAME);
            ask(user, "count");
            ask(user, "drop");
        }
        assert!(folder.names().is_empty());
    }
}

/// A process that goes on using a segment by another handle has nothing to wait for when it drops the first.
#[test]
fn one_of_two_attachments_goes_at_once() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let begin = Instant::now();
    for _ in 0..50 {
        let created = folder.builder().create("shared").expect("the folder is ours");
        let opened = folder.builder().open("shared").expect("it is there");
        drop(created);
        assert_eq!(folder.names(), NAME);
        assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty());
        let [again, yet_again] = [(); 2].map(|()| folder.builder().open("shared").expect("it is there"));
        drop((again, opened));
        assert_eq!(folder.names(), NAME);
        drop(yet_again);
    }
    // Three times fifty waits for a child between fork and exec would be 7.5 s.
    let taken = begin.elapsed();
    assert!(taken < Duration::from_secs(3), "{taken:?}");
}

#[test]
fn a_killed_user_counts_no_more() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let [mut first, mut second] = users(&folder);
    ask(&mut first, "create");
    ask(&mut second, "open");
    first.kill();
    assert_eq!(folder.names(), NAME);
    ask(&mut second, "drop");
    assert!(folder.names().is_empty());
}

#[test]
fn when_all_are_killed_the_next_create_or_clean_removes_the_name() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    for replaced in [true, false] {
        let [mut first, mut second] = users(&folder);
        ask(&mut first, "create");
        ask(&mut second, "open");
        ask(&mut second, "count");
        assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty());
        first.kill();
        assert!(
            clean_folder(&folder.0).expect("the folder is ours").is_empty(),
            "somebody uses it"
        );
        assert_eq!(kind(folder.builder().create("shared")), Some(ErrorKind::AlreadyExists));
        second.kill();
        assert_eq!(folder.names(), NAME, "nobody was left to remove it");
        if replaced {
            let [mut next] = users(&folder);
            ask(&mut next, "create");
            next.tell("count");
            assert_eq!(next.hear(), "done");
            ask(&mut next, "drop");
        } else {
            assert_eq!(clean_folder(&folder.0).expect("the folder is ours"), ["shared"]);
        }
        assert!(folder.names().is_empty());
    }
}

#[test]
fn an_orphan_may_be_opened_and_goes_with_who_opened_it() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let [mut first, mut second] = users(&folder);
    ask(&mut first, "create");
    ask(&mut first, "count");
    first.kill();
    ask(&mut second, "open");
    ask(&mut second, "count");
    assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty());
    let hits = folder
        .builder()
        .open("shared")
        .and_then(|segment| Ok(segment.open_counter("hits")?.get()));
    assert_eq!(hits.expect("it is in use"), 2);
    ask(&mut second, "drop");
    assert!(folder.names().is_empty());
}

#[test]
fn unlink_takes_the_name_and_nothing_else() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let [mut user] = users(&folder);
    ask(&mut user, "create");
    let segment = folder.builder().open("shared").expect("it is there");
    segment.unlink().expect("the name is there");
    assert!(folder.names().is_empty());
    assert_eq!(kind(segment.unlink()), Some(ErrorKind::NotFound));
    ask(&mut user, "count");
    assert_eq!(segment.open_counter("hits").expect("it is there").get(), 1);
    // The name is free for another, which the first's users leave alone.
    let other = folder.builder().create("shared").expect("the name is free");
    assert_eq!(kind(segment.unlink()), Some(ErrorKind::NotFound));
    ask(&mut user, "drop");
    drop(segment);
    assert_eq!(folder.names(), NAME);
    assert!(other.objects().expect("it is whole").is_empty());
    assert_eq!(
        kind(Segment::new(1).and_then(|segment| segment.unlink())),
        Some(ErrorKind::NotFound)
    );
}

/// Creates a segment and leaves it to a fork child, which lets go of it when told.
fn fork_parent(arguments: &[String]) {
    let segment = in_folder(arguments).create("shared").expect("the folder is ours");
    let hits = segment.counter("hits", 0).expect("there is room");
    // SAFETY: the only other thread sleeps until this one ends, so the child finds no lock held.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child != 0 {
        match arguments[1].as_str() {
            "drops" => drop((segment, hits)),
            // SAFETY: ends this process.
            _ => unsafe { libc::_exit(0) },
        }
        return;
    }
    say("forked");
    assert_eq!(listen(), "count");
    hits.increment().expect("it is small");
    say("counted");
    assert_eq!(listen(), "drop");
    drop((segment, hits));
    say("dropped");
    // SAFETY: ends this process; the test harness in it belongs to the parent.
    unsafe { libc::_exit(0) };
}

#[test]
fn a_fork_child_keeps_the_name_when_its_parent_has_gone() {
    let _watchdog = watchdog(120);
    for way in ["drops", "exits"] {
        let folder = Folder::new();
        let mut family = start("fork parent", &[folder.path(), way]);
        assert_eq!(family.hear(), "forked");
        wait_for_leader(&family);
        assert_eq!(folder.names(), NAME, "{way}");
        assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty(), "{way}");
        assert_eq!(kind(folder.builder().create("shared")), Some(ErrorKind::AlreadyExists));
        family.tell("count");
        assert_eq!(family.hear(), "counted");
        family.tell("drop");
        assert_eq!(family.hear(), "dropped");
        assert!(folder.names().is_empty(), "{way}");
        assert_eq!(family.hear_or_end(), None);
        family.finish();
    }
}

/// Waits until the process has ended, leaving its status to be asked for.
fn wait_for_leader(family: &role::Actor) {
    let mut facts = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the buffer has room for what is written.
    let outcome = unsafe {
        libc::waitid(
            libc::P_PID,
            family.id(),
            facts.as_mut_ptr(),
            libc::WEXITED | libc::WNOWAIT,
        )
    };
    assert_eq!(outcome, 0);
}

/// Creates a segment and passes it to another program, then ends.
fn exec_parent(arguments: &[String]) {
    let segment = in_folder(arguments).create("shared").expect("the folder is ours");
    segment.counter("hits", 0).expect("there is room");
    let mut command = role::command("exec child", &[]);
    segment.pass_to(&mut command, "shared").expect("there are descriptors");
    // Not waited for: it outlives us, and from now on our input and output are its own.
    drop(command.spawn().expect("it starts"));
}

fn exec_child(_: &[String]) {
    {
        let segment = Segment::inherited("shared").expect("already passed");
        let again = Segment::inherited("shared").expect("already passed");
        let hits = segment.open_counter("hits").expect("it is there");
        again
            .open_counter("hits")
            .expect("it is there")
            .increment()
            .expect("it is small");
        say("attached");
        assert_eq!(listen(), "count");
        hits.increment().expect("it is small");
        say(&format!("{}", hits.get()));
    }
    say("dropped");
    assert_eq!(listen(), "end");
}

#[test]
fn an_exec_child_keeps_the_name_when_its_parent_has_gone() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let mut family = start("exec parent", &[folder.path()]);
    assert_eq!(family.hear(), "attached");
    wait_for_leader(&family);
    assert_eq!(folder.names(), NAME);
    assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty());
    family.tell("count");
    assert_eq!(family.hear(), "2");
    assert_eq!(family.hear(), "dropped");
    family.tell("end");
    assert_eq!(family.hear_or_end(), None, "the whole family has ended");
    assert!(folder.names().is_empty(), "the last user has ended in peace");
    family.finish();
}

/// Attaches, closes every descriptor, and goes on using what it has mapped.
fn user_without_descriptors(arguments: &[String]) {
    let segment = in_folder(arguments).open("shared").expect("it is there");
    let hits = segment.open_counter("hits").expect("it is there");
    // SAFETY: closes descriptors; those of this process's own values are not used again, as it ends by `_exit`.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
    say("closed");
    while listen() == "count" {
        hits.increment().expect("it is small");
        say("counted");
    }
    // SAFETY: ends this process without closing anything twice.
    unsafe { libc::_exit(0) };
}

#[test]
fn who_closed_all_descriptors_but_maps_it_keeps_the_name() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let [mut creator] = users(&folder);
    ask(&mut creator, "create");
    let mut other = start("user without descriptors", &[folder.path()]);
    assert_eq!(other.hear(), "closed");
    ask(&mut creator, "drop");
    assert_eq!(folder.names(), NAME);
    assert!(clean_folder(&folder.0).expect("the folder is ours").is_empty());
    assert_eq!(kind(folder.builder().create("shared")), Some(ErrorKind::AlreadyExists));
    other.tell("count");
    assert_eq!(other.hear(), "counted");
    ask(&mut creator, "open");
    ask(&mut creator, "count");
    ask(&mut creator, "drop");
    other.finish();
    // It ended without a word, and left an orphan.
    assert_eq!(clean_folder(&folder.0).expect("the folder is ours"), ["shared"]);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

fn counts_descriptors(arguments: &[String]) {
    let builder = in_folder(arguments);
    drop(builder.create("warm-up").expect("the folder is ours"));
    let before = descriptors();
    let file = Path::new(&arguments[0]).join("file");
    for _ in 0..20 {
        let named = builder.create("named").expect("the folder is ours");
        let opened = builder.open("named").expect("it is there");
        let anonymous = Segment::new(1).expect("there is memory");
        let value = named.value("value", 1u64).expect("there is room");
        assert_eq!(descriptors() - before, 3, "one for each attachment");
        let frozen = procshare::FrozenArray::from_slice(&[1u8]).expect("there is memory");
        assert_eq!(descriptors() - before, 4);
        assert!(builder.create("named").is_err());
        assert!(builder.open("absent").is_err());
        assert!(opened.open_counter("value").is_err());
        assert!(builder.clone().capacity(usize::MAX).create("absurd").is_err());
        drop(clean_folder(&arguments[0]).expect("the folder is ours"));
        named.unlink().expect("the name is there");
        drop((named, opened, anonymous, value, frozen));
        drop(Segment::create_file(&file, 1).expect("the folder is ours"));
        Segment::open_file(&file)
            .expect("it is there")
            .unlink()
            .expect("it is there");
        assert_eq!(descriptors(), before);
    }
}

#[test]
fn no_descriptor_is_lost() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    start("counts descriptors", &[folder.path()]).finish();
    assert!(folder.names().is_empty());
}

const DETACHINGS: u64 = 10_000;
/// What each generation of the segment holds twice, so that a half-made one would show.
type Stamp = [u64; 2];

fn stop_flag(arguments: &[String]) -> SharedAtomic<AtomicU64> {
    let control = Segment::open(&arguments[1]).expect("the test made it");
    control.open_atomic("stop").expect("the test made it")
}

/// Creates and lets go, often enough, and then tells the other to stop.
fn detacher(arguments: &[String]) {
    let builder = in_folder(arguments);
    let (mut made, mut refused) = (0u64, 0u64);
    while made < DETACHINGS {
        match builder.create("shared") {
            Ok(segment) => {
                made += 1;
                segment.value::<Stamp>("stamp", [made; 2]).expect("there is room");
                // Now and then the other gets our processor, should there be one only.
                if made % 8 == 0 {
                    std::thread::yield_now();
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    stop_flag(arguments).store(1, Ordering::Relaxed);
    say(&format!("{made} made, {refused} refused"));
}

/// Opens again and again; what it gets is whole, and has the name as long as it is held.
fn opener(arguments: &[String]) {
    let builder = in_folder(arguments);
    let stop = stop_flag(arguments);
    let (mut opened, mut absent, mut empty) = (0u64, 0u64, 0u64);
    while stop.load(Ordering::Relaxed) == 0 {
        let segment = match builder.open("shared") {
            Ok(segment) => segment,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                absent += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        opened += 1;
        // The creator places the stamp after it made the segment: absent or whole.
        let Ok(stamp) = segment.open_value::<Stamp>("stamp") else {
            empty += 1;
            continue;
        };
        let [first, second] = stamp.get();
        assert_eq!(first, second, "half-made");
        let mark = opened << 32;
        stamp.set([mark; 2]);
        let again = builder.open("shared").expect("its name stays while we are attached");
        let seen = again.open_value::<Stamp>("stamp").expect("it is there").get();
        assert_eq!(seen, [mark; 2], "the name leads elsewhere");
    }
    assert!(opened > 100, "the two hardly met: {opened}");
    say(&format!(
        "{opened} opened ({empty} before the object), {absent} times absent"
    ));
}

#[test]
fn opening_races_the_last_detach() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let control_name = unique("control");
    let control = Segment::create(&control_name, 1).expect("the name is unique");
    let stop = control.atomic::<AtomicU64>("stop", 0).expect("there is room");
    let mut opener = start("opener", &[folder.path(), &control_name]);
    let mut detacher = start("detacher", &[folder.path(), &control_name]);
    let made = detacher.hear_or_end();
    stop.store(1, Ordering::Relaxed);
    eprintln!("{}; {}", made.expect("it made them all"), opener.hear());
    opener.finish();
    detacher.finish();
    assert!(folder.names().is_empty(), "whoever was last removed it");
}

const ROUNDS: u64 = 1000;

/// Where two processes meet before each step of a round; neither sleeps.
struct Meeting {
    steps: SharedAtomicArray<AtomicU64>,
    me: usize,
    step: u64,
}

impl Meeting {
    fn new(arguments: &[String]) -> Self {
        let control = Segment::open(&arguments[1]).expect("the test made it");
        Meeting {
            steps: control.open_atomic_array("steps").expect("the test made it"),
            me: arguments[2].parse().expect("a number was given"),
            step: 0,
        }
    }

    /// Waits for the other, telling it a number and returning the other's.
    fn meet(&mut self, number: u64) -> u64 {
        self.step += 1;
        self.steps[2 + self.me].store(number, Ordering::Relaxed);
        self.steps[self.me].store(self.step, Ordering::Release);
        while self.steps[1 - self.me].load(Ordering::Acquire) < self.step {
            std::thread::yield_now();
        }
        let told = self.steps[3 - self.me].load(Ordering::Relaxed);
        // A second meeting: nobody tells another number before both have read.
        self.step += 1;
        self.steps[self.me].store(self.step, Ordering::Release);
        while self.steps[1 - self.me].load(Ordering::Acquire) < self.step {
            std::thread::yield_now();
        }
        told
    }
}

/// Starts two processes in a role that meet; what each says at its end.
fn race(role: &str, folder: &Folder) -> [String; 2] {
    let control_name = unique("control");
    let control = Segment::create(&control_name, 1).expect("the name is unique");
    control.atomic_array::<AtomicU64>("steps", 4).expect("there is room");
    let both = ["0", "1"].map(|me| start(role, &[folder.path(), &control_name, me]));
    both.map(|mut process| {
        let said = process.hear();
        process.finish();
        said
    })
}

fn creator(arguments: &[String]) {
    let builder = in_folder(arguments);
    let mut meeting = Meeting::new(arguments);
    let mut won = 0;
    for round in 0..ROUNDS {
        meeting.meet(0);
        let made = builder.create("shared");
        assert!(
            made.is_ok() || kind(builder.create("shared")) == Some(ErrorKind::AlreadyExists),
            "round {round}"
        );
        let mine = u64::from(made.is_ok());
        assert_eq!(meeting.meet(mine) + mine, 1, "round {round}: exactly one wins");
        won += mine;
        drop(made);
    }
    say(&won.to_string());
}

#[test]
fn of_two_creators_exactly_one_wins() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let won = race("creator", &folder);
    eprintln!("won: {won:?}");
    assert_eq!(
        won.iter().map(|won| won.parse::<u64>().expect("a number")).sum::<u64>(),
        ROUNDS
    );
    assert!(folder.names().is_empty());
}

fn either(arguments: &[String]) {
    let builder = in_folder(arguments);
    let mut meeting = Meeting::new(arguments);
    let me = meeting.me as u64;
    let mut made = 0;
    for round in 0..ROUNDS {
        meeting.meet(0);
        let segment = builder.open_or_create("shared").expect("one way or the other");
        let first = segment.value("first", me).expect("there is room").get();
        assert_eq!(meeting.meet(first), first, "round {round}: both have the same segment");
        made += u64::from(first == me);
        // Detaching races the other's detaching, and the next round's opening.
    }
    say(&made.to_string());
}

#[test]
fn two_that_open_or_create_share_one_segment() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let made = race("either", &folder);
    eprintln!("made: {made:?}");
    assert_eq!(
        made.iter()
            .map(|made| made.parse::<u64>().expect("a number"))
            .sum::<u64>(),
        ROUNDS
    );
    assert!(folder.names().is_empty());
}

fn cleaned(arguments: &[String]) {
    let builder = in_folder(arguments);
    let stop = stop_flag(arguments);
    for round in 0..2 * ROUNDS {
        let segment = builder.create("shared").expect("nobody else creates it");
        let path = file_of(Path::new(&arguments[0]), "shared");
        assert!(path.exists(), "round {round}: removed under us");
        segment.value("round", round).expect("there is room");
        let again = builder
            .open("shared")
            .expect("it is in use")
            .open_value::<u64>("round")
            .expect("it is there");
        assert_eq!(again.get(), round);
        drop((segment, again));
        // We remove it, or the cleaner, who may just be looking and take it for an orphan.
        while path.exists() {
            std::thread::yield_now();
        }
    }
    stop.store(1, Ordering::Relaxed);
}

fn cleaner(arguments: &[String]) {
    let stop = stop_flag(arguments);
    let (mut rounds, mut removed) = (0u64, 0u64);
    while stop.load(Ordering::Relaxed) == 0 {
        rounds += 1;
        removed += clean_folder(&arguments[0]).expect("the folder is there").len() as u64;
    }
    say(&format!("{rounds} cleanings, {removed} removed"));
}

#[test]
fn cleaning_races_creating() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let control_name = unique("control");
    let control = Segment::create(&control_name, 1).expect("the name is unique");
    let stop = control.atomic::<AtomicU64>("stop", 0).expect("there is room");
    let mut cleaner = start("cleaner", &[folder.path(), &control_name]);
    let mut cleaned = start("cleaned", &[folder.path(), &control_name]);
    assert_eq!(cleaned.hear_or_end(), None);
    stop.store(1, Ordering::Relaxed);
    eprintln!("{}", cleaner.hear());
    cleaned.finish();
    cleaner.finish();
    assert!(folder.names().is_empty());
}

const STARTED: u32 = 300;

/// Starts other programs in one thread while another lets go of segments; says how many names were left.
fn starter(arguments: &[String]) {
    let builder = in_folder(arguments);
    let path = file_of(Path::new(&arguments[0]), "shared");
    let (mut made, mut left) = (0u32, 0u32);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..STARTED {
                Command::new("true").status().expect("it starts");
            }
        });
        while !starting.is_finished() {
            if builder.create("shared").map(drop).is_ok() {
                made += 1;
                left += u32::from(path.exists());
            }
        }
    });
    drop(clean_folder(&arguments[0]).expect("the folder is there"));
    say(&format!("{made} {left}"));
}

/// Between its fork and its exec, a child somebody starts has every descriptor of ours, and so the file's lock.
///
/// Who detaches waits for that to be over, though not for ever: a machine so busy that the child does not get a
/// processor for long may leave an orphan.
#[test]
fn a_child_about_to_exec_does_not_keep_the_name() {
    let _watchdog = watchdog(120);
    let folder = Folder::new();
    let mut starter = start("starter", &[folder.path()]);
    let said = starter.hear();
    let (made, left) = said.split_once(' ').expect("it says two numbers");
    starter.finish();
    eprintln!("{left} of {made} names left behind for a while, beside {STARTED} programs started");
    assert!(left.parse::<u32>().expect("a number") <= STARTED / 20);
    assert!(folder.names().is_empty());
}
