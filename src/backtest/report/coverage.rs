//! Whether the quantiles were exceeded as often as they should be.

use maud::{Markup, html};

use super::{
    parts,
    plot::{self, Ink, Mark},
    rows::{Point, Row, Rows},
    words::{self, Ratio},
};
use crate::{
    backtest::{
        quantile::is_lower,
        summary::{Held, ModelSummary, QuantileSummary},
    },
    text::thousands,
};

/// The section.
pub fn section(model: &ModelSummary) -> Markup {
    let content = html! {
        @if model.quantiles.is_empty() {
            (parts::nothing("The config publishes no quantile, so there is no coverage to judge."))
        } @else {
            @let names = words::quantile_names(model);
            p { "A quantile at 99 % should be exceeded by 1 % of targets: more says that the tail is thicker than published, less that it is thinner. "
                @if model.quantiles.iter().any(|q| is_lower(q.level)) {
                    "For quantiles below 50 %, which bound the lower tail, ratios are of targets below them."
                }
             }
            (coverage(model, &names))
            (chart(model, &names))
            h3 { "Tests" }
            p { "p-values, with the statistic below: a small one (say below 0.01) says that a right model would hardly give such data." }
            (tests(model, &names))
            (explanation())
        }
    };
    parts::section("coverage", "Coverage of quantiles", content)
}

fn coverage(model: &ModelSummary, names: &[String]) -> Markup {
    let heads = [
        "Quantile",
        "Verdict",
        "Exceeded",
        "Expected",
        "Rate",
        "95 % interval",
        "Ratio",
        "What the data can tell",
    ];
    let rows: Vec<Markup> = model.quantiles.iter().zip(names).map(|(q, name)| row(q, name)).collect();
    parts::table("Coverage of quantiles", &heads, &[1, 7], &rows)
}

fn row(q: &QuantileSummary, name: &str) -> Markup {
    let rate = q.exceeded;
    let share = rate.observed as f64 / rate.events as f64;
    html! {
        tr {
            th scope="row" { (name) @if *name != q.column { small { code { (q.column) } } } }
            td.word { (parts::held(q.held)) }
            td { (thousands(rate.observed)) small { "of " (thousands(rate.events)) } }
            td { (words::expected(rate.expected)) }
            td { (words::percent(share)) }
            td { (words::percent(rate.interval[0])) " to " (words::percent(rate.interval[1])) }
            td { (words::quantile_ratio(q.level, &rate).map_or_else(|| words::NONE.to_owned(), |r| words::ratio(r.value))) }
            td.prose { (q.power) }
        }
    }
}

fn tests(model: &ModelSummary, names: &[String]) -> Markup {
    let heads = [
        "Quantile",
        "Binomial",
        "Kupiec",
        "Independence",
        "Conditional coverage",
        "Dynamic quantile",
        "Traffic light (windows)",
        "Clustering",
        "Pinball loss",
    ];
    let row = |(q, name): (&QuantileSummary, &String)| {
        let [green, yellow, red] = q.traffic_light;
        html! {
            tr {
                th scope="row" { (name) }
                (parts::test(q.binomial.as_ref()))
                (parts::test(q.kupiec.as_ref()))
                (parts::test(q.independence.as_ref()))
                (parts::test(q.conditional_coverage.as_ref()))
                (parts::test(q.dynamic_quantile.as_ref()))
                td {
                    @if green + yellow + red == 0 { (words::NONE) }
                    @else { (thousands(green)) " green" small { (thousands(yellow)) " yellow, " (thousands(red)) " red" } }
                }
                td { @match q.clustering { Some(by) if by.is_finite() => { (words::ratio(by)) "\u{a0}×" } _ => { (words::NONE) } } }
                td { (words::figure(q.pinball)) }
            }
        }
    };
    let rows: Vec<Markup> = model.quantiles.iter().zip(names).map(row).collect();
    parts::table("Tests of quantiles", &heads, &[], &rows)
}

fn chart(model: &ModelSummary, names: &[String]) -> Markup {
    let title = "How often each quantile was exceeded, relative to how often it should be";
    let ratios: Vec<Option<Ratio>> =
        model.quantiles.iter().map(|q| words::quantile_ratio(q.level, &q.exceeded)).collect();
    let point = |q: &QuantileSummary, ratio: Option<Ratio>| {
        let ratio = ratio?;
        let (mark, ink) = (Mark::of(q.held), Ink::Held(q.held));
        Some(Point { value: ratio.value, interval: [ratio.low, ratio.high], mark, ink })
    };
    let rows: Vec<Row> = (model.quantiles.iter().zip(names).zip(&ratios))
        .map(|((q, name), ratio)| Row { label: words::beyond(q.level, name), points: vec![point(q, *ratio)] })
        .collect();
    let text = shows(model, names, &ratios);
    let verdicts: Vec<Held> = model.quantiles.iter().map(|q| q.held).collect();
    let rows = Rows {
        label: title,
        rows: &rows,
        ratio: true,
        sides: ["too rarely", "too often"],
        legend: &verdict_legend(&verdicts),
        tick: plot::tick,
    };
    parts::wide_figure(title, rows.draw(), text)
}

/// A legend of the verdicts that occur.
pub fn verdict_legend(occurring: &[Held]) -> Vec<(Mark, Ink, String)> {
    let all = [Held::No, Held::Unclear, Held::Nearly, Held::Yes].into_iter();
    let occurring = all.filter(|held| occurring.contains(held));
    occurring.map(|held| (Mark::of(held), Ink::Held(held), words::held(held).to_owned())).collect()
}

fn shows(model: &ModelSummary, names: &[String], ratios: &[Option<Ratio>]) -> String {
    let known =
        || (model.quantiles.iter().zip(names).zip(ratios)).filter_map(|((q, n), r)| Some((q, n, (*r)?)));
    let furthest = known().max_by(|a, b| a.2.value.ln().abs().total_cmp(&b.2.value.ln().abs()));
    let Some((q, name, ratio)) = furthest else {
        return "No quantile has judged events, so there is no rate to show.".to_owned();
    };
    let off: Vec<String> = known()
        .filter(|(_, _, r)| !(r.low <= 1.0 && r.high >= 1.0))
        .map(|(_, name, _)| name.clone())
        .collect();
    let intervals = match off.as_slice() {
        [] => "All intervals include 1, the rate that is expected.".to_owned(),
        off => format!("The interval does not include 1 at {}.", words::listed(off)),
    };
    let often = match ratio.value {
        0.0 => format!("was never {}", words::was_passed(q.level)),
        value => format!("was {} {}", words::was_passed(q.level), words::times_as_often(value)),
    };
    format!(
        "Furthest from what is expected is the quantile at {name}: it {often} (95 % interval {} to {}). {intervals}",
        words::ratio(ratio.low),
        words::ratio(ratio.high)
    )
}

fn explanation() -> Markup {
    html! {
        details.help {
            summary { "How to read this" }
            dl {
                dt { "Verdict" }
                dd { b { "Held" } ": the data agree with it, closely enough to say so. " b { "Nearly held" } ": off by little, though there are enough events to tell that it is. " b { "Did not hold" } ": off by more than chance explains. " b { "Can’t be told" } ": too few events." }
                dt { "95 % interval" }
                dd { "Where the true rate may lie, given these events. It allows for events that go together, and is therefore wider than it would be for as many independent ones. The verdict rests on it rather than on the p-values." }
                dt { "“Takes events to be independent”" }
                dd { "Events that share a cause – a storm, a strike, a day on the market – are exceeded together. A test that counts each of them as new evidence rejects too readily. This concerns the p-values of the binomial test, Kupiec’s and both of Christoffersen’s, the test of thresholds and that of the PIT’s uniformity: read them as a hint where events cluster." }
                dt { "Binomial" }
                dd { "Is the number of exceedances what a coin with the right probability would give? Exact and two-sided; its statistic is the number itself." }
                dt { "Kupiec (1995)" }
                dd { "The same question as a likelihood ratio: the proportion of failures." }
                dt { "Independence (Christoffersen 1998)" }
                dd { "Does an exceedance make one more likely in the very next event?" }
                dt { "Conditional coverage (Christoffersen 1998)" }
                dd { "Both together: the right number, and no dependence of one event on the one before." }
                dt { "Dynamic quantile (Engle & Manganelli 2004)" }
                dd { "Can the last four exceedances or the quantile itself predict the next exceedance? If so, the model leaves something out." }
                dt { "Traffic light" }
                dd { "The Basel committee’s rule for each window of 250 targets: green where the number of exceedances is no surprise, yellow where a right model has so many in at most 1 of 20 windows, red where in at most 1 of 10,000." }
                dt { "Clustering" }
                dd { "How much more often an event exceeds the quantile right after one that did than in general: 1 is none." }
                dt { "Pinball loss" }
                dd { "The score that a right quantile makes least, in the target’s unit: to compare models by." }
            }
        }
    }
}
