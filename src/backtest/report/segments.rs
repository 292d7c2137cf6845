//! Where it held: by the values of fields.

use maud::{Markup, html};

use super::{
    parts,
    plot::{self, Ink, Mark},
    rows::{Point, Row, Rows},
    words::{self, Ratio},
};
use crate::{
    backtest::summary::{Held, ModelSummary, Segment, SegmentRate},
    text::{counted, thousands},
};

/// How many segments are seen at once, in the table and in the chart.
const SHOWN: usize = 25;
const DRAWN: usize = 20;

/// The section.
pub fn section(model: &ModelSummary) -> Markup {
    let segments = ordered(model);
    let content = html! {
        @if segments.is_empty() {
            (parts::nothing("No segments were asked for: --by FIELD splits these figures by a field’s values."))
        } @else {
            p { (told(&segments)) " The verdicts allow for how many segments were looked at: among a hundred, the odd one is off by chance." }
            (chart(model, &segments))
            @let (shown, rest) = segments.split_at(segments.len().min(SHOWN));
            (table(model, shown, "Segments"))
            @if !rest.is_empty() {
                details {
                    summary { (counted(rest.len() as u64, "more segment")) }
                    (table(model, rest, "Further segments"))
                }
            }
        }
    };
    parts::section("segments", "Segments", content)
}

fn rates(segment: &Segment) -> impl Iterator<Item = &SegmentRate> {
    segment.quantiles.iter().chain(&segment.thresholds)
}

/// Of all its figures; too few events for some of them is no news.
fn held(segment: &Segment) -> Held {
    let any = |held: Held| rates(segment).any(|rate| rate.held == held);
    [Held::No, Held::Nearly, Held::Yes].into_iter().find(|held| any(*held)).unwrap_or(Held::Unclear)
}

/// Those that did not hold first; otherwise as they came, the most frequent first.
fn ordered(model: &ModelSummary) -> Vec<&Segment> {
    let mut segments: Vec<&Segment> = model.segments.iter().collect();
    segments.sort_by_key(|segment| match held(segment) {
        Held::No => 0,
        Held::Nearly => 1,
        Held::Yes | Held::Unclear => 2,
    });
    segments
}

fn told(segments: &[&Segment]) -> String {
    let of = |wanted: Held| segments.iter().filter(move |s| held(s) == wanted);
    let names: Vec<String> = of(Held::No).take(8).map(|s| name(s)).collect();
    let all = counted(segments.len() as u64, "segment");
    match of(Held::No).count() {
        0 => format!("In none of {all} did a figure fail to hold."),
        number => {
            let more = if number > names.len() { " among others" } else { "" };
            format!("In {number} of {all} a figure did not hold: {}{more}.", words::listed(&names))
        }
    }
}

fn name(segment: &Segment) -> String {
    format!("{} {}", segment.field, value(segment))
}

fn value(segment: &Segment) -> &str {
    match segment.value.as_deref() {
        Some("") => "(empty)",
        Some(value) => value,
        None => "all others",
    }
}

fn table(model: &ModelSummary, segments: &[&Segment], label: &str) -> Markup {
    let quantiles = words::quantile_names(model);
    let quantiles = model.quantiles.iter().zip(&quantiles).map(|(q, name)| words::beyond(q.level, name));
    let figures = quantiles.chain(words::threshold_names(model));
    let heads: Vec<String> =
        ["Segment", "Verdict", "Events", "Log score"].map(str::to_owned).into_iter().chain(figures).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let row = |segment: &&Segment| {
        html! {
            tr {
                th scope="row" { (words::shortened(value(segment), 60)) small { (segment.field) } }
                td.word { (parts::held(held(segment))) }
                td { (thousands(segment.events)) }
                td { (words::nats(segment.log_score)) }
                @for nth in 0..model.quantiles.len() { (quantile_cell(model.quantiles[nth].level, segment, nth)) }
                @for nth in 0..model.thresholds.len() { (cell(segment.thresholds.get(nth).copied())) }
            }
        }
    };
    html! {
        (parts::table(label, &heads, &[1], &segments.iter().map(row).collect::<Vec<_>>()))
        p.note { "Ratios of observed to expected exceedances, with the numbers below. " b { "✗" } " did not hold, " b { "≈" } " nearly, " b { "?" } " too few events to say." }
    }
}

fn quantile_cell(level: f64, segment: &Segment, nth: usize) -> Markup {
    let rate = segment.quantiles.get(nth);
    cell(rate.map(|rate| words::segment_beyond(level, rate)))
}

fn cell(rate: Option<SegmentRate>) -> Markup {
    let Some(rate) = rate else {
        return html! { td { (words::NONE) } };
    };
    let ratio = words::segment_ratio(&rate).map_or_else(|| words::NONE.to_owned(), |r| words::ratio(r.value));
    html! {
        td {
            @if rate.held == Held::Yes { (ratio) }
            @else { span.{ "sign " (parts::class(rate.held)) } { (parts::sign(rate.held)) span.hidden { (words::held(rate.held)) } } " " (ratio) }
            small { (thousands(rate.observed)) " / " (words::expected(rate.expected)) }
        }
    }
}

/// A figure of the segments' that is drawn: its name, and where it is.
struct Drawn {
    name: String,
    /// A quantile's; null for a threshold.
    level: Option<f64>,
    nth: usize,
}

impl Drawn {
    fn rate(&self, segment: &Segment) -> Option<SegmentRate> {
        match self.level {
            Some(level) => Some(words::segment_beyond(level, segment.quantiles.get(self.nth)?)),
            None => segment.thresholds.get(self.nth).copied(),
        }
    }

    fn ratio(&self, segment: &Segment) -> Option<Ratio> {
        words::segment_ratio(&self.rate(segment)?)
    }
}

/// The two highest quantiles; thresholds where there are none.
fn drawn(model: &ModelSummary) -> Vec<Drawn> {
    let threshold = model.quantiles.is_empty();
    let names = if threshold { words::threshold_names(model) } else { words::quantile_names(model) };
    let height = |nth: usize| {
        if threshold { model.thresholds[nth].threshold.unwrap_or(0.0) } else { model.quantiles[nth].level }
    };
    let mut places: Vec<usize> = (0..names.len()).collect();
    places.sort_by(|a, b| height(*b).total_cmp(&height(*a)));
    places
        .into_iter()
        .take(2)
        .rev()
        .map(|nth| Drawn {
            name: names[nth].clone(),
            level: (!threshold).then(|| model.quantiles[nth].level),
            nth,
        })
        .collect()
}

fn chart(model: &ModelSummary, segments: &[&Segment]) -> Markup {
    let drawn = drawn(model);
    let names: Vec<String> = drawn.iter().map(|d| d.name.clone()).collect();
    let title = format!("Exceedances of {} by segment, relative to what is expected", words::listed(&names));
    let inks = [(Mark::Disc, Ink::Series(0)), (Mark::Square, Ink::Series(1))];
    let fields = segments.iter().any(|s| s.field != segments[0].field);
    let rows: Vec<Row> = (segments.iter().take(DRAWN))
        .map(|segment| {
            let point = |(nth, drawn): (usize, &Drawn)| {
                let ratio = drawn.ratio(segment)?;
                let (mark, ink) = inks[nth % 2];
                Some(Point { value: ratio.value, interval: [ratio.low, ratio.high], mark, ink })
            };
            let label = if fields { name(segment) } else { value(segment).to_owned() };
            Row { label, points: drawn.iter().enumerate().map(point).collect() }
        })
        .collect();
    let legend: Vec<_> =
        inks.iter().zip(&drawn).map(|((mark, ink), drawn)| (*mark, *ink, drawn.name.clone())).collect();
    let chart = Rows {
        label: &title,
        rows: &rows,
        ratio: true,
        sides: ["too rarely", "too often"],
        legend: &legend,
        tick: plot::tick,
    };
    parts::wide_figure(&title, chart.draw(), shows(&drawn, segments))
}

fn shows(drawn: &[Drawn], segments: &[&Segment]) -> String {
    let mut sentences: Vec<String> = Vec::new();
    if segments.len() > DRAWN {
        sentences.push(format!(
            "Of {}, the first {DRAWN} of the table.",
            counted(segments.len() as u64, "segment")
        ));
    }
    for drawn in drawn {
        let known = segments.iter().filter_map(|segment| {
            let rate = drawn.rate(segment)?;
            Some((segment, rate, drawn.ratio(segment)?))
        });
        let known: Vec<_> = known.collect();
        let told = known.iter().filter(|(_, rate, _)| rate.held != Held::Unclear);
        let Some((segment, rate, ratio)) = told.max_by(|a, b| a.2.value.total_cmp(&b.2.value)) else {
            sentences.push(format!("For {}, no segment has enough events to say.", drawn.name));
            continue;
        };
        sentences.push(format!(
            "{} was exceeded most often, of the segments with enough events, in {}: {} times the expected rate ({} of {} events; {}).",
            drawn.name,
            name(segment),
            words::ratio(ratio.value),
            thousands(rate.observed),
            thousands(segment.events),
            words::held(rate.held)
        ));
    }
    if sentences.is_empty() { "There is no figure to show.".to_owned() } else { sentences.join(" ") }
}
