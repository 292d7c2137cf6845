//! What each field is to be: guessed from its name and its values, with the reason.

use super::{
    names::Words,
    profile::{Profile, day, number},
};
use crate::{
    config::{FieldPath, TimeUnit, Transform, quoted},
    text::thousands,
};

/// What a field is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// `input.time`.
    EventTime(TimeUnit),
    /// `target.time`.
    TargetTime(TimeUnit),
    /// `target.fields`.
    Target,
    /// A feature that is a number.
    Number(Option<Transform>),
    /// A feature that turns with this period.
    Cycle(f64),
    /// A feature of a few values; of how many, where more than usual.
    Category(Option<usize>),
    /// `output.carry`.
    Carried,
    /// Nothing.
    Left,
}

impl Role {
    /// Whether it is a feature.
    #[must_use]
    pub fn is_feature(self) -> bool {
        matches!(self, Self::Number(_) | Self::Cycle(_) | Self::Category(_))
    }

    /// A feature's value in TOML, its `path` too where it has another name.
    #[must_use]
    pub fn feature(self) -> Option<String> {
        Some(match self {
            Self::Number(None) => "\"number\"".to_owned(),
            Self::Number(Some(transform)) => {
                format!("{{ kind = \"number\", transform = \"{}\" }}", transform_name(transform))
            }
            Self::Cycle(period) => format!("{{ kind = \"cycle\", period = {period} }}"),
            Self::Category(None) => "\"category\"".to_owned(),
            Self::Category(Some(size)) => format!("{{ kind = \"category\", size = {size} }}"),
            _ => return None,
        })
    }
}

/// A transform as it is written in a config.
#[must_use]
pub fn transform_name(transform: Transform) -> &'static str {
    match transform {
        Transform::Log1p => "log1p",
        Transform::Sqrt => "sqrt",
        Transform::Log => "log",
    }
}

/// A field with what it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The field.
    pub path: FieldPath,
    /// What it is to be.
    pub role: Role,
    /// Why, in words.
    pub why: String,
    /// What else it could be: a feature's value that is written in a comment.
    pub instead: Option<Role>,
}

impl Guess {
    /// Leaves the field out.
    pub(super) fn leave(&mut self, why: String) {
        self.instead = self.role.is_feature().then_some(self.role).or(self.instead);
        (self.role, self.why) = (Role::Left, why);
    }
}

/// What a field looks like by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Nature {
    /// A time in this unit, with how surely its name is that of an event's.
    Time(TimeUnit, u8),
    /// A feature, or nothing.
    Is(Role),
}

/// A category's values come so often each, on average …
const MIN_OF_EACH: u64 = 5;
/// … and there are at most so many of them.
const MAX_CATEGORIES: u64 = 1_024;
/// So many values a category has room for where nothing is said.
const USUAL_SIZE: usize = 64;
/// Numbers that are names of kinds have at most so many values.
const MAX_CODES: u64 = 100;
/// Numbers are transformed from this skewness on: that of the exponential distribution.
const MIN_SKEWNESS: f64 = 2.0;
/// A field with fewer values says nothing.
const MIN_VALUES: u64 = 30;

/// Looks at a field by itself.
pub(super) fn nature(profile: &Profile, is_nameable: bool) -> (Nature, String, Option<Role>) {
    let values = profile.values();
    let left = |why: String| (Nature::Is(Role::Left), why, None);
    let carried = |why: String| (Nature::Is(Role::Carried), why, None);
    let distinct = profile.distinct();
    if !is_nameable {
        return left("its name can't be written in a config; rename it in the records".to_owned());
    }
    if values == 0 {
        return left("null in every record".to_owned());
    }
    if profile.others > 0 {
        let what = &profile.other;
        return left(if profile.others == values {
            format!("{what}: no field can be one")
        } else {
            format!("{what} in {} and something else in the rest", percent(profile.others, values))
        });
    }
    let nulls = with_nulls(profile);
    if let Some((unit, rank)) = time(profile) {
        return (Nature::Time(unit, rank), format!("{}{}", time_span(profile, unit), nulls), None);
    }
    if distinct <= 1 && profile.nulls == 0 && profile.non_finite == 0 {
        let value = profile.examples.first().map_or("one text", String::as_str);
        return left(format!("constant: {value} in every record"));
    }
    if values < MIN_VALUES && profile.rows >= 10 * MIN_VALUES {
        return left(format!("null in all but {values} records"));
    }
    if profile.non_finite > 0 && profile.texts == 0 {
        let share = percent(profile.non_finite, values);
        let why = format!("NaN or infinite in {share}: such a record would be rejected; send null instead");
        return (Nature::Is(Role::Left), why, Some(Role::Number(None)));
    }
    if profile.is_flag() {
        return (
            Nature::Is(Role::Number(None)),
            format!("true or false, read as 1 and 0{nulls}"),
            Some(Role::Category(None)),
        );
    }
    if profile.is_number() {
        let (role, why, instead) = number_nature(profile);
        return (Nature::Is(role), format!("{why}{nulls}"), instead);
    }
    if profile.like_dates * 10 >= values * 9 {
        return carried(format!(
            "dates such as {}, but not RFC 3339: no time, unless written like 2013-01-01T00:00:00Z",
            profile.first_text.as_deref().unwrap_or_default()
        ));
    }
    if profile.is_long() {
        return left(format!("texts of up to {} bytes", thousands(profile.longest_bytes as u64)));
    }
    let is_category = is_category(profile);
    let examples = profile.examples.join(", ");
    if is_category {
        let kinds = if profile.is_texts() { "values" } else { "values, numbers and texts" };
        let why = format!("{} different {kinds}: {examples}{}{nulls}", thousands(distinct), more(profile));
        return (Nature::Is(category(distinct)), why, None);
    }
    if profile.is_texts() && profile.like_numbers == profile.texts {
        let why = format!("numbers written as texts, such as {examples:?}; send them as numbers");
        return (Nature::Is(Role::Left), why, None);
    }
    if profile.numbers > profile.texts {
        let text = profile.first_text.as_deref().unwrap_or("true or false");
        let share = percent(values - profile.numbers, values);
        let why = format!(
            "numbers, but {text:?} or the like in {share}: such a record would be rejected; leave it empty or null"
        );
        return (Nature::Is(Role::Left), why, Some(Role::Number(None)));
    }
    if profile.is_texts() {
        return carried(if distinct == values {
            format!("another text in every record: an id{nulls}")
        } else {
            format!("{} different texts, too many for a category{nulls}", thousands(distinct))
        });
    }
    left(format!("of mixed types: {examples}{}", more(profile)))
}

fn number_nature(profile: &Profile) -> (Role, String, Option<Role>) {
    let words = Words::of(&profile.path);
    let (min, max, distinct) = (profile.min, profile.max, profile.distinct());
    let span = format!("{} to {}", number(min), number(max));
    if profile.counts_rows() {
        return (Role::Carried, "counts the records".to_owned(), None);
    }
    if words.is_id() && profile.is_whole() && distinct > MAX_CODES {
        let why = format!("{distinct} different whole numbers, named like an id");
        return (Role::Carried, why, Some(Role::Number(None)));
    }
    if let Some(period) = cycle(profile, &words) {
        return (Role::Cycle(period), format!("{span}, {distinct} different, named like a cycle"), None);
    }
    if words.is_code() && profile.is_whole() && distinct <= MAX_CODES && is_category(profile) {
        let why = format!("{distinct} different whole numbers, {span}, named like a code");
        return (category(distinct), why, Some(Role::Number(None)));
    }
    let looks_like_a_date = profile.is_whole() && min >= 19_000_101.0 && max <= 21_001_231.0;
    if looks_like_a_date && words.time_rank().is_some() {
        let why = format!(
            "dates written as numbers, such as {}: no time, unless written like 2013-01-01T00:00:00Z",
            min
        );
        return (Role::Carried, why, Some(Role::Number(None)));
    }
    let transform = transform(profile);
    let mut why = span;
    if distinct <= 20 {
        why.push_str(&format!(", {distinct} different"));
    }
    if let Some(transform) = transform {
        let skewness = profile.plain.skewness();
        let after = transformed(profile, transform);
        why.push_str(&format!(", skewness {skewness:.1}, {after:.1} as {}", transform_name(transform)));
    }
    let instead = match transform {
        Some(_) => Some(Role::Number(None)),
        None if profile.is_whole() && (3..=20).contains(&distinct) && is_category(profile) => {
            Some(Role::Category(None))
        }
        None => None,
    };
    (Role::Number(transform), why, instead)
}

/// The transform that makes a heavily skewed number at least twice as even. Never of one that is negative at times, which
/// would be rejected.
fn transform(profile: &Profile) -> Option<Transform> {
    let skewness = profile.plain.skewness();
    if profile.min < 0.0 || skewness < MIN_SKEWNESS {
        return None;
    }
    let transforms = [Transform::Log1p, Transform::Sqrt];
    let size = |transform: &Transform| transformed(profile, *transform).abs();
    let best = transforms.into_iter().min_by(|a, b| size(a).total_cmp(&size(b)))?;
    (size(&best) < skewness / 2.0).then_some(best)
}

fn transformed(profile: &Profile, transform: Transform) -> f64 {
    match transform {
        Transform::Log1p => profile.log1p.skewness(),
        Transform::Sqrt => profile.sqrt.skewness(),
        Transform::Log => f64::NAN, // never tried: 0 would be rejected
    }
}

fn cycle(profile: &Profile, words: &Words) -> Option<f64> {
    let fits = |period: f64| profile.min >= 0.0 && profile.max <= period && profile.distinct() >= 3;
    if words.is_direction() {
        // Up to 10 it may be a direction by number.
        return (fits(360.0) && profile.max > 45.0).then_some(360.0);
    }
    let period = words.cycle()?;
    let period = if period == 31.0 && profile.max <= 7.0 { 7.0 } else { period };
    // From 0 to the period itself there is one value too many for whole numbers.
    let is_too_long = profile.min == 0.0 && profile.max == period;
    (fits(period) && profile.is_whole() && !is_too_long).then_some(period)
}

fn is_category(profile: &Profile) -> bool {
    let distinct = profile.distinct();
    (profile.non_finite == 0 || profile.is_texts())
        && distinct <= MAX_CATEGORIES
        && distinct * MIN_OF_EACH <= profile.values()
}

/// With room for a quarter as many values again, which did not come yet.
fn category(distinct: u64) -> Role {
    let size = (distinct as usize * 5 / 4).next_power_of_two();
    Role::Category((size > USUAL_SIZE).then_some(size))
}

fn more(profile: &Profile) -> &'static str {
    if profile.distinct() > profile.examples.len() as u64 { " …" } else { "" }
}

/// The unit of a time, and how surely its name is that of an event's.
fn time(profile: &Profile) -> Option<(TimeUnit, u8)> {
    let rank = Words::of(&profile.path).time_rank();
    if profile.is_times() {
        return Some((TimeUnit::Auto, rank.unwrap_or(3)));
    }
    let rank = rank?;
    unit_by_size(profile).map(|unit| (unit, rank))
}

/// The unit in which all numbers of a field are times of our days; `None` where there is none.
pub(super) fn unit_by_size(profile: &Profile) -> Option<TimeUnit> {
    /// 1985 to 2100, seconds since 1970.
    const SPAN_S: [f64; 2] = [473_385_600.0, 4_102_444_800.0];
    const UNITS: [(f64, TimeUnit); 4] =
        [(1.0, TimeUnit::Auto), (1e3, TimeUnit::Millis), (1e6, TimeUnit::Micros), (1e9, TimeUnit::Nanos)];
    let within =
        |(scale, _): &(f64, TimeUnit)| profile.min >= SPAN_S[0] * scale && profile.max <= SPAN_S[1] * scale;
    UNITS.into_iter().find(within).filter(|_| profile.is_number()).map(|(_, unit)| unit)
}

/// The earliest and the latest of a field's times in this unit, µs since 1970.
pub(super) fn times_us(profile: &Profile, unit: TimeUnit) -> [i64; 2] {
    let scale_us = match unit {
        TimeUnit::Auto | TimeUnit::Seconds => 1e6,
        TimeUnit::Millis => 1e3,
        TimeUnit::Micros => 1.0,
        TimeUnit::Nanos => 1e-3,
    };
    profile.times_us.unwrap_or([profile.min, profile.max].map(|time| (time * scale_us) as i64))
}

/// A time's unit, its first and its last day.
pub(super) fn time_span(profile: &Profile, unit: TimeUnit) -> String {
    let what = match unit {
        TimeUnit::Auto if profile.times > 0 => "times",
        TimeUnit::Auto if profile.rfc3339 > 0 => "RFC 3339",
        TimeUnit::Auto | TimeUnit::Seconds => "seconds since 1970",
        TimeUnit::Millis => "milliseconds since 1970",
        TimeUnit::Micros => "microseconds since 1970",
        TimeUnit::Nanos => "nanoseconds since 1970",
    };
    let [first, last] = times_us(profile, unit);
    format!("{what}, {} to {}", day(first), day(last))
}

fn with_nulls(profile: &Profile) -> String {
    if profile.nulls == 0 {
        String::new()
    } else {
        format!("; null in {}", percent(profile.nulls, profile.rows))
    }
}

/// A share for people.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let share = 100.0 * part as f64 / whole.max(1) as f64;
    match share {
        0.0..0.01 => "less than 0.01 %".to_owned(),
        0.01..0.1 => format!("{share:.2} %"),
        0.1..10.0 => format!("{share:.1} %"),
        _ if part < whole && share > 99.0 => format!("{:.1} %", share.min(99.9)),
        _ => format!("{share:.0} %"),
    }
}

/// The closest names in quotes, for an error.
pub(super) fn named(paths: &[&FieldPath]) -> String {
    const MOST: usize = 12;
    let names: Vec<String> = paths.iter().take(MOST).map(|path| quoted(&path.to_string())).collect();
    format!("{}{}", names.join(", "), if paths.len() > MOST { " …" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Value;

    fn profile(name: &str, values: impl IntoIterator<Item = Value>) -> Profile {
        let mut profile = Profile::new(FieldPath(vec![name.into()]));
        values.into_iter().zip(0..).for_each(|(value, row)| profile.see(&value, row));
        profile
    }

    fn of(name: &str, values: impl IntoIterator<Item = Value>) -> (Nature, String) {
        let (nature, why, _) = nature(&profile(name, values), true);
        (nature, why)
    }

    fn ints(values: impl IntoIterator<Item = i64>) -> impl Iterator<Item = Value> {
        values.into_iter().map(Value::Int)
    }

    fn texts<T: Into<String>>(values: impl IntoIterator<Item = T>) -> impl Iterator<Item = Value> {
        values.into_iter().map(|text| Value::Text(text.into().into()))
    }

    fn role(name: &str, values: impl IntoIterator<Item = Value>) -> Role {
        match of(name, values).0 {
            Nature::Is(role) => role,
            nature @ Nature::Time(..) => panic!("{nature:?}"),
        }
    }

    #[test]
    fn few_texts_are_a_category_and_many_an_id() {
        assert_eq!(role("carrier", texts((0..500).map(|n| format!("c{}", n % 16)))), Role::Category(None));
        assert_eq!(
            role("dest", texts((0..5_000).map(|n| format!("c{}", n % 105)))),
            Role::Category(Some(256))
        );
        assert_eq!(role("name", texts((0..500).map(|n| format!("c{n}")))), Role::Carried);
        assert_eq!(role("note", texts(["x".repeat(300), "y".repeat(500)])), Role::Left);
    }

    #[test]
    fn a_cycle_needs_a_name_and_values_that_fit() {
        assert_eq!(role("dep_hour", ints((0..500).map(|n| n % 24))), Role::Cycle(24.0));
        assert_eq!(role("month", ints((0..500).map(|n| 1 + n % 12))), Role::Cycle(12.0));
        assert_eq!(role("day", ints((0..500).map(|n| 1 + n % 7))), Role::Cycle(7.0));
        assert_eq!(role("wind_dir", ints((0..500).map(|n| n % 361))), Role::Cycle(360.0));
        for (name, values) in [("month", 0..13), ("month", 1..73), ("months", 1..13), ("speed", 0..24)] {
            let values: Vec<i64> = values.cycle().take(500).collect();
            assert_eq!(role(name, ints(values)), Role::Number(None), "{name}");
        }
    }

    #[test]
    fn a_skewed_number_is_transformed_where_that_helps() {
        let skewed = |low: f64| (0..1_000).map(move |n| Value::Float(low + (f64::from(n) / 100.0).exp()));
        assert_eq!(role("income", skewed(0.0)), Role::Number(Some(Transform::Log1p)));
        assert_eq!(role("income", skewed(-2.0)), Role::Number(None), "negative values would be rejected");
        assert_eq!(role("age", ints((0..1_000).map(|n| 18 + n % 60))), Role::Number(None));
        // Nearly always 0: no transform makes that even.
        assert_eq!(role("rare", ints((0..1_000).map(|n| i64::from(n % 200 == 0)))), Role::Number(None));
    }

    #[test]
    fn codes_flags_and_counters_are_known() {
        assert_eq!(role("zone", ints((0..500).map(|n| n % 9))), Role::Category(None));
        assert_eq!(role("rooms", ints((0..500).map(|n| n % 9))), Role::Number(None));
        assert_eq!(role("paid", (0..500).map(|n| Value::Bool(n % 3 == 0))), Role::Number(None));
        assert_eq!(role("n", ints(1..500)), Role::Carried);
        assert_eq!(role("customer_id", ints((0..500).map(|n| n * n))), Role::Carried);
    }

    #[test]
    fn what_says_nothing_or_would_be_rejected_is_left_out_with_the_reason() {
        let na = |share: usize| {
            (0..500).map(move |n| {
                let mut value =
                    Value::Text(if n % share == 0 { "n/a".into() } else { format!("{n}.5").into() });
                value.untype();
                value
            })
        };
        let mixed = ["UA12", "9E4122", "UA7", "9E12"].map(|text| {
            let mut value = Value::Text(text.into());
            value.untype();
            value
        });
        assert_eq!(role("flight", mixed), Role::Carried, "what looks like a number among texts is a text");
        for (values, reason) in [
            (vec![Value::Null; 50], "null in every record"),
            (ints([7; 50]).collect(), "constant: 7"),
            (na(10).collect(), "\"n/a\" or the like in 10 %"),
            (vec![Value::Float(1.0), Value::Float(f64::NAN)], "NaN or infinite in 50 %"),
            (vec![Value::Other("an array".into()); 5], "an array: no field can be one"),
            ([vec![Value::Other("an object".into())], vec![Value::Int(1); 9]].concat(), "an object in 10 %"),
            (texts((0..500).map(|n| format!("{n}.25"))).collect(), "numbers written as texts"),
        ] {
            let (nature, why) = of("x", values);
            assert_eq!(nature, Nature::Is(Role::Left), "{why}");
            assert!(why.contains(reason), "{why}");
        }
        let (_, why) = of("day", texts((0..500).map(|n| format!("2013-01-{:02}", n % 400))));
        assert!(why.contains("not RFC 3339"), "{why}");
    }

    #[test]
    fn times_are_known_by_their_text_or_by_name_and_size() {
        let at = |name: &str, first: i64| of(name, ints((0..50).map(|n| first + n))).0;
        let seconds = 1_357_035_420;
        assert_eq!(at("departed_at", seconds), Nature::Time(TimeUnit::Auto, 1));
        assert_eq!(at("ts", seconds * 1_000), Nature::Time(TimeUnit::Millis, 0));
        assert_eq!(at("ts", seconds * 1_000_000), Nature::Time(TimeUnit::Micros, 0));
        assert_eq!(at("created", seconds * 1_000_000_000), Nature::Time(TimeUnit::Nanos, 2));
        assert!(matches!(at("amount", seconds), Nature::Is(_)));
        assert!(matches!(at("time", 5), Nature::Is(_)));
        let (nature, why) = of("x", texts(["2013-01-01T10:00:00Z", "2013-02-01T10:00:00+01:00"]));
        assert_eq!(nature, Nature::Time(TimeUnit::Auto, 3));
        assert_eq!(why, "RFC 3339, 2013-01-01 to 2013-02-01");
    }
}
