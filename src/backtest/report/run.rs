//! What was run: data, command, versions and configs, so that it can be run again.

use maud::{Markup, html};

use super::{parts, words};
use crate::{
    backtest::summary::{Range, Summary},
    text::thousands,
};

/// The section.
pub fn section(summary: &Summary) -> Markup {
    let Summary { input, run, .. } = summary;
    let content = html! {
        h3 { "Command" }
        p { "This gives the same numbers again:" }
        pre tabindex="0" role="region" aria-label="Command" { code { (summary.command) } }
        h3 { "Data" }
        dl.pairs {
            dt { "Input" } dd { (input.name) }
            dt { "Target" } dd { (input.target) }
            dt { "Event times" }
            dd { @match &input.times { Some([from, until]) => { (words::time(from)) " to " (words::time(until)) " UTC" } None => { (words::NONE) } } }
            dt { "Records" } dd { (thousands(input.records)) " read, " (thousands(input.rejected)) " rejected" }
        }
        @if !input.rejected_reasons.is_empty() {
            (parts::table("Rejected records", &["Reason", "Records"], &[], &input.rejected_reasons.iter().map(rejected).collect::<Vec<_>>()))
        }
        @if input.partitions.len() > 8 {
            details { summary { "Offsets of " (input.partitions.len()) " partitions" } (offsets(&input.partitions)) }
        } @else if !input.partitions.is_empty() {
            (offsets(&input.partitions))
        }
        h3 { "Run" }
        dl.pairs {
            dt { "Finished" } dd { (words::time(&summary.finished_at)) " UTC" }
            dt { "Time" } dd { (words::span(run.seconds)) ", " (words::fixed(run.records_per_second, 0)) " records/s" }
            dt { "Memory" } dd { @match run.peak_bytes { Some(bytes) => { (words::bytes(bytes)) " at most" } None => { (words::NONE) } } }
            dt { "tailwater" } dd { (summary.tailwater) }
            dt { "Format" } dd { "summary.json, version " (summary.version) }
        }
        @if !summary.models.is_empty() { h3 { "Configs" } }
        @for model in &summary.models {
            details {
                summary { (model.name) }
                dl.pairs {
                    dt { "Hash" } dd { code { (model.config_hash) } }
                    dt { "Scores" } dd { code { (model.scores_file) } }
                    dt { "Events" } dd { (thousands(model.scored)) " scored, " (thousands(model.warmup)) " of them in the warm-up; " (thousands(model.judged)) " judged" }
                    dt { "Updates" } dd { (thousands(model.updates)) }
                }
                pre tabindex="0" role="region" aria-label=(format!("Config of {}", model.name)) { code { (model.config) } }
            }
        }
    };
    parts::section("run", "How it was run", content)
}

fn rejected((reason, number): &(String, u64)) -> Markup {
    html! { tr { th scope="row" { (reason) } td { (thousands(*number)) } } }
}

fn offsets(partitions: &[Range]) -> Markup {
    let row = |range: &Range| {
        let number = range.until.saturating_sub(range.from);
        html! { tr { th scope="row" { (range.partition) } td { (thousands(range.from)) } td { (thousands(range.until)) } td { (thousands(number)) } } }
    };
    let heads = ["Partition", "From offset", "Until (exclusive)", "Offsets"];
    parts::table("Offsets", &heads, &[], &partitions.iter().map(row).collect::<Vec<_>>())
}
