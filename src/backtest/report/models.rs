//! Models beside each other, and the scores with their uncertainty.

use maud::{Markup, html};

use super::{
    parts,
    plot::{self, Ink, Mark},
    rows::{Point, Row, Rows},
    words,
};
use crate::{
    backtest::summary::{Comparison, Difference, MeanScore, ModelSummary, Summary},
    text::counted,
};

/// The section that compares models.
pub fn comparison(summary: &Summary) -> Markup {
    let content = html! {
        @if summary.comparisons.is_empty() {
            (parts::nothing("Only one model was run: give several configs, or vary a key, to compare models."))
        } @else {
            p { "All scores are losses: the lower, the better. Models are compared on the events that both judged; the intervals allow for events that go together." }
            (verdicts(&summary.models))
            (chart(summary))
            @for other in &summary.comparisons { (differences(summary, other)) }
        }
    };
    parts::section("models", "Comparison of models", content)
}

fn first_name(summary: &Summary) -> &str {
    summary.models.first().map_or(words::NONE, |model| model.name.as_str())
}

fn verdicts(models: &[ModelSummary]) -> Markup {
    let heads = ["Model", "Verdict", "What it comes to", "Log score, nats"];
    let scores = models.iter().filter_map(|m| m.log_score).filter(|s| s.is_finite());
    let best = scores.fold(f64::NEG_INFINITY, f64::max);
    let row = |model: &ModelSummary| {
        html! {
            tr {
                th scope="row" { (model.name) }
                td.word { (parts::held(model.verdict.held)) }
                td.prose { (model.verdict.headline) }
                td { (words::nats(model.log_score)) @if model.log_score == Some(best) { small { b { "highest" } } } }
            }
        }
    };
    parts::table("Verdicts of the models", &heads, &[1, 2], &models.iter().map(row).collect::<Vec<_>>())
}

/// Which of the two is better, as far as the interval tells.
fn better(difference: &Difference) -> Option<bool> {
    let [low, high] = difference.interval;
    if high < 0.0 {
        Some(true)
    } else if low > 0.0 {
        Some(false)
    } else {
        None
    }
}

fn differences(summary: &Summary, other: &Comparison) -> Markup {
    let first = first_name(summary);
    let heads = ["Score", first, &other.name, "Difference", "95 % interval", "Better"];
    let row = |d: &Difference| {
        let better = better(d);
        let best = html! { small { b { "best" } } };
        html! {
            tr {
                th scope="row" { (d.title) }
                td { (words::significant(d.first, 4)) @if better == Some(false) { (best) } }
                td { (words::significant(d.other, 4)) @if better == Some(true) { (best) } }
                td { (signed(d.difference)) }
                td { (signed(d.interval[0])) " to " (signed(d.interval[1])) }
                td.word { @match better { Some(true) => { b { (other.name) } } Some(false) => { b { (first) } } None => { "no telling" } } }
            }
        }
    };
    let label = format!("{} compared with {first}", other.name);
    html! {
        h3 { (other.name) " compared with " (first) }
        p { (told(first, other)) }
        (parts::table(&label, &heads, &[5], &other.differences.iter().map(row).collect::<Vec<_>>()))
    }
}

fn signed(value: f64) -> String {
    let text = words::significant(value, 3);
    if value > 0.0 && value.is_finite() { format!("+{text}") } else { text }
}

fn told(first: &str, other: &Comparison) -> String {
    let number = |wanted: Option<bool>| other.differences.iter().filter(|d| better(d) == wanted).count();
    format!(
        "On {} and by {}: {} is better by {}, {first} by {}; the data can’t tell by {}.",
        counted(other.events, "event"),
        counted(other.differences.len() as u64, "score"),
        other.name,
        number(Some(true)),
        number(Some(false)),
        number(None)
    )
}

/// The difference in per cent of the first's score. A log score has no zero: a difference of 0.01 nats is a density that
/// differs by about 1 %, whatever the score itself.
fn relative(d: &Difference) -> Option<[f64; 3]> {
    let by = if d.score.contains("log_loss") { 1.0 } else { d.first.abs() };
    let values = [d.difference / by, d.interval[0] / by, d.interval[1] / by];
    (by > 1e-12 && values.iter().all(|v| v.is_finite())).then_some(values)
}

fn chart(summary: &Summary) -> Markup {
    let first = first_name(summary);
    let title = format!("Scores relative to those of {first}");
    let mut titles: Vec<(&str, &str)> = Vec::new();
    for difference in summary.comparisons.iter().flat_map(|c| &c.differences) {
        if !titles.iter().any(|(score, _)| *score == difference.score) {
            titles.push((&difference.score, &difference.title));
        }
    }
    let point = |(nth, other): (usize, &Comparison), score: &str| {
        let [value, low, high] = relative(other.differences.iter().find(|d| d.score == score)?)?;
        Some(Point { value, interval: [low, high], mark: Mark::nth(nth), ink: Ink::Series(nth) })
    };
    let rows: Vec<Row> = (titles.iter())
        .map(|(score, title)| Row {
            label: (*title).to_owned(),
            points: summary.comparisons.iter().enumerate().map(|other| point(other, score)).collect(),
        })
        .collect();
    let legend: Vec<_> = (summary.comparisons.iter().enumerate())
        .map(|(nth, other)| (Mark::nth(nth), Ink::Series(nth), other.name.clone()))
        .collect();
    let rows = Rows {
        label: &title,
        rows: &rows,
        ratio: false,
        sides: ["better", "worse"],
        legend: &legend,
        tick: plot::percent_tick,
    };
    let largest = summary.comparisons.iter().filter_map(|other| {
        let known = other.differences.iter().filter_map(|d| Some((d, relative(d)?)));
        let (d, [value, low, high]) = known.max_by(|a, b| a.1[0].abs().total_cmp(&b.1[0].abs()))?;
        let side = if value < 0.0 { "lower (better)" } else { "higher (worse)" };
        Some(format!(
            "Largest for {}: {}, {} {side} (95 % interval {} to {}).",
            other.name,
            d.title,
            words::percent(value.abs()),
            signed_percent(low),
            signed_percent(high)
        ))
    });
    let largest: Vec<String> = largest.collect();
    let text = if largest.is_empty() {
        "There is no score that both models have.".to_owned()
    } else {
        format!(
            "Differences in per cent of the score of {first}; those of log losses are in nats times 100, about per cent of the density. {}",
            largest.join(" ")
        )
    };
    parts::wide_figure(&title, rows.draw(), text)
}

fn signed_percent(value: f64) -> String {
    let text = words::percent(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

/// The section of the first model's scores.
pub fn scores(model: &ModelSummary) -> Markup {
    let heads = ["Score", "Key", "Mean", "95 % interval"];
    let row = |score: &MeanScore| {
        let [low, high] = score.interval;
        html! {
            tr {
                th scope="row" { (score.title) }
                td.word { code { (score.score) } }
                td { (words::significant(score.mean, 4)) }
                td { (words::significant(low, 4)) " to " (words::significant(high, 4)) }
            }
        }
    };
    let content = html! {
        @if model.scores.is_empty() {
            (parts::nothing("No event was judged, so there is no score."))
        } @else {
            p { "Means over all judged events; the lower, the better. They mean little alone: they compare models on the same events. The scores of each event are in " code { (model.scores_file) } "." }
            (parts::table("Mean scores", &heads, &[1], &model.scores.iter().map(row).collect::<Vec<_>>()))
        }
    };
    parts::section("scores", "Scores", content)
}
