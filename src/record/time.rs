//! Times: microseconds since 1970, read from texts and epoch numbers.

use std::fmt;

use jiff::Timestamp;

use super::value::Value;
use crate::config::TimeUnit;

/// The earliest event time taken, µs since 1970: the start of the year 1678.
///
/// Within these bounds a time also fits into 64 bits of nanoseconds, and µs never overflow in sums.
pub const MIN_US: i64 = -9_214_560_000 * 1_000_000;
/// The latest event time taken, µs since 1970 (exclusive): the start of the year 2262.
pub const MAX_US: i64 = 9_214_646_400 * 1_000_000;

/// A time in µs since 1970 as RFC 3339 in UTC, with all six digits of its fraction.
pub fn rfc3339(us: i64) -> impl fmt::Display {
    struct Rfc3339(i64);
    impl fmt::Display for Rfc3339 {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match Timestamp::from_microsecond(self.0) {
                Ok(time) => write!(f, "{time:.6}"),
                Err(_) => write!(f, "{} µs since 1970", self.0),
            }
        }
    }
    Rfc3339(us)
}

/// Reads a time in µs since 1970; the error says what was expected and what was found.
pub(crate) fn read(value: &Value, unit: TimeUnit) -> Result<i64, String> {
    let us = match (value, unit) {
        (Value::Written(text), _) => {
            // Whole numbers first: nanoseconds since 1970 have more digits than a double.
            let number = text.trim().parse().map(Value::Int);
            let typed = number.or_else(|_| text.trim().parse().map(Value::Float));
            return read(&typed.unwrap_or_else(|_| Value::Text(text.clone())), unit);
        }
        (Value::Text(text), TimeUnit::Auto) => {
            let time = text.parse::<Timestamp>();
            time.map_err(|_| mismatch(value, unit))?.as_microsecond().into()
        }
        (Value::Int(number), _) => whole_to_us(i128::from(*number), unit),
        (Value::UInt(number), _) => whole_to_us(i128::from(*number), unit),
        (Value::Float(number), _) if number.is_finite() => float_to_us(*number, unit),
        (Value::Time(us), _) => i128::from(*us),
        _ => return Err(mismatch(value, unit)),
    };
    in_range(us).ok_or_else(|| format!("{} is out of range (years 1678 to 2261)", value.describe()))
}

/// The Kafka timestamp in µs, where it is in range.
pub(super) fn from_ms(ms: i64) -> Option<i64> {
    in_range(whole_to_us(ms.into(), TimeUnit::Millis))
}

fn in_range(us: i128) -> Option<i64> {
    i64::try_from(us).ok().filter(|us| (MIN_US..MAX_US).contains(us))
}

fn mismatch(value: &Value, unit: TimeUnit) -> String {
    let expected = match unit {
        TimeUnit::Auto => "an RFC 3339 time or a number of seconds since 1970",
        TimeUnit::Seconds => "a number of seconds since 1970",
        TimeUnit::Millis => "a number of milliseconds since 1970",
        TimeUnit::Micros => "a number of microseconds since 1970",
        TimeUnit::Nanos => "a number of nanoseconds since 1970",
    };
    format!("expected {expected}, found {}", value.describe())
}

fn whole_to_us(number: i128, unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Auto | TimeUnit::Seconds => number * 1_000_000,
        TimeUnit::Millis => number * 1_000,
        TimeUnit::Micros => number,
        TimeUnit::Nanos => number.div_euclid(1_000),
    }
}

/// Rounds to the nearest µs: seconds since 1970 in a double are good to a quarter of one.
fn float_to_us(number: f64, unit: TimeUnit) -> i128 {
    let us = match unit {
        TimeUnit::Auto | TimeUnit::Seconds => number * 1e6,
        TimeUnit::Millis => number * 1e3,
        TimeUnit::Micros => number,
        TimeUnit::Nanos => number / 1e3,
    };
    us.round() as i128 // saturates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    const T: i64 = 1_357_035_420_000_000;

    #[test]
    fn texts_are_rfc_3339_with_any_offset() {
        for same in ["2013-01-01T10:17:00Z", "2013-01-01T05:17:00-05:00", "2013-01-01t10:17:00.000000000z"] {
            assert_eq!(read(&text(same), TimeUnit::Auto), Ok(T), "{same}");
        }
        assert_eq!(read(&text("2013-01-01T10:17:00.123456789Z"), TimeUnit::Auto), Ok(T + 123_456));
        for bad in ["", "2013-01-01", "2013-01-01T10:17:00", "1357035420", "2013-13-01T10:17:00Z"] {
            let error = read(&text(bad), TimeUnit::Auto).unwrap_err();
            assert!(error.contains("RFC 3339"), "{error}");
        }
        assert!(read(&text("2013-01-01T10:17:00Z"), TimeUnit::Millis).is_err());
    }

    #[test]
    fn numbers_are_epochs_in_their_unit_kept_to_the_microsecond() {
        let seconds = Value::Float(1_357_035_420.123_456);
        assert_eq!(read(&seconds, TimeUnit::Auto), Ok(T + 123_456));
        for (number, unit) in [
            (T / 1_000_000, TimeUnit::Auto),
            (T / 1_000_000, TimeUnit::Seconds),
            (T / 1_000, TimeUnit::Millis),
            (T, TimeUnit::Micros),
            (T * 1_000 + 999, TimeUnit::Nanos),
        ] {
            assert_eq!(read(&Value::Int(number), unit), Ok(T), "{unit:?}");
            assert!((read(&Value::Float(number as f64), unit).unwrap() - T).abs() <= 1, "{unit:?}");
        }
        assert_eq!(read(&Value::Int(-1), TimeUnit::Nanos), Ok(-1));
    }

    #[test]
    fn times_that_could_overflow_are_out_of_range() {
        for value in [
            Value::Int(i64::MAX),
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::Float(1e300),
            Value::Time(i64::MAX),
            text("2262-01-01T00:00:00Z"),
            text("1677-12-31T23:59:59Z"),
        ] {
            let error = read(&value, TimeUnit::Auto).unwrap_err();
            assert!(error.contains("out of range"), "{error}");
        }
        assert_eq!(read(&text("1678-01-01T00:00:00Z"), TimeUnit::Auto), Ok(MIN_US));
        assert_eq!(read(&text("2261-12-31T23:59:59.999999Z"), TimeUnit::Auto), Ok(MAX_US - 1));
        assert_eq!(from_ms(i64::MAX), None);
    }

    #[test]
    fn what_is_no_time_is_named() {
        for value in [Value::Bool(true), Value::Float(f64::NAN), Value::Other("an object".into())] {
            assert!(read(&value, TimeUnit::Auto).unwrap_err().starts_with("expected"));
        }
    }

    #[test]
    fn times_print_with_six_digits() {
        assert_eq!(rfc3339(T).to_string(), "2013-01-01T10:17:00.000000Z");
        assert_eq!(rfc3339(T + 120_000).to_string(), "2013-01-01T10:17:00.120000Z");
        assert!(rfc3339(i64::MAX).to_string().contains("since 1970"));
    }
}
