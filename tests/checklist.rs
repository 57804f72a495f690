//! The checklist of CONTRIBUTING.md, *Adding a shared type*, as far as sources can tell: what each kind of object must have.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// A kind of object, and where the rest of it stands.
struct Shared {
    /// The variant of `Kind`.
    kind: &'static str,
    /// Its handles.
    handles: &'static [&'static str],
    /// The protocols of `src/raw` it is made of.
    protocols: &'static [&'static str],
    /// The first words of its crash points; none if a death leaves nothing behind but what its protocols leave.
    families: &'static [&'static str],
}

const fn shared(
    kind: &'static str,
    handles: &'static [&'static str],
    protocols: &'static [&'static str],
    families: &'static [&'static str],
) -> Shared {
    Shared {
        kind,
        handles,
        protocols,
        families,
    }
}

const TYPES: [Shared; 11] = [
    shared("Value", &["SharedValue"], &["mutex", "latch"], &["lock", "publish"]),
    shared("Array", &["SharedArray"], &["mutex"], &["lock", "array"]),
    shared("Counter", &["SharedCounter"], &["mutex", "latch"], &["lock", "publish"]),
    shared("Atomic", &["SharedAtomic"], &[], &[]),
    shared("AtomicArray", &["SharedAtomicArray"], &[], &[]),
    shared("FrozenArray", &["FrozenArray"], &[], &[]),
    shared(
        "Queue",
        &["SharedQueue"],
        &["queue", "extent", "seats"],
        &["queue", "seat"],
    ),
    shared(
        "Pipe",
        &["Connection", "Sender", "Receiver"],
        &["queue", "extent", "seats"],
        &["queue", "seat"],
    ),
    shared("Ring", &["Producer", "Consumer"], &["ring", "seats"], &["ring", "seat"]),
    shared("Map", &["SharedMap"], &["map"], &["map"]),
    shared("Pool", &["Pool"], &["work_queue"], &["pool"]),
];

/// What each type is named in.
struct Place {
    what: &'static str,
    /// Files, folders, or a heading of a file after `#`; with nothing after it, the file's first documentation.
    texts: &'static [&'static str],
    /// Whether each handle of the type must be named, not only one.
    every_handle: bool,
    /// Handles that need not be there, and why.
    but: &'static [(&'static str, &'static str)],
}

const PLACES: [Place; 10] = [
    Place {
        what: "the choice of a type",
        texts: &["README.md#Which type do I want?"],
        every_handle: false,
        but: &[],
    },
    Place {
        what: "the names in Python",
        texts: &["README.md#Coming from Python"],
        every_handle: false,
        but: &[("Producer", "Python has nothing like it")],
    },
    Place {
        what: "the front page",
        texts: &["src/lib.rs#"],
        every_handle: false,
        but: &[],
    },
    Place {
        what: "the changelog",
        texts: &["CHANGELOG.md"],
        every_handle: true,
        but: &[],
    },
    Place {
        what: "handles as arguments of jobs",
        texts: &["tests/pool_arguments.rs"],
        every_handle: true,
        but: &[("Pool", "a pool belongs to the process that made it")],
    },
    Place {
        what: "handles as arguments of children, by each start method",
        texts: &["tests/start_methods/handles.rs", "tests/start_methods/inherited.rs"],
        every_handle: false,
        but: &[("Pool", "a pool belongs to the process that made it")],
    },
    Place {
        what: "constructors as the first call of a process",
        texts: &["tests/environment/first_call.rs"],
        every_handle: false,
        but: &[],
    },
    Place {
        what: "use in an exit handler",
        texts: &["tests/environment/last_call.rs"],
        every_handle: false,
        but: &[(
            "Pool",
            "exit handlers of the C library run after the pool's threads may have ended",
        )],
    },
    Place {
        what: "the words of a new object",
        texts: &["tests/golden.rs"],
        every_handle: false,
        but: &[
            ("Pool", "it has no name, so no other version attaches to it"),
            ("FrozenArray", "its words are those of its elements"),
        ],
    },
    Place {
        what: "a bench",
        texts: &["benches"],
        every_handle: false,
        but: &[(
            "FrozenArray",
            "reading one is reading a slice; `array.rs` measures `freeze`",
        )],
    },
];

/// Files of `src/raw` that are no protocol of their own: what they are part of, or used by all.
const PARTS: [(&str, &str); 7] = [
    ("mod", "the folder's index"),
    ("host", "the queue's callbacks into its owner"),
    ("mark", "positions in a ring of records"),
    ("seat", "the words of one of the seats"),
    ("stamp", "the time of a check, in half a word"),
    ("overflow_cursor", "the queue's, of items outside the ring"),
    ("waiting", "the queue's sleep"),
];

/// Protocols that other protocols are made of.
const SHARED_PROTOCOLS: [&str; 3] = ["event_count", "inheritance", "wait"];

/// Families of crash points of what is no kind of object.
const OTHER_FAMILIES: [&str; 9] = [
    "unlock", "create", "open", "place", "detach", "unlink", "reset", "bell", "start",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The sources in a file or folder.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.is_dir() || path.extension().is_some_and(|is| is == "rs"));
    wanted.flat_map(|path| sources(&path)).collect()
}

/// The text of a file, a folder's sources, or what stands below a heading.
fn text_of(place: &str) -> String {
    match place.split_once('#') {
        None => sources(&root().join(place)).iter().map(read).collect(),
        Some((file, "")) => {
            let text = read(file);
            text.lines().take_while(|line| line.starts_with("//!")).collect()
        }
        Some((file, heading)) => below(&read(file), heading).to_owned(),
    }
}

/// What stands below a heading, up to the next of its level.
fn below<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("# {heading}\n"));
    let text = &text[start.unwrap_or_else(|| panic!("no heading {heading}"))..];
    let body = text.find('\n').map_or("", |end| &text[end..]);
    let end = ["\n## ", "\n//! # "].iter().filter_map(|next| body.find(next)).min();
    &body[..end.unwrap_or(body.len())]
}

fn names(text: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// The crash points of the list in the sources, in its order.
fn crash_points() -> Vec<String> {
    let text = read("src/primitive/crash.rs");
    let list = &text[text.find("CRASH_POINTS").expect("the list is there")..];
    let list = &list[..list.find("];").expect("the list ends")];
    list.split('"')
        .skip(1)
        .step_by(2)
        .filter(|point| point.contains('.'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_kind_is_listed_here() {
    let text = read("src/layout/directory.rs");
    let start = text.find("enum Kind {").expect("the kinds are there");
    let body = &text[start..start + text[start..].find('}').unwrap()];
    let kinds: Vec<&str> = body
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(kind, _)| kind.trim())
        .collect();
    assert_eq!(kinds, TYPES.map(|shared| shared.kind));
}

#[test]
fn every_type_is_named_where_users_and_tests_look() {
    let mut missing = vec![];
    for place in PLACES {
        let text: String = place.texts.iter().map(|text| text_of(text)).collect();
        for shared in TYPES.iter().filter(|shared| {
            shared
                .handles
                .iter()
                .all(|handle| place.but.iter().all(|(but, _)| but != handle))
        }) {
            let absent: Vec<_> = shared.handles.iter().filter(|handle| !names(&text, handle)).collect();
            let is_missing = if place.every_handle {
                !absent.is_empty()
            } else {
                absent.len() == shared.handles.len()
            };
            if is_missing {
                missing.push(format!("{}: {:?} does not name {absent:?}", place.what, place.texts));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_protocol_has_models_and_is_broken_on_purpose() {
    let used: Vec<&str> = TYPES
        .iter()
        .flat_map(|shared| shared.protocols)
        .chain(&SHARED_PROTOCOLS)
        .copied()
        .collect();
    for path in fs::read_dir(root().join("src/raw")).unwrap() {
        let name = path.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        let is_known = name == "tests" || used.contains(&&*name) || PARTS.iter().any(|(part, _)| *part == name);
        assert!(is_known, "src/raw/{name}: what is made of it?");
    }
    // The memory of a map is compared with a naive one; its journal and regions are protocols.
    let models = |protocol: &str| match protocol {
        "map" => text_of("src/raw/tests/journal.rs") + &text_of("src/raw/tests/regions.rs"),
        _ => {
            let folder = format!("src/raw/tests/{protocol}");
            let path = if root().join(&folder).is_dir() {
                folder
            } else {
                format!("{folder}.rs")
            };
            text_of(&path)
        }
    };
    for protocol in used {
        let text = models(protocol);
        let mutants = text.matches("fn loom_mutant_").count();
        assert!(mutants > 0, "{protocol} is not broken on purpose");
        assert!(text.matches("fn loom_").count() > mutants, "{protocol} has no model");
    }
}

#[test]
fn every_family_of_crash_points_is_somebodys_and_none_is_empty() {
    let points = crash_points();
    let families = TYPES.iter().flat_map(|shared| shared.families).chain(&OTHER_FAMILIES);
    let families: Vec<&str> = families.copied().collect();
    for family in &families {
        let is_met = points.iter().any(|point| point.starts_with(&format!("{family}.")));
        assert!(is_met, "{family} has no crash point");
    }
    for point in points {
        let family = point.split('.').next().unwrap();
        assert!(families.contains(&family), "{point}: whose is it?");
    }
}

/// Families whose points `tests/crash.rs` leaves to other files.
fn families_elsewhere() -> Vec<String> {
    let text = read("tests/crash.rs");
    let list = &text[text.find("let elsewhere = [").expect("the list is there")..];
    let list = &list[..list.find("];").expect("the list ends")];
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_family_of_crash_points_is_tested_in_one_place() {
    let folders: Vec<_> = fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("crash_"))
        .collect();
    for family in families_elsewhere() {
        let tests_it = |folder: &&String| read(format!("tests/{folder}/main.rs")).contains(&format!("{family:?}"));
        assert_eq!(folders.iter().filter(|folder| tests_it(folder)).count(), 1, "{family}*");
    }
}

/// The packages, and where their sources lie.
const PACKAGES: [(&str, &[&str]); 9] = [
    ("", &["src", "tests", "examples"]),
    ("derive", &["src"]),
    ("timeline", &["src"]),
    ("benches", &["."]),
    ("benches/rivals", &["."]),
    ("tests/heavy", &["."]),
    ("tests/refused", &["."]),
    ("tests/renamed", &["."]),
    ("tests/fuzz", &["."]),
];

/// The files that a package's programs, tests and benches begin with: those that cargo finds by itself, those that its manifest
/// names, and the programs that a test compiles.
fn roots(package: &str) -> Vec<PathBuf> {
    let folder = root().join(package);
    let found = ["src/lib.rs", "src/main.rs", "lib.rs"].map(|file| folder.join(file));
    let named = read(folder.join("Cargo.toml"));
    let named = named
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    let mut roots: Vec<PathBuf> = found.into_iter().chain(named.map(|file| folder.join(file))).collect();
    for searched in ["tests", "examples", "src/bin", "tests/ui", "tests/ui/pass"] {
        for entry in fs::read_dir(folder.join(searched)).into_iter().flatten() {
            let path = entry.unwrap().path();
            roots.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    roots.retain(|path| path.is_file() && path.extension().is_some_and(|is| is == "rs"));
    roots
}

/// The files of the modules that a file declares; `is_root` says that it begins a program.
fn modules_of(path: &Path, text: &str, is_root: bool) -> Vec<PathBuf> {
    let folder = path.parent().unwrap();
    let own = match path.file_stem().unwrap().to_str().unwrap() {
        stem if is_root || stem == "mod" => folder.to_owned(),
        stem => folder.join(stem),
    };
    let mut modules = vec![];
    let mut given = None;
    for line in text.lines().map(str::trim) {
        if let Some(file) = line
            .strip_prefix("#[path = \"")
            .and_then(|line| line.strip_suffix("\"]"))
        {
            given = Some(folder.join(file));
        } else if let Some(name) = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")) {
            if !line.starts_with("//") {
                let files = [own.join(format!("{}.rs", name.1)), own.join(name.1).join("mod.rs")];
                modules.extend(given.take().into_iter().chain(files));
            }
        }
    }
    modules.retain(|file| file.is_file());
    modules.iter().map(|file| file.canonicalize().unwrap()).collect()
}

/// The source files of a package that are part of none of its programs.
fn orphans(package: &str, folders: &[&str], ignored: &str) -> Vec<PathBuf> {
    let folder = root().join(package);
    let mut reached: Vec<PathBuf> = roots(package).iter().map(|file| file.canonicalize().unwrap()).collect();
    let roots = reached.len();
    let mut at = 0;
    while let Some(path) = reached.get(at).cloned() {
        let text = read(&path).replace(ignored, "");
        let new = modules_of(&path, &text, at < roots);
        reached.extend(
            new.into_iter()
                .filter(|file| !reached.contains(file))
                .collect::<Vec<_>>(),
        );
        at += 1;
    }
    let is_another = |path: &Path| {
        let inner = path.ancestors().find(|folder| folder.join("Cargo.toml").is_file());
        inner != Some(&folder.canonicalize().unwrap()) || path.components().any(|part| part.as_os_str() == "target")
    };
    let files = folders.iter().flat_map(|part| sources(&folder.join(part)));
    let files = files.map(|file| file.canonicalize().unwrap());
    files
        .filter(|file| !is_another(file) && !reached.contains(file))
        .collect()
}

#[test]
fn every_source_file_is_part_of_a_program() {
    for (package, folders) in PACKAGES {
        assert_eq!(
            orphans(package, folders, "\0"),
            Vec::<PathBuf>::new(),
            "nothing compiles these"
        );
    }
    for (package, line, lost) in [
        (0, "mod queue;", "src/raw/tests/queue.rs"),
        (0, "mod nursery;", "tests/crash_map/nursery.rs"),
        (5, "mod map;", "tests/heavy/tests/properties/map.rs"),
    ] {
        let (package, folders) = PACKAGES[package];
        let orphans = orphans(package, folders, line);
        assert!(
            orphans.contains(&root().join(lost)),
            "{lost} is missed without `{line}`"
        );
    }
}

#[test]
fn the_crash_table_has_every_point_and_no_other() {
    let text = read("src/design.rs");
    let table = below(&text, "Crash table");
    let points = crash_points();
    let mut rows = vec![];
    for row in table.lines().filter(|line| line.starts_with("//! | `")) {
        let cell = row.split('|').nth(1).unwrap();
        let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let place = |point: &str| points.iter().position(|known| known == point);
        let places = named
            .iter()
            .map(|point| place(point).unwrap_or_else(|| panic!("{point} is no crash point")));
        let places: Vec<usize> = places.collect();
        match cell.contains(" to ") {
            true => rows.extend(places[0]..=places[1]),
            false => rows.extend(places),
        }
    }
    rows.sort_unstable();
    let missing: Vec<_> = (0..points.len())
        .filter(|at| !rows.contains(at))
        .map(|at| &points[at])
        .collect();
    assert!(missing.is_empty(), "the crash table does not name {missing:?}");
    assert!(
        rows.windows(2).all(|pair| pair[0] != pair[1]),
        "a point stands in two rows"
    );
}

#[test]
fn what_is_missing_would_be_seen() {
    assert!(names("a `SharedValue<T>`", "SharedValue") && !names("SharedValues", "SharedValue"));
    let text = "# A\none\n## B\ntwo\n## C\nthree\n";
    assert_eq!(below(text, "B").trim(), "two");
    assert_eq!(below(text, "C").trim(), "three");
    assert!(crash_points().len() > 80);
    assert!(!text_of("README.md#Licence").contains("SharedValue"));
}
