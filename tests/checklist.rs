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

/// The folders of each package, with the file that says what it is built from.
const PACKAGES: [(&str, &[&str]); 8] = [
    ("Cargo.toml", &["src", "tests", "examples"]),
    ("derive/Cargo.toml", &["derive/src"]),
    ("timeline/Cargo.toml", &["timeline/src"]),
    ("benches/Cargo.toml", &["benches"]),
    ("benches/rivals/Cargo.toml", &["benches/rivals"]),
    ("tests/heavy/Cargo.toml", &["tests/heavy"]),
    ("tests/refused/Cargo.toml", &["tests/refused"]),
    ("tests/fuzz/Cargo.toml", &["tests/fuzz"]),
];

/// Whether cargo, or another file, makes a source file part of a program.
fn is_built(path: &Path, manifests: &str, sources: &str) -> bool {
    let folder = path.parent().unwrap();
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let is_package = |folder: Option<&Path>| folder.is_some_and(|folder| folder.join("Cargo.toml").exists());
    // Found by cargo, or read by the test that compiles it.
    let is_searched = ["tests", "examples"].iter().any(|name| folder.ends_with(name));
    let is_target = match stem {
        "lib" => is_package(folder.parent()),
        "main" => is_package(folder.parent()) || is_package(folder.parent().and_then(Path::parent)),
        _ => folder.ends_with("ui") || is_package(folder.parent()) && is_searched,
    };
    let index = |folder: &Path| {
        let files = ["mod.rs", "main.rs", "lib.rs"].map(|file| folder.join(file));
        let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
        texts
            .chain(fs::read_to_string(folder.with_extension("rs")))
            .collect::<String>()
    };
    let declares = |text: &str, stem: &str| {
        let declaration = format!("mod {stem};");
        text.lines()
            .any(|line| line.ends_with(&declaration) && !line.trim_start().starts_with("//"))
    };
    let is_declared = match stem {
        "mod" => {
            let module = folder.file_name().unwrap().to_str().unwrap();
            declares(&index(folder.parent().unwrap()), module) || sources.contains(&format!("/{module}/mod.rs\""))
        }
        _ => declares(&index(folder), stem),
    };
    is_target
        || is_declared
        || manifests.contains(&format!("{name}\""))
        || sources.contains(&format!("#[path = \"{name}\"]"))
        || sources.contains(&format!("/{name}\"]"))
}

#[test]
fn every_source_file_is_part_of_a_program() {
    let manifests: String = PACKAGES.iter().map(|(manifest, _)| read(manifest)).collect();
    let files: Vec<PathBuf> = PACKAGES
        .iter()
        .flat_map(|(_, folders)| *folders)
        .flat_map(|folder| sources(&root().join(folder)))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "target"))
        .collect();
    let texts: String = files.iter().map(read).collect();
    let orphans: Vec<_> = files
        .iter()
        .filter(|path| !is_built(path, &manifests, &texts))
        .collect();
    assert!(orphans.is_empty(), "nothing compiles {orphans:#?}");
    for orphan in [
        "src/raw/flag.rs",
        "src/raw/tests/flag.rs",
        "tests/fuzz/fuzz_targets/flag.rs",
        "tests/heavy/tests/properties/flag.rs",
        "tests/common/flag.rs",
        "benches/flag.rs",
    ] {
        assert!(!is_built(&root().join(orphan), &manifests, &texts), "{orphan}");
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
