//! A timeline as a picture: one row for each worker, one bar for each run of a job; below them, rows and bars that the program
//! added.
//!
//! Bars narrower than a pixel are joined with their neighbours, so that a picture of very many jobs stays small.

use super::timeline::{Bar, Ending, Span, Timeline};
use crate::error::{Error, ErrorKind, Result};
use crate::primitive::{AtomicU64, Ordering};
use crate::segment::os_error;
use crate::sys::file;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = std::result::Result<T, DrawingAreaErrorKind<io::Error>>;

/// All in pixels.
const WIDTH: i32 = 960;
const LEFT: i32 = 100;
const RIGHT: i32 = 24;
const TOP: i32 = 46;
const LEGEND: i32 = 26;
const BOTTOM: i32 = 50;
const TALLEST_ROW: i32 = 30;
const LOWEST_ROW: i32 = 6;
/// The height of all rows together, unless each would be below the minimum.
const ROWS: i32 = 720;
const GAP: i32 = 2;
const TEXT: i32 = 13;
/// The width of a letter relative to its height, on the safe side.
const LETTER: f64 = 0.62;

/// With more workers than this, several share a row.
const MOST_ROWS: usize = 200;

// Distinguishable by everybody; each bar also has its own shape: full, half as high, or with a cross at its end.
const DONE: RGBColor = RGBColor(0, 96, 160);
const FAILED: RGBColor = RGBColor(230, 159, 0);
const DIED: RGBColor = RGBColor(170, 40, 20);
const PALE: RGBColor = RGBColor(245, 226, 222);
const INK: RGBColor = RGBColor(40, 40, 40);
const RULE: RGBColor = RGBColor(214, 214, 214);

impl Timeline {
    /// Returns a picture of the timeline, as SVG text.
    ///
    /// Each worker has a row, and each run of a job a bar with the job's number, if there is room for it. The bar of a failed job
    /// is half as high; the bar of a job whose worker died ends in a cross. Runs shorter than a pixel are drawn as one. Bars that
    /// were [added](Self::add) stand in rows of their own below.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io) if the plotting library reports an error.
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).timeline(true).build()?;
    ///     assert!(pool.map(|a: u64| a * a, 0..6).iter().all(Result::is_ok));
    ///     let picture = pool.timeline().to_svg()?;
    ///     assert!(picture.starts_with("<svg") && picture.contains("6 jobs"));
    ///     Ok(())
    /// }
    /// ```
    pub fn to_svg(&self) -> Result<String> {
        let chart = Chart::new(self);
        let mut text = String::new();
        chart.draw(&mut text).map_err(|error| {
            let message = format!("drawing a timeline: {error}");
            Error::new(ErrorKind::Io, message)
        })?;
        Ok(text)
    }

    /// Writes a picture of the timeline to a file: see [`to_svg`](Self::to_svg).
    ///
    /// Readers of the file see either the old or the new one, complete: it is written beside the old one, under a name that begins
    /// with a dot and ends in `.tmp`, and then renamed. Only if the process is killed meanwhile does that name remain.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if the folder does not exist, [`PermissionDenied`](ErrorKind::PermissionDenied),
    /// [`OutOfMemory`](ErrorKind::OutOfMemory) if the disk is full, [`Io`](ErrorKind::Io).
    ///
    /// # Examples
    ///
    /// ```
    /// #[procshare::main]
    /// fn main() -> procshare::Result<()> {
    ///     let pool = procshare::Pool::builder().workers(2).timeline(true).build()?;
    ///     assert!(pool.map(|a: u64| a * a, 0..6).iter().all(Result::is_ok));
    ///     let path = std::env::temp_dir().join(format!("timeline-{}.svg", std::process::id()));
    ///     pool.timeline().write_svg(&path)?;
    ///     assert!(path.exists());
    ///     # std::fs::remove_file(path).expect("it was just written");
    ///     Ok(())
    /// }
    /// ```
    pub fn write_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        replace(path, self.to_svg()?.as_bytes())
            .map_err(|error| os_error(&format!("writing {}", path.display()), error))
    }
}

/// Replaces a file, in one step for every reader.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    file::check_end(bytes.len() as u64)?;
    let file_name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut name = OsString::from(".");
    name.push(file_name);
    // Relaxed: numbers only need to differ.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{number}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside); // The first error is the one to report.
    }
    written
}

/// What is drawn in a row from one time to another: one bar, or several.
struct Mark {
    row: usize,
    start: Duration,
    end: Duration,
    ending: Ending,
    label: String,
}

/// Where everything is drawn.
struct Chart<'a> {
    timeline: &'a Timeline,
    marks: Vec<Mark>,
    /// How many workers share a row.
    per_row: usize,
    names: Vec<String>,
    row_height: i32,
    /// Where the rows begin.
    left: i32,
    /// When the first bar began; the axis starts there.
    begin: Duration,
    span: Duration,
    unit: Unit,
    /// For each bar of a job, the number of its run.
    runs: Vec<u32>,
}

/// A unit of the time axis, and how many of it make a second.
struct Unit {
    name: &'static str,
    per_second: f64,
}

impl Unit {
    /// The unit in which this span is a number of few digits.
    fn of(span: Duration) -> Self {
        let (name, per_second) = match span.as_secs_f64() {
            ..2e-6 => ("ns", 1e9),
            ..2e-3 => ("µs", 1e6),
            ..2.0 => ("ms", 1e3),
            ..300.0 => ("s", 1.0),
            ..18_000.0 => ("min", 1.0 / 60.0),
            _ => ("h", 1.0 / 3600.0),
        };
        Unit { name, per_second }
    }

    fn count(&self, time: Duration) -> f64 {
        time.as_secs_f64() * self.per_second
    }
}

/// What is drawn in one piece, in pixels: a bar, or many narrow ones.
struct Block {
    row: usize,
    left: i32,
    right: i32,
    ending: Ending,
    label: Option<String>,
}

impl<'a> Chart<'a> {
    fn new(timeline: &'a Timeline) -> Self {
        let runs = runs(timeline.bars());
        let per_row = timeline.workers().div_ceil(MOST_ROWS).max(1);
        let mut names = worker_names(timeline, per_row);
        let mut marks = marks_of_jobs(timeline, &runs, per_row, names.len());
        marks.extend(marks_of_spans(timeline, &mut names));
        let begin = marks.iter().map(|mark| mark.start).min().unwrap_or_default();
        let end = marks.iter().map(|mark| mark.end).max().unwrap_or_default();
        let nothing = if marks.is_empty() {
            Duration::from_secs(1)
        } else {
            Duration::from_nanos(1)
        };
        let span = end.saturating_sub(begin).max(nothing);
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        let room = (longest as f64 * LETTER * f64::from(TEXT)) as i32 + 16;
        Chart {
            timeline,
            marks,
            per_row,
            row_height: (ROWS / names.len() as i32).clamp(LOWEST_ROW, TALLEST_ROW),
            left: room.clamp(LEFT, WIDTH / 3),
            names,
            begin,
            span,
            unit: Unit::of(span),
            runs,
        }
    }

    fn has(&self, ending: Ending) -> bool {
        self.marks.iter().any(|mark| mark.ending == ending)
    }

    fn needs_legend(&self) -> bool {
        self.has(Ending::Failed) || self.has(Ending::Died)
    }

    fn top(&self) -> i32 {
        TOP + if self.needs_legend() { LEGEND } else { 0 }
    }

    fn draw(&self, text: &mut String) -> Drawn {
        let rows_height = self.rows() * self.row_height;
        let size = (WIDTH as u32, (self.top() + rows_height + BOTTOM) as u32);
        let area = SVGBackend::with_string(text, size).into_drawing_area();
        area.fill(&WHITE)?;
        put_text(
            &area,
            &self.title(),
            (self.left, 24),
            font(17).style(FontStyle::Bold),
            HPos::Left,
            INK,
        )?;
        if self.needs_legend() {
            self.draw_legend(&area)?;
        }
        self.draw_rows(&area)?;
        self.draw_axis(&area)?;
        for block in self.blocks() {
            self.draw_block(&area, &block)?;
        }
        area.present()
    }

    fn rows(&self) -> i32 {
        self.names.len() as i32
    }

    fn title(&self) -> String {
        let (bars, spans) = (self.timeline.bars(), self.timeline.spans());
        let (workers, added) = (self.timeline.workers(), counted(spans.len(), "span"));
        let time = format!("{} {}", rounded(self.unit.count(self.span)), self.unit.name);
        if bars.is_empty() && !spans.is_empty() {
            let rows = spans.iter().map(|span| &span.row).collect::<HashSet<_>>().len();
            return format!("{added} in {}: {time}", counted(rows, "row"));
        }
        let workers_named = counted(workers, "worker");
        if bars.is_empty() {
            return format!("{workers_named}, no job has ended");
        }
        let jobs = counted(bars.len() - self.runs.iter().filter(|run| **run > 1).count(), "job");
        if !spans.is_empty() {
            return format!("{jobs}, {workers_named}, {added}: {time}");
        }
        let busy: Duration = bars.iter().map(|bar| bar.end.saturating_sub(bar.start)).sum();
        let share = busy.as_secs_f64() / (self.span.as_secs_f64() * workers.max(1) as f64);
        format!("{jobs}, {workers_named}: {time}, busy {:.0} %", 100.0 * share.min(1.0))
    }

    fn draw_legend(&self, area: &Area<'_>) -> Drawn {
        let mut left = self.left;
        let middle = TOP + LEGEND / 2 - 4;
        for (ending, text) in [
            (Ending::Done, "done"),
            (Ending::Failed, "failed"),
            (Ending::Died, "its worker died"),
        ] {
            if self.has(ending) {
                draw_shape(area, ending, (left, middle - 8), (left + 30, middle + 8))?;
                left = draw_word(area, text, (left + 42, middle))?;
            }
        }
        if self.runs.iter().any(|run| *run > 1) {
            draw_word(area, "3 (2): the second run of job 3", (left, middle))?;
        }
        Ok(())
    }

    /// Draws a band for each row, and its name if there is room.
    fn draw_rows(&self, area: &Area<'_>) -> Drawn {
        let every = (TEXT + 4 + self.row_height - 1) / self.row_height;
        for row in 0..=self.names.len() {
            let y = self.top() + row as i32 * self.row_height;
            let is_edge = row == 0 || row == self.names.len();
            if self.row_height > 2 * LOWEST_ROW || is_edge {
                let line = vec![(self.left, y), (WIDTH - RIGHT, y)];
                area.draw(&PathElement::new(line, RULE.stroke_width(1)))?;
            }
            if let Some(name) = self.names.get(row).filter(|_| row as i32 % every == 0) {
                let place = (self.left - 8, y + self.row_height / 2);
                let most = (f64::from(self.left - 16) / (LETTER * f64::from(TEXT))) as usize;
                put_text(area, &shortened(name, most), place, font(TEXT), HPos::Right, INK)?;
            }
        }
        Ok(())
    }

    fn draw_axis(&self, area: &Area<'_>) -> Drawn {
        let (top, bottom) = (self.top(), self.top() + self.rows() * self.row_height);
        let whole = self.unit.count(self.span);
        let step = step_of(whole / 8.0);
        let mut number = 0;
        while f64::from(number) * step <= whole {
            let value = f64::from(number) * step;
            let x = self.left + (value / whole * f64::from(WIDTH - RIGHT - self.left)) as i32;
            area.draw(&PathElement::new(vec![(x, top), (x, bottom + 5)], RULE.stroke_width(1)))?;
            put_text(area, &rounded(value), (x, bottom + 14), font(TEXT), HPos::Center, INK)?;
            number += 1;
        }
        let first = if self.timeline.spans().is_empty() {
            "job"
        } else {
            "span"
        };
        let text = format!("{} since the first {first} began", self.unit.name);
        let place = (self.left + (WIDTH - RIGHT - self.left) / 2, bottom + 34);
        put_text(area, &text, place, font(TEXT), HPos::Center, INK)
    }

    fn x_of(&self, time: Duration) -> i32 {
        let part = time.saturating_sub(self.begin).as_secs_f64() / self.span.as_secs_f64();
        self.left + (part * f64::from(WIDTH - RIGHT - self.left)) as i32
    }

    /// The bars in pixels, the narrow ones joined; failures and deaths come last, and lie above the rest.
    fn blocks(&self) -> Vec<Block> {
        let mut order: Vec<&Mark> = self.marks.iter().collect();
        order.sort_by_key(|mark| (mark.ending as u8, mark.row, mark.start));
        let mut blocks: Vec<Block> = Vec::new();
        for mark in order {
            let (row, left) = (mark.row, self.x_of(mark.start));
            // Failures and deaths must be visible, however short.
            let least = if mark.ending == Ending::Done { 1 } else { 3 };
            let right = self.x_of(mark.end).max(left + least);
            let last = blocks
                .last_mut()
                .filter(|last| last.row == row && last.ending == mark.ending);
            let near = last.filter(|last| {
                left <= last.right && (self.per_row > 1 || right - left <= least.max(2) && last.label.is_none())
            });
            match near {
                Some(last) => last.right = last.right.max(right),
                None => blocks.push(Block {
                    row,
                    left,
                    right,
                    ending: mark.ending,
                    label: (right - left > 3 && self.per_row == 1).then(|| mark.label.clone()),
                }),
            }
        }
        blocks
    }

    fn draw_block(&self, area: &Area<'_>, block: &Block) -> Drawn {
        let gap = if self.row_height > 2 * LOWEST_ROW { GAP } else { 1 };
        let top = self.top() + block.row as i32 * self.row_height + gap;
        let bottom = top + self.row_height - 2 * gap;
        // Neighbouring bars must be distinguishable.
        let right = block.right - i32::from(block.right - block.left > 2);
        draw_shape(area, block.ending, (block.left, top), (right, bottom))?;
        let Some(label) = &block.label else { return Ok(()) };
        let size = TEXT.min((bottom - top) * 2 / 3);
        let (size, middle, ink) = match block.ending {
            Ending::Failed => (size.min((bottom - top) / 2), top + (bottom - top) / 4, &INK),
            Ending::Done => (size, (top + bottom) / 2, &WHITE),
            Ending::Died => (size, (top + bottom) / 2, &DIED),
        };
        let room = f64::from(right - block.left - if block.ending == Ending::Died { 18 } else { 6 });
        if size >= 8 && !label.is_empty() && label.chars().count() as f64 * LETTER * f64::from(size) <= room {
            let offset = if block.ending == Ending::Died { 6 } else { 0 };
            let place = ((block.left + right) / 2 - offset, middle);
            put_text(area, label, place, font(size), HPos::Center, *ink)?;
        }
        Ok(())
    }
}

/// The names of the workers' rows; one without a name if there is nothing to draw at all.
fn worker_names(timeline: &Timeline, per_row: usize) -> Vec<String> {
    let workers = timeline.workers();
    let least = usize::from(timeline.spans().is_empty() || !timeline.bars().is_empty());
    let rows = workers.div_ceil(per_row).max(least);
    let name = |row: usize| {
        let first = row * per_row;
        let last = (first + per_row).min(workers).max(first + 1) - 1;
        match (per_row, rows) {
            (1, 1..=30) => format!("worker {first}"),
            (1, _) => first.to_string(),
            _ => format!("{first} to {last}"),
        }
    };
    (0..rows).map(name).collect()
}

fn marks_of_jobs(timeline: &Timeline, runs: &[u32], per_row: usize, rows: usize) -> Vec<Mark> {
    let bars = timeline.bars().iter().zip(runs);
    let mark = |(bar, run): (&Bar, &u32)| {
        let (start, end) = timeline.times_of(bar);
        Mark {
            row: (bar.worker / per_row).min(rows - 1),
            start,
            end,
            ending: bar.ending,
            label: match run {
                1 => bar.job.to_string(),
                run => format!("{} ({run})", bar.job),
            },
        }
    };
    bars.map(mark).collect()
}

/// The bars that were added; their rows come after the existing names.
fn marks_of_spans(timeline: &Timeline, names: &mut Vec<String>) -> Vec<Mark> {
    let mut rows: HashMap<&str, usize> = HashMap::new();
    let mark = |span: &'_ Span, row| Mark {
        row,
        start: span.start.time(),
        end: span.end.time(),
        ending: Ending::Done,
        label: span.name.clone(),
    };
    let mut marks = Vec::new();
    for span in timeline.spans() {
        let row = *rows.entry(&span.row).or_insert_with(|| {
            names.push(span.row.clone());
            names.len() - 1
        });
        marks.push(mark(span, row));
    }
    marks
}

/// As much of a text as fits in `most` letters.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) if most > 1 => format!("{}…", text[..at].trim_end()),
        _ => text.to_owned(),
    }
}

/// For each bar, the number of the run of its job, from 1.
fn runs(bars: &[Bar]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..bars.len()).collect();
    order.sort_by_key(|at| bars[*at].start);
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut runs = vec![1; bars.len()];
    for at in order {
        let count = seen.entry(bars[at].job).or_default();
        *count += 1;
        runs[at] = *count;
    }
    runs
}

/// Draws a bar in the shape of its ending.
fn draw_shape(area: &Area<'_>, ending: Ending, (left, top): (i32, i32), (right, bottom): (i32, i32)) -> Drawn {
    let (whole, middle) = ([(left, top), (right, bottom)], (top + bottom) / 2);
    match ending {
        Ending::Done => area.draw(&Rectangle::new(whole, DONE.filled())),
        Ending::Failed => {
            area.draw(&Rectangle::new(whole, WHITE.filled()))?; // Joined neighbours may lie below.
            area.draw(&Rectangle::new([(left, middle), (right, bottom)], FAILED.filled()))
        }
        Ending::Died => {
            area.draw(&Rectangle::new(whole, PALE.filled()))?;
            area.draw(&Rectangle::new(whole, DIED.stroke_width(1)))?;
            let half = ((bottom - top) / 3).min(6);
            for (ink, width) in [(WHITE, 5), (DIED, 2)] {
                for rise in [half, -half] {
                    let line = vec![(right - half, middle - rise), (right + half, middle + rise)];
                    area.draw(&PathElement::new(line, ink.stroke_width(width)))?;
                }
            }
            Ok(())
        }
    }
}

/// Writes a word of the legend, and returns where the next one may begin.
fn draw_word(area: &Area<'_>, text: &str, (left, middle): (i32, i32)) -> Drawn<i32> {
    put_text(area, text, (left, middle), font(TEXT), HPos::Left, INK)?;
    Ok(left + (text.len() as f64 * LETTER * f64::from(TEXT)) as i32 + 20)
}

fn put_text(area: &Area<'_>, text: &str, place: (i32, i32), font: FontDesc<'_>, side: HPos, ink: RGBColor) -> Drawn {
    let style = font.color(&ink).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text, place, style))
}

fn font(size: i32) -> FontDesc<'static> {
    // The backend divides sizes by this factor, since it takes them for line heights.
    FontDesc::new(FontFamily::SansSerif, f64::from(size) * 1.24, FontStyle::Normal)
}

/// The smallest number of the form 1, 2, 5, 10 … that is at least `least`.
fn step_of(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().find(|step| step * power >= least);
    found.unwrap_or(10.0) * power
}

/// Three digits, without trailing zeros.
fn rounded(number: f64) -> String {
    let digits = if number >= 100.0 {
        0
    } else if number >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Timestamp;
    use super::*;

    const MS: u64 = 1_000_000;

    fn bar(job: u64, worker: usize, start: u64, end: u64, ending: Ending) -> Bar {
        let times = super::super::records::Times {
            begun: start,
            done: end,
        };
        Bar::new(job, worker, 1, times, 0, ending)
    }

    fn picture(bars: Vec<Bar>, workers: usize) -> String {
        drawn(&Timeline::of_pool(bars, workers, 0), workers)
    }

    fn drawn(timeline: &Timeline, workers: usize) -> String {
        let text = timeline.to_svg().unwrap();
        if let Some(folder) = std::env::var_os("LOOK") {
            let name = std::thread::current().name().unwrap().replace(':', "_");
            fs::write(
                Path::new(&folder).join(format!("{name}-{workers}-{}.svg", text.len())),
                &text,
            )
            .unwrap();
        }
        assert!(
            text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
            "{text}"
        );
        assert_eq!(text.matches("<text").count(), text.matches("</text>").count());
        text
    }

    /// The words in a picture.
    fn words(picture: &str) -> Vec<&str> {
        let texts = picture.split("<text").skip(1);
        texts
            .map(|text| text.split(['<', '>']).nth(1).unwrap().trim())
            .collect()
    }

    #[test]
    fn a_picture_of_nothing_says_so() {
        for workers in [0, 1, 2] {
            let picture = picture(vec![], workers);
            assert!(words(&picture)[0].contains("no job has ended"), "{picture}");
        }
    }

    #[test]
    fn bars_have_the_numbers_of_their_jobs_where_there_is_room() {
        let long = (0..6).map(|job| {
            bar(
                job,
                job as usize % 2,
                job / 2 * 100 * MS,
                (job / 2 + 1) * 100 * MS,
                Ending::Done,
            )
        });
        let short = bar(6, 0, 301 * MS, 302 * MS, Ending::Done);
        let picture = picture(long.chain([short]).collect(), 2);
        let words = words(&picture);
        assert_eq!(words[0], "7 jobs, 2 workers: 302 ms, busy 100 %");
        for label in [
            "worker 0",
            "worker 1",
            "0",
            "5",
            "50",
            "300",
            "ms since the first job began",
        ] {
            assert!(words.contains(&label), "{label}: {words:?}");
        }
        assert!(!words.contains(&"6") && !words.contains(&"failed"), "{words:?}");
    }

    #[test]
    fn what_went_wrong_looks_otherwise_and_has_a_legend() {
        let bars = vec![
            bar(0, 0, 0, 900 * MS, Ending::Done),
            bar(1, 1, 0, 300 * MS, Ending::Died),
            bar(1, 1, 310 * MS, 700 * MS, Ending::Done),
            bar(2, 1, 700 * MS, 1000 * MS, Ending::Failed),
        ];
        let picture = picture(bars, 2);
        let words = words(&picture);
        for text in [
            "done",
            "failed",
            "its worker died",
            "3 (2): the second run of job 3",
            "1 (2)",
        ] {
            assert!(words.contains(&text), "{text}: {words:?}");
        }
        assert_eq!(words[0], "3 jobs, 2 workers: 1000 ms, busy 94 %");
    }

    #[test]
    fn ten_thousand_bars_make_a_small_picture() {
        let ending = |job| match job % 1000 {
            500 => Ending::Failed,
            750 => Ending::Died,
            _ => Ending::Done,
        };
        let bars = (0..10_000).map(|job| bar(job, job as usize % 4, job * MS, (job + 3) * MS, ending(job)));
        let picture = picture(bars.collect(), 4);
        assert!(picture.len() < 50_000, "{}", picture.len());
        let bars = (0..10_000).map(|job| bar(job, job as usize, job % 7 * MS, (job % 7 + 3) * MS, ending(job)));
        let picture = super::tests::picture(bars.collect(), 10_000);
        assert!(picture.len() < 500_000, "{}", picture.len());
        assert!(words(&picture).contains(&"0 to 49"));
    }

    #[test]
    fn times_have_units_that_suit_them() {
        for (span, unit) in [
            (1, "ns"),
            (1_500, "ns"),
            (90_000, "µs"),
            (MS * 90, "ms"),
            (MS * 9_000, "s"),
        ] {
            let picture = picture(vec![bar(0, 0, 5, 5 + span, Ending::Done)], 1);
            let wanted = format!("{unit} since the first job began");
            assert!(
                words(&picture).contains(&wanted.as_str()),
                "{unit}: {:?}",
                words(&picture)
            );
        }
        let name = |seconds| Unit::of(Duration::from_secs(seconds)).name;
        assert_eq!((name(200), name(2_000), name(20_000)), ("s", "min", "h"));
        assert_eq!([0.001, 1.0, 1.1, 4.0, 60.0].map(step_of), [0.001, 1.0, 2.0, 5.0, 100.0]);
        assert_eq!(
            [0.5, 12.34, 100.0, 1234.0, 0.0].map(rounded),
            ["0.5", "12.3", "100", "1234", "0"]
        );
    }

    #[test]
    fn what_a_program_adds_has_rows_and_names_of_its_own() {
        let start = Timestamp::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::new();
        timeline.add("reader", "first <half>", at(0), at(400));
        timeline.add(
            "writer & sorter of everything that was read before",
            "sort",
            at(100),
            at(900),
        );
        timeline.add("reader", "second", at(500), at(1000));
        timeline.add("reader", "instant", at(700), at(600));
        assert_eq!(timeline.spans()[3].end, at(700));
        let picture = drawn(&timeline, 0);
        let texts = words(&picture);
        assert_eq!(texts[0], "4 spans in 2 rows: 1000 ms");
        for text in [
            "reader",
            "first &lt;half&gt;",
            "sort",
            "second",
            "ms since the first span began",
        ] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
        assert!(
            texts
                .iter()
                .any(|text| text.starts_with("writer &amp; sorter") && text.ends_with('…'))
        );
        assert!(
            !texts.iter().any(|text| text.contains("worker") || *text == "instant"),
            "{texts:?}"
        );
        let mut beside = Timeline::of_pool(
            vec![bar(0, 1, 0, 300 * MS, Ending::Done)],
            2,
            start.time().as_nanos() as u64,
        );
        beside.add("parent", "waits", at(300), at(600));
        let picture = drawn(&beside, 2);
        let texts = words(&picture);
        assert_eq!(texts[0], "1 job, 2 workers, 1 span: 600 ms");
        for text in ["worker 0", "worker 1", "parent", "waits", "0"] {
            assert!(texts.contains(&text), "{text}: {texts:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("procshare-svg-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("timeline.svg");
        fs::write(&path, "old").unwrap();
        let timeline = Timeline::of_pool(vec![], 1, 0);
        timeline.write_svg(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), timeline.to_svg().unwrap());
        fs::create_dir(folder.join("taken")).unwrap();
        assert!(timeline.write_svg(folder.join("taken")).is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something is left behind");
        let error = timeline.write_svg(folder.join("nowhere/timeline.svg")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        fs::remove_dir_all(&folder).unwrap();
    }
}
