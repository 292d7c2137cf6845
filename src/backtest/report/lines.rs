//! Charts of figures over time: panels below each other that share their axis of time.

use maud::Markup;

use super::{
    plot::{self, Anchor, Canvas, Frame, Ink, Mark, Scale, TEXT, WIDTH},
    times::Times,
};
use crate::backtest::summary::Held;

/// A line.
pub struct Line {
    /// What it is called, beside its end; empty: nothing.
    pub name: String,
    /// Its values, one a period; what is not finite is left out.
    pub values: Vec<f64>,
    /// What it looks like: colour, dashes and marks.
    pub nth: usize,
}

/// A panel.
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// Its lines.
    pub lines: Vec<Line>,
    /// What chance explains in each period.
    pub band: Vec<(f64, f64)>,
    /// Where a line should lie.
    pub expected: Option<f64>,
    /// The least that its axis spans.
    pub least: Vec<f64>,
    /// A label of its axis.
    pub tick: fn(f64) -> String,
}

/// Draws panels; none where no line has a value.
pub fn draw(label: &str, times: &Times, panels: &[Panel]) -> Option<Markup> {
    let values = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.values);
    if times.at.is_empty() || !values.into_iter().any(|v| v.is_finite()) {
        return None;
    }
    let tall = match panels.len() {
        1 => 210.0,
        2 => 110.0,
        _ => 74.0,
    };
    let pitch = tall + 34.0;
    let names = panels.iter().flat_map(|panel| &panel.lines).map(|line| plot::text_width(&line.name));
    let names = names.fold(0.0, f64::max);
    let right = WIDTH - if names > 0.0 { names + 10.0 } else { 8.0 };
    let frame = |nth: usize| Frame {
        left: 62.0,
        top: 24.0 + pitch * nth as f64,
        right,
        bottom: 24.0 + pitch * nth as f64 + tall,
    };
    let bottom = frame(panels.len().saturating_sub(1)).bottom;
    plot::svg(bottom + 28.0, label, |canvas| {
        for (nth, panel) in panels.iter().enumerate() {
            panel.draw(canvas, times, frame(nth), if tall < 100.0 { 3 } else { 5 });
        }
        let x = Scale::exact(0.0, 1.0, 62.0, right);
        let labels: Vec<_> = times.ticks.iter().map(|(at, label)| (x.at(*at), label.clone())).collect();
        canvas.labels(&labels, bottom + TEXT + 2.0);
    })
}

impl Panel {
    fn draw(&self, canvas: &Canvas<'_>, times: &Times, frame: Frame, most: usize) {
        let Frame { left, top, right, bottom } = frame;
        let x = Scale::exact(0.0, 1.0, left, right);
        let band = self.band.iter().flat_map(|(low, high)| [*low, *high]);
        let values = self.lines.iter().flat_map(|line| line.values.iter().copied());
        let expected = self.expected.into_iter().chain(self.least.iter().copied());
        let y = Scale::linear(values.chain(band).chain(expected), bottom, top);
        let place = |(at, value): (f64, f64)| (x.at(at), y.at(value));

        if self.band.len() == times.at.len() {
            let upper = times.at.iter().zip(&self.band).map(|(at, band)| place((*at, band.1)));
            let lower = times.at.iter().zip(&self.band).rev().map(|(at, band)| place((*at, band.0)));
            canvas.polygon(&upper.chain(lower).collect::<Vec<_>>(), Ink::Band);
        }
        for tick in y.ticks(most) {
            canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], Ink::Grid, 1.0);
            canvas.text(&(self.tick)(tick), (left - 6.0, y.at(tick)), Anchor::End, Ink::Muted);
        }
        for (at, _) in &times.ticks {
            canvas.line(&[(x.at(*at), bottom), (x.at(*at), bottom + 4.0)], Ink::Axis, 1.0);
        }
        canvas.line(&[(left, bottom), (right, bottom)], Ink::Axis, 1.0);
        if let Some(expected) = self.expected {
            canvas.line(&[(left, y.at(expected)), (right, y.at(expected))], Ink::Expected, 1.5);
        }
        canvas.text(&self.title, (left, top - 12.0), Anchor::Start, Ink::Text);

        let every = times.at.len().div_ceil(16).max(1);
        for line in &self.lines {
            let (ink, mark) = (Ink::Series(line.nth), Mark::nth(line.nth));
            let points: Vec<_> = times.at.iter().copied().zip(line.values.iter().copied()).collect();
            for run in points.split(|(_, value)| !value.is_finite()).filter(|run| run.len() > 1) {
                canvas.line(&run.iter().copied().map(place).collect::<Vec<_>>(), Ink::Line(line.nth), 2.0);
            }
            for (nth, point) in points.iter().enumerate().filter(|(_, point)| point.1.is_finite()) {
                let alone = self.band.get(nth).is_some_and(|b| !(point.1 >= b.0 && point.1 <= b.1));
                if self.band.is_empty() && (nth % every == 0 || points.len() < 16) {
                    canvas.mark(place(*point), mark, 3.0, ink);
                } else if alone {
                    canvas.mark(place(*point), Mark::Diamond, 2.6, Ink::Held(Held::No));
                } else if points.len() < 3 {
                    canvas.mark(place(*point), mark, 3.0, ink);
                }
            }
        }
        self.names(canvas, &y, frame);
    }

    /// The lines' names beside their ends, apart from each other.
    fn names(&self, canvas: &Canvas<'_>, y: &Scale, frame: Frame) {
        let last = |line: &Line| line.values.iter().rev().copied().find(|v| v.is_finite());
        let named = self.lines.iter().filter(|line| !line.name.is_empty());
        let mut ends: Vec<_> = named.filter_map(|line| Some((y.at(last(line)?), line))).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut free = frame.top - TEXT;
        let room = ends.len() as f64 * (TEXT + 1.0);
        for (nth, (at, line)) in ends.into_iter().enumerate() {
            let left = room - nth as f64 * (TEXT + 1.0);
            let at = at.min(frame.bottom + TEXT - left).max(free);
            canvas.text(&line.name, (frame.right + 8.0, at), Anchor::Start, Ink::Series(line.nth));
            free = at + TEXT + 1.0;
        }
    }
}
