//! A backtest's report: one HTML file that needs nothing else, made of its [`Summary`] alone.
//!
//! The page opens with the verdict; each further section is a file. Charts are drawn in inks that the style sheet gives
//! their colours (`plot::Ink`), so that they follow the reader's theme, and each is told in words as well.

mod chance;
#[cfg(test)]
mod checks;
mod coverage;
mod hits;
mod lines;
mod models;
mod parts;
mod periods;
mod pits;
mod plot;
mod rows;
mod run;
mod segments;
mod tails;
mod thresholds;
mod times;
mod verdict;
mod words;

use maud::{DOCTYPE, Markup, html};

use super::summary::{ModelSummary, Summary};

/// Nothing is loaded from anywhere, and no script runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

const CONTENTS: [(&str, &str); 11] = [
    ("coverage", "Quantiles"),
    ("thresholds", "Thresholds"),
    ("pit", "PIT"),
    ("time", "Over time"),
    ("hits", "Exceedances"),
    ("shortfalls", "Shortfalls"),
    ("worst", "Least likely"),
    ("segments", "Segments"),
    ("models", "Models"),
    ("scores", "Scores"),
    ("run", "Run"),
];

/// The report, as one HTML file.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let model = summary.models.first();
    let name = model.map_or("no model", |model| model.name.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Backtest of " (name) }
                link rel="icon" href="data:,";
                style { (parts::style()) }
            }
            body {
                a.skip href="#main" { "Skip to the figures" }
                (verdict::header(summary))
                @if model.is_some() { (contents()) }
                main #main {
                    @if let Some(model) = model { (sections(summary, model)) }
                    (run::section(summary))
                }
                footer { p { "Made by tailwater " (summary.tailwater) " at " (words::time(&summary.finished_at)) " UTC" } }
            }
        }
    };
    page.into_string()
}

fn contents() -> Markup {
    html! {
        nav aria-label="Sections" {
            ul { @for (id, name) in CONTENTS { li { a href=(format!("#{id}")) { (name) } } } }
        }
    }
}

fn sections(summary: &Summary, model: &ModelSummary) -> Markup {
    let times = times::Times::new(&model.periods);
    html! {
        (coverage::section(model))
        (thresholds::section(model))
        (pits::section(model))
        (periods::section(model, &times))
        (hits::section(model, &times))
        (tails::shortfalls(model))
        (tails::worst(model))
        (segments::section(model))
        (models::comparison(summary))
        (models::scores(model))
    }
}
