//! What the page's sections are made of.

use maud::{Markup, PreEscaped, Render, html};

use super::words;
use crate::backtest::summary::{Held, Test};

/// The style sheet's class.
pub const fn class(held: Held) -> &'static str {
    match held {
        Held::Yes => "yes",
        Held::Nearly => "nearly",
        Held::No => "no",
        Held::Unclear => "unclear",
    }
}

/// A sign that needs no colour.
pub const fn sign(held: Held) -> &'static str {
    match held {
        Held::Yes => "✓",
        Held::Nearly => "≈",
        Held::No => "✗",
        Held::Unclear => "?",
    }
}

/// Whether something held: a sign and a word.
pub fn held(held: Held) -> Markup {
    html! { span class={ "mark " (class(held)) } { span aria-hidden="true" { (sign(held)) } " " (words::held(held)) } }
}

/// A table, which scrolls on its own where it is wider than the page. Its first column and those in `texts` hold text, the
/// others numbers.
pub fn table(label: &str, heads: &[&str], texts: &[usize], rows: &[Markup]) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                caption.hidden { (label) }
                thead { tr { @for (nth, head) in heads.iter().enumerate() { th.word[texts.contains(&nth)] scope="col" { (head) } } } }
                tbody { @for row in rows { (row) } }
            }
        }
    }
}

/// The p-value of a test, and its statistic below.
pub fn test(test: Option<&Test>) -> Markup {
    html! {
        td {
            @match test {
                Some(test) => {
                    (words::p_value(test.p_value))
                    @if test.statistic.is_finite() { small { (words::significant(test.statistic, 3)) } }
                }
                None => { (words::NONE) }
            }
        }
    }
}

/// A chart with its title, and what it shows in words; without a chart, why there is none.
pub fn figure(title: &str, chart: Option<Markup>, text: impl Render) -> Markup {
    html! {
        figure role="group" aria-label=(title) {
            figcaption { (title) }
            @if let Some(chart) = chart { (chart) }
            div.shows { (text) }
        }
    }
}

/// The same across the page, where that is wide: its words stand beside the chart.
pub fn wide_figure(title: &str, chart: Option<Markup>, text: impl Render) -> Markup {
    html! { div.side { (figure(title, chart, text)) } }
}

/// Says why a section is empty.
pub fn nothing(text: &str) -> Markup {
    html! { p.nothing { (text) } }
}

/// A section of the page.
pub fn section(id: &str, title: &str, content: Markup) -> Markup {
    html! { section id=(id) aria-labelledby=(format!("{id}-title")) { h2 id=(format!("{id}-title")) { (title) } (content) } }
}

/// The style sheet, without its indentation.
pub fn style() -> Markup {
    let lines = include_str!("style.css").lines().map(str::trim).filter(|line| !line.is_empty());
    PreEscaped(lines.collect::<Vec<_>>().join("\n"))
}
