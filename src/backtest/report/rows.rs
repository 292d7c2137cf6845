//! Charts of rows: each with a label and marks with intervals beside a line that they should lie on.

use maud::Markup;

use super::{
    plot::{self, Anchor, Canvas, Ink, Mark, Scale, TEXT, WIDTH},
    words,
};

/// A mark with its interval.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Where it is.
    pub value: f64,
    /// Its interval.
    pub interval: [f64; 2],
    /// What it looks like.
    pub mark: Mark,
    /// What it is drawn in.
    pub ink: Ink,
}

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is about.
    pub label: String,
    /// Its marks, one below the other; none where there is no figure.
    pub points: Vec<Option<Point>>,
}

/// What a mark in an ink means.
pub type Entry = (Mark, Ink, String);

/// A chart of rows.
pub struct Rows<'a> {
    /// What it shows.
    pub label: &'a str,
    /// The rows.
    pub rows: &'a [Row],
    /// Whether values are ratios, on a logarithmic axis around 1; otherwise they are differences around 0.
    pub ratio: bool,
    /// What is at the left and at the right of the line.
    pub sides: [&'a str; 2],
    /// What the marks mean, where there are several.
    pub legend: &'a [Entry],
    /// A label of the axis.
    pub tick: fn(f64) -> String,
}

/// The most that the axis spans on either side of 1.
const FURTHEST: f64 = 20.0;
/// The most room that a row's name takes.
const NAME: f64 = 172.0;

impl Rows<'_> {
    /// Draws it; none without any mark.
    pub fn draw(&self) -> Option<Markup> {
        let points: Vec<Point> =
            self.rows.iter().flat_map(|row| row.points.iter().flatten().copied()).collect();
        if !points.iter().any(|p| p.value.is_finite()) {
            return None;
        }
        let names: Vec<Vec<String>> = self.rows.iter().map(|row| name_lines(&row.label)).collect();
        let longest = names.iter().flatten().map(|line| plot::text_width(line)).fold(0.0, f64::max);
        let (left, right) = ((longest + 14.0).clamp(60.0, NAME + 14.0), WIDTH - 14.0);
        let most = self.rows.iter().map(|row| row.points.len()).max().unwrap_or(1).max(1);
        let two = names.iter().any(|lines| lines.len() > 1);
        let pitch = (most as f64 * 13.0 + 12.0).max(if two { 40.0 } else { 26.0 });
        let legends = self.legend_rows();
        let top = 24.0 + legends.len() as f64 * 20.0;
        let bottom = top + pitch * self.rows.len() as f64;
        let scale = self.scale(&points, left, right);
        plot::svg(bottom + 26.0, self.label, |canvas| {
            for (nth, row) in legends.iter().enumerate() {
                for (x, (mark, ink, text)) in row {
                    let y = 9.0 + nth as f64 * 20.0;
                    canvas.mark((x + 6.0, y), *mark, 5.0, *ink);
                    canvas.text(text, (x + 16.0, y), Anchor::Start, Ink::Text);
                }
            }
            self.axis(canvas, &scale, [left, top, right, bottom]);
            for (nth, (row, name)) in self.rows.iter().zip(&names).enumerate() {
                let middle = top + pitch * (nth as f64 + 0.5);
                for (nth, line) in name.iter().enumerate() {
                    let y = middle + 16.0 * (nth as f64 - (name.len() as f64 - 1.0) / 2.0);
                    canvas.text(line, (left - 8.0, y), Anchor::End, Ink::Text);
                }
                let first = middle - 13.0 * (row.points.len() as f64 - 1.0) / 2.0;
                for (nth, point) in row.points.iter().enumerate() {
                    if let Some(point) = point {
                        interval(canvas, &scale, *point, first + 13.0 * nth as f64);
                    }
                }
            }
        })
    }

    fn scale(&self, points: &[Point], left: f64, right: f64) -> Scale {
        let values = points.iter().flat_map(|p| [p.value, p.interval[0], p.interval[1]]);
        if self.ratio {
            let values = values.filter(|v| *v > 0.0).map(|v| v.clamp(1.0 / FURTHEST, FURTHEST));
            Scale::log(values.chain([0.8, 1.25]), left, right)
        } else {
            Scale::roomy(values.chain([0.0]), left, right)
        }
    }

    fn axis(&self, canvas: &Canvas<'_>, scale: &Scale, [left, top, right, bottom]: [f64; 4]) {
        let ticks = scale.ticks(if right - left > 300.0 { 7 } else { 5 });
        for tick in &ticks {
            canvas.line(&[(scale.at(*tick), top), (scale.at(*tick), bottom)], Ink::Grid, 1.0);
        }
        let line = scale.at(if self.ratio { 1.0 } else { 0.0 });
        canvas.line(&[(line, top - 4.0), (line, bottom)], Ink::Expected, 2.0);
        let labels: Vec<_> = ticks.iter().map(|tick| (scale.at(*tick), (self.tick)(*tick))).collect();
        canvas.labels(&labels, bottom + TEXT);
        let [before, after] = self.sides;
        if line - plot::text_width(before) > 16.0 {
            canvas.text(&format!("← {before}"), (line - 8.0, top - 12.0), Anchor::End, Ink::Muted);
        }
        if line + plot::text_width(after) < WIDTH - 16.0 {
            canvas.text(&format!("{after} →"), (line + 8.0, top - 12.0), Anchor::Start, Ink::Muted);
        }
    }

    /// The legend's marks with their places, as many in a row as fit.
    fn legend_rows(&self) -> Vec<Vec<(f64, Entry)>> {
        let mut rows: Vec<Vec<(f64, Entry)>> = Vec::new();
        let mut x = f64::INFINITY;
        for (mark, ink, text) in self.legend {
            let text = words::shortened(text, 48);
            let width = plot::text_width(&text) + 34.0;
            if x + width > WIDTH + 18.0 {
                rows.push(Vec::new());
                x = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, (*mark, *ink, text)));
            }
            x += width;
        }
        rows
    }
}

/// A row's name on up to two lines, shortened where these are not enough.
fn name_lines(name: &str) -> Vec<String> {
    let short = |text: &str| {
        let most = text.chars().count();
        let fitting = (1..=most).rev().map(|length| words::shortened(text, length));
        fitting.into_iter().find(|text| plot::text_width(text) <= NAME).unwrap_or_default()
    };
    if plot::text_width(name) <= NAME {
        return vec![name.to_owned()];
    }
    let closed = |text: &str| text.matches('(').count() == text.matches(')').count();
    let mut spaces = name.match_indices(' ').map(|(at, _)| at).filter(|at| !name[*at..].starts_with(" %"));
    match spaces.rfind(|at| closed(&name[..*at]) && plot::text_width(&name[..*at]) <= NAME) {
        Some(at) => vec![name[..at].to_owned(), short(name[at..].trim_start())],
        None => vec![short(name)],
    }
}

fn interval(canvas: &Canvas<'_>, scale: &Scale, point: Point, y: f64) {
    let Point { value, interval: [low, high], mark, ink } = point;
    if !value.is_finite() {
        return;
    }
    let (low, high) =
        (if low.is_finite() { low } else { value }, if high.is_finite() { high } else { value });
    canvas.line(&[(scale.at(low), y), (scale.at(high), y)], ink, 2.0);
    for end in [low, high] {
        if end > scale.low() && end < scale.high() {
            canvas.line(&[(scale.at(end), y - 3.5), (scale.at(end), y + 3.5)], ink, 2.0);
        }
    }
    let mark = match value {
        value if value < scale.low() => Mark::Left,
        value if value > scale.high() => Mark::Right,
        _ => mark,
    };
    canvas.mark((scale.at(value), y), mark, 5.0, ink);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_stands_on_two_lines() {
        assert_eq!(name_lines("CRPS"), ["CRPS"]);
        assert_eq!(name_lines("Brier score of P(Y > 15.5 min)"), ["Brier score of", "P(Y > 15.5 min)"]);
        let long = name_lines(&"x".repeat(500));
        assert!(long.len() == 1 && long[0].ends_with('…') && plot::text_width(&long[0]) <= NAME, "{long:?}");
    }

    #[test]
    fn a_chart_without_any_figure_is_none() {
        let row = |points| [Row { label: "a".to_owned(), points }];
        let draw = |rows: &[Row]| {
            Rows { label: "", rows, ratio: true, sides: ["", ""], legend: &[], tick: plot::tick }
                .draw()
                .is_some()
        };
        let point = |value| {
            Some(Point { value, interval: [f64::NAN, f64::INFINITY], mark: Mark::Disc, ink: Ink::Text })
        };
        assert!(!draw(&[]) && !draw(&row(vec![None])) && !draw(&row(vec![point(f64::NAN)])));
        assert!(draw(&row(vec![point(0.0)])) && draw(&row(vec![point(1e9)])));
    }
}
