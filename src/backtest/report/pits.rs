//! Whether whole distributions were right: where targets lay in them.

use maud::{Markup, html};

use super::{
    parts,
    plot::{self, Anchor, Frame, Ink, Scale, TEXT, WIDTH},
    words,
};
use crate::{
    backtest::summary::{ModelSummary, PitSummary},
    text::thousands,
};

/// The section.
pub fn section(model: &ModelSummary) -> Markup {
    let content = html! {
        @if model.pits.is_empty() {
            (parts::nothing("There is no PIT: no target was judged."))
        } @else {
            p {
                "The probability integral transform (PIT) of a target is the probability of a lower one. If the distributions are right, it is uniform: all bars are equally high, but for chance. "
                "A U says that they are too narrow, a hill that they are too wide, a slope that they are shifted."
            }
            div.{ @if model.pits.len() == 1 { "side" } @else { "charts" } } { @for pit in &model.pits { (histogram(pit)) } }
            (table(model))
        }
    };
    parts::section("pit", "Whole distributions (PIT)", content)
}

fn table(model: &ModelSummary) -> Markup {
    let heads = ["Target", "Uniformity", "Berkowitz", "Mean", "Standard deviation", "Correlation"];
    let row = |pit: &PitSummary| {
        html! {
            tr {
                th scope="row" { (pit.target) }
                (parts::test(pit.uniformity.as_ref()))
                (parts::test(pit.berkowitz.as_ref()))
                td { (words::fixed(pit.normal_mean, 3)) small { "should be 0" } }
                td { (words::fixed(pit.normal_deviation, 3)) small { "should be 1" } }
                td { (words::fixed(pit.normal_correlation, 3)) small { "should be 0" } }
            }
        }
    };
    let rows: Vec<Markup> = model.pits.iter().map(row).collect();
    html! {
        (parts::table("Tests of the PIT", &heads, &[], &rows))
        p.note {
            "Uniformity: Kolmogorov and Smirnov’s test, which takes events to be independent; its statistic is the largest distance. Berkowitz (2001): "
            "are the normal scores of the PIT standard normal and uncorrelated? Mean, standard deviation and correlation (with the event before) are those of the normal scores. With many events, both reject what is off by very little: look at the size too."
        }
    }
}

fn histogram(pit: &PitSummary) -> Markup {
    let title = format!("PIT of {}", pit.target);
    let events: u64 = pit.histogram.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if events == 0 {
        return parts::figure(&title, None, "No target was judged, so there is no histogram.");
    }
    let bins = pit.histogram.len() as f64;
    let expected = events as f64 / bins;
    let reach = 1.96 * (expected * (1.0 - 1.0 / bins)).sqrt();
    let frame = Frame { left: 64.0, top: 50.0, right: WIDTH - 10.0, bottom: 260.0 };
    let x = Scale::exact(0.0, 1.0, frame.left, frame.right);
    let counts = pit.histogram.iter().map(|count| *count as f64);
    let y = Scale::linear(counts.chain([0.0, expected + reach]), frame.bottom, frame.top);
    let chart = plot::svg(frame.bottom + 48.0, &title, |canvas| {
        for tick in y.ticks(5) {
            canvas.line(&[(frame.left, y.at(tick)), (frame.right, y.at(tick))], Ink::Grid, 1.0);
            let label = if tick >= 1e6 {
                words::figure(tick)
            } else {
                words::fixed(tick, usize::from(tick.fract() > 1e-9))
            };
            canvas.text(&label, (frame.left - 6.0, y.at(tick)), Anchor::End, Ink::Muted);
        }
        for (nth, count) in pit.histogram.iter().enumerate() {
            let (from, to) = (x.at(nth as f64 / bins), x.at((nth as f64 + 1.0) / bins));
            canvas.rectangle((from + 1.0, y.at(*count as f64)), (to - 1.0, frame.bottom), Ink::Bar);
        }
        // Over the bars, which can be seen through it: it would hide behind them.
        canvas.rectangle(
            (frame.left, y.at(expected + reach)),
            (frame.right, y.at(expected - reach)),
            Ink::Veil,
        );
        canvas.line(&[(frame.left, y.at(expected)), (frame.right, y.at(expected))], Ink::Expected, 2.0);
        canvas.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], Ink::Axis, 1.0);
        let labels = [0.0, 0.25, 0.5, 0.75, 1.0].map(|tick| (x.at(tick), plot::tick(tick)));
        canvas.labels(&labels, frame.bottom + TEXT);
        canvas.text("PIT →", (frame.right, frame.bottom + 36.0), Anchor::End, Ink::Muted);
        canvas.text("↑ events", (0.0, 30.0), Anchor::Start, Ink::Muted);
        canvas.line(&[(0.0, 9.0), (26.0, 9.0)], Ink::Expected, 2.0);
        canvas.text("expected", (32.0, 9.0), Anchor::Start, Ink::Text);
        canvas.rectangle((130.0, 3.0), (156.0, 15.0), Ink::Veil);
        canvas.text("95 % band of chance", (162.0, 9.0), Anchor::Start, Ink::Text);
    });
    parts::figure(&title, chart, shows(pit, expected, reach))
}

fn shows(pit: &PitSummary, expected: f64, reach: f64) -> String {
    let bins = pit.histogram.len();
    let outside = pit.histogram.iter().filter(|c| (**c as f64 - expected).abs() > reach).count();
    let range = |nth: usize| {
        let end = |nth: usize| words::fixed(nth as f64 / bins as f64, 2);
        format!("{}–{}", end(nth), end(nth + 1))
    };
    let by = |count: u64| words::ratio(count as f64 / expected);
    let most = pit.histogram.iter().enumerate().max_by_key(|(_, count)| **count);
    let least = pit.histogram.iter().enumerate().min_by_key(|(_, count)| **count);
    let (Some((most, high)), Some((least, low))) = (most, least) else { return String::new() };
    format!(
        "{} targets in {bins} bins, {} expected in each. {outside} of {bins} bins are outside of the 95 % band (about {} would be by chance). \
         Fullest is {} with {} times the expected number, emptiest {} with {} times.",
        thousands(pit.histogram.iter().fold(0u64, |sum, count| sum.saturating_add(*count))),
        words::expected(expected),
        (bins as f64 * 0.05).round(),
        range(most),
        by(*high),
        range(least),
        by(*low)
    )
}
