//! What a child is given and gives back.

use super::{METHODS, by, children, with_each};
use crate::common::{Flag, Stubborn, descriptors};
use crate::effort::thorough;
use procshare::process::{self, StartMethod};
use procshare::{ErrorKind, JoinError, Segment, SharedCounter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Many {
    text: String,
    numbers: Vec<Option<f64>>,
    table: BTreeMap<u8, char>,
}

#[procshare::test]
fn arguments_and_results_arrive() {
    with_each(|method: String| {
        let many = Many {
            text: "of many parts".to_owned(),
            numbers: vec![Some(0.5), None],
            table: [(1, 'a'), (2, 'b')].into(),
        };
        let echo = |many: Many, add: u8, nothing: ()| (add, many, nothing);
        let child = by(&method).spawn(echo, (many.clone(), 7, ())).unwrap();
        assert_eq!(child.join(), Ok((7, many, ())));
    });
}

#[procshare::test]
fn a_hundred_mebibytes_travel_both_ways() {
    with_each(|method: String| {
        let large: Vec<u64> = (0..thorough(100, 10) << 17).collect();
        let back = |mut large: Vec<u64>| {
            large.reverse();
            large
        };
        let back = by(&method).spawn(back, (large,)).unwrap().join().unwrap();
        assert_eq!(
            (back.len(), back[0], back[100]),
            (
                thorough(100, 10) << 17,
                (thorough(100, 10) << 17) - 1,
                (thorough(100, 10) << 17) - 101
            )
        );
    });
}

#[procshare::test]
fn what_cannot_be_decoded_or_returned_is_told() {
    with_each(|method: String| {
        let error = by(&method).spawn(|_: Stubborn| (), (Stubborn(true),)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encoding);
        let outcome = by(&method).spawn(|_: Stubborn| (), (Stubborn(false),)).unwrap().join();
        assert!(matches!(outcome, Err(JoinError::Encoding(text)) if text.contains("arguments")));
        let outcome = by(&method).spawn(|counter: SharedCounter| counter, (SharedCounter::new(0).unwrap(),));
        assert!(matches!(outcome.unwrap().join(), Err(JoinError::NotTransferable(_))));
        let outcome = by(&method).spawn(|| Stubborn(true), ()).unwrap().join().map(|_| ());
        assert!(matches!(outcome, Err(JoinError::Encoding(text)) if text.contains("result")));
    });
}

#[procshare::test]
fn the_environment_is_the_parents_with_the_changes_asked_for() {
    with_each(|method: String| {
        let all = || {
            std::env::vars()
                .filter(|(key, _)| key != "PROCSHARE_CHILD")
                .collect::<BTreeMap<_, _>>()
        };
        // A server that was started before must not show in what its children get.
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        // SAFETY: the process has one thread, and a watcher that does not look at the environment.
        unsafe { std::env::set_var("PROCSHARE_TEST_LATE", "set") };
        // SAFETY: as above.
        unsafe { std::env::remove_var("LANG") };
        assert_eq!(by(&method).spawn(all, ()).unwrap().join().unwrap(), all());
        let builder = by(&method).env("ADDED", "a=b").env_remove("PROCSHARE_TEST_LATE");
        let mut expected = all();
        expected.insert("ADDED".to_owned(), "a=b".to_owned());
        expected.remove("PROCSHARE_TEST_LATE");
        assert_eq!(builder.spawn(all, ()).unwrap().join().unwrap(), expected);
        let builder = by(&method)
            .env("FORGOTTEN", "1")
            .env_clear()
            .envs([("A", "1"), ("B", "")]);
        let expected = [("A", "1"), ("B", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(builder.spawn(all, ()).unwrap().join().unwrap(), expected.into());
        for (key, value) in [("", "x"), ("a=b", "x"), ("nul\0", "x"), ("a", "nul\0")] {
            let error = by(&method).env(key, value).spawn(|| (), ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
        }
    });
}

#[procshare::test]
fn a_segment_in_a_relative_folder_is_found_from_everywhere() {
    with_each(|method: String| {
        let folder = std::env::temp_dir().join(crate::common::unique("relative"));
        std::fs::create_dir_all(folder.join("shm")).unwrap();
        let is_empty = || std::fs::read_dir(folder.join("shm")).unwrap().next().is_none();
        std::env::set_current_dir(&folder).unwrap();
        let create = || Segment::builder().folder("shm").create("here").unwrap();
        let (unlinked, file) = (create(), Segment::create_file("shm/file", 4096).unwrap());
        std::env::set_current_dir("/").unwrap();
        unlinked.unlink().unwrap();
        file.unlink().unwrap();
        assert!(is_empty());
        std::env::set_current_dir(&folder).unwrap();
        let (dropped, go) = (create(), Flag::new());
        std::env::set_current_dir("/").unwrap();
        drop(dropped);
        assert!(is_empty());
        // The last user is a child that works elsewhere.
        std::env::set_current_dir(&folder).unwrap();
        let passed = create();
        let hold = |segment: Segment, go: Flag| {
            go.raise();
            go.wait_for(2);
            drop(segment);
        };
        let child = by(&method)
            .current_dir("/")
            .spawn(hold, (passed.clone(), go.clone()))
            .unwrap();
        go.wait_for(1);
        drop(passed);
        assert!(!is_empty());
        go.raise();
        child.join().unwrap();
        assert!(is_empty());
        std::env::set_current_dir("/").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[procshare::test]
fn a_child_works_in_the_parents_folder_or_the_one_asked_for() {
    with_each(|method: String| {
        let folder = || std::env::current_dir().unwrap();
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        std::env::set_current_dir("/proc").unwrap();
        assert_eq!(
            by(&method).spawn(folder, ()).unwrap().join(),
            Ok(PathBuf::from("/proc"))
        );
        let builder = by(&method).current_dir("self/task");
        let expected = std::fs::canonicalize("/proc/self/task").unwrap();
        assert_eq!(builder.spawn(folder, ()).unwrap().join(), Ok(expected));
        let error = by(&method)
            .current_dir("/no/such/folder")
            .spawn(folder, ())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
        assert!(by(&method).current_dir("/proc/version").spawn(folder, ()).is_err());
    });
}

#[procshare::test]
fn the_standard_streams_are_the_parents() {
    with_each(|method: String| {
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        // Three files take the places of this process's own streams.
        let files = [0, 1, 2].map(|number| {
            let file = tempfile();
            // SAFETY: the number belongs to a standard stream, which no object owns.
            let copied = unsafe { libc::dup2(file.as_raw_fd(), number) };
            assert_eq!(copied, number);
            file
        });
        (&files[0]).write_all(b"asked").unwrap();
        std::io::Seek::rewind(&mut &files[0]).unwrap();
        let talk = || {
            let mut asked = String::new();
            std::io::stdin().read_to_string(&mut asked).unwrap();
            println!("{asked}, and told");
            print!("without an end");
            eprint!("told on the other");
        };
        by(&method).spawn(talk, ()).unwrap().join().unwrap();
        let written = |mut file: &std::fs::File| {
            let mut text = String::new();
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(written(&files[1]), "asked, and told\nwithout an end");
        assert_eq!(written(&files[2]), "told on the other");
    });
}

/// A file without a name.
fn tempfile() -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_TMPFILE);
    options.open("/dev/shm").unwrap()
}

#[procshare::test]
fn a_child_knows_itself() {
    with_each(|method: String| {
        let who = || {
            let current = process::current();
            (
                current.name().to_owned(),
                current.id(),
                current.parent_id(),
                current.is_child(),
            )
        };
        let child = by(&method).name("adder").spawn(who, ()).unwrap();
        let (name, id) = (child.name().to_owned(), child.id());
        assert_eq!(child.pid(), id);
        let own = std::process::id();
        assert_eq!(child.join(), Ok((name, id, own, true)));
        let (name, ..) = by(&method).spawn(who, ()).unwrap().join().unwrap();
        assert!(name.starts_with("Process-"), "{name}");
        // Its own name is not what its children are called.
        let nested = |method: String| {
            let who = || process::current().name().to_owned();
            by(&method).name("inner").spawn(who, ()).unwrap().join().unwrap()
        };
        assert_eq!(
            by("fork-server").spawn(nested, (method,)).unwrap().join().as_deref(),
            Ok("inner")
        );
    });
}

#[procshare::test]
fn a_test_is_nobodys_child_and_a_copy_of_a_child_is_none() {
    assert_eq!(
        (process::current().name(), process::current().is_child()),
        ("MainProcess", false)
    );
    super::alone(|| {
        assert!(process::current().is_child());
        // SAFETY: this process has one thread, and a watcher that holds nothing.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let is_main = process::current().name() == "MainProcess" && process::active_children().is_empty();
            // SAFETY: the call does not return.
            unsafe { libc::_exit(i32::from(!is_main)) };
        }
        let mut status = 0;
        // SAFETY: the pointer is to room for a status.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0);
    });
}

#[procshare::test]
fn two_hundred_children_leave_neither_descriptors_nor_processes() {
    with_each(|method: String| {
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        let before = (descriptors(), children());
        for number in 0..200_u32 {
            let child = by(&method).spawn(|number: u32| number + 1, (number,)).unwrap();
            assert_eq!(child.join(), Ok(number + 1));
        }
        assert_eq!((descriptors(), children()), before);
    });
}

#[procshare::test]
fn a_child_has_no_descriptor_but_its_own_unless_it_is_a_copy() {
    with_each(|method: String| {
        by(&method).spawn(|| (), ()).unwrap().join().unwrap();
        let file = std::fs::File::open("/dev/zero").unwrap();
        let counter = SharedCounter::new(0).unwrap();
        let leads_to = |_: SharedCounter| {
            let all = descriptors();
            let count = |part: &str| all.iter().filter(|(_, target)| target.contains(part)).count();
            // The parent and an event for a daemon; a segment and a mailbox.
            (
                count("/dev/zero"),
                count("anon_inode"),
                count("/memfd:procshare "),
                count("mailbox"),
            )
        };
        let found = by(&method).spawn(leads_to, (counter,)).unwrap().join().unwrap();
        match method.parse().unwrap() {
            StartMethod::Fork => assert_eq!(found.0, 1),
            _ => assert_eq!(found, (0, 2, 1, 1)),
        }
        drop(file);
    });
}

#[test]
fn handles_may_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<procshare::Process<String>>();
    check::<process::Child>();
    check::<process::Builder>();
    check::<process::Scope>();
}

#[test]
fn start_methods_have_names() {
    for method in METHODS {
        assert_eq!(method.to_string().parse::<StartMethod>().unwrap(), method);
    }
    assert_eq!(format!("{:>6}", StartMethod::Fork), "  fork");
    assert_eq!(StartMethod::default(), StartMethod::Spawn);
    let error = "thread".parse::<StartMethod>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    assert!(error.to_string().contains("thread"), "{error}");
}
