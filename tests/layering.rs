//! The rules of the house, read off the sources: who imports whom, who may name what, how long, how proved.
//!
//! Each rule is a function from a file's path and text to complaints, and has a test that shows it can complain.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The floors of `src/`: a file imports from its own folder and from lower floors, not from its neighbours.
const FLOORS: [(&str, u32); 14] = [
    ("error", 0),
    ("trace", 0),
    ("sys", 0),
    ("primitive", 0),
    ("encoding", 1),
    ("layout", 1),
    ("raw", 1),
    ("segment", 2),
    ("collections", 3),
    ("messages", 3),
    ("process", 5),
    ("pool", 6),
    ("design", 7),
    ("wire_format", 7),
];

/// What a folder may import besides itself where its floor would allow more.
const NARROW: [(&str, &[&str]); 6] = [
    ("encoding", &["primitive"]),
    ("error", &[]),
    ("sys", &[]),
    ("primitive", &["sys"]),
    ("raw", &["primitive"]),
    ("layout", &["error", "primitive"]),
];

/// A part of `sys`, and the folders that may use it; any other part is for `primitive`, `segment`, `process` and
/// `pool`.
const DOORS: [(&str, &[&str]); 5] = [
    ("futex", &["primitive"]),
    ("liveness", &["primitive", "process"]),
    ("file", &["segment", "process", "pool"]),
    ("memory", &["segment", "process"]),
    ("spawn", &["process", "pool"]),
];

const MOST_LINES: usize = 600;
const MOST_LINES_OF_LIB: usize = 100;
/// A proof stands within so many lines above what it proves.
const PROOF_WITHIN: usize = 6;

/// One source file, its comments told apart from its code. Both have the lines of the file.
struct Source {
    /// Below `src`, with slashes.
    path: String,
    code: Vec<String>,
    comments: Vec<String>,
}

/// What the reader of a file is inside of.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Code,
    LineComment,
    BlockComment(u32),
    Text,
    RawText(usize),
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (mut code, mut comments) = (vec![], vec![]);
        let mut inside = Inside::Code;
        for line in text.lines() {
            let (mut code_line, mut comment_line) = (String::new(), String::new());
            let characters: Vec<char> = line.chars().collect();
            let mut at = 0;
            while at < characters.len() {
                let rest = &characters[at..];
                let (next, taken) = step(inside, rest);
                match inside {
                    Inside::Code if next == Inside::Code => code_line.extend(&rest[..taken]),
                    Inside::LineComment | Inside::BlockComment(_) => comment_line.extend(&rest[..taken]),
                    _ => {}
                }
                inside = next;
                at += taken;
            }
            if inside == Inside::LineComment {
                inside = Inside::Code;
            }
            code.push(code_line);
            comments.push(comment_line);
        }
        Source {
            path: path.to_owned(),
            code,
            comments,
        }
    }

    fn folder(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Lines of code before the file's own tests.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self
            .code
            .windows(2)
            .position(|pair| pair[0].trim() == "#[cfg(test)]" && opens_tests(&pair[1]));
        let tests = tests.or_else(|| {
            let three = |lines: &[String]| lines[0].trim() == "#[cfg(test)]" && opens_tests(&lines[2]);
            self.code.windows(3).position(three)
        });
        let end = if self.is_test() {
            0
        } else {
            tests.unwrap_or(self.code.len())
        };
        self.code[..end]
            .iter()
            .enumerate()
            .map(|(number, line)| (number + 1, line.as_str()))
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn complaint(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.path)
    }
}

fn opens_tests(line: &str) -> bool {
    line.trim() == "mod tests {"
}

/// Where the reader is after the next characters, and how many those are.
fn step(inside: Inside, rest: &[char]) -> (Inside, usize) {
    let starts = |text: &str| {
        text.chars()
            .enumerate()
            .all(|(at, character)| rest.get(at) == Some(&character))
    };
    match inside {
        Inside::LineComment => (Inside::LineComment, rest.len()),
        Inside::BlockComment(depth) if starts("*/") => (
            if depth == 1 {
                Inside::Code
            } else {
                Inside::BlockComment(depth - 1)
            },
            2,
        ),
        Inside::BlockComment(depth) if starts("/*") => (Inside::BlockComment(depth + 1), 2),
        Inside::Text if starts("\\") => (Inside::Text, 2.min(rest.len())),
        Inside::Text if starts("\"") => (Inside::Code, 1),
        Inside::RawText(hashes) if starts(&format!("\"{}", "#".repeat(hashes))) => (Inside::Code, hashes + 1),
        Inside::BlockComment(_) | Inside::Text | Inside::RawText(_) => (inside, 1),
        Inside::Code if starts("//") => (Inside::LineComment, 2),
        Inside::Code if starts("/*") => (Inside::BlockComment(1), 2),
        Inside::Code if starts("r\"") => (Inside::RawText(0), 2),
        Inside::Code if starts("r#\"") => (Inside::RawText(1), 3),
        Inside::Code if starts("\"") => (Inside::Text, 1),
        Inside::Code if starts("'\\") => (Inside::Code, 3.min(rest.len())),
        Inside::Code if starts("'") && rest.get(2) == Some(&'\'') => (Inside::Code, 3),
        Inside::Code => (Inside::Code, 1),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands in `line` as a whole word.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word))
}

/// The first names of all paths that `lead` begins, those in its groups too, with their lines.
fn names_after(source: &Source, lead: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let lines: Vec<(usize, &str)> = source.lines().collect();
    for (index, &(number, line)) in lines.iter().enumerate() {
        let root = lead.split("::").next().unwrap_or_default();
        for at in words(line, root).filter(|&at| line[at..].starts_with(lead)) {
            let following = lines[index + 1..].iter().map(|&(_, line)| line);
            let rest: String = std::iter::once(&line[at + lead.len()..])
                .chain(following.take(40))
                .collect();
            found.extend(first_names(&rest).into_iter().map(|name| (number, name)));
        }
    }
    found
}

/// The first name of a path, or of every path in a group.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|&character| is_word(character))
            .collect::<String>()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut names, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[begin..at]));
                begin = at + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn floor(folder: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == folder).map(|(_, floor)| *floor)
}

/// No file imports from a higher floor, nor reaches the root by climbing.
fn imports_upwards(source: &Source) -> Vec<String> {
    if source.path == "lib.rs" {
        return Vec::new();
    }
    let own = source.folder();
    let mut complaints = Vec::new();
    if floor(own).is_none() {
        complaints.push(source.complaint(1, "stands on no floor"));
    }
    for (line, name) in names_after(source, "crate::") {
        let allowed = match floor(&name) {
            _ if name == own => true,
            None => false,
            Some(floor_of_name) => match NARROW.iter().find(|(folder, _)| *folder == own) {
                Some((_, allowed)) => allowed.contains(&name.as_str()),
                None => Some(floor_of_name) < floor(own),
            },
        };
        if !allowed {
            complaints.push(source.complaint(line, &format!("{own} imports crate::{name}")));
        }
    }
    let depth = source.path.trim_end_matches("/mod.rs").split('/').count();
    for (number, line, modules) in within_modules(source) {
        if line.contains(&"super::".repeat(depth + modules)) {
            complaints.push(source.complaint(number, "climbs out of its folder"));
        }
    }
    complaints
}

/// Lines of code, with the number of modules written out around them.
fn within_modules(source: &Source) -> Vec<(usize, &str, usize)> {
    let (mut braces, mut modules) = (0, Vec::new());
    let mut lines = Vec::new();
    for (number, line) in source.lines() {
        lines.push((number, line, modules.len()));
        if words(line, "mod").next().is_some() && line.ends_with('{') {
            modules.push(braces);
        }
        braces += line.matches('{').count();
        braces -= line.matches('}').count().min(braces);
        modules.retain(|&outside| outside < braces);
    }
    lines
}

/// The parts of `sys` are used through their doors.
fn bypasses_doors(source: &Source) -> Vec<String> {
    let own = source.folder();
    if own == "sys" || source.path == "lib.rs" {
        return Vec::new();
    }
    let parts = names_after(source, "sys::");
    let not_allowed = |part: &str| match DOORS.iter().find(|(name, _)| *name == part) {
        Some((_, folders)) => !folders.contains(&own),
        None => !["primitive", "segment", "process", "pool"].contains(&own),
    };
    let wrong = parts.iter().filter(|(_, part)| not_allowed(part));
    wrong
        .map(|(line, part)| source.complaint(*line, &format!("{own} uses sys::{part}")))
        .collect()
}

/// Each name is for the files below its places only.
const RESERVED: [(&str, &[&str]); 4] = [
    ("libc", &["sys/"]),
    ("memmap2", &["segment/mapping.rs"]),
    // Its type parameters are those public types: a user's atomics, which no model of ours drives.
    ("sync::atomic", &["primitive/", "sys/", "collections/atomic.rs"]),
    ("loom", &["primitive/"]),
];

fn names_what_is_reserved(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, places) in RESERVED {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        let last = name.rsplit("::").next().unwrap_or_default();
        for (number, line) in source.lines() {
            let named = words(line, last).any(|at| line[..at + last.len()].ends_with(name));
            // Also as `use std::sync::{atomic::…}`.
            let grouped = name.contains("::") && line.contains("std::sync::{") && words(line, last).next().is_some();
            if named || grouped {
                complaints.push(source.complaint(number, &format!("names {name}")));
            }
        }
    }
    complaints
}

fn is_too_long(source: &Source) -> Vec<String> {
    let lines = source.lines().count();
    let most = if source.path == "lib.rs" {
        usize::MAX
    } else {
        MOST_LINES
    };
    let complaint = format!("{lines} lines without tests, {MOST_LINES} may be");
    (lines > most)
        .then(|| source.complaint(lines, &complaint))
        .into_iter()
        .collect()
}

/// The index of the crate holds no logic.
fn holds_logic(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let private = source
        .lines()
        .find(|(_, line)| line.contains("mod __private"))
        .map(|(number, _)| number);
    for (number, line) in source.lines() {
        if words(line, "fn").next().is_some() && private.is_none_or(|private| number < private) {
            complaints.push(source.complaint(number, "a function in the index"));
        }
    }
    let code = source.lines().filter(|(_, line)| !line.trim().is_empty()).count();
    if code >= MOST_LINES_OF_LIB {
        complaints.push(source.complaint(1, &format!("{code} lines of code")));
    }
    complaints
}

/// Every unsafe block and implementation has a proof, every unsafe function and trait a contract.
fn lacks_a_proof(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in source.code.iter().enumerate() {
        for at in words(line, "unsafe") {
            let what = line[at + "unsafe".len()..].trim_start();
            // A type such as `unsafe extern "C" fn()` obliges nobody yet.
            let before = line[..at].trim_end();
            let is_type =
                (before.ends_with([':', '<', '(', ',', '=']) || before.ends_with(" as")) && !what.starts_with('{');
            let complaint = if is_type || what.starts_with('(') {
                None
            } else if what.starts_with("fn") || what.starts_with("trait") || what.starts_with("extern") {
                (!docs_above(source, number).contains("# Safety") && !proved(source, number)).then_some("no # Safety")
            } else {
                (!proved(source, number)).then_some("no SAFETY comment")
            };
            complaints.extend(complaint.map(|what| source.complaint(number + 1, what)));
        }
    }
    complaints
}

fn proved(source: &Source, number: usize) -> bool {
    source.comments[number.saturating_sub(PROOF_WITHIN)..=number]
        .iter()
        .any(|comment| {
            let comment = comment.trim_start();
            comment
                .strip_prefix("SAFETY:")
                .is_some_and(|proof| proof.trim().len() > 10)
        })
}

/// The comments above a line, up to the item before it; attributes may stand between.
fn docs_above(source: &Source, number: usize) -> String {
    let above = (0..number).rev().take_while(|&line| {
        let code = source.code[line].trim();
        !(code.is_empty() && source.comments[line].is_empty() || code.ends_with(['}', ';', '{']))
    });
    above
        .map(|line| source.comments[line].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}

fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(read_sources)
}

fn read_sources() -> Vec<Source> {
    fn read(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
        for file in fs::read_dir(folder).expect("the sources are here") {
            let path = file.expect("the sources are here").path();
            if path.is_dir() {
                read(&path, root, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(root)
                    .expect("it is below the root")
                    .to_string_lossy()
                    .into_owned();
                sources.push(Source::new(&name, &fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    assert!(sources.len() > 30, "the sources were found");
    sources
}

type Rule = fn(&Source) -> Vec<String>;

fn holds(rule: Rule, concerns: impl Fn(&Source) -> bool) {
    let complaints: Vec<String> = sources()
        .iter()
        .filter(|source| concerns(source))
        .flat_map(rule)
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// How often the rule complains about an invented file.
fn complaints(rule: Rule, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn no_floor_imports_a_higher_one() {
    holds(imports_upwards, |_| true);
}

#[test]
fn a_higher_import_would_be_seen() {
    let count = |path, text| complaints(imports_upwards, path, text);
    assert_eq!(
        count("raw/mutex.rs", "use crate::primitive::Ordering;\nuse crate::raw::X;"),
        0
    );
    assert_eq!(count("raw/mutex.rs", "use crate::layout::Header;"), 1);
    assert_eq!(count("layout/header.rs", "use crate::raw::RawMutex;"), 1);
    assert_eq!(
        count(
            "segment/mod.rs",
            "use crate::{\n    error::{Error, Result},\n    collections::SharedValue,\n};"
        ),
        1
    );
    assert_eq!(count("segment/mod.rs", "fn f() { let _ = crate::process::init(); }"), 1);
    assert_eq!(count("sys/mod.rs", "use crate::error::Error;"), 1);
    assert_eq!(count("primitive/mod.rs", "use crate::error::Error;"), 1);
    assert_eq!(count("collections/value.rs", "use crate::Segment;"), 1);
    assert_eq!(
        count(
            "segment/mod.rs",
            "// use crate::process::X;\n/// crate::process::X\nconst X: &str = \"crate::process\";"
        ),
        0
    );
    assert_eq!(count("raw/mutex.rs", "use super::super::layout::Header;"), 1);
    assert_eq!(
        count("primitive/mod.rs", "mod real {\n    use super::X;\n}\nuse super::sys;"),
        1
    );
    assert_eq!(count("segment/attach.rs", "use super::name::SegmentName;"), 0);
    assert_eq!(count("messages/queue.rs", "use crate::collections::SharedValue;"), 1);
    assert_eq!(
        count("collections/value.rs", "use crate::messages::{SharedQueue, pipe};"),
        1
    );
    assert_eq!(count("collections/value.rs", "use crate::segment::Handle;"), 0);
    assert_eq!(
        count(
            "segment/mod.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::process::X;\n}"
        ),
        0
    );
    assert_eq!(count("elsewhere/mod.rs", ""), 1);
}

#[test]
fn the_system_is_entered_by_its_doors() {
    holds(bypasses_doors, |_| true);
}

#[test]
fn a_bypassed_door_would_be_seen() {
    let count = |path, text| complaints(bypasses_doors, path, text);
    assert_eq!(
        count(
            "segment/attach.rs",
            "use crate::sys::{self, file};\nuse crate::sys::file::AsFd;"
        ),
        0
    );
    assert_eq!(count("segment/attach.rs", "use crate::sys::futex;"), 1);
    assert_eq!(count("segment/attach.rs", "use crate::sys::{file, spawn};"), 1);
    assert_eq!(count("collections/value.rs", "fn f() { crate::sys::clock::now(); }"), 1);
    assert_eq!(count("process/spawn.rs", "use crate::sys::{spawn, file};"), 0);
}

#[test]
fn what_is_reserved_is_named_in_its_place_only() {
    holds(names_what_is_reserved, |_| true);
}

#[test]
fn a_reserved_name_would_be_seen() {
    let count = |path, text| complaints(names_what_is_reserved, path, text);
    assert_eq!(
        count(
            "sys/linux/file.rs",
            "use libc::c_int; use core::sync::atomic::AtomicU32;"
        ),
        0
    );
    assert_eq!(count("segment/attach.rs", "unsafe { libc::close(3) };"), 1);
    assert_eq!(count("segment/attach.rs", "use memmap2::MmapRaw;"), 1);
    assert_eq!(count("segment/mapping.rs", "use memmap2::MmapRaw;"), 0);
    assert_eq!(count("raw/mutex.rs", "use core::sync::atomic::AtomicU64;"), 1);
    assert_eq!(count("raw/mutex.rs", "use std::sync::{Arc, atomic::AtomicU64};"), 1);
    assert_eq!(
        count(
            "raw/mutex.rs",
            "use crate::primitive::AtomicU64;\n// std::sync::atomic is not for us"
        ),
        0
    );
    assert_eq!(count("raw/mutex.rs", "use loom::thread;"), 1);
    assert_eq!(count("raw/mutex.rs", "#[cfg(procshare_loom)]"), 0);
    assert_eq!(count("raw/tests/mutex.rs", "use loom::thread;"), 0);
}

#[test]
fn no_file_is_too_long() {
    holds(is_too_long, |_| true);
}

#[test]
fn a_long_file_would_be_seen() {
    let lines = |count| "fn f() {}\n".repeat(count);
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &lines(600)), 0);
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &lines(601)), 1);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", lines(500), lines(500));
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &tests), 0);
    assert_eq!(complaints(is_too_long, "raw/tests/mutex.rs", &lines(900)), 0);
}

#[test]
fn the_index_holds_no_logic() {
    holds(holds_logic, |source| source.path == "lib.rs");
}

#[test]
fn logic_in_the_index_would_be_seen() {
    assert_eq!(
        complaints(holds_logic, "lib.rs", "//! fn\nmod error;\npub use error::Error;"),
        0
    );
    assert_eq!(
        complaints(
            holds_logic,
            "lib.rs",
            "pub fn init() {}\npub mod __private {\n    pub fn f() {}\n}"
        ),
        1
    );
    assert_eq!(complaints(holds_logic, "lib.rs", &"mod a;\n".repeat(100)), 1);
    assert_eq!(complaints(holds_logic, "lib.rs", &"//! words\n\n".repeat(100)), 0);
}

#[test]
fn everything_unsafe_is_proved() {
    holds(lacks_a_proof, |_| true);
}

#[test]
fn a_missing_proof_would_be_seen() {
    let count = |text: &str| complaints(lacks_a_proof, "raw/mutex.rs", text);
    assert_eq!(
        count("// SAFETY: the pointer was just made from a reference.\nlet x = unsafe { *p };"),
        0
    );
    assert_eq!(count("let x = unsafe { *p };"), 1);
    assert_eq!(count("// SAFETY: ok\nlet x = unsafe { *p };"), 1);
    assert_eq!(
        count(&format!(
            "// SAFETY: it is far away from here.\n{}unsafe {{ f() }};",
            "f();\n".repeat(6)
        )),
        1
    );
    assert_eq!(count("unsafe impl Send for X {}"), 1);
    assert_eq!(
        count("/// Does.\n///\n/// # Safety\n/// The caller proves it.\n#[inline]\npub unsafe fn f() {}"),
        0
    );
    assert_eq!(count("/// Does.\npub unsafe fn f() {}"), 1);
    assert_eq!(
        count("/// # Safety\n/// Proved.\npub unsafe fn f();\npub unsafe fn g() {}"),
        1
    );
    assert_eq!(
        count("/// # Safety\n/// Proved.\n#[note(\n    a = 1\n)]\npub unsafe trait T {}"),
        0
    );
    assert_eq!(count("let f = libc::getpid as unsafe extern \"C\" fn() -> i32;"), 0);
    assert_eq!(count("struct X { f: unsafe extern \"C\" fn() }"), 0);
    assert_eq!(count("let text = \"unsafe { }\"; // unsafe { }"), 0);
}
