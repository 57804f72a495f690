//! The examples, run as a user runs them.

#![cfg(feature = "process")]
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod common;

use common::{has_ended, output_of, unique, wait_until, watchdog};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const MODES: [&str; 6] = ["unguarded", "per-access", "get-lock", "counter", "atomic", "kill"];
const GUARDED: [&str; 4] = ["get-lock", "counter", "atomic", "kill"];
const KEYS: &str = "mode processes increments expected final lost ns_per_increment";
const KILL_KEYS: &str = "kills longest_stall_ms consistent";

/// The built example; `cargo test --test examples` alone does not build them.
fn example(name: &str) -> Command {
    static BUILD: Mutex<()> = Mutex::new(());
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap().to_owned();
    let path = profile.join("examples").join(name);
    let one_at_a_time = BUILD.lock();
    if !path.exists() {
        build(&profile);
    }
    drop(one_at_a_time);
    Command::new(path)
}

fn build(profile: &Path) {
    let folder = profile.file_name().unwrap().to_str().unwrap();
    let name = if folder == "debug" { "dev" } else { folder };
    let features = [
        ("timeline-svg", cfg!(feature = "timeline-svg")),
        ("progress-bar", cfg!(feature = "progress-bar")),
    ];
    let features: Vec<_> = features
        .into_iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| name)
        .collect();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--examples",
        "--features",
        &features.join(","),
        "--profile",
        name,
        "--target-dir",
    ]);
    output_of(cargo.arg(PathBuf::from(profile.parent().unwrap())));
}

/// The lines `counter_race` prints with `--json`, and that it ended well.
fn race(arguments: &[&str]) -> Vec<Value> {
    let text = output_of(example("counter_race").arg("--json").args(arguments));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(line: &Value, key: &str) -> f64 {
    line[key].as_f64().unwrap()
}

/// What is said on standard error by a call that must fail, and the exit status.
fn refusal(arguments: &[&str]) -> (String, Option<i32>) {
    let output = example("counter_race").args(arguments).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// Every process with this variable in its environment.
fn processes_with(variable: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_it = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
    };
    pids.filter(has_it).collect()
}

#[test]
fn the_race_loses_nothing_where_it_is_guarded() {
    let _watchdog = watchdog(120);
    let lines = race(&["--seconds", "0.5"]);
    assert_eq!(lines.iter().map(|line| &line["mode"]).collect::<Vec<_>>(), MODES);
    for line in &lines {
        let mode = line["mode"].as_str().unwrap();
        let keys = if mode == "kill" {
            format!("{KEYS} {KILL_KEYS}")
        } else {
            KEYS.to_owned()
        };
        let mut expected: Vec<_> = keys.split(' ').collect();
        expected.sort_unstable();
        assert_eq!(line.as_object().unwrap().keys().collect::<Vec<_>>(), expected);
        assert_eq!(number(line, "processes"), 4.0);
        assert_eq!(number(line, "expected") - number(line, "final"), number(line, "lost"));
        assert!(number(line, "ns_per_increment") > 0.0);
        if GUARDED.contains(&mode) {
            assert_eq!(number(line, "lost"), 0.0, "{line}");
        }
        if mode != "kill" {
            assert_eq!(number(line, "expected"), 40_000.0);
        }
    }
    let kill = &lines[5];
    assert_eq!(kill["consistent"], true);
    assert!(number(kill, "kills") >= 1.0 && number(kill, "final") > 0.0, "{kill}");
}

#[test]
fn the_race_loses_updates_where_it_is_not_guarded() {
    let _watchdog = watchdog(120);
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        return; // Two processes then meet only when one is interrupted between its load and its store.
    }
    for mode in ["unguarded", "per-access"] {
        // A busy machine may keep the workers apart, though hardly ten times.
        let loses = |_| number(&race(&["--mode", mode])[0], "lost") > 0.0;
        assert!((0..10).any(loses), "{mode}");
    }
}

#[test]
fn the_table_has_a_bar_for_each_mode() {
    let _watchdog = watchdog(120);
    let text = output_of(example("counter_race").args(["--processes", "2", "--increments", "50", "--seconds", "0.1"]));
    for mode in MODES {
        let row = text.lines().find(|line| line.starts_with(&format!("{mode} "))).unwrap();
        let bar = row.chars().filter(|letter| "█░".contains(*letter)).count();
        assert_eq!(bar, 40, "{row}");
    }
    assert!(text.contains("longest stall"), "{text}");
}

#[test]
fn one_process_or_the_most_of_them_race_too() {
    let _watchdog = watchdog(120);
    for processes in ["1", "64"] {
        let arguments = ["--mode", "get-lock", "--processes", processes, "--increments", "20"];
        assert_eq!(number(&race(&arguments)[0], "lost"), 0.0);
    }
    let line = &race(&["--mode", "kill", "--processes", "1", "--seconds", "0.1"])[0];
    assert_eq!(line["consistent"], true);
}

#[test]
fn bad_flags_are_refused_with_a_reason() {
    for (arguments, reason) in [
        (["--processes", "0"], "0 is not in 1..=64"),
        (["--processes", "65"], "65 is not in 1..=64"),
        (["--increments", "0"], "0 is not in 1..=1000000000"),
        (["--seconds", "-1"], "unexpected argument"),
        (["--seconds", "0"], "expected 0.01 to 86400 seconds"),
        (["--seconds", "soon"], "not a number"),
        (["--mode", "quick"], "possible values: unguarded, per-access"),
    ] {
        let (message, code) = refusal(&arguments);
        assert!(message.contains(reason), "{arguments:?}: {message}");
        assert_eq!(code, Some(2));
    }
}

#[test]
fn a_killed_race_leaves_no_process_behind() {
    let _watchdog = watchdog(60);
    let mark = unique("race");
    let mut parent = example("counter_race")
        .args(["--mode", "kill", "--seconds", "3000"])
        .env("MARK", &mark)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let family = || processes_with(&format!("MARK={mark}"));
    wait_until(|| family().len() >= 5);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", parent.id())).unwrap();
    assert!(!maps.contains("/dev/shm/"), "it has names to leave behind: {maps}");
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until(|| family().iter().all(|member| has_ended(*member)));
}

#[test]
fn the_sum_is_right_in_every_way() {
    let _watchdog = watchdog(300);
    // Each way to share, and each way to start.
    for (share, start) in [
        ("value", "spawn"),
        ("array", "fork"),
        ("map", "fork-server"),
        ("map", "fork"),
    ] {
        let text = output_of(example("parallel_sum").args(["--share", share, "--start", start]));
        assert!(text.contains(&format!(", by {start}")), "{text}");
        for part in [
            "1249999975000000 and 3749999975000000",
            "4999999950000000",
            "one process",
            "two processes",
        ] {
            assert!(text.contains(part), "{share}: {text}");
        }
        let keys = text
            .lines()
            .filter(|line| line.trim_start().starts_with("\"sum-"))
            .count();
        assert_eq!(keys, if share == "map" { 2 } else { 0 }, "{share}: {text}");
    }
}

#[test]
fn every_number_is_taken_by_one_of_the_consumers() {
    let _watchdog = watchdog(60);
    for (numbers, capacity) in [("1", "1"), ("500", "1"), ("20000", "1024")] {
        let arguments = ["--numbers", numbers, "--capacity", capacity];
        let text = output_of(example("producer_consumer").args(arguments));
        let taken = |consumer| -> u64 {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("consumer {consumer} took ")));
            line.unwrap().split_whitespace().nth(3).unwrap().parse().unwrap()
        };
        let numbers: u64 = numbers.parse().unwrap();
        assert_eq!(taken(1) + taken(2) + taken(3), 2 * numbers, "{text}");
        let sum: u64 = (0..2 * numbers).sum();
        assert!(text.contains(&format!("sum {sum}, as expected")), "{text}");
    }
}

#[test]
fn round_trips_are_shown_busy_and_blocking() {
    let _watchdog = watchdog(60);
    for rounds in ["1", "300"] {
        let text = output_of(example("ping_pong").args(["--rounds", rounds]));
        let figures = |name: &str| -> [u64; 2] {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
            let figures = line.trim_start()[name.len()..].split_whitespace();
            let figures: Vec<u64> = figures.map(|figure| figure.parse().unwrap()).collect();
            figures.try_into().unwrap()
        };
        let rising = ["minimum", "median", "99 %", "maximum"].map(figures);
        for way in [0, 1] {
            assert!(
                rising[0][way] > 0 && rising.is_sorted_by_key(|figures| figures[way]),
                "{text}"
            );
        }
        let rows: Vec<&str> = text.lines().filter(|line| line.contains('█')).collect();
        let limit = |row: &str| -> u64 { row.split_whitespace().next().unwrap().parse().unwrap() };
        let (low, high) = (rising[0].iter().min().unwrap(), rising[3].iter().max().unwrap());
        assert!(limit(rows[0]) >= *low && limit(rows[0]) / 2 <= *low, "{text}");
        assert!(
            limit(rows[rows.len() - 1]) >= *high && limit(rows[rows.len() - 1]) / 2 <= *high,
            "{text}"
        );
    }
}

#[test]
fn a_shared_cache_knows_what_was_asked_before() {
    let _watchdog = watchdog(300);
    let figure = |text: &str, name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim_end_matches('%').trim().parse().unwrap()
    };
    // Of so few requests 56.5 % were made before by anybody, 37 % by the same worker; what is in work is not known yet.
    let text = output_of(example("shared_cache").args(["--requests", "100"]));
    let rate = figure(&text, "hit rate");
    assert!(rate > 45.0 && rate < 57.0, "{text}");
    assert!(figure(&text, "speed-up") > 0.0, "{text}");
    for run in ["without cache ", "with cache "] {
        assert!(text.lines().any(|line| line.starts_with(run)), "{text}");
    }
}

#[test]
fn no_numbers_and_no_rounds_are_refused() {
    for (name, flag) in [
        ("shared_cache", "--requests"),
        ("producer_consumer", "--numbers"),
        ("producer_consumer", "--capacity"),
        ("ping_pong", "--rounds"),
        ("pool_squares", "--numbers"),
        ("pool_squares", "--workers"),
    ] {
        let output = example(name).args([flag, "0"]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("0 is not in 1..="), "{name} {flag}: {message}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// The line that begins with a word, without it.
fn rest_of<'a>(text: &'a str, word: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no line begins with {word}: {text}"))
        .trim()
}

#[test]
fn sleepers_in_processes_sleep_at_the_same_time() {
    let _watchdog = watchdog(60);
    let text = output_of(example("sleep_race").args(["--seconds", "0.25"]));
    let seconds = |word| -> f64 { rest_of(&text, word).split(' ').next().unwrap().parse().unwrap() };
    assert!(seconds("one after the other") >= 1.0, "{text}");
    for way in ["four processes", "a pool of four"] {
        assert!((0.25..0.6).contains(&seconds(way)), "{text}");
        assert_eq!(
            rest_of(&text, way).matches(',').count(),
            4,
            "four processes have four ids: {text}"
        );
    }
}

#[test]
fn squares_come_in_every_way_and_chunk() {
    let _watchdog = watchdog(60);
    let text = output_of(example("pool_squares").args(["--workers", "3", "--numbers", "2001"]));
    assert_eq!(rest_of(&text, "map "), "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]");
    assert_eq!(rest_of(&text, "starmap "), "[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]");
    assert_eq!(rest_of(&text, "map_async "), "ready at once: false, after wait: true");
    for chunk in [1, 10, 100, 1000] {
        let figure = rest_of(&text, &format!("chunks of {chunk} "));
        let time: f64 = figure.split(' ').next().unwrap().parse().unwrap();
        assert!(time > 0.0, "{text}");
    }
}

#[test]
fn ninety_nine_jobs_survive_the_hundredth() {
    let _watchdog = watchdog(60);
    for victim in ["0", "50", "99"] {
        let text = output_of(example("survivor").args(["--victim", victim]));
        let error = rest_of(&text, &format!("job {victim}: "));
        assert!(error.contains("was killed by signal 6"), "{text}");
        assert!(text.contains("99 results\n101 jobs, 1 failed\n"), "{text}");
    }
}

#[test]
fn processes_know_their_names() {
    let _watchdog = watchdog(60);
    let text = output_of(&mut example("hello_process"));
    let parent = rest_of(&text, "hello, I am MainProcess, process ");
    for name in ["hello, I am anna", "hello, I am otto", "good day, I am Process-"] {
        assert!(rest_of(&text, name).ends_with(&format!("child of {parent}")), "{text}");
    }
    assert_eq!(
        rest_of(&text, "guardian "),
        "is still running, and ends with this process"
    );
}

#[test]
fn flags_of_pools_are_refused_with_a_reason() {
    for (name, flags, reason) in [
        ("sleep_race", ["--seconds", "0"], "expected 0.1 to 60 seconds"),
        ("sleep_race", ["--seconds", "NaN"], "expected 0.1 to 60 seconds"),
        ("survivor", ["--victim", "100"], "100 is not in 0..100"),
        (
            "parallel_sum",
            ["--start", "thread"],
            "expected the start method spawn, fork or fork-server",
        ),
    ] {
        let output = example(name).args(flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(reason), "{name} {flags:?}: {message}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// A folder that is removed again.
#[cfg(any(feature = "progress-bar", feature = "timeline-svg"))]
struct Folder(PathBuf);

#[cfg(any(feature = "progress-bar", feature = "timeline-svg"))]
impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("examples"));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }
}

#[cfg(any(feature = "progress-bar", feature = "timeline-svg"))]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(feature = "timeline-svg")]
#[test]
fn small_chunks_make_a_shorter_timeline() {
    let _watchdog = watchdog(60);
    let folder = Folder::new();
    let text = output_of(example("timeline").arg("--out").arg(&folder.0));
    let names: Vec<_> = (1..=3).map(|size| format!("chunks-of-{size}.svg")).collect();
    assert_eq!(folder.names(), names);
    for (size, name) in (1..=3).zip(names) {
        assert!(rest_of(&text, &format!("chunks of {size} ")).ends_with(&name), "{text}");
        let picture = std::fs::read_to_string(folder.0.join(name)).unwrap();
        assert!(
            picture.starts_with("<svg") && picture.contains("6 jobs, 2 workers"),
            "{picture}"
        );
    }
}

#[cfg(feature = "progress-bar")]
#[test]
fn a_folder_is_put_into_capitals_but_for_what_cannot_be() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let _watchdog = watchdog(60);
    for way in [&["--workers", "3"][..], &["--serial"]] {
        let folder = Folder::new();
        let path = |name: &str| folder.0.join(name);
        for number in 0..20 {
            std::fs::write(path(&format!("text-{number:02}")), format!("number {number} straße\n")).unwrap();
        }
        std::fs::write(path("secret"), "word").unwrap();
        std::fs::set_permissions(path("secret"), PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::write(path("empty"), "").unwrap();
        std::fs::write(path("bytes"), b"\xff\xfe").unwrap();
        std::fs::write(path(".hidden"), "hidden").unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        // To whoever opens it, this is a file that was there a moment ago.
        symlink(path("no such file"), path("vanished")).unwrap();
        symlink(path("folder"), path("way")).unwrap();
        let before = folder.names();

        let output = example("uppercase_files").arg(&folder.0).args(way).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let (text, errors) = [output.stdout, output.stderr]
            .map(|text| String::from_utf8(text).unwrap())
            .into();
        assert!(
            text.starts_with("22 files of ") && text.contains(", 3 failed"),
            "{text}"
        );
        for error in [
            "bytes: stream did not contain valid UTF-8",
            "vanished: No such file or directory",
            "way: not a regular file",
        ] {
            assert!(errors.contains(error), "{errors}");
        }
        assert_eq!(errors.lines().count(), 3, "no bar where there is no terminal: {errors}");
        for number in 0..20 {
            let text = std::fs::read_to_string(path(&format!("text-{number:02}"))).unwrap();
            assert_eq!(text, format!("NUMBER {number} STRASSE\n"));
        }
        let mode = std::fs::metadata(path("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(std::fs::read(path("bytes")).unwrap(), b"\xff\xfe");
        assert_eq!(std::fs::read_to_string(path(".hidden")).unwrap(), "hidden");
        assert_eq!(folder.names(), before, "something is left behind");
    }
}

#[cfg(feature = "progress-bar")]
#[test]
fn a_made_folder_is_put_into_capitals() {
    let _watchdog = watchdog(60);
    let folder = Folder::new();
    let made = folder.0.join("letters");
    let mut command = example("uppercase_files");
    let text = output_of(command.arg(&made).args(["--make", "50", "--size", "1000"]));
    assert!(text.starts_with("50 files of 50000 bytes in "), "{text}");
    for entry in std::fs::read_dir(&made).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.len() == 1000 && text == text.to_uppercase(), "{text}");
    }
}
