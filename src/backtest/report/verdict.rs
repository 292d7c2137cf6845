//! The first screen: what it comes to.

use maud::{Markup, html};

use super::{parts, words};
use crate::{
    backtest::summary::{Finding, ModelSummary, Summary},
    text::{counted, thousands},
};

/// How many findings are seen at once.
const SHOWN: usize = 6;

/// The page's header: title, verdict, caveats, findings and key facts.
pub fn header(summary: &Summary) -> Markup {
    let model = summary.models.first();
    let mut findings: Vec<&Finding> = model.map(|m| m.verdict.findings.iter().collect()).unwrap_or_default();
    findings.sort_by_key(|finding| finding.held.rank());
    let (shown, rest) = findings.split_at(findings.len().min(SHOWN));
    html! {
        header {
            p.kind { "tailwater backtest of " b { (summary.input.target) } " in " b { (summary.input.name) } }
            h1 { "Backtest of " (model.map_or("no model", |m| m.name.as_str())) }
            @match model {
                Some(model) => {
                    div.verdict.(parts::class(model.verdict.held)) {
                        p.badge { span aria-hidden="true" { (parts::sign(model.verdict.held)) } " " (words::held_capital(model.verdict.held)) }
                        p.headline { (model.verdict.headline) }
                    }
                }
                None => { (parts::nothing("No model was run, so there is nothing to judge.")) }
            }
            @if !summary.caveats.is_empty() {
                div.caveats role="note" aria-label="Caveats" {
                    p { b { span aria-hidden="true" { "⚠" } " Read with care" } }
                    ul { @for caveat in &summary.caveats { li { (caveat) } } }
                }
            }
            @if let Some(model) = model { (facts(summary, model)) }
            @if !shown.is_empty() {
                h2 #findings { "Findings" }
                ul.findings { @for finding in shown { (item(finding)) } }
                @if !rest.is_empty() {
                    details {
                        summary { (counted(rest.len() as u64, "more finding")) }
                        ul.findings { @for finding in rest { (item(finding)) } }
                    }
                }
            }
        }
    }
}

fn item(finding: &Finding) -> Markup {
    html! { li { (parts::held(finding.held)) span { (finding.text) } } }
}

fn facts(summary: &Summary, model: &ModelSummary) -> Markup {
    let judged = if model.scored == 0 { 0.0 } else { model.judged as f64 / model.scored as f64 };
    html! {
        dl.facts {
            div { dt { "Events judged" } dd {
                (thousands(model.judged))
                small { (words::percent(judged)) " of " (thousands(model.scored)) " scored" @if model.warmup > 0 { "; " (thousands(model.warmup)) " in the warm-up" } }
            } }
            div { dt { "Event times" } dd {
                @match &summary.input.times {
                    Some([from, until]) => { (words::day(from)) small { "to " (words::day(until)) } }
                    None => { (words::NONE) small { "nothing was scored" } }
                }
            } }
            div { dt { "Log score" } dd {
                (words::nats(model.log_score))
                small {
                    @match (model.log_score, model.baseline_log_score) {
                        (Some(own), Some(base)) if own.is_finite() && base.is_finite() => {
                            (words::fixed((own - base).abs(), 3)) " nats " @if own >= base { "better" } @else { "worse" } " than the baseline"
                        }
                        (Some(_), _) => { "nats; there is no baseline" }
                        (None, _) => { "there is none" }
                    }
                }
            } }
            div { dt { "Model updates" } dd { (thousands(model.updates)) small { "SGD steps" } } }
            div { dt { "Run time" } dd {
                (words::span(summary.run.seconds))
                small { (words::fixed(summary.run.records_per_second, 0)) " records/s" }
            } }
        }
    }
}
