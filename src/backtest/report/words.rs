//! Numbers, rates and times of a backtest as people read them. What does not exist is an en dash.

use jiff::Timestamp;

use crate::{
    backtest::{
        quantile::{self, is_lower},
        summary::{Held, ModelSummary, Rate, SegmentRate},
    },
    text::thousands,
};

/// What stands where there is no number.
pub const NONE: &str = "–";

/// A number with so many decimals, commas between thousands and a real minus sign.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value.abs() >= 1e15 {
        return scientific(value);
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse::<u64>().map_or_else(|_| whole.to_owned(), thousands);
    let sign = if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// A number of any size with so many significant digits.
pub fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-4.0..9.0).contains(&size) {
        return scientific(value);
    }
    fixed(value, (digits - 1 - size as i32).max(0) as usize)
}

/// The same without zeros at its end.
pub fn figure(value: f64) -> String {
    trimmed(significant(value, 4))
}

fn trimmed(text: String) -> String {
    if text.contains('.') && !text.contains('×') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A number as a power of ten: 2.1×10⁻⁷.
pub fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return NONE.to_owned() };
    let exponent: String = exponent
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => digit.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(digit),
        })
        .collect();
    format!("{}×10{exponent}", mantissa.replace('-', "−"))
}

/// A rate as per cent.
pub fn percent(rate: f64) -> String {
    if !rate.is_finite() {
        return NONE.to_owned();
    }
    let value = rate * 100.0;
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 9.995 => fixed(value, 1),
        size if size >= 0.9995 => fixed(value, 2),
        size if size >= 0.0995 => fixed(value, 3),
        _ => significant(value, 2),
    };
    format!("{text}\u{a0}%")
}

/// A level as per cent, all of its digits: 99.9 %.
pub fn level(level: f64) -> String {
    if !level.is_finite() {
        return NONE.to_owned();
    }
    format!("{}\u{a0}%", trimmed(fixed(level * 100.0, 7)))
}

/// A p-value.
pub fn p_value(p: f64) -> String {
    match p {
        p if !p.is_finite() => NONE.to_owned(),
        p if p < 1e-4 => "<\u{a0}0.0001".to_owned(),
        p if p < 1e-3 => fixed(p, 4),
        p if p < 1e-2 => fixed(p, 3),
        p if p > 0.99 => ">\u{a0}0.99".to_owned(),
        p => fixed(p, 2),
    }
}

/// A log score.
pub fn nats(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| fixed(value, 3))
}

/// A ratio to what is expected.
pub fn ratio(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    fixed(value, decimals)
}

/// A number of events that may be a fraction.
pub fn expected(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    fixed(value, decimals)
}

/// A PIT, which near 1 is told by how far it is from there.
pub fn pit(value: f64) -> String {
    if (0.9999..1.0).contains(&value) {
        format!("1\u{a0}−\u{a0}{}", significant(1.0 - value, 2))
    } else if value > 0.0 && value < 1e-4 {
        scientific(value)
    } else {
        trimmed(fixed(value, 4))
    }
}

/// A time that came as RFC 3339, without its seconds where they are zero.
pub fn time(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else { return text.to_owned() };
    let format = if time.as_second() % 60 == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    time.strftime(format).to_string()
}

/// Its day.
pub fn day(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| text.to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

/// Seconds as a span of time.
pub fn span(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s < 0.0 => NONE.to_owned(),
        s if s < 0.1 => format!("{}\u{a0}ms", fixed(s * 1000.0, 1)),
        s if s < 120.0 => format!("{}\u{a0}s", fixed(s, 1)),
        s if s < 7200.0 => format!("{}\u{a0}min", fixed(s / 60.0, 1)),
        s => format!("{}\u{a0}h", fixed(s / 3600.0, 1)),
    }
}

/// Bytes in MiB or GiB.
pub fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1u64 << 20) as f64;
    if mib < 1024.0 {
        format!("{}\u{a0}MiB", fixed(mib, 0))
    } else {
        format!("{}\u{a0}GiB", fixed(mib / 1024.0, 1))
    }
}

/// Text that fits into so many characters.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Items as one reads a list out: "a, b and c".
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// What has held, as one word or few.
pub const fn held(held: Held) -> &'static str {
    match held {
        Held::Yes => "held",
        Held::Nearly => "nearly held",
        Held::No => "did not hold",
        Held::Unclear => "can’t be told",
    }
}

/// The same at the start of a line.
pub const fn held_capital(held: Held) -> &'static str {
    match held {
        Held::Yes => "Held",
        Held::Nearly => "Nearly held",
        Held::No => "Did not hold",
        Held::Unclear => "Can’t be told",
    }
}

/// "times as often as it should be", from a ratio.
pub fn times_as_often(value: f64) -> String {
    if value == 0.0 { "never".to_owned() } else { format!("{} times as often as it should be", ratio(value)) }
}

/// The names of the quantiles: their levels, and their columns where two have the same level.
pub fn quantile_names(model: &ModelSummary) -> Vec<String> {
    let name = |q: &crate::backtest::summary::QuantileSummary| {
        let alone =
            model.quantiles.iter().filter(|other| other.level.total_cmp(&q.level).is_eq()).count() == 1;
        if alone { level(q.level) } else { q.column.clone() }
    };
    model.quantiles.iter().map(name).collect()
}

/// The names of the thresholds: "> 15", and their columns where two are the same or there is none.
pub fn threshold_names(model: &ModelSummary) -> Vec<String> {
    let name = |t: &crate::backtest::summary::ThresholdSummary| match t.threshold {
        Some(at) if model.thresholds.iter().filter(|other| other.threshold == Some(at)).count() == 1 => {
            format!(">\u{a0}{}", figure(at))
        }
        _ => t.column.clone(),
    };
    model.thresholds.iter().map(name).collect()
}

/// How often something happened relative to how often it should have, with its interval.
#[derive(Debug, Clone, Copy)]
pub struct Ratio {
    /// Observed by expected.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Ratio {
    /// Of `observed` of `events` and the interval of their rate; none where nothing was expected.
    pub fn new(events: u64, observed: u64, expected: f64, interval: [f64; 2]) -> Option<Self> {
        if events == 0 || !(expected > 0.0) || !expected.is_finite() {
            return None;
        }
        let by = events as f64 / expected;
        let value = observed as f64 / expected;
        let or_value = |end: f64| if end.is_finite() { end * by } else { value };
        Some(Self { value, low: or_value(interval[0]), high: or_value(interval[1]) })
    }
}

impl From<&Rate> for Option<Ratio> {
    fn from(rate: &Rate) -> Self {
        Ratio::new(rate.events, rate.observed, rate.expected, rate.interval)
    }
}

/// What happens to a quantile that a target is beyond.
pub fn was_passed(level: f64) -> &'static str {
    if is_lower(level) { "undershot" } else { "exceeded" }
}

/// A quantile's name where it is about targets beyond it, on the side of its tail.
pub fn beyond(level: f64, name: &str) -> String {
    if is_lower(level) { format!("{name} (below)") } else { name.to_owned() }
}

/// The share of targets beyond a quantile, on the side of its tail, from that above it.
pub fn share_beyond(level: f64, above: f64) -> f64 {
    if is_lower(level) { 1.0 - above } else { above }
}

/// The share that is expected there.
pub fn expected_beyond(level: f64) -> f64 {
    if is_lower(level) { level } else { 1.0 - level }
}

/// Targets beyond a quantile, on the side of its tail, from those above it.
pub fn rate_beyond(level: f64, rate: &Rate) -> Rate {
    let Rate { events, observed, expected, interval: [low, high] } = *rate;
    let (observed, expected) = quantile::beyond(level, events, observed, expected);
    let interval = if is_lower(level) { [1.0 - high, 1.0 - low] } else { [low, high] };
    Rate { events, observed, expected, interval }
}

/// The same of a segment.
pub fn segment_beyond(level: f64, rate: &SegmentRate) -> SegmentRate {
    let SegmentRate { events, observed, expected, interval, held } = *rate;
    let Rate { observed, expected, interval, .. } =
        rate_beyond(level, &Rate { events, observed, expected, interval });
    SegmentRate { events, observed, expected, interval, held }
}

/// How often targets were beyond a quantile, on the side of its tail, relative to how often they should have been.
pub fn quantile_ratio(level: f64, rate: &Rate) -> Option<Ratio> {
    (&rate_beyond(level, rate)).into()
}

/// How often something happened in a segment, relative to how often it should have.
pub fn segment_ratio(rate: &SegmentRate) -> Option<Ratio> {
    Ratio::new(rate.events, rate.observed, rate.expected, rate.interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn numbers_have_commas_and_a_real_minus() {
        assert_eq!([fixed(-1234.5, 1), fixed(-0.0001, 2), fixed(f64::NAN, 2)], ["−1,234.5", "0.00", "–"]);
        assert_eq!(
            [figure(15.0), figure(0.01234), figure(1e-9), figure(2.5e12)],
            ["15", "0.01234", "1.0×10⁻⁹", "2.5×10¹²"]
        );
        assert_eq!([figure(f64::INFINITY), figure(0.0), fixed(f64::MAX, 3)], ["–", "0", "1.8×10³⁰⁸"]);
    }

    #[test]
    fn rates_are_told_as_per_cent_with_sensible_digits() {
        let told = [0.5, 0.0123, 0.00123, 0.000_012_3, 0.0].map(percent);
        assert_eq!(told, ["50.0\u{a0}%", "1.23\u{a0}%", "0.123\u{a0}%", "0.0012\u{a0}%", "0\u{a0}%"]);
        assert_eq!([0.99, 0.999, 0.5].map(level), ["99\u{a0}%", "99.9\u{a0}%", "50\u{a0}%"]);
    }

    #[test]
    fn p_values_never_claim_to_be_zero_or_one() {
        let told = [0.0, 0.000_34, 0.0034, 0.034, 0.34, 1.0, f64::NAN].map(p_value);
        assert_eq!(told, ["<\u{a0}0.0001", "0.0003", "0.003", "0.03", "0.34", ">\u{a0}0.99", "–"]);
    }

    #[test]
    fn a_pit_near_one_is_told_by_its_distance() {
        let told = [0.5, 0.999_999_79, 2.1e-9, 1.0, f64::NAN].map(pit);
        assert_eq!(told, ["0.5", "1\u{a0}−\u{a0}2.1×10⁻⁷", "2.1×10⁻⁹", "1", "–"]);
    }

    #[test]
    fn a_time_is_shown_without_needless_seconds() {
        assert_eq!(time("2013-07-01T12:00:00Z"), "2013-07-01 12:00");
        assert_eq!(
            (time("2013-07-01T12:00:07.5Z"), time("soon")),
            ("2013-07-01 12:00:07".into(), "soon".into())
        );
    }

    #[test]
    fn lists_and_long_texts_read_well() {
        let items = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(
            (listed(&items), listed(&items[..1]), listed(&[])),
            ("a, b and c".into(), "a".into(), "".into())
        );
        assert_eq!((shortened("Atlantic", 5), shortened("UA", 5)), ("Atla…".into(), "UA".into()));
    }

    #[test]
    fn there_is_no_ratio_where_nothing_was_expected() {
        assert!(Ratio::new(0, 0, 1.0, [0.0, 1.0]).is_none());
        assert!(Ratio::new(10, 0, 0.0, [0.0, 1.0]).is_none());
        assert!(Ratio::new(10, 0, f64::NAN, [0.0, 1.0]).is_none());
        let ratio = Ratio::new(1000, 20, 10.0, [0.01, 0.03]).unwrap();
        assert_eq!([ratio.value, ratio.low, ratio.high], [2.0, 1.0, 3.0]);
    }

    #[test]
    fn of_a_low_quantile_the_targets_below_are_counted() {
        let rate = Rate { events: 1000, observed: 980, expected: 990.0, interval: [0.97, 0.99] };
        let ratio = quantile_ratio(0.01, &rate).unwrap();
        assert!(
            (ratio.value - 2.0).abs() < 1e-9
                && (ratio.low - 1.0).abs() < 1e-9
                && (ratio.high - 3.0).abs() < 1e-9
        );
        assert_eq!((beyond(0.01, "1 %"), beyond(0.5, "50 %")), ("1 % (below)".into(), "50 %".into()));
    }
}
