//! The picture: where everything is drawn.

use crate::row::{Mark, marks_of_jobs, marks_of_spans, numbers_of_runs, worker_names};
use crate::shape::{Area, DIED, Drawn, INK, LETTER, RULE, TEXT, draw_shape, draw_word, font, put_text};
use crate::unit::{Unit, counted, rounded, step_of};
use crate::{Ending, Timeline};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::collections::HashSet;
use std::time::Duration;

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

/// With more workers than this, several share a row.
const MOST_ROWS: usize = 200;

/// Where everything is drawn.
pub(crate) struct Chart<'a> {
    timeline: &'a Timeline<'a>,
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

impl<'a> Chart<'a> {
    pub(crate) fn new(timeline: &'a Timeline<'a>) -> Self {
        let runs = numbers_of_runs(&timeline.bars);
        let per_row = timeline.workers.div_ceil(MOST_ROWS).max(1);
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

    pub(crate) fn draw(&self, text: &mut String) -> Drawn {
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
        let (bars, spans) = (&self.timeline.bars, &self.timeline.spans);
        let (workers, added) = (self.timeline.workers, counted(spans.len(), "span"));
        let time = format!("{} {}", rounded(self.unit.count(self.span)), self.unit.name);
        if bars.is_empty() && !spans.is_empty() {
            let rows = spans.iter().map(|span| span.row).collect::<HashSet<_>>().len();
            return format!("{added} in {}: {time}", counted(rows, "row"));
        }
        let workers_named = counted(workers, "worker");
        if bars.is_empty() {
            return format!("{workers_named}, no finished jobs");
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
            (Ending::Died, "worker died"),
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
        let first = if self.timeline.spans.is_empty() { "job" } else { "span" };
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

/// What is drawn in one piece, in pixels: a bar, or many narrow ones.
struct Block {
    row: usize,
    left: i32,
    right: i32,
    ending: Ending,
    label: Option<String>,
}

/// As much of a text as fits in `most` letters.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) if most > 1 => format!("{}…", text[..at].trim_end()),
        _ => text.to_owned(),
    }
}
