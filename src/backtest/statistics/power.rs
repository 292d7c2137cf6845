//! What so many events can tell.

use super::binomial;

/// A rate that is right is found wrong this often: by a two-sided test, half of it on either side …
const SIZE: f64 = 0.05;
/// … and one that is wrong is noticed this often.
const POWER: f64 = 0.8;
/// How much too high a rate has to be noticed.
const WORTH_NOTICING: f64 = 1.5;
/// Nobody waits for more events.
const MOST: u64 = 1 << 36;

/// In plain words, what hits of probability `p` among so many events can tell by the exact two-sided binomial test at 5 %: the
/// smallest higher rate that would be noticed with a probability of 80 %, and, where that is more than half as high again, how many
/// events it takes for one that is. Of a `design_effect` above 1, the variance of the rate over what it were of independent events,
/// they count like so many fewer.
///
/// To notice 1.5 % where 1 % is right takes about 3,900 independent events: 3,790 may do, and 4,072 and more always do, as hits are
/// whole numbers. 0.15 % where 0.1 % is right takes about 39,000.
#[must_use]
pub fn power(events: u64, p: f64, design_effect: f64) -> String {
    // Events that go apart tell no more here than independent ones.
    let design_effect = if design_effect > 1.0 { design_effect } else { 1.0 };
    let effective = (events as f64 / design_effect) as u64;
    let mut told = format!("With {} targets", grouped(events));
    if effective < events - events / 20 {
        told +=
            &format!(", which count like {} independent ones as neighbours go together,", rounded(effective));
    } else {
        told.push(',');
    }
    let enough = match noticeable(effective, p) {
        Some(rate) if rate <= WORTH_NOTICING * p => {
            told += &format!(
                " a rate of {} or more where {} is right would be noticed four times in five.",
                percent(rate),
                percent(p)
            );
            true
        }
        Some(rate) => {
            told += &format!(
                " only a rate of {} or more where {} is right would be noticed four times in five.",
                percent(rate),
                percent(p)
            );
            false
        }
        None => {
            told += &format!(
                " nothing can be noticed where {} is right: were all of them hits, it might be chance.",
                percent(p)
            );
            false
        }
    };
    if !enough && let Some(needed) = events_needed(p) {
        told += &format!(
            " To notice one half as high again, {}, takes about {} targets{}.",
            percent(WORTH_NOTICING * p),
            rounded((needed as f64 * design_effect) as u64),
            if effective < events { " like these" } else { "" }
        );
    }
    told
}

/// The smallest number of hits that is too high to be chance.
fn critical(events: u64, p: f64) -> Option<u64> {
    let is_too_high = |hits: u64| binomial::upper(hits, events, p) <= 0.5 * SIZE;
    is_too_high(events).then(|| first(0, events, is_too_high))
}

/// The smallest rate above `p` that so many events notice.
fn noticeable(events: u64, p: f64) -> Option<f64> {
    let critical = critical(events, p)?;
    let (mut low, mut high) = (p, 1.0);
    while high - low > 1e-6 * low {
        let middle = 0.5 * (low + high);
        if binomial::upper(critical, events, middle) < POWER { low = middle } else { high = middle }
    }
    Some(high)
}

/// How many events it takes to notice a rate half as high again, give or take a hit; `None` where there is no such rate or no such
/// number.
fn events_needed(p: f64) -> Option<u64> {
    let rate = WORTH_NOTICING * p;
    if !(rate < 1.0) {
        return None;
    }
    let is_enough = |events: u64| {
        critical(events, p).is_some_and(|critical| binomial::upper(critical, events, rate) >= POWER)
    };
    is_enough(MOST).then(|| first(0, MOST, is_enough))
}

/// The first number above `low` up to `high` for which it is so, where it is from there on.
fn first(mut low: u64, mut high: u64, is_so: impl Fn(u64) -> bool) -> u64 {
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_so(middle) { high = middle } else { low = middle }
    }
    high
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// To two digits.
fn rounded(number: u64) -> String {
    let unit = 10u64.pow(number.max(1).ilog10().saturating_sub(1));
    grouped((number + unit / 2) / unit * unit)
}

/// To three digits, rounded up but for what is less than rounding.
fn percent(share: f64) -> String {
    let share = 100.0 * share;
    let decimals = (2 - share.log10().floor() as i32).max(0);
    let unit = 10f64.powi(decimals);
    let text = format!("{:.*}", decimals as usize, (share * unit - 1e-3).ceil() / unit);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::backtest::statistics::golden;

    #[test]
    fn golden_values_are_met() {
        for case in golden::cases("power") {
            let (events, p) = (case.number("events") as u64, case.number("p"));
            assert_eq!(critical(events, p).unwrap() as f64, case.number("critical"));
            case.check("noticeable", noticeable(events, p).unwrap(), 2e-6);
        }
        for case in golden::cases("events_needed") {
            let needed = events_needed(case.number("p")).unwrap();
            // Power rises with the number of events but for a sawtooth.
            let (first, always) = (case.number("first") as u64, case.number("always") as u64);
            assert!((first..=always).contains(&needed), "{needed} is not in {first}..={always}");
        }
    }

    #[test]
    fn it_reads_well() {
        for (told, expected) in [
            (
                power(40_000, 0.01, 0.9),
                "With 40,000 targets, a rate of 1.15 % or more where 1 % is right would be \
                 noticed four times in five.",
            ),
            (
                power(327_346, 0.01, 8.18),
                "With 327,346 targets, which count like 40,000 independent ones as neighbours go \
                 together, a rate of 1.15 % or more where 1 % is right would be noticed four \
                 times in five.",
            ),
            (
                power(400, 0.01, 1.0),
                "With 400 targets, only a rate of 2.84 % or more where 1 % is right would be \
                 noticed four times in five. To notice one half as high again, 1.5 %, takes about \
                 3,900 targets.",
            ),
            (
                power(20_000, 0.001, 2.5),
                "With 20,000 targets, which count like 8,000 independent ones as neighbours go \
                 together, only a rate of 0.227 % or more where 0.1 % is right would be noticed \
                 four times in five. To notice one half as high again, 0.15 %, takes about \
                 100,000 targets like these.",
            ),
            (
                power(2, 0.25, 1.0),
                "With 2 targets, nothing can be noticed where 25 % is right: were all of them \
                 hits, it might be chance. To notice one half as high again, 37.5 %, takes about \
                 110 targets.",
            ),
            (
                power(0, 0.9, f64::NAN),
                "With 0 targets, nothing can be noticed where 90 % is right: were all of them \
                 hits, it might be chance.",
            ),
        ] {
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(
            [0, 999, 1_000, 12_345, 1_234_567].map(grouped),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
        assert_eq!([7, 98, 3_549, 995].map(rounded), ["7", "98", "3,500", "1,000"]);
        assert_eq!(
            [0.01, 0.001, 0.025, 0.010501, 0.5, 0.015 * (1.0 + 1e-15)].map(percent),
            ["1 %", "0.1 %", "2.5 %", "1.06 %", "50 %", "1.5 %"]
        );
    }
}
