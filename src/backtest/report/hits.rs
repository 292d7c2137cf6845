//! When quantiles were exceeded: a map of periods, and whether exceedances come together.

use maud::{Markup, html};

use super::{
    chance, parts,
    plot::{self, Anchor, HEATS, Ink, Mark, TEXT, WIDTH},
    times::Times,
    words,
};
use crate::backtest::summary::{ModelSummary, Period};

/// Where one step of the scale ends and the next begins, as ratios to the expected rate.
const STEPS: [f64; HEATS - 1] = [0.25, 0.5, 0.8, 1.25, 2.0, 4.0];
const STEP_NAMES: [&str; HEATS] = ["< ¼", "¼–½", "½–0.8", "0.8–1.25", "1.25–2", "2–4", "> 4"];
/// So many standard deviations off, a cell is marked.
const FAR: f64 = 3.0;

/// The section.
pub fn section(model: &ModelSummary, times: &Times) -> Markup {
    let content = html! {
        @if model.quantiles.is_empty() || model.periods.is_empty() {
            (parts::nothing("There are no exceedances to show: no quantile, or no judged event."))
        } @else {
            (map(model, times))
            (clustering(model))
        }
    };
    parts::section("hits", "When quantiles were exceeded", content)
}

struct Hit {
    ratio: f64,
    far: bool,
}

fn hit(period: &Period, nth: usize, level: f64) -> Option<Hit> {
    let share = words::share_beyond(level, *period.above.get(nth)?);
    let expected = words::expected_beyond(level);
    let ratio = share / expected;
    let far = chance::deviations(share, expected, period.events).abs() > FAR;
    (ratio.is_finite() && period.events > 0).then_some(Hit { ratio, far })
}

fn map(model: &ModelSummary, times: &Times) -> Markup {
    let title = "Rate of exceedance by quantile and period, relative to what is expected";
    let names = words::quantile_names(model);
    let names: Vec<String> =
        model.quantiles.iter().zip(&names).map(|(q, name)| words::beyond(q.level, name)).collect();
    let hits: Vec<Vec<Option<Hit>>> = (model.quantiles.iter().enumerate())
        .map(|(nth, q)| model.periods.iter().map(|period| hit(period, nth, q.level)).collect())
        .collect();
    if !hits.iter().flatten().any(Option::is_some) {
        return parts::figure(title, None, "No period has a rate to show.");
    }
    let longest = names.iter().map(|name| plot::text_width(&words::shortened(name, 16))).fold(0.0, f64::max);
    let (left, right, top) = ((longest + 12.0).clamp(50.0, 150.0), WIDTH - 4.0, 58.0);
    let tall = if names.len() > 5 { 24.0 } else { 34.0 };
    let bottom = top + tall * names.len() as f64;
    let wide = (right - left) / model.periods.len() as f64;
    let chart = plot::svg(bottom + 28.0, title, |canvas| {
        let step = WIDTH / HEATS as f64;
        for (nth, name) in STEP_NAMES.iter().enumerate() {
            let at = step * nth as f64;
            canvas.rectangle((at, 0.0), (at + step - 1.0, 14.0), Ink::Heat(nth));
            canvas.text(name, (at + step / 2.0, 26.0), Anchor::Middle, Ink::Text);
        }
        canvas.text("too rarely", (0.0, 45.0), Anchor::Start, Ink::Muted);
        canvas.text("times the expected rate", (WIDTH / 2.0, 45.0), Anchor::Middle, Ink::Muted);
        canvas.text("too often", (WIDTH, 45.0), Anchor::End, Ink::Muted);
        for (nth, (name, row)) in names.iter().zip(&hits).enumerate() {
            let upper = top + tall * nth as f64;
            let middle = upper + tall / 2.0;
            canvas.text(&words::shortened(name, 16), (left - 6.0, middle), Anchor::End, Ink::Text);
            for (nth, hit) in row.iter().enumerate() {
                let Some(hit) = hit else { continue };
                let from = left + wide * nth as f64;
                let step = STEPS.iter().filter(|step| hit.ratio >= **step).count();
                let gap = if wide > 8.0 { 1.0 } else { 0.3 };
                canvas.rectangle((from, upper), (from + wide - gap, upper + tall - 2.0), Ink::Heat(step));
                if hit.far {
                    canvas.mark(
                        (from + (wide - gap) / 2.0, middle - 1.0),
                        Mark::Disc,
                        (wide / 3.2).clamp(1.5, 4.0),
                        Ink::Text,
                    );
                }
            }
        }
        let every = model.periods.len().div_ceil(((right - left) / 100.0) as usize).max(1);
        let labels: Vec<_> = (0..model.periods.len())
            .step_by(every)
            .map(|nth| (left + wide * (nth as f64 + 0.5), times.start(nth).to_owned()))
            .collect();
        canvas.labels(&labels, bottom + TEXT);
    });
    parts::wide_figure(title, chart, shows(&names, &hits, times))
}

fn shows(names: &[String], hits: &[Vec<Option<Hit>>], times: &Times) -> Markup {
    let marked: usize = hits.iter().flatten().flatten().filter(|hit| hit.far).count();
    let all = hits.iter().flatten().flatten().count();
    let worst = |row: &Vec<Option<Hit>>| {
        let known = row.iter().enumerate().filter_map(|(nth, hit)| Some((nth, hit.as_ref()?.ratio)));
        known.max_by(|a, b| a.1.total_cmp(&b.1))
    };
    let worst: Vec<String> = (names.iter().zip(hits))
        .filter_map(|(name, row)| {
            let (nth, ratio) = worst(row)?;
            Some(format!("{name}: from {}, {} times the expected rate", times.name(nth), words::ratio(ratio)))
        })
        .collect();
    html! {
        "A dot marks a period that is more than " (FAR) " standard deviations off, were events independent: " (marked) " of " (all) " cells. Most often beyond the quantile:"
        ul { @for worst in &worst { li { (worst) } } }
    }
}

fn clustering(model: &ModelSummary) -> Markup {
    let names = words::quantile_names(model);
    html! {
        h3 { "Do exceedances come together?" }
        ul.plain {
            @for (q, name) in model.quantiles.iter().zip(&names) {
                li {
                    b { (name) } ": "
                    @match q.clustering {
                        Some(by) if by.is_finite() => {
                            "right after an event that exceeded it, the next does so " (words::ratio(by)) " times as often as in general"
                            @match q.independence {
                                Some(test) => { " (independence: p " @if test.p_value < 1e-4 { "" } @else { "= " } (words::p_value(test.p_value)) ")." }
                                None => { "." }
                            }
                        }
                        _ => { "too few exceedances to say." }
                    }
                }
            }
        }
    }
}
