//! What a field's name says of it.

use crate::config::FieldPath;

/// The words of a field's own name, in lower case: `depHour`, `dep_hour` and `flight.dep-hour` have the same two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

/// The words that name a quantity which somebody may want to predict, the surest first.
const TARGETS: [&[&str]; 3] = [
    &["target", "label", "response", "outcome"],
    &[
        "amount",
        "charge",
        "claim",
        "consumption",
        "cost",
        "delay",
        "demand",
        "dur",
        "duration",
        "elapsed",
        "expense",
        "expenditure",
        "latency",
        "loss",
        "payment",
        "payout",
        "price",
        "return",
        "revenue",
        "sale",
        "severity",
        "spell",
        "spend",
        "value",
        "wait",
    ],
    // A statistician's target, and everybody else's second coordinate.
    &["y"],
];

/// Words with the length of the turn that their values make.
const CYCLES: [(&[&str], f64); 8] = [
    (&["hour", "hr", "hourofday"], 24.0),
    (&["minute", "second", "minuteofhour", "secondofminute"], 60.0),
    (&["month", "mon", "monthofyear"], 12.0),
    (&["dow", "weekday", "wday", "dayofweek", "dayofwk"], 7.0),
    (&["doy", "yday", "dayofyear"], 366.0),
    (&["woy", "week", "weekofyear"], 53.0),
    (&["quarter", "qtr", "quarterofyear"], 4.0),
    (&["day", "dom", "mday", "dayofmonth"], 31.0),
];

/// Words of directions in degrees.
const DIRECTIONS: [&str; 6] = ["dir", "direction", "bearing", "heading", "azimuth", "angle"];

const IDS: [&str; 13] = [
    "id",
    "uuid",
    "guid",
    "key",
    "no",
    "nr",
    "number",
    "ref",
    "reference",
    "rowname",
    "rowid",
    "index",
    "serial",
];

const CODES: [&str; 16] = [
    "brand", "category", "class", "code", "commune", "district", "grade", "group", "kind", "make", "model",
    "region", "sector", "type", "zip", "zone",
];

const TIMES: [&str; 14] = [
    "time",
    "timestamp",
    "ts",
    "datetime",
    "date",
    "at",
    "epoch",
    "when",
    "created",
    "updated",
    "occurred",
    "started",
    "ended",
    "moment",
];

impl Words {
    /// The words of the last segment of a path.
    #[must_use]
    pub fn of(path: &FieldPath) -> Self {
        let name = path.0.last().map_or("", String::as_str);
        let mut words = vec![String::new()];
        let mut was_lower = false;
        for c in name.chars() {
            if !c.is_alphanumeric() || was_lower && c.is_uppercase() {
                words.push(String::new());
            }
            if c.is_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.extend(c.to_lowercase());
            }
            was_lower = c.is_lowercase();
        }
        words.retain(|word| !word.is_empty());
        Self(words)
    }

    fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// How surely it names a target; 0 where it doesn't.
    #[must_use]
    pub fn target_rank(&self) -> u8 {
        let is_one = |word: &str, words: &[&str]| {
            words.contains(&word) || word.strip_suffix('s').is_some_and(|word| words.contains(&word))
        };
        let [sure, likely, unsure] = TARGETS;
        if is_one(self.last(), sure) {
            4
        } else if is_one(self.last(), likely) {
            3
        } else if is_one(self.last(), unsure) {
            2
        } else {
            u8::from(self.0.iter().any(|word| is_one(word, likely)))
        }
    }

    /// The length of the turn that values with such a name make.
    #[must_use]
    pub fn cycle(&self) -> Option<f64> {
        let whole =
            if self.0.iter().any(|word| word == "of") { self.0.concat() } else { self.last().to_owned() };
        CYCLES.iter().find(|(words, _)| words.contains(&whole.as_str())).map(|(_, period)| *period)
    }

    /// Whether it names a direction.
    #[must_use]
    pub fn is_direction(&self) -> bool {
        DIRECTIONS.contains(&self.last())
    }

    /// Whether it names what tells records apart.
    #[must_use]
    pub fn is_id(&self) -> bool {
        let last = self.last();
        IDS.contains(&last)
            || last.strip_suffix('s').is_some_and(|last| IDS.contains(&last))
            || last == "pid"
            || self.0 == ["unnamed", "0"] // pandas's name for R's row names
    }

    /// Whether numbers under it may be names of kinds.
    #[must_use]
    pub fn is_code(&self) -> bool {
        CODES.contains(&self.last())
    }

    /// How surely it names the time of an event, 0 the surest; `None` where it names no time.
    #[must_use]
    pub fn time_rank(&self) -> Option<u8> {
        match self.0.as_slice() {
            [one] if ["time", "timestamp", "ts", "datetime"].contains(&one.as_str()) => Some(0),
            [first, .., last] if first == "event" && TIMES.contains(&last.as_str()) => Some(0),
            _ if ["at", "time", "timestamp", "ts", "datetime"].contains(&self.last()) => Some(1),
            words if words.iter().any(|word| TIMES.contains(&word.as_str())) => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str) -> Words {
        Words::of(&FieldPath(vec!["outer".into(), name.into()]))
    }

    #[test]
    fn words_are_told_apart_however_they_are_joined() {
        for name in ["dep_hour", "depHour", "dep-hour", "dep hour", "Dep.Hour", "_dep__hour_"] {
            assert_eq!(words(name).0, ["dep", "hour"], "{name}");
        }
        assert_eq!(words("").0, [""; 0]);
        assert_eq!(words("ÄrgerÖl").0, ["ärger", "öl"]);
    }

    #[test]
    fn names_say_what_they_are_wanted_for() {
        assert_eq!(
            ["target", "claims", "y", "delay_minutes", "wind"].map(|name| words(name).target_rank()),
            [4, 3, 2, 1, 0]
        );
        let cycles =
            ["dep_hour", "day_of_week", "month", "months", "day", "wind_dir"].map(|name| words(name).cycle());
        assert_eq!(cycles, [Some(24.0), Some(7.0), Some(12.0), None, Some(31.0), None]);
        assert!(
            words("wind_dir").is_direction() && words("customerId").is_id() && words("MS.Zone").is_code()
        );
        let times = ["ts", "event_time", "departed_at", "order_date", "atmosphere"]
            .map(|name| words(name).time_rank());
        assert_eq!(times, [Some(0), Some(0), Some(1), Some(2), None]);
    }
}
