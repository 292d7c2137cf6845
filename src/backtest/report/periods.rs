//! How figures went over time.

use maud::{Markup, html};

use super::{
    chance,
    lines::{self, Line, Panel},
    parts, plot,
    times::Times,
    words,
};
use crate::{
    backtest::summary::{ModelSummary, Period},
    text::counted,
};

/// The section.
pub fn section(model: &ModelSummary, times: &Times) -> Markup {
    let content = html! {
        @if model.periods.is_empty() {
            (parts::nothing("No event was judged, so there is nothing over time."))
        } @else {
            p { (counted(model.periods.len() as u64, "period")) " of about equally many events, in the order of the stream." }
            div.charts {
                @if !model.quantiles.is_empty() { (quantiles(model, times)) }
                @if !model.thresholds.is_empty() { (thresholds(model, times)) }
                (log_scores(model, times))
                (tail_indices(model, times))
            }
        }
    };
    parts::section("time", "Over time", content)
}

fn values(periods: &[Period], value: impl Fn(&Period) -> Option<f64>) -> Vec<f64> {
    periods.iter().map(|period| value(period).unwrap_or(f64::NAN)).collect()
}

/// The place and the value of what is finite and greatest by `key`.
fn greatest(values: &[f64], key: impl Fn(f64) -> f64) -> Option<(usize, f64)> {
    let finite = values.iter().copied().enumerate().filter(|(_, v)| v.is_finite());
    finite.max_by(|a, b| key(a.1).total_cmp(&key(b.1)))
}

fn quantiles(model: &ModelSummary, times: &Times) -> Markup {
    let title = "Exceedances of each quantile over time, relative to what is expected";
    let names = words::quantile_names(model);
    let mut sentences = Vec::new();
    let mut panels = Vec::new();
    for (nth, (quantile, name)) in model.quantiles.iter().zip(&names).enumerate() {
        let expected = words::expected_beyond(quantile.level);
        let ratios = values(&model.periods, |period| {
            Some(words::share_beyond(quantile.level, *period.above.get(nth)?) / expected)
        });
        let band: Vec<(f64, f64)> = (model.periods.iter())
            .map(|period| chance::band(expected, period.events))
            .map(|(low, high)| (low / expected, high / expected))
            .collect();
        let whole = band.iter().all(|(low, high)| low.is_finite() && high.is_finite());
        let outside =
            ratios.iter().zip(&band).filter(|(r, b)| r.is_finite() && !(**r >= b.0 && **r <= b.1)).count();
        if let Some((worst, ratio)) = greatest(&ratios, |ratio| ratio) {
            sentences.push(format!(
                "The quantile at {name} was {} most from {} ({} times the expected rate); {outside} of {} lie outside of the band.",
                words::was_passed(quantile.level),
                times.name(worst),
                words::ratio(ratio),
                counted(ratios.len() as u64, "period"),
            ));
        }
        panels.push(Panel {
            title: format!(
                "{}: ratio to the expected {}",
                words::beyond(quantile.level, name),
                words::level(expected)
            ),
            lines: vec![Line { name: String::new(), values: ratios, nth: 0 }],
            band: if whole { band } else { Vec::new() },
            expected: Some(1.0),
            least: vec![0.0, 1.5],
            tick: plot::tick,
        });
    }
    let text = html! {
        @if sentences.is_empty() { "No period has a rate to show." }
        @else {
            "The band is what chance explains in 95 of 100 periods of independent events; a diamond marks a period outside."
            ul { @for sentence in &sentences { li { (sentence) } } }
        }
    };
    parts::figure(title, lines::draw(title, times, &panels), text)
}

fn thresholds(model: &ModelSummary, times: &Times) -> Markup {
    let title = "Share of targets above each threshold over time, observed and expected";
    let names = words::threshold_names(model);
    let mut sentences = Vec::new();
    let mut panels = Vec::new();
    for (nth, name) in names.iter().enumerate() {
        let observed = values(&model.periods, |period| period.exceeded.get(nth).copied());
        let expected = values(&model.periods, |period| period.expected.get(nth).copied());
        let gaps: Vec<f64> = observed.iter().zip(&expected).map(|(o, e)| o - e).collect();
        if let Some((worst, _)) = greatest(&gaps, f64::abs) {
            sentences.push(format!(
                "For targets {name}, observed and expected were furthest apart from {}: {} against {}.",
                times.name(worst),
                words::percent(observed[worst]),
                words::percent(expected[worst]),
            ));
        }
        panels.push(Panel {
            title: format!("targets {name}"),
            lines: vec![
                Line { name: "observed".to_owned(), values: observed, nth: 0 },
                Line { name: "expected".to_owned(), values: expected, nth: 1 },
            ],
            band: Vec::new(),
            expected: None,
            least: vec![0.0],
            tick: plot::percent_tick,
        });
    }
    let text = html! {
        @if sentences.is_empty() { "No period has a rate to show." }
        @else { ul { @for sentence in &sentences { li { (sentence) } } } }
    };
    parts::figure(title, lines::draw(title, times, &panels), text)
}

fn panel(title: &str, lines: Vec<Line>, expected: Option<f64>) -> Panel {
    Panel { title: title.to_owned(), lines, band: Vec::new(), expected, least: Vec::new(), tick: plot::tick }
}

fn log_scores(model: &ModelSummary, times: &Times) -> Markup {
    let title = "Log score over time";
    let own = values(&model.periods, |period| period.log_score);
    let baseline = values(&model.periods, |period| period.baseline_log_score);
    let gains: Vec<f64> = own.iter().zip(&baseline).map(|(own, baseline)| own - baseline).collect();
    let compared = gains.iter().filter(|gain| gain.is_finite()).count();
    let text = match (greatest(&own, |score| -score), greatest(&gains, |gain| -gain)) {
        (None, _) => "There is no log score to show.".to_owned(),
        (Some((worst, score)), None) => {
            format!(
                "Higher is better. It was lowest from {}: {} nats. There is no baseline.",
                times.name(worst),
                words::fixed(score, 3)
            )
        }
        (Some((worst, score)), Some((least, gain))) => format!(
            "Higher is better. It was lowest from {}: {} nats. It was above the baseline’s in {} of {}; least so from {}, by {} nats.",
            times.name(worst),
            words::fixed(score, 3),
            gains.iter().filter(|gain| **gain > 0.0).count(),
            counted(compared as u64, "period"),
            times.name(least),
            words::fixed(gain, 3),
        ),
    };
    let lines = vec![
        Line { name: "model".to_owned(), values: own, nth: 0 },
        Line { name: "baseline".to_owned(), values: baseline, nth: 1 },
    ];
    let lines = lines.into_iter().filter(|line| line.values.iter().any(|v| v.is_finite())).collect();
    parts::figure(title, lines::draw(title, times, &[panel("mean log score, nats", lines, None)]), text)
}

fn tail_indices(model: &ModelSummary, times: &Times) -> Markup {
    let title = "Tail index ξ over time";
    let upper = values(&model.periods, |period| period.upper_tail_index);
    let lower = values(&model.periods, |period| period.lower_tail_index);
    let told = |name: &str, values: &[f64]| {
        let (highest, lowest) = (greatest(values, |v| v)?, greatest(values, |v| -v)?);
        Some(format!(
            "{name} tail: from {} to {}, heaviest from {}.",
            words::fixed(lowest.1, 2),
            words::fixed(highest.1, 2),
            times.name(highest.0)
        ))
    };
    let sentences: Vec<String> =
        [told("Upper", &upper), told("Lower", &lower)].into_iter().flatten().collect();
    let text = if sentences.is_empty() {
        "The model has no tail index to show.".to_owned()
    } else {
        format!(
            "P(Y > y) falls like y^(−1/ξ): the larger ξ, the heavier the tail; from 1 on there is no mean. {}",
            sentences.join(" ")
        )
    };
    let lines = vec![
        Line { name: "upper".to_owned(), values: upper, nth: 0 },
        Line { name: "lower".to_owned(), values: lower, nth: 1 },
    ];
    let lines = lines.into_iter().filter(|line| line.values.iter().any(|v| v.is_finite())).collect();
    let mut panel = panel("mean tail index ξ", lines, None);
    panel.least = vec![0.0];
    parts::figure(title, lines::draw(title, times, &[panel]), text)
}
