//! Where periods lie in time: the axis of what is drawn over time, and what periods are called.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::words;
use crate::backtest::summary::Period;

const DAY: i64 = 86_400;

/// Places from 0 to 1 with their labels.
type Ticks = Vec<(f64, String)>;

/// The axis of the periods.
pub struct Times {
    /// Where each period's middle is, from 0 to 1.
    pub at: Vec<f64>,
    /// Places to label.
    pub ticks: Ticks,
    names: Vec<String>,
    starts: Vec<String>,
}

impl Times {
    /// That of these periods: in time, or by their number where their times do not tell the order.
    pub fn new(periods: &[Period]) -> Self {
        let seconds = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
        let spans: Option<Vec<(i64, i64)>> =
            periods.iter().map(|p| Some((seconds(&p.from)?, seconds(&p.until)?))).collect();
        let short = spans.as_ref().is_some_and(|s| s.iter().any(|(from, until)| until - from < 2 * DAY));
        let name = |text: &str| if short { words::time(text) } else { words::day(text) };
        let names = periods.iter().map(|p| format!("{} to {}", name(&p.from), name(&p.until))).collect();
        let starts = periods.iter().map(|p| words::day(&p.from)).collect();
        let (at, ticks) = spans.and_then(|spans| in_time(&spans)).unwrap_or_else(|| by_number(periods.len()));
        Self { at, ticks, names, starts }
    }

    /// What a period is called: its first and last time.
    pub fn name(&self, nth: usize) -> &str {
        self.names.get(nth).map_or(words::NONE, String::as_str)
    }

    /// The day that it begins on.
    pub fn start(&self, nth: usize) -> &str {
        self.starts.get(nth).map_or(words::NONE, String::as_str)
    }
}

fn in_time(spans: &[(i64, i64)]) -> Option<(Vec<f64>, Ticks)> {
    let middles: Vec<i64> = spans.iter().map(|(from, until)| from / 2 + until / 2).collect();
    let (from, until) = (spans.first()?.0, spans.last()?.1);
    if until <= from || !middles.is_sorted() || middles[0] < from || *middles.last()? > until {
        return None;
    }
    let place = |second: i64| (second - from) as f64 / (until - from) as f64;
    let ticks = ticks(from, until).into_iter().map(|(second, label)| (place(second), label)).collect();
    Some((middles.into_iter().map(place).collect(), ticks))
}

fn by_number(number: usize) -> (Vec<f64>, Ticks) {
    let at: Vec<f64> = (0..number).map(|nth| (nth as f64 + 0.5) / number as f64).collect();
    let every = number.div_ceil(6).max(1);
    let ticks = at.iter().enumerate().step_by(every).map(|(nth, at)| (*at, format!("no. {}", nth + 1)));
    (at.clone(), ticks.collect())
}

/// Up to about six round times between two.
fn ticks(from: i64, until: i64) -> Vec<(i64, String)> {
    let most = 6;
    let span = until - from;
    let seconds =
        [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY];
    if let Some(step) = seconds.into_iter().find(|step| span / step <= most) {
        let format = |second: i64| match (step, second % DAY) {
            (DAY.., _) | (3600.., 0) => "%-d %b",
            (60.., _) => "%H:%M",
            _ => "%H:%M:%S",
        };
        let first = from.div_euclid(step) + i64::from(from.rem_euclid(step) > 0);
        let last = until.div_euclid(step);
        return (first..=last).filter_map(|nth| label(nth * step, format(nth * step))).collect();
    }
    let month = |second: i64| -> Option<i64> {
        let date = TimeZone::UTC.to_datetime(Timestamp::from_second(second).ok()?).date();
        Some(i64::from(date.year()) * 12 + i64::from(date.month()) - 1)
    };
    let (Some(first), Some(last)) = (month(from), month(until)) else { return Vec::new() };
    let steps = [1, 2, 3, 6, 12, 24, 60, 120, 600, 1200, 12_000];
    let step = steps.into_iter().find(|step| (last - first) / step <= most).unwrap_or(120_000);
    let format = if step >= 12 { "%Y" } else { "%b %Y" };
    let start = |nth: i64| -> Option<i64> {
        let (year, month) =
            (i16::try_from(nth.div_euclid(12)).ok()?, i8::try_from(nth.rem_euclid(12) + 1).ok()?);
        let midnight = Date::new(year, month, 1).ok()?.at(0, 0, 0, 0);
        Some(TimeZone::UTC.to_timestamp(midnight).ok()?.as_second())
    };
    let months = (first.div_euclid(step)..=last.div_euclid(step)).filter_map(|nth| start(nth * step));
    months
        .filter(|second| (from..=until).contains(second))
        .filter_map(|second| label(second, format))
        .collect()
}

fn label(second: i64, format: &str) -> Option<(i64, String)> {
    Some((second, Timestamp::from_second(second).ok()?.strftime(format).to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn labels(from: &str, until: &str) -> Vec<String> {
        let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        ticks(second(from), second(until)).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn a_year_is_labelled_by_months_and_a_day_by_hours() {
        let year = labels("2013-01-01T05:00:00Z", "2013-12-31T00:00:00Z");
        assert_eq!(year, ["Mar 2013", "May 2013", "Jul 2013", "Sep 2013", "Nov 2013"]);
        let day = labels("2013-01-01T05:00:00Z", "2013-01-02T04:00:00Z");
        assert_eq!(day, ["06:00", "12:00", "18:00", "2 Jan"]);
        assert_eq!(
            labels("2001-02-01T00:00:00Z", "2007-06-01T00:00:00Z"),
            ["2002", "2003", "2004", "2005", "2006", "2007"]
        );
    }

    #[test]
    fn periods_out_of_order_are_placed_by_their_number() {
        let at = |spans: &[(i64, i64)]| in_time(spans).is_none();
        assert!(at(&[(10, 20), (0, 5)]) && at(&[(3, 3)]) && at(&[]) && !at(&[(0, 5), (5, 9)]));
        assert_eq!(by_number(2).0, [0.25, 0.75]);
    }
}
