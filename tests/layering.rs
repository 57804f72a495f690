//! The rules of the house, read off the sources: who imports whom, who may name what, how long, how proved.
//!
//! Each rule is a function from a file's path and text to complaints, and has a test that shows it can complain. The rule on
//! circles looks at all files at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The floors of `src/`: a file imports from its own folder and from lower floors, not from its neighbours.
const FLOORS: [(&str, u32); 15] = [
    ("error", 0),
    ("trace", 0),
    ("sys", 0),
    ("primitive", 1),
    ("encoding", 2),
    ("layout", 2),
    ("raw", 2),
    ("segment", 3),
    ("collections", 4),
    ("messages", 4),
    ("travel", 5),
    ("process", 6),
    ("pool", 7),
    ("design", 8),
    ("wire_format", 8),
];

/// What a folder may import besides itself where its floor would allow more.
const NARROW: [(&str, &[&str]); 4] = [
    ("encoding", &["primitive"]),
    ("primitive", &["sys"]),
    ("raw", &["primitive"]),
    ("layout", &["error", "primitive"]),
];

/// A part of `sys`, and the folders that may use it; any other part is for `primitive`, `segment`, `process` and
/// `pool`.
const DOORS: [(&str, &[&str]); 5] = [
    ("futex", &["primitive"]),
    ("liveness", &["primitive", "process"]),
    ("file", &["segment", "travel", "process", "pool"]),
    ("memory", &["segment"]),
    ("spawn", &["process", "pool"]),
];

/// Files that may import each other: a type and its guard.
const PAIRS: [[&str; 2]; 2] = [
    ["collections/array.rs", "collections/array_guard.rs"],
    ["collections/value.rs", "collections/value_guard.rs"],
];

/// What only `sys` says, in strings.
const LINUX: [&str; 3] = ["/proc", "/dev/shm", "inux"];

/// Lines of code; comments and empty lines are not counted.
const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 60;
const MOST_LINES_OF_LIB: usize = 100;
/// A proof stands within so many lines above what it proves.
const PROOF_WITHIN: usize = 6;

/// One source file, its comments and what its strings contain told apart from its code. All have the lines of the file.
struct Source {
    /// Below `src`, with slashes.
    path: String,
    code: Vec<String>,
    comments: Vec<String>,
    strings: Vec<String>,
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
        let (mut code, mut comments, mut strings) = (vec![], vec![], vec![]);
        let mut inside = Inside::Code;
        for line in text.lines() {
            let (mut code_line, mut comment_line, mut string_line) = (String::new(), String::new(), String::new());
            let characters: Vec<char> = line.chars().collect();
            let mut at = 0;
            while at < characters.len() {
                let rest = &characters[at..];
                let (next, taken) = step(inside, rest);
                match inside {
                    Inside::Code if next == Inside::Code => code_line.extend(&rest[..taken]),
                    Inside::LineComment | Inside::BlockComment(_) => comment_line.extend(&rest[..taken]),
                    Inside::Text | Inside::RawText(_) => string_line.extend(&rest[..taken]),
                    Inside::Code => {}
                }
                inside = next;
                at += taken;
            }
            if inside == Inside::LineComment {
                inside = Inside::Code;
            }
            code.push(code_line);
            comments.push(comment_line);
            strings.push(string_line);
        }
        Source {
            path: path.to_owned(),
            code,
            comments,
            strings,
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

    /// Those of [`lines`](Self::lines) that hold code.
    fn lines_of_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .filter(|(number, line)| !line.trim().is_empty() || !self.strings[number - 1].is_empty())
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

/// Only `sys` names the system, its paths, and how to set it up.
fn names_the_system(source: &Source) -> Vec<String> {
    if source.folder() == "sys" {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (number, line) in source.lines() {
        if words(line, "target_os").next().is_some() {
            complaints.push(source.complaint(number, "names target_os"));
        }
        let named = LINUX.iter().find(|name| source.strings[number - 1].contains(**name));
        complaints.extend(named.map(|name| source.complaint(number, &format!("a string with {name:?}"))));
    }
    complaints
}

fn has_a_long_function(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.lines_of_code().collect();
    let begins = |line: &str| words(line, "fn").any(|at| line[at + 2..].starts_with(" "));
    let mut complaints = Vec::new();
    for (index, (number, _)) in lines.iter().enumerate().filter(|(_, (_, line))| begins(line)) {
        let length = length_of_function(&lines[index..]);
        if length > MOST_LINES_OF_A_FUNCTION {
            let complaint = format!("a function of {length} lines, {MOST_LINES_OF_A_FUNCTION} may be");
            complaints.push(source.complaint(*number, &complaint));
        }
    }
    complaints
}

/// From the line of its name to that of its last brace; 1 if it has no body.
fn length_of_function(lines: &[(usize, &str)]) -> usize {
    let mut braces = 0;
    let mut is_open = false;
    for (index, (_, line)) in lines.iter().enumerate() {
        for character in line.replace("'{'", "").replace("'}'", "").chars() {
            match character {
                '{' => (braces, is_open) = (braces + 1, true),
                '}' if braces > 0 => braces -= 1,
                ';' if !is_open && !line.contains('[') => return 1,
                _ => {}
            }
        }
        if is_open && braces == 0 {
            return index + 1;
        }
    }
    lines.len()
}

/// A path of modules and the item at its end, as written; the item is empty if the path is a module's.
type ModulePath = Vec<String>;

/// A path that a file names, with the number of modules written out around it.
struct Import {
    path: ModulePath,
    /// What it is called here; empty if it is not brought here.
    name: String,
    within: usize,
    /// Others may import it from here.
    is_public: bool,
}

/// The module that a file is.
fn module_of(path: &str) -> ModulePath {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Every path of `use` items, and those of this crate written elsewhere.
fn imports_of(source: &Source) -> Vec<Import> {
    let mut imports = Vec::new();
    let lines = within_modules(source);
    let mut index = 0;
    while index < lines.len() {
        let (_, line, within) = lines[index];
        let item = line.trim_start();
        let is_use = item.starts_with("use ") || item.starts_with("pub") && words(item, "use").next().is_some();
        if is_use {
            let mut text = item.to_owned();
            while !text.contains(';') && index + 1 < lines.len() {
                index += 1;
                text.push_str(lines[index].1);
            }
            let at = words(&text, "use").next().unwrap_or_default() + "use".len();
            let is_public = text.starts_with("pub");
            let tree = text[at..].split(';').next().unwrap_or_default();
            imports.extend(leaves(tree).into_iter().map(|(path, name)| Import {
                path,
                name,
                within,
                is_public,
            }));
        } else {
            for root in ["crate", "super"] {
                let paths = words(line, root).filter(|at| line[at + root.len()..].starts_with("::"));
                // Of `super::super::x`, only what begins the path.
                let paths = paths.filter(|at| !line[..*at].ends_with("::"));
                imports.extend(paths.map(|at| Import {
                    path: path_at(&line[at..]),
                    name: String::new(),
                    within,
                    is_public: false,
                }));
            }
        }
        index += 1;
    }
    imports
}

/// The names of a path, as far as it goes.
fn path_at(text: &str) -> ModulePath {
    let end = text.find(|character: char| !is_word(character) && character != ':');
    let names = text[..end.unwrap_or(text.len())].split("::");
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The paths of a `use` tree, each with the name it has here.
fn leaves(tree: &str) -> Vec<(ModulePath, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let names = path.split("::").map(|name| name.trim().to_owned());
        let path: ModulePath = names
            .filter(|name| !["", "self", "*"].contains(&name.as_str()))
            .collect();
        let name = path.last().filter(|_| alias.is_empty()).cloned();
        return vec![(path, name.unwrap_or_else(|| alias.to_owned()))];
    };
    let lead = path_at(&tree[..open]);
    let inner = tree[open + 1..].strip_suffix('}').unwrap_or_default();
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(leaves)
        .map(|(path, name)| (lead.iter().cloned().chain(path).collect(), name))
        .collect()
}

/// Which file imports from which. What a `mod.rs` passes on counts as imported from where it comes from.
struct Imports<'a> {
    files: BTreeMap<ModulePath, &'a str>,
    /// Where a name that a module passes on comes from.
    passed_on: BTreeMap<(ModulePath, String), Vec<ModulePath>>,
}

impl<'a> Imports<'a> {
    fn of(sources: &'a [Source]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let files = sources
            .iter()
            .filter(|source| !source.is_test() && source.path != "lib.rs");
        let mut imports = Imports {
            files: files
                .clone()
                .map(|source| (module_of(&source.path), source.path.as_str()))
                .collect(),
            passed_on: BTreeMap::new(),
        };
        let mut edges = BTreeMap::new();
        for source in files.clone() {
            for import in imports_of(source).into_iter().filter(|import| import.is_public) {
                let own = module_of(&source.path);
                if let Some(path) = imports.absolute(&own, &import) {
                    imports.passed_on.entry((own, import.name)).or_default().push(path);
                }
            }
        }
        for source in files {
            let own = module_of(&source.path);
            let found: &mut BTreeSet<&str> = edges.entry(source.path.as_str()).or_default();
            for import in imports_of(source).iter().filter(|import| !import.is_public) {
                let path = imports.absolute(&own, import);
                found.extend(path.into_iter().flat_map(|path| imports.homes(&path, 0)));
            }
            found.remove(source.path.as_str());
        }
        edges
    }

    /// The path from the root of the crate; `None` if it leads elsewhere, or to a module written out in the same file.
    fn absolute(&self, own: &[String], import: &Import) -> Option<ModulePath> {
        let first = import.path.first()?;
        let mut at = own.to_vec();
        at.extend((0..import.within).map(|_| String::new()));
        let mut rest = &import.path[..];
        match first.as_str() {
            "crate" => (at, rest) = (Vec::new(), &rest[1..]),
            "super" => {
                while let Some((_, left)) = rest.split_first().filter(|(name, _)| *name == "super") {
                    at.pop();
                    rest = left;
                }
            }
            _ => {
                let child: ModulePath = own.iter().chain([first]).cloned().collect();
                self.files.get(&child)?;
            }
        }
        at.extend_from_slice(rest);
        at.iter().all(|name| !name.is_empty()).then_some(at)
    }

    /// The files that a path leads to.
    fn homes(&self, path: &[String], steps: usize) -> Vec<&'a str> {
        let lengths = (1..=path.len()).rev();
        let Some(length) = lengths.clone().find(|length| self.files.contains_key(&path[..*length])) else {
            return Vec::new();
        };
        let module = path[..length].to_vec();
        let passed_on = path
            .get(length)
            .and_then(|name| self.passed_on.get(&(module.clone(), name.clone())));
        match passed_on.filter(|_| steps < 5) {
            Some(origins) => origins
                .iter()
                .map(|origin| {
                    origin
                        .iter()
                        .chain(&path[length + 1..])
                        .cloned()
                        .collect::<ModulePath>()
                })
                .flat_map(|path| self.homes(&path, steps + 1))
                .collect(),
            None => vec![self.files[&module]],
        }
    }
}

/// Files that import each other, over any number of steps.
fn circles(sources: &[Source]) -> Vec<Vec<&str>> {
    let edges = Imports::of(sources);
    let reached_from = |file: &str| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![file.to_owned()]);
        while let Some(file) = next.pop() {
            for &import in edges.get(file.as_str()).into_iter().flatten() {
                if reached.insert(import) {
                    next.push(import.to_owned());
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|&file| (file, reached_from(file))).collect();
    let circle_of = |file: &str| -> Vec<&str> {
        let back = reached[file]
            .iter()
            .filter(|other| reached.get(**other).is_some_and(|from| from.contains(file)));
        back.copied().collect()
    };
    let circles: BTreeSet<Vec<&str>> = edges.keys().map(|file| circle_of(file)).collect();
    circles.into_iter().filter(|circle| !circle.is_empty()).collect()
}

fn is_too_long(source: &Source) -> Vec<String> {
    let lines = source.lines_of_code().count();
    let most = if source.path == "lib.rs" {
        usize::MAX
    } else {
        MOST_LINES
    };
    let complaint = format!("{lines} lines of code without tests, {MOST_LINES} may be");
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
    let code = source.lines_of_code().count();
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
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &lines(500)), 0);
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &lines(501)), 1);
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}", lines(500), lines(500));
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &tests), 0);
    assert_eq!(complaints(is_too_long, "raw/tests/mutex.rs", &lines(900)), 0);
    let documented = "/// Does.\n\nfn f() {} // so\n".repeat(500);
    assert_eq!(complaints(is_too_long, "raw/mutex.rs", &documented), 0);
    assert_eq!(
        complaints(is_too_long, "raw/mutex.rs", &format!("{documented}\"\n text\n\"")),
        1
    );
}

#[test]
fn no_function_is_too_long() {
    holds(has_a_long_function, |_| true);
}

#[test]
fn a_long_function_would_be_seen() {
    let count = |text: &str| complaints(has_a_long_function, "raw/mutex.rs", text);
    let body = |lines| "    f();\n\n    // so\n".repeat(lines);
    let most = MOST_LINES_OF_A_FUNCTION - 2;
    assert_eq!(count(&format!("fn g() {{\n{}}}\n{}", body(most), body(100))), 0);
    assert_eq!(count(&format!("fn g() {{\n{}}}", body(most + 1))), 1);
    assert_eq!(count(&format!("fn g()\nwhere\n    T: U,\n{{\n{}}}", body(most - 2))), 1);
    assert_eq!(count(&format!("trait T {{\n    fn g();\n{}}}", body(100))), 0);
    assert_eq!(count(&format!("fn g(x: [u8; 3]) {{\n{}}}", body(most + 1))), 1);
    assert_eq!(count(&format!("fn g() {{\n    f('}}');\n{}}}", body(most))), 1);
}

#[test]
fn only_sys_names_the_system() {
    holds(names_the_system, |_| true);
}

#[test]
fn a_name_of_the_system_would_be_seen() {
    let count = |path, text| complaints(names_the_system, path, text);
    assert_eq!(count("segment/name.rs", "const FOLDER: &str = \"/dev/shm\";"), 1);
    assert_eq!(count("process/entry.rs", "f(c\"/proc/self/exe\");"), 1);
    assert_eq!(count("process/entry.rs", "f(r#\"on Linux only\"#);"), 1);
    assert_eq!(count("process/entry.rs", "f(\"so\n mount /proc\");"), 1);
    assert_eq!(
        count("segment/mapping.rs", "#[cfg(target_os = \"linux\")]\nfn f() {}"),
        2
    );
    assert_eq!(count("segment/name.rs", "// \"/proc\"\n/// on Linux\nfn f() {}"), 0);
    assert_eq!(
        count("segment/name.rs", "#[cfg(test)]\nmod tests {\n    f(\"/proc\");\n}"),
        0
    );
    assert_eq!(count("sys/linux/file.rs", "f(\"/dev/shm\");"), 0);
}

#[test]
fn no_files_import_each_other() {
    let is_allowed = |circle: &Vec<&str>| PAIRS.iter().any(|pair| circle[..] == *pair);
    let circles: Vec<_> = circles(sources())
        .into_iter()
        .filter(|circle| !is_allowed(circle))
        .collect();
    assert!(circles.is_empty(), "these import each other: {circles:#?}");
}

#[test]
fn a_circle_would_be_seen() {
    let found = |files: &[(&str, &str)]| {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        circles(&sources)
            .into_iter()
            .map(|circle| circle.join(" "))
            .collect::<Vec<_>>()
    };
    let a = ("raw/a.rs", "use super::b::B;");
    assert_eq!(found(&[a, ("raw/b.rs", "use std::fmt;")]), [""; 0]);
    assert_eq!(
        found(&[a, ("raw/b.rs", "use crate::raw::a::{A, C};")]),
        ["raw/a.rs raw/b.rs"]
    );
    assert_eq!(
        found(&[a, ("raw/b.rs", "fn f() {\n    super::a::f();\n}")]),
        ["raw/a.rs raw/b.rs"]
    );
    assert_eq!(found(&[a, ("raw/b.rs", "// use super::a::A;")]), [""; 0]);
    assert_eq!(
        found(&[
            a,
            ("raw/b.rs", "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}")
        ]),
        [""; 0]
    );
    // Over three files, and by what a module passes on.
    let b = ("raw/b.rs", "use super::{\n    Y,\n};");
    let module = ("raw/mod.rs", "mod c;\npub(crate) use c::{X, Z as Y};");
    assert_eq!(
        found(&[a, b, module, ("raw/c.rs", "use super::a;")]),
        ["raw/a.rs raw/b.rs raw/c.rs"]
    );
    assert_eq!(found(&[a, b, module, ("raw/c.rs", "")]), [""; 0]);
    // A module with a type of its own is a file like others.
    let owner = ("raw/mod.rs", "mod c;\nuse c::X;\nstruct Y;");
    assert_eq!(found(&[owner, ("raw/c.rs", "use super::Y;")]), ["raw/c.rs raw/mod.rs"]);
    let inner = (
        "raw/b.rs",
        "mod real {\n    use super::X;\n    use super::super::a::A;\n}",
    );
    assert_eq!(found(&[a, inner]), ["raw/a.rs raw/b.rs"]);
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
