//! Durations as users write them.

use std::time::Duration;

/// So long that no sum of a time and a duration overflows µs since 1970.
const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads `"20ms"`, `"1h30m"` or `"7d"`: whole numbers, each with its unit (us, ms, s, m, h or d);
/// `None` where the text is none, or a duration is zero or longer than a hundred years (36500d).
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let unit_us = match unit.trim() {
            "us" | "µs" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_micros(count.parse::<u64>().ok()?.checked_mul(unit_us)?))?;
        rest = after;
    }
    (!total.is_zero() && total <= MAX).then_some(total)
}

/// Writes a duration with the largest unit that it is a whole number of: `"20ms"`, `"90m"` or `"1d"`.
pub(super) fn written(duration: Duration) -> String {
    const UNITS_US: [(&str, u128); 5] =
        [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    let us = duration.as_micros();
    let (unit, unit_us) =
        UNITS_US.into_iter().find(|(_, unit_us)| us.is_multiple_of(*unit_us)).unwrap_or(("us", 1));
    format!("{}{unit}", us / unit_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_add_up() {
        assert_eq!(parse("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("1h 30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse("7d"), Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn a_duration_is_written_in_one_unit_and_reads_as_itself() {
        let written = |text| super::written(parse(text).unwrap_or_default());
        for (text, expected) in
            [("1h30m", "90m"), ("24h", "1d"), ("1500 ms", "1500ms"), ("60s", "1m"), ("7us", "7us")]
        {
            assert_eq!(written(text), expected);
            assert_eq!(parse(expected), parse(text));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "5", "ms", "1.5h", "-1s", "0ms", "3 weeks", "200000d", "99999999999999999999d", "1h30"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
