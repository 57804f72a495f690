//! Bars and words, drawn in pixels.

use crate::Ending;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// The size of most words.
pub(crate) const TEXT: i32 = 13;
/// The width of a letter relative to its height, on the safe side.
pub(crate) const LETTER: f64 = 0.62;

// Distinguishable by everybody; each bar also has its own shape: full, half as high, or with a cross at its end.
const DONE: RGBColor = RGBColor(0, 96, 160);
const FAILED: RGBColor = RGBColor(230, 159, 0);
pub(crate) const DIED: RGBColor = RGBColor(170, 40, 20);
const PALE: RGBColor = RGBColor(245, 226, 222);
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);
pub(crate) const RULE: RGBColor = RGBColor(214, 214, 214);

/// Draws a bar in the shape of its ending.
pub(crate) fn draw_shape(
    area: &Area<'_>,
    ending: Ending,
    (left, top): (i32, i32),
    (right, bottom): (i32, i32),
) -> Drawn {
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
pub(crate) fn draw_word(area: &Area<'_>, text: &str, (left, middle): (i32, i32)) -> Drawn<i32> {
    put_text(area, text, (left, middle), font(TEXT), HPos::Left, INK)?;
    Ok(left + (text.len() as f64 * LETTER * f64::from(TEXT)) as i32 + 20)
}

pub(crate) fn put_text(
    area: &Area<'_>,
    text: &str,
    place: (i32, i32),
    font: FontDesc<'_>,
    side: HPos,
    ink: RGBColor,
) -> Drawn {
    let style = font.color(&ink).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text, place, style))
}

pub(crate) fn font(size: i32) -> FontDesc<'static> {
    // The backend divides sizes by this factor, since it takes them for line heights.
    FontDesc::new(FontFamily::SansSerif, f64::from(size) * 1.24, FontStyle::Normal)
}
