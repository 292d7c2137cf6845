//! Expected shortfalls, and the events that were least likely.

use maud::{Markup, html};

use super::{parts, words};
use crate::{
    backtest::summary::{ModelSummary, ShortfallSummary, Test, WorstEvent},
    text::{counted, thousands},
};

/// The section of the shortfalls.
pub fn shortfalls(model: &ModelSummary) -> Markup {
    let heads = ["Expected shortfall", "Verdict", "Events", "Infinite", "Z1", "Z2", "Fissler–Ziegel score"];
    let row = |s: &ShortfallSummary| {
        html! {
            tr {
                th scope="row" { (words::level(s.level)) small { code { (s.column) } } }
                td.word { (parts::held(s.held)) }
                td { (thousands(s.events)) }
                td { (thousands(s.infinite)) }
                (z(s.z1.as_ref()))
                (z(s.z2.as_ref()))
                td { (s.fissler_ziegel.map_or_else(|| words::NONE.to_owned(), words::figure)) }
            }
        }
    };
    let content = html! {
        @if model.shortfalls.is_empty() {
            (parts::nothing("The config publishes no expected shortfall."))
        } @else {
            (parts::table("Expected shortfalls", &heads, &[1], &model.shortfalls.iter().map(row).collect::<Vec<_>>()))
            ul.plain { @for s in &model.shortfalls { li { (told(s)) } } }
            p.note {
                "Acerbi & Székely (2014). Z1: by how much targets beyond the quantile exceed the shortfall on average, relative to it. Z2 also counts how many are beyond. Both are 0 for a right model; "
                "their p-values are simulated. The joint score of quantile and shortfall (Fissler & Ziegel 2016) compares models: lower is better. Infinite: the tail has no mean, or nearly none (ξ ≥ 0.9), so the shortfall is published as null."
            }
        }
    };
    parts::section("shortfalls", "Expected shortfalls", content)
}

fn z(test: Option<&Test>) -> Markup {
    html! {
        td {
            @match test {
                Some(test) => { (words::fixed(test.statistic, 3)) small { "p\u{a0}" (words::p_value(test.p_value)) } }
                None => { (words::NONE) }
            }
        }
    }
}

fn told(s: &ShortfallSummary) -> Markup {
    let told = match s.z1 {
        Some(z1) if z1.statistic.is_finite() => {
            let size = words::percent(z1.statistic.abs());
            let side = if z1.statistic < 0.0 { "less" } else { "more" };
            let p = if z1.p_value < 0.01 { "more than chance explains" } else { "which chance explains" };
            format!(
                "beyond the quantile, targets were on average {size} {side} than the published shortfall, {p}."
            )
        }
        _ => "there are too few targets beyond the quantile to say.".to_owned(),
    };
    let infinite = match s.infinite {
        0 => String::new(),
        number => format!(" For {}, it was infinite.", counted(number, "event")),
    };
    html! { b { (words::level(s.level)) } ": " (told) (infinite) }
}

/// The section of the worst events.
pub fn worst(model: &ModelSummary) -> Markup {
    let heads = ["Event time", "Place", "Key", "Fields", "Target", "Quantile", "PIT", "Log score, nats"];
    let row = |event: &WorstEvent| {
        let numbers = |values: &[f64], told: fn(f64) -> String| {
            values.iter().map(|v| told(*v)).collect::<Vec<_>>().join(", ")
        };
        html! {
            tr {
                td.word { (words::time(&event.time)) }
                td.word {
                    (thousands(event.partition)) ":" (thousands(event.offset))
                    @if event.row > 0 { small { "row " (thousands(event.row)) } }
                }
                td.word { (event.key.as_deref().unwrap_or(words::NONE)) }
                td.fields {
                    @if event.carried.is_empty() { (words::NONE) }
                    @for (name, value) in &event.carried { span { (name) "\u{a0}" b { (value) } } " " }
                }
                td { (numbers(&event.target, words::figure)) }
                td {
                    @match &event.quantile {
                        Some((column, value)) => { (words::figure(*value)) small { code { (column) } } }
                        None => { (words::NONE) }
                    }
                }
                td { (numbers(&event.pit, words::pit)) }
                td { (words::fixed(event.log_score, 3)) }
            }
        }
    };
    let content = html! {
        @if model.worst.is_empty() {
            (parts::nothing("No event was judged."))
        } @else {
            p { "The events that the model held for least likely: look here first for errors in the data and for what the features do not tell. The place is partition:offset." }
            (parts::table("Least likely events", &heads, &[1, 2, 3], &model.worst.iter().map(row).collect::<Vec<_>>()))
        }
    };
    parts::section("worst", "Least likely events", content)
}
