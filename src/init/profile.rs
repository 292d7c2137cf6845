//! What the values of a field look like.

use std::collections::HashSet;

use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    config::{FieldPath, TimeUnit},
    record::{Value, time},
};

/// So many different values are kept to be shown.
const MAX_EXAMPLES: usize = 4;
/// A longer text is no example, nor a category.
const MAX_SHOWN_BYTES: usize = 200;

/// What is known of a field, after a pass over the records.
#[derive(Debug)]
pub struct Profile {
    /// The field.
    pub path: FieldPath,
    /// Records, whether they have it or not.
    pub rows: u64,
    /// Null or absent.
    pub nulls: u64,
    /// `true` or `false`, of a format that has types.
    pub flags: u64,
    /// Finite numbers, and how many of them are whole.
    pub numbers: u64,
    /// Whole numbers.
    pub wholes: u64,
    /// NaN and infinite.
    pub non_finite: u64,
    /// Texts that are no numbers where the format has no types.
    pub texts: u64,
    /// Texts that are RFC 3339 times.
    pub rfc3339: u64,
    /// Texts that begin like a date, and are no RFC 3339 times.
    pub like_dates: u64,
    /// Texts that read as numbers, though the format has types.
    pub like_numbers: u64,
    /// Of a format that has no types, whatever they read as.
    pub written: u64,
    /// Times by their type.
    pub times: u64,
    /// What no field may be, with what it was first.
    pub others: u64,
    /// What it was first.
    pub other: String,
    /// Of all numbers.
    pub min: f64,
    /// Of all numbers.
    pub max: f64,
    /// The numbers as they are.
    pub plain: Moments,
    /// log(1 + x) of those that are at least 0.
    pub log1p: Moments,
    /// √x of those that are at least 0.
    pub sqrt: Moments,
    /// Of what texts are long.
    pub longest_bytes: usize,
    /// The values' hashes.
    distinct: HashSet<u64>,
    /// The first few different values.
    pub examples: Vec<String>,
    /// The first text, where most are none.
    pub first_text: Option<String>,
    /// Value less number of the record, as long as it is the same everywhere.
    row_offset: Option<Option<f64>>,
    /// Earliest and latest, where they are times by type or text, µs since 1970.
    pub times_us: Option<[i64; 2]>,
}

impl Profile {
    /// Of a field of which nothing was seen.
    #[must_use]
    pub fn new(path: FieldPath) -> Self {
        Self {
            path,
            rows: 0,
            nulls: 0,
            flags: 0,
            numbers: 0,
            wholes: 0,
            non_finite: 0,
            texts: 0,
            rfc3339: 0,
            like_dates: 0,
            like_numbers: 0,
            written: 0,
            times: 0,
            others: 0,
            other: String::new(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            plain: Moments::default(),
            log1p: Moments::default(),
            sqrt: Moments::default(),
            longest_bytes: 0,
            distinct: HashSet::new(),
            examples: Vec::new(),
            first_text: None,
            row_offset: None,
            times_us: None,
        }
    }

    /// Takes a record's value, and the record's number.
    pub(crate) fn see(&mut self, value: &Value, row: i64) {
        self.rows += 1;
        self.written += u64::from(matches!(value, Value::Written(_)));
        match value {
            Value::Null => self.nulls += 1,
            Value::Other(what) => {
                if self.others == 0 {
                    self.other = what.to_string();
                }
                self.others += 1;
            }
            Value::Bool(_) => self.flags += 1,
            Value::Time(us) => {
                self.times += 1;
                self.see_time(*us);
            }
            Value::Text(text) | Value::Written(text) => match value.number() {
                Some(number) => self.see_number(number, row),
                None => self.see_text(text),
            },
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
                self.see_number(value.number().unwrap_or(f64::NAN), row);
            }
        }
        if let Some(text) = value.text() {
            self.see_distinct(&text);
        }
    }

    fn see_number(&mut self, number: f64, row: i64) {
        if !number.is_finite() {
            self.non_finite += 1;
            return;
        }
        self.numbers += 1;
        self.wholes += u64::from(number.fract() == 0.0);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
        self.plain.add(number);
        if number >= 0.0 {
            self.log1p.add(libm::log1p(number));
            self.sqrt.add(number.sqrt());
        }
        let offset = number - row as f64;
        self.row_offset = match self.row_offset {
            None => Some(Some(offset)),
            Some(Some(before)) if before == offset => Some(Some(offset)),
            Some(_) => Some(None),
        };
    }

    fn see_text(&mut self, text: &str) {
        self.texts += 1;
        self.longest_bytes = self.longest_bytes.max(text.len());
        if self.first_text.is_none() {
            self.first_text = Some(shown(text));
        }
        if let Ok(us) = time::read(&Value::Text(text.into()), TimeUnit::Auto) {
            self.rfc3339 += 1;
            self.see_time(us);
        } else if is_like_a_date(text) {
            self.like_dates += 1;
        } else if text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
            self.like_numbers += 1;
        }
    }

    fn see_time(&mut self, us: i64) {
        let [first, last] = self.times_us.unwrap_or([us, us]);
        self.times_us = Some([first.min(us), last.max(us)]);
    }

    fn see_distinct(&mut self, text: &str) {
        if self.distinct.insert(xxh3_64(text.as_bytes()))
            && self.examples.len() < MAX_EXAMPLES
            && text.len() <= MAX_SHOWN_BYTES
        {
            self.examples.push(shown(text));
        }
    }

    /// How many records have a value.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.rows - self.nulls
    }

    /// How many different values there are.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.distinct.len() as u64
    }

    /// Whether its values are numbers that count the records.
    #[must_use]
    pub fn counts_rows(&self) -> bool {
        self.values() > 1 && matches!(self.row_offset, Some(Some(_))) && self.numbers == self.values()
    }

    /// Whether all values are finite numbers.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.numbers > 0 && self.numbers == self.values()
    }

    /// Whether all values are whole numbers.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_number() && self.wholes == self.numbers
    }

    /// Whether all values are true or false.
    #[must_use]
    pub fn is_flag(&self) -> bool {
        self.flags > 0 && self.flags == self.values()
    }

    /// Whether its values are texts: all of them, or most where a few only look like numbers, as `9E12` among `UA12`.
    #[must_use]
    pub fn is_texts(&self) -> bool {
        let are_most = self.written == self.values() && self.texts * 2 >= self.values();
        self.texts > 0 && (self.texts == self.values() || are_most)
    }

    /// Whether all values are times, by their type or as RFC 3339.
    #[must_use]
    pub fn is_times(&self) -> bool {
        self.times + self.rfc3339 > 0 && self.times + self.rfc3339 == self.values()
    }

    /// How long its texts are is no category's length.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.longest_bytes > MAX_SHOWN_BYTES
    }
}

/// Count, mean, variance and skewness, as they come (Pébay 2008).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    count: f64,
    mean: f64,
    second: f64,
    third: f64,
}

impl Moments {
    /// Takes a value.
    pub fn add(&mut self, value: f64) {
        let before = self.count;
        self.count += 1.0;
        let delta = value - self.mean;
        let part = delta / self.count;
        let term = delta * part * before;
        self.third += term * part * (self.count - 2.0) - 3.0 * part * self.second;
        self.second += term;
        self.mean += part;
    }

    /// 0 where there is none.
    #[must_use]
    pub fn skewness(&self) -> f64 {
        let skewness = self.count.sqrt() * self.third / self.second.powf(1.5);
        if skewness.is_finite() { skewness } else { 0.0 }
    }
}

/// `2013-01-01`, `01/02/2013`, `2013-01-01 10:00`: four digits and a separator, or two separators between digits.
fn is_like_a_date(text: &str) -> bool {
    let head = text.trim().get(..8).unwrap_or(text.trim());
    let digits = head.bytes().filter(u8::is_ascii_digit).count();
    let separators = head.bytes().filter(|byte| b"-/.".contains(byte)).count();
    let is_of_them = head.bytes().all(|byte| byte.is_ascii_digit() || b"-/.".contains(&byte));
    head.len() >= 8
        && is_of_them
        && digits >= 5
        && (1..=2).contains(&separators)
        && text.trim().parse::<f64>().is_err()
}

/// A text of the input for people: what can't be seen by its number, and cut where it is long.
#[must_use]
pub fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 32;
    let mut shown: String =
        text.chars().take(MAX_CHARS).flat_map(|c| seen(c).chars().collect::<Vec<_>>()).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn seen(c: char) -> String {
    if crate::config::is_unseen(c) { c.escape_unicode().to_string() } else { c.to_string() }
}

/// A time's day.
#[must_use]
pub fn day(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.strftime("%F").to_string())
}

/// A number for people.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.fract() == 0.0 && size < 1e4 => format!("{value}"),
        _ if value.fract() == 0.0 && size < 1e15 => crate::text::thousands(value as i64),
        0.01..1e6 => format!("{value:.prec$}", prec = if size < 1.0 { 3 } else { 2 })
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(values: impl IntoIterator<Item = Value>) -> Profile {
        let mut profile = Profile::new(FieldPath(vec!["x".into()]));
        values.into_iter().zip(0..).for_each(|(value, row)| profile.see(&value, row));
        profile
    }

    fn written(text: &str) -> Value {
        let mut value = Value::Text(text.into());
        value.untype();
        value
    }

    #[test]
    fn skewness_is_that_of_the_textbook() {
        let mut moments = Moments::default();
        [1.0, 2.0, 3.0, 10.0].iter().for_each(|value| moments.add(*value));
        // mean 4, deviations -3 -2 -1 6: (-27 - 8 - 1 + 216) / 4 / 12.5^1.5
        assert!((moments.skewness() - 45.0 / 12.5_f64.powf(1.5)).abs() < 1e-12);
        let mut constant = Moments::default();
        (0..5).for_each(|_| constant.add(0.3));
        assert_eq!(constant.skewness(), 0.0);
    }

    #[test]
    fn values_are_counted_by_what_they_are_to_a_decoder() {
        let texts =
            profile(["1", "2.5", "", "nan", "n/a", "2013-01-01", "2013-01-01T00:00:00Z"].map(written));
        assert_eq!((texts.rows, texts.nulls, texts.numbers, texts.wholes, texts.non_finite), (7, 1, 2, 1, 1));
        assert_eq!((texts.texts, texts.like_dates, texts.rfc3339), (3, 1, 1));
        assert_eq!(texts.first_text.as_deref(), Some("n/a"));
        let typed = profile([
            Value::Text("12".into()),
            Value::Int(3),
            Value::Float(3.0),
            Value::Bool(true),
            Value::Null,
        ]);
        assert_eq!(
            (typed.texts, typed.like_numbers, typed.numbers, typed.flags, typed.nulls),
            (1, 1, 2, 1, 1)
        );
        assert_eq!(typed.distinct(), 3, "3 and 3.0 are one");
    }

    #[test]
    fn what_counts_the_records_is_known_by_it() {
        assert!(profile((0..50).map(|n| Value::Int(n + 7))).counts_rows());
        assert!(!profile((0..50).map(|n| Value::Int(2 * n))).counts_rows());
        assert!(!profile([Value::Int(1)]).counts_rows());
    }

    #[test]
    fn dates_are_told_from_numbers_and_words() {
        for date in ["2013-01-01", "01/02/2013", "2013-01-01 10:00", "31.12.2013"] {
            assert!(is_like_a_date(date), "{date}");
        }
        for none in ["2013", "20130101", "1.23456789", "a-b-c-d-e", "1-2", "", "-1234567", "äöüäöüäöü"]
        {
            assert!(!is_like_a_date(none), "{none}");
        }
    }

    #[test]
    fn what_is_shown_can_be_seen_and_is_short() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\\u{1b}[31m\\u{a}");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 33);
        assert_eq!(
            [number(12_345.0), number(0.125), number(2.345_67), number(1e-7)],
            ["12,345", "0.125", "2.35", "1.00e-7"]
        );
    }
}
