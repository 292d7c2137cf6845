//! What charts are drawn with: a canvas that plotters turns into SVG, inks that the page's style sheet gives a colour in
//! each theme, and scales.

use std::cell::Cell;

use maud::{Markup, PreEscaped, html};
use plotters::{
    coord::Shift,
    prelude::{Circle, DrawingArea, IntoDrawingArea, IntoFont, PathElement, Polygon, RGBColor, Rectangle},
    prelude::{SVGBackend, Text},
    style::{
        Color, ShapeStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::words;
use crate::backtest::summary::Held;

/// Charts are drawn for this width, so that their text is still legible on a phone.
pub const WIDTH: f64 = 460.0;
/// The size of a chart's text.
pub const TEXT: f64 = 14.0;
/// plotters knows whole numbers only: it is given tenths.
const FINE: f64 = 10.0;
/// It divides a font's size by this.
const FONT: f64 = 1.24;

/// What something is drawn in. plotters writes a colour that stands for it; the style sheet says what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text, and what matters most.
    Text,
    /// Text of the second rank.
    Muted,
    /// Lines to read values by.
    Grid,
    /// An axis.
    Axis,
    /// What chance explains.
    Band,
    /// What is expected.
    Expected,
    /// A bar.
    Bar,
    /// What chance explains, over bars: they can be seen through it.
    Veil,
    /// One of several series.
    Series(usize),
    /// Its line, which has dashes of its own.
    Line(usize),
    /// Whether something held.
    Held(Held),
    /// A step of the diverging scale, 0 to [`HEATS`] − 1.
    Heat(usize),
}

/// How many steps the diverging scale has.
pub const HEATS: usize = 7;
/// How many series can be told apart.
pub const SERIES: usize = 4;

impl Ink {
    const fn color(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(1, 1, 1),
            Self::Muted => RGBColor(2, 2, 2),
            Self::Grid => RGBColor(3, 3, 3),
            Self::Axis => RGBColor(4, 4, 4),
            Self::Band => RGBColor(5, 5, 5),
            Self::Expected => RGBColor(6, 6, 6),
            Self::Bar => RGBColor(8, 8, 8),
            Self::Veil => RGBColor(9, 9, 9),
            Self::Series(nth) => RGBColor(0x10, 0, (nth % SERIES) as u8),
            Self::Line(nth) => RGBColor(0x11, 0, (nth % SERIES) as u8),
            Self::Held(Held::Yes) => RGBColor(0x20, 0, 0),
            Self::Held(Held::Nearly) => RGBColor(0x20, 0, 1),
            Self::Held(Held::No) => RGBColor(0x20, 0, 2),
            Self::Held(Held::Unclear) => RGBColor(0x20, 0, 3),
            Self::Heat(step) => RGBColor(0x30, 0, if step < HEATS { step } else { HEATS - 1 } as u8),
        }
    }
}

/// Where a text is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// A mark of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A disc.
    Disc,
    /// A square.
    Square,
    /// A triangle, point up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A triangle that points left: further than the axis goes.
    Left,
    /// A triangle that points right.
    Right,
}

impl Mark {
    /// The mark of the nth of several series.
    pub const fn nth(nth: usize) -> Self {
        match nth % SERIES {
            0 => Self::Disc,
            1 => Self::Square,
            2 => Self::Triangle,
            _ => Self::Diamond,
        }
    }

    /// That of a figure that has held or not.
    pub const fn of(held: Held) -> Self {
        match held {
            Held::Yes => Self::Disc,
            Held::Nearly => Self::Triangle,
            Held::No => Self::Square,
            Held::Unclear => Self::Diamond,
        }
    }
}

/// What is drawn on; in units of [`WIDTH`].
pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    width: f64,
    failed: Cell<bool>,
}

/// Draws a chart; `label` is what it shows, for those who can't see it. None if plotters fails.
pub fn svg(height: f64, label: &str, draw: impl FnOnce(&Canvas<'_>)) -> Option<Markup> {
    let mut text = String::new();
    let size = ((WIDTH * FINE) as u32, (height * FINE) as u32);
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let canvas = Canvas { area, width: WIDTH, failed: Cell::new(false) };
    draw(&canvas);
    let failed = canvas.area.present().is_err() || canvas.failed.get();
    drop(canvas);
    if failed {
        return None;
    }
    // Within plotters' own tag, and without what is the default anyway. Texts can't be hit: in them, quotes are escaped.
    let inner = text.split_once('>')?.1.rsplit_once("</svg>")?.0;
    let defaults =
        [" opacity=\"1\"", " font-family=\"sans-serif\"", " stroke=\"none\"", " text-anchor=\"start\""];
    let inner =
        defaults.iter().fold(inner.replace("\n</text>", "</text>"), |svg, text| svg.replace(text, ""));
    let inner = inner.replace(">\n", ">").replace(" \"", "\"");
    Some(html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(label) {
            g transform="scale(.1)" { (PreEscaped(inner)) }
        }
    })
}

fn fine(at: (f64, f64)) -> (i32, i32) {
    // A cast saturates, and turns NaN to 0.
    let fine = |value: f64| (value.clamp(-1e5, 1e5) * FINE).round() as i32;
    (fine(at.0), fine(at.1))
}

fn stroke(ink: Ink, width: f64) -> ShapeStyle {
    ink.color().stroke_width((width * FINE) as u32)
}

impl<'a> Canvas<'a> {
    fn did(&self, done: bool) {
        if !done {
            self.failed.set(true);
        }
    }

    /// A line through points.
    pub fn line(&self, points: &[(f64, f64)], ink: Ink, width: f64) {
        let path: Vec<_> = points.iter().copied().map(fine).collect();
        self.did(self.area.draw(&PathElement::new(path, stroke(ink, width))).is_ok());
    }

    /// A filled rectangle.
    pub fn rectangle(&self, from: (f64, f64), to: (f64, f64), ink: Ink) {
        let (from, to) = (fine(from), fine(to));
        let corners = [(from.0.min(to.0), from.1.min(to.1)), (from.0.max(to.0), from.1.max(to.1))];
        self.did(self.area.draw(&Rectangle::new(corners, ink.color().filled())).is_ok());
    }

    /// A filled polygon.
    pub fn polygon(&self, points: &[(f64, f64)], ink: Ink) {
        let points: Vec<_> = points.iter().copied().map(fine).collect();
        self.did(self.area.draw(&Polygon::new(points, ink.color().filled())).is_ok());
    }

    /// A mark of a point, of about this size.
    pub fn mark(&self, (x, y): (f64, f64), mark: Mark, size: f64, ink: Ink) {
        let s = size;
        match mark {
            Mark::Disc => {
                let disc = Circle::new(fine((x, y)), (s * FINE) as i32, ink.color().filled());
                self.did(self.area.draw(&disc).is_ok());
            }
            Mark::Square => self.rectangle((x - s * 0.9, y - s * 0.9), (x + s * 0.9, y + s * 0.9), ink),
            Mark::Triangle => {
                self.polygon(
                    &[(x, y - s * 1.2), (x + s * 1.15, y + s * 0.9), (x - s * 1.15, y + s * 0.9)],
                    ink,
                );
            }
            Mark::Diamond => {
                self.polygon(&[(x, y - s * 1.3), (x + s * 1.3, y), (x, y + s * 1.3), (x - s * 1.3, y)], ink);
            }
            Mark::Left => {
                self.polygon(&[(x, y), (x + s * 1.8, y - s * 1.2), (x + s * 1.8, y + s * 1.2)], ink)
            }
            Mark::Right => {
                self.polygon(&[(x, y), (x - s * 1.8, y - s * 1.2), (x - s * 1.8, y + s * 1.2)], ink)
            }
        }
    }

    /// A text, in the middle of its height.
    pub fn text(&self, text: &str, at: (f64, f64), anchor: Anchor, ink: Ink) {
        let h_pos = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let style = ("sans-serif", TEXT * FINE * FONT).into_font().color(&ink.color());
        let style = style.pos(Pos::new(h_pos, VPos::Center));
        self.did(self.area.draw(&Text::new(text.to_owned(), fine(at), style)).is_ok());
    }

    /// The labels of a horizontal axis, as far as they don't overlap, each at its place.
    pub fn labels(&self, labels: &[(f64, String)], y: f64) {
        let mut free = f64::NEG_INFINITY;
        for (x, label) in labels {
            let half = text_width(label) / 2.0;
            let center = x.clamp(half.min(self.width / 2.0), (self.width - half).max(self.width / 2.0));
            if center - half < free {
                continue;
            }
            self.text(label, (center, y), Anchor::Middle, Ink::Muted);
            free = center + half + 8.0;
        }
    }
}

/// About how wide a text is.
pub fn text_width(text: &str) -> f64 {
    let width = |c: char| match c {
        'i' | 'l' | '.' | ',' | ':' | ' ' | '\u{a0}' => 0.3,
        'm' | 'w' | 'M' | 'W' | '%' => 0.85,
        c if c.is_uppercase() => 0.68,
        c if c.is_ascii() => 0.56,
        _ => 0.8,
    };
    text.chars().map(width).sum::<f64>() * TEXT * 1.08
}

/// The rectangle that values are drawn in.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its right edge.
    pub right: f64,
    /// Its lower edge.
    pub bottom: f64,
}

/// From values to places.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A linear scale for `values`, as far as they are finite, rounded to its ticks.
    pub fn linear(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = range(values).unwrap_or((0.0, 1.0));
        if !(high - low > 1e-9 * high.abs().max(low.abs())) {
            let pad = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
            // What lies on an edge at 0 stays there: counts and rates are never below.
            (low, high) = (if low == 0.0 { 0.0 } else { low - pad }, high + pad);
        }
        let step = nice((high - low) / 4.0);
        (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { log: false, low, high, from, to }
    }

    /// A linear scale for `values`, as far as they are finite, with some room around.
    pub fn roomy(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let room = if high > low { (high - low) * 0.06 } else { high.abs().max(1e-9) * 0.1 };
        Self { log: false, low: low - room, high: high + room, from, to }
    }

    /// A linear scale from `low` to `high`.
    pub const fn exact(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { log: false, low, high, from, to }
    }

    /// A logarithmic scale for `values`, as far as they are positive, with some room around.
    pub fn log(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = range(values.into_iter().filter(|v| *v > 0.0)).unwrap_or((0.5, 2.0));
        let room = (high / low).powf(0.05).max(1.02);
        Self {
            log: true,
            low: (low / room).max(f64::MIN_POSITIVE),
            high: (high * room).min(f64::MAX),
            from,
            to,
        }
    }

    /// The lowest value on it.
    pub const fn low(&self) -> f64 {
        self.low
    }

    /// The highest.
    pub const fn high(&self) -> f64 {
        self.high
    }

    /// The place of a value; what is beyond the scale is at its end.
    pub fn at(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.low } else { value.clamp(self.low, self.high) };
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// Up to about `most` values to label.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2) as f64;
        if !self.log || self.high / self.low < 5.0 {
            let step = nice((self.high - self.low) / most);
            if !(step > 0.0 && step.is_finite()) {
                return Vec::new();
            }
            let (first, last) = ((self.low / step - 1e-9).ceil(), (self.high / step + 1e-9).floor());
            let number = (last - first).clamp(0.0, 50.0) as i32;
            return (0..=number).map(|nth| (first + f64::from(nth)) * step).collect();
        }
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let within = |tick: &f64| *tick >= self.low && *tick <= self.high;
        let ticks = |steps: &[f64], every: usize| -> Vec<f64> {
            let decades = (first..=last).step_by(every);
            decades.flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e))).filter(within).collect()
        };
        let candidates = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]];
        let found = candidates.into_iter().map(|steps| ticks(steps, 1)).find(|t| (t.len() as f64) <= most);
        found.unwrap_or_else(|| ticks(&[1.0], (f64::from(last - first) / most).ceil().max(1.0) as usize))
    }
}

/// The lowest and the highest of what is finite.
fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let values = values.into_iter().filter(|v| v.is_finite() && v.abs() < 1e300);
    values.fold(None, |range, v| {
        Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
    })
}

/// The next round number above.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|r| r * power >= step * (1.0 - 1e-9));
    round.unwrap_or(10.0) * power
}

/// A tick's label, without zeros at its end.
pub fn tick(value: f64) -> String {
    if value.abs() < 1e-12 { "0".to_owned() } else { words::figure(value) }
}

/// A rate's label on an axis.
pub fn percent_tick(value: f64) -> String {
    format!("{}\u{a0}%", tick(value * 100.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_linear_scale_ends_at_round_numbers_and_keeps_zero() {
        let scale = Scale::linear([0.0, 0.93], 100.0, 0.0);
        assert_eq!((scale.low(), scale.high()), (0.0, 1.0));
        assert_eq!((scale.at(0.0), scale.at(1.0), scale.at(7.0)), (100.0, 0.0, 0.0));
        assert_eq!(Scale::linear([0.0, 0.0], 0.0, 1.0).low(), 0.0);
    }

    #[test]
    fn no_value_leads_out_of_a_scale() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MAX, f64::MIN_POSITIVE];
        for scale in [
            Scale::linear(odd, 5.0, 50.0),
            Scale::roomy(odd, 5.0, 50.0),
            Scale::log(odd, 5.0, 50.0),
            Scale::log([], 5.0, 50.0),
        ] {
            for value in odd {
                assert!((5.0..=50.0).contains(&scale.at(value)), "{scale:?} of {value}");
            }
            assert!(scale.ticks(5).len() <= 51);
        }
    }

    #[test]
    fn a_log_scale_is_labelled_at_one_two_and_five() {
        assert_eq!(Scale::log([0.4, 3.0], 0.0, 1.0).ticks(6), [0.5, 1.0, 2.0]);
        let labels: Vec<_> = Scale::log([0.8, 1.7], 0.0, 1.0).ticks(5).into_iter().map(tick).collect();
        assert_eq!(labels, ["0.8", "1", "1.2", "1.4", "1.6"]);
        assert_eq!(Scale::log([1e-5, 1.0], 0.0, 1.0).ticks(4).len(), 3);
    }

    #[test]
    fn a_chart_has_no_attribute_that_is_the_default_anyway() {
        let draw = |canvas: &Canvas<'_>| {
            canvas.text("<a> \"b\"", (5.0, 5.0), Anchor::Start, Ink::Text);
            canvas.line(&[(0.0, f64::NAN), (1.0, f64::INFINITY)], Ink::Series(1), 1.0);
        };
        let svg = svg(10.0, "what \"it\" shows", draw).unwrap().into_string();
        assert!(svg.contains("fill=\"#010101\">&lt;a&gt; &quot;b&quot;</text>"), "{svg}");
        assert!(
            svg.contains("stroke=\"#100001\"") && svg.contains("aria-label=\"what &quot;it&quot; shows\"")
        );
        assert!(!svg.contains("opacity") && !svg.contains("NaN") && !svg.contains("sans-serif"), "{svg}");
    }
}
