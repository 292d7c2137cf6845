//! Whether the probabilities of exceeding thresholds were right.

use maud::{Markup, html};

use super::{
    parts,
    plot::{self, Anchor, Canvas, Frame, Ink, Mark, Scale, TEXT, WIDTH},
    words::{self, Ratio},
};
use crate::{
    backtest::summary::{ModelSummary, ReliabilityBin, ThresholdSummary},
    text::{counted, thousands},
};

/// The section.
pub fn section(model: &ModelSummary) -> Markup {
    let names = words::threshold_names(model);
    let content = html! {
        @if model.thresholds.is_empty() {
            (parts::nothing("The config publishes no probability of exceeding a threshold."))
        } @else {
            p { "Of the events that were given a probability of 10 % to exceed a threshold, 10 % should." }
            (table(model, &names))
            div.charts { @for (threshold, name) in model.thresholds.iter().zip(&names) { (reliability(threshold, name)) } }
        }
    };
    parts::section("thresholds", "Probabilities of thresholds", content)
}

fn table(model: &ModelSummary, names: &[String]) -> Markup {
    let heads = [
        "Threshold",
        "Verdict",
        "Exceeded",
        "Expected",
        "Rate",
        "95 % interval",
        "Ratio",
        "Poisson-binomial",
        "Brier score",
        "What the data can tell",
    ];
    let row = |(t, name): (&ThresholdSummary, &String)| {
        let rate = t.exceeded;
        let skill = 1.0 - t.brier / t.brier_of_rate;
        html! {
            tr {
                th scope="row" { (name) @if *name != t.column { small { code { (t.column) } } } }
                td.word { (parts::held(t.held)) }
                td { (thousands(rate.observed)) small { "of " (thousands(rate.events)) } }
                td { (words::expected(rate.expected)) }
                td { (words::percent(rate.observed as f64 / rate.events as f64)) }
                td { (words::percent(rate.interval[0])) " to " (words::percent(rate.interval[1])) }
                td { (Option::<Ratio>::from(&rate).map_or_else(|| words::NONE.to_owned(), |r| words::ratio(r.value))) }
                (parts::test(t.poisson_binomial.as_ref()))
                td {
                    (words::figure(t.brier))
                    @if skill.is_finite() {
                        small { "mean rate: " (words::figure(t.brier_of_rate)) }
                        small { (words::percent(skill.abs())) @if skill >= 0.0 { " better" } @else { " worse" } }
                    }
                }
                td.prose { (t.power) }
            }
        }
    };
    let rows: Vec<Markup> = model.thresholds.iter().zip(names).map(row).collect();
    parts::table("Probabilities of thresholds", &heads, &[1, 9], &rows)
}

fn reliability(threshold: &ThresholdSummary, name: &str) -> Markup {
    let title = format!("Reliability of the probability of a target {name}");
    let usable = |b: &&ReliabilityBin| b.events > 0 && b.expected.is_finite() && b.observed.is_finite();
    let bins: Vec<ReliabilityBin> = threshold.reliability.iter().filter(usable).copied().collect();
    let chart = if bins.is_empty() { None } else { draw(&title, &bins) };
    parts::figure(&title, chart, shows(&bins))
}

fn off(bin: &ReliabilityBin) -> bool {
    !(bin.interval[0] <= bin.expected && bin.expected <= bin.interval[1])
}

fn draw(title: &str, bins: &[ReliabilityBin]) -> Option<Markup> {
    let frame = Frame { left: 64.0, top: 50.0, right: WIDTH - 14.0, bottom: 340.0 };
    let least = bins.iter().map(|b| b.expected).filter(|e| *e > 0.0).fold(1.0, f64::min);
    let most = bins.iter().flat_map(|b| [b.expected, b.observed, b.interval[1]]).filter(|v| v.is_finite());
    let most = most.fold(0.0, f64::max).min(1.0);
    // Small probabilities would all lie in the corner otherwise.
    let log = least < 0.1 * most;
    let (x, y) = if log {
        let lowest =
            bins.iter().map(|b| b.observed).filter(|o| *o > 0.0).fold(least, f64::min).max(least / 20.0);
        let ends = [lowest.max(1e-9), most];
        (Scale::log(ends, frame.left, frame.right), Scale::log(ends, frame.bottom, frame.top))
    } else {
        (
            Scale::linear([0.0, most], frame.left, frame.right),
            Scale::linear([0.0, most], frame.bottom, frame.top),
        )
    };
    plot::svg(frame.bottom + 48.0, title, |canvas| {
        axes(canvas, &x, &y, frame);
        let (low, high) = (x.low(), x.high());
        canvas.line(&[(x.at(low), y.at(low)), (x.at(high), y.at(high))], Ink::Expected, 2.0);
        for bin in bins {
            let ink = if off(bin) { Ink::Series(1) } else { Ink::Series(0) };
            let mark = if off(bin) { Mark::Square } else { Mark::Disc };
            let at = x.at(bin.expected);
            canvas.line(&[(at, y.at(bin.interval[0])), (at, y.at(bin.interval[1]))], ink, 2.0);
            canvas.mark((at, y.at(bin.observed)), mark, 4.5, ink);
        }
        let mut legend = 6.0;
        for (mark, ink, text) in [
            (Mark::Disc, Ink::Series(0), "interval includes the diagonal"),
            (Mark::Square, Ink::Series(1), "does not"),
        ] {
            canvas.mark((legend, 9.0), mark, 4.5, ink);
            canvas.text(text, (legend + 10.0, 9.0), Anchor::Start, Ink::Text);
            legend += plot::text_width(text) + 32.0;
        }
    })
}

fn axes(canvas: &Canvas<'_>, x: &Scale, y: &Scale, frame: Frame) {
    let Frame { left, top, right, bottom } = frame;
    for tick in y.ticks(6) {
        canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], Ink::Grid, 1.0);
        canvas.text(&plot::percent_tick(tick), (left - 6.0, y.at(tick)), Anchor::End, Ink::Muted);
    }
    let ticks = x.ticks(6);
    for tick in &ticks {
        canvas.line(&[(x.at(*tick), top), (x.at(*tick), bottom)], Ink::Grid, 1.0);
    }
    let labels: Vec<_> = ticks.iter().map(|tick| (x.at(*tick), plot::percent_tick(*tick))).collect();
    canvas.labels(&labels, bottom + TEXT);
    canvas.line(&[(left, top), (left, bottom), (right, bottom)], Ink::Axis, 1.0);
    canvas.text("published probability →", (right, bottom + 36.0), Anchor::End, Ink::Muted);
    canvas.text("↑ observed rate", (0.0, 30.0), Anchor::Start, Ink::Muted);
}

fn shows(bins: &[ReliabilityBin]) -> String {
    let distance = |b: &ReliabilityBin| {
        (b.observed - b.expected).abs() / (b.expected * (1.0 - b.expected) / b.events as f64).sqrt()
    };
    let worst =
        bins.iter().filter(|b| distance(b).is_finite()).max_by(|a, b| distance(a).total_cmp(&distance(b)));
    let Some(worst) = worst.or(bins.first()) else {
        return "There is no group of events to compare with its probability.".to_owned();
    };
    let wrong = bins.iter().filter(|b| off(b)).count() as u64;
    let groups = counted(bins.len() as u64, "group");
    let first = match wrong {
        0 => format!("In all of {groups}, the interval of the observed rate includes the probability."),
        wrong => format!(
            "In {wrong} of {groups}, the interval of the observed rate does not include the probability."
        ),
    };
    format!(
        "{first} Furthest off for its size: {} with a mean probability of {}, of which {} exceeded it.",
        counted(worst.events, "event"),
        words::percent(worst.expected),
        words::percent(worst.observed)
    )
}
