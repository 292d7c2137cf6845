//! What a backtest comes to, in words.

use super::{
    quantile::{beyond, is_lower},
    summary::{Finding, Held, ModelSummary, QuantileSummary, Rate, Segment, Verdict},
};
use crate::text::thousands;

/// So many segments where something did not hold are told, the worst ones.
const MAX_SEGMENTS: usize = 5;
/// Exceedances cluster where one makes the next so much more likely …
const CLUSTERED: f64 = 2.0;
/// … and that is no chance.
const CLUSTERED_P: f64 = 1e-3;

/// What a verdict says beyond the summary's numbers: what figures are called, in the order of the summary.
#[derive(Debug, Clone, Default)]
pub struct Titles {
    /// By how many nats the log score is behind the baseline's, where that is no chance.
    pub nats_behind: Option<f64>,
    /// Such as "99 % quantile".
    pub quantiles: Vec<String>,
    /// The levels of these.
    pub levels: Vec<f64>,
    /// Such as "P(arr_delay > 15)".
    pub thresholds: Vec<String>,
    /// Such as "expected shortfall beyond 99 %".
    pub shortfalls: Vec<String>,
}

/// Of nothing.
pub fn unknown() -> Verdict {
    Verdict { held: Held::Unclear, headline: "Nothing was judged.".to_owned(), findings: Vec::new() }
}

/// A finding with how far off it is: the ratio of what came to what was said, or the other way round.
struct Found {
    held: Held,
    off: f64,
    text: String,
    /// What is wrong, in half a sentence.
    short: String,
}

/// What was found of a model.
pub fn verdict(summary: &ModelSummary, titles: &Titles) -> Verdict {
    if summary.judged == 0 {
        return nothing_judged(summary);
    }
    let mut found: Vec<Found> = Vec::new();
    for (quantile, title) in summary.quantiles.iter().zip(&titles.quantiles) {
        found.push(of_quantile(quantile, title));
    }
    for (threshold, title) in summary.thresholds.iter().zip(&titles.thresholds) {
        let tail = Tail::upper(&threshold.exceeded);
        found.push(tail.found(threshold.held, title, &threshold.column, &threshold.power));
    }
    for (shortfall, title) in summary.shortfalls.iter().zip(&titles.shortfalls) {
        let Some(z2) = shortfall.z2 else { continue };
        let off = 1.0 + z2.statistic.abs();
        let told = format!("The {title} ({})", shortfall.column);
        let by = percent_off(z2.statistic.abs());
        let text = match shortfall.held {
            Held::Yes => format!(
                "{told} held: losses beyond the quantile came to {by} {} than it said.",
                more(z2.statistic)
            ),
            Held::Unclear => format!("{told} can't be told: there are too few targets beyond it."),
            Held::No | Held::Nearly => format!(
                "{told} {}: losses beyond the quantile came to {by} {} than it said{}.",
                if shortfall.held == Held::No { "did not hold" } else { "held nearly" },
                more(z2.statistic),
                misstated(z2.statistic > 0.0)
            ),
        };
        let short =
            format!("losses beyond the quantile came to {by} {} than the {title} said", more(z2.statistic));
        found.push(Found { held: shortfall.held, off, text, short });
    }
    let is_worse = |found: &Found| (found.held.rank(), std::cmp::Reverse(ordered(found.off)));
    found.sort_by_key(is_worse);
    let held = overall(&found);
    let headline = headline(held, &found, summary);
    let mut findings: Vec<Finding> =
        found.into_iter().map(|found| Finding { held: found.held, text: found.text }).collect();
    // After what did not hold itself: where that was, and what else a reader has to know.
    let at = findings.iter().position(|finding| finding.held != Held::No).unwrap_or(findings.len());
    findings.splice(
        at..at,
        of_segments(&summary.segments, titles).into_iter().chain(of_baseline(titles.nats_behind)),
    );
    findings.extend(clusters(summary, titles));
    Verdict { held, headline, findings }
}

fn nothing_judged(summary: &ModelSummary) -> Verdict {
    let text = match (summary.scored, summary.warmup) {
        (0, _) => "No event was scored: the range is empty, or every record was rejected.".to_owned(),
        (scored, warmup) if scored == warmup => format!(
            "The model was in its warm-up for all {} events: give it more of the past, lower learn.warmup, or begin with a state.",
            thousands(scored)
        ),
        (scored, _) => {
            format!("No target came of {} events: check target.fields and target.time.", thousands(scored))
        }
    };
    Verdict { findings: vec![Finding { held: Held::Unclear, text }], ..unknown() }
}

/// For sorting.
fn ordered(off: f64) -> u64 {
    if off.is_finite() { (off * 1e6) as u64 } else { u64::MAX }
}

fn overall(found: &[Found]) -> Held {
    let any = |held| found.iter().any(|found| found.held == held);
    let all = |held| found.iter().all(|found| found.held == held);
    match () {
        () if any(Held::No) => Held::No,
        () if found.is_empty() || all(Held::Unclear) => Held::Unclear,
        () if any(Held::Nearly) => Held::Nearly,
        () => Held::Yes,
    }
}

fn headline(held: Held, found: &[Found], summary: &ModelSummary) -> String {
    let count = |held| found.iter().filter(|found| found.held == held).count();
    let of = found.len();
    let targets = thousands(summary.judged);
    match held {
        Held::No => {
            let worst = found.first().map_or("", |worst| worst.short.as_str());
            let others = match count(Held::No) - 1 {
                0 => String::new(),
                others => format!(
                    ", and {others} more of {of} figures {} off",
                    if others == 1 { "is" } else { "are" }
                ),
            };
            format!("The tails did not hold: {worst}{others}.")
        }
        Held::Unclear => format!("Whether the tails held can't be told: {targets} targets are too few."),
        Held::Yes | Held::Nearly => {
            let nearly = match count(Held::Nearly) {
                0 => String::new(),
                nearly => format!(", {nearly} of {of} figures being off by less than a tenth"),
            };
            let unclear = match count(Held::Unclear) {
                0 => String::new(),
                unclear => format!("; {unclear} of {of} figures would need more targets"),
            };
            format!("The tails held over {targets} targets{nearly}{unclear}.")
        }
    }
}

fn of_quantile(quantile: &QuantileSummary, title: &str) -> Found {
    let tail = Tail::of(
        quantile.level,
        quantile.exceeded.observed,
        quantile.exceeded.expected,
        quantile.exceeded.events,
    );
    tail.found(quantile.held, &format!("the {title}"), &quantile.column, &quantile.power)
}

/// How many targets lay in a tail: above a threshold or a quantile, or below a quantile of a level below one half.
struct Tail {
    events: u64,
    observed: u64,
    expected: f64,
    is_lower: bool,
}

impl Tail {
    fn upper(rate: &Rate) -> Self {
        Self { events: rate.events, observed: rate.observed, expected: rate.expected, is_lower: false }
    }

    /// That of a quantile, of whose events so many were above.
    fn of(level: f64, above: u64, expected: f64, events: u64) -> Self {
        let (observed, expected) = beyond(level, events, above, expected);
        Self { events, observed, expected, is_lower: is_lower(level) }
    }

    /// How often it came of how often it should have: too often understates risk.
    fn ratio(&self) -> f64 {
        self.observed as f64 / self.expected
    }

    fn off(&self) -> f64 {
        self.ratio().max(1.0 / self.ratio())
    }

    fn passed(&self) -> &'static str {
        if self.is_lower { "undershot" } else { "exceeded" }
    }

    fn found(&self, held: Held, title: &str, column: &str, power: &str) -> Found {
        let name = format!("{} ({column})", capital(title));
        if self.events == 0 {
            let text = format!("{name} can't be told: no event had it.");
            return Found { held: Held::Unclear, off: 1.0, text, short: String::new() };
        }
        let ratio = self.ratio();
        let facts = format!(
            "{} of {} targets were {} ({}), and {} should have been",
            thousands(self.observed),
            thousands(self.events),
            if self.is_lower { "below" } else { "above" },
            rate_text(self.observed as f64 / self.events as f64),
            rate_text(self.expected / self.events as f64),
        );
        let text = match held {
            Held::Yes => format!("{name} held: {facts}."),
            Held::Unclear => format!("{name} can't be told: {facts}. {power}"),
            Held::Nearly => format!("{name} held nearly: {facts}{}.", misstated(ratio > 1.0)),
            Held::No => format!("{name} did not hold: {facts}, {}{}.", times(ratio), misstated(ratio > 1.0)),
        };
        let short = format!("{title} was {} {}", self.passed(), times(ratio));
        Found { held, off: self.off(), text, short }
    }
}

/// Where it did not hold: the segments that are furthest off.
fn of_segments(segments: &[Segment], titles: &Titles) -> Vec<Finding> {
    let mut off: Vec<(f64, String)> = Vec::new();
    for segment in segments {
        let of_quantiles = titles
            .quantiles
            .iter()
            .zip(&titles.levels)
            .map(|(title, level)| (format!("the {title}"), *level));
        let names = of_quantiles.chain(titles.thresholds.iter().map(|title| (title.clone(), 1.0)));
        let rates = segment.quantiles.iter().chain(&segment.thresholds);
        let wrong = names.zip(rates).filter(|(_, rate)| rate.held == Held::No);
        let tails = wrong
            .map(|((name, level), rate)| (name, Tail::of(level, rate.observed, rate.expected, rate.events)));
        if let Some((name, tail)) = tails.max_by(|(_, a), (_, b)| a.off().total_cmp(&b.off())) {
            let value = segment.value.as_deref().unwrap_or("all others");
            let text = format!(
                "Where {} is {value}, {name} was {} {}, by {} of {} targets{}.",
                segment.field,
                tail.passed(),
                times(tail.ratio()),
                thousands(tail.observed),
                thousands(tail.events),
                misstated(tail.ratio() > 1.0)
            );
            off.push((tail.off(), text));
        }
    }
    off.sort_by(|a, b| b.0.total_cmp(&a.0));
    let rest = off.len().saturating_sub(MAX_SEGMENTS);
    let mut findings: Vec<Finding> =
        off.into_iter().take(MAX_SEGMENTS).map(|(_, text)| Finding { held: Held::No, text }).collect();
    if rest > 0 {
        let text = format!("Something did not hold in {rest} more segments.");
        findings.push(Finding { held: Held::No, text });
    }
    findings
}

/// Where a forecast that knows no features is surely better, by so many nats.
fn of_baseline(nats_behind: Option<f64>) -> Option<Finding> {
    nats_behind.map(|nats| Finding {
        held: Held::No,
        text: format!(
            "The features are of no use to it: a forecast that knows none of them has a log score {nats:.3} nats better."
        ),
    })
}

/// That events go together is told once, for the quantile where it shows most.
fn clusters(summary: &ModelSummary, titles: &Titles) -> Option<Finding> {
    let clustered = summary.quantiles.iter().zip(&titles.quantiles).filter_map(|(quantile, title)| {
        let clustering = quantile.clustering.filter(|clustering| *clustering >= CLUSTERED)?;
        (quantile.independence?.p_value < CLUSTERED_P).then_some((clustering, title))
    });
    let (clustering, title) = clustered.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Finding {
        held: Held::Nearly,
        text: format!(
            "Exceedances come together: right after a target above the {title} the next one is {clustering:.1} times as likely to be above, too. \
             Intervals allow for that; tests that take events to be independent don't."
        ),
    })
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn misstated(is_understated: bool) -> &'static str {
    if is_understated { ": risk was understated" } else { ": risk was overstated" }
}

fn more(statistic: f64) -> &'static str {
    if statistic < 0.0 { "less" } else { "more" }
}

fn percent_off(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// How often something came of how often it should have.
fn times(ratio: f64) -> String {
    match ratio {
        0.0 => "never".to_owned(),
        0.01..10.0 => format!("{ratio:.2} times as often as it should be"),
        _ => format!("{ratio:.3} times as often as it should be"),
    }
}

/// A rate with three digits that count.
fn rate_text(rate: f64) -> String {
    let percent = 100.0 * rate;
    let digits = if percent > 0.0 { (2 - percent.log10().floor() as i32).clamp(0, 6) as usize } else { 0 };
    format!("{percent:.digits$} %")
}
