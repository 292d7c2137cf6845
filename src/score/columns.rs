//! The names of the score columns: safe in SQL, and a function of the configuration alone.

use super::exceed::Exceed;
use crate::config::{Config, FieldPath};

/// The columns that every score batch or outcome batch has.
pub const FIXED: [&str; 13] = [
    "key",
    "partition",
    "offset",
    "row",
    "time",
    "epoch",
    "updates",
    "status",
    "target",
    "target_time",
    "log_score",
    "pit",
    "params",
];

/// The names of the columns that the config decides, each in the config's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The carried fields.
    pub carry: Vec<String>,
    /// `p_gt_15` …
    pub exceed: Vec<String>,
    /// `q50`, `q99_9` …
    pub quantiles: Vec<String>,
    /// `es99` …
    pub shortfall: Vec<String>,
    /// `lev_500` …
    pub limited: Vec<String>,
    /// `target`, or one for each of several fields.
    pub targets: Vec<String>,
    /// `pit`, or one for each of several fields.
    pub pits: Vec<String>,
}

impl Columns {
    /// The columns of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let prefixes: Vec<String> =
            (0..config.target.fields.len()).map(|axis| prefix(config, axis)).collect();
        let each = |name: String| prefixes.iter().map(move |prefix| format!("{prefix}{name}"));
        let levels = |kind: &str, levels: &[f64]| {
            levels.iter().flat_map(|&p| each(format!("{kind}{}", percent(p)))).collect()
        };
        Self {
            carry: config.output.carry.iter().map(field).collect(),
            exceed: Exceed::all(config).iter().map(Exceed::column).collect(),
            quantiles: levels("q", &config.score.quantiles),
            shortfall: levels("es", &config.score.shortfall),
            limited: config
                .score
                .limit
                .iter()
                .flat_map(|&limit| each(format!("lev_{}", number(limit))))
                .collect(),
            targets: each("target".to_owned()).collect(),
            pits: each("pit".to_owned()).collect(),
        }
    }

    /// The figures' columns, in the order in which they are computed and published.
    pub fn figures(&self) -> impl Iterator<Item = &String> {
        [&self.exceed, &self.quantiles, &self.shortfall, &self.limited].into_iter().flatten()
    }
}

/// What stands before the name of a figure of one target field: nothing where there is only one, else the field's name and two
/// underscores.
pub(crate) fn prefix(config: &Config, axis: usize) -> String {
    match config.target.fields.as_slice() {
        [_] => String::new(),
        fields => format!("{}__", field(&fields[axis])),
    }
}

/// A finite number within a name: its shortest decimal form, the point as `_`, a minus as `m`.
pub(crate) fn number(value: f64) -> String {
    let value = if value == 0.0 { 0.0 } else { value }; // -0 is 0
    format!("{value}").replace('.', "_").replace('-', "m")
}

/// A field within a name: its path joined with `_`, as is whatever SQL would want in quotes.
pub(crate) fn field(path: &FieldPath) -> String {
    path.0.join("_").replace(|c: char| !c.is_alphanumeric() && c != '_', "_")
}

/// A level in (0, 1) as a percentage within a name: 0.999 is `99_9`. The point moves on the decimal digits, since
/// 100 · 0.999 is not 99.9 in floating point.
fn percent(level: f64) -> String {
    let decimal = format!("{level}");
    let digits = decimal.strip_prefix("0.").unwrap_or(&decimal);
    let (whole, rest) = digits.split_at(digits.len().min(2));
    let whole = format!("{whole:0<2}");
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    if rest.is_empty() { whole.to_owned() } else { format!("{whole}_{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_its_shortest_decimal_form() {
        let cases = [
            (15.0, "15"),
            (0.5, "0_5"),
            (-3.0, "m3"),
            (1e3, "1000"),
            (-0.0, "0"),
            (1e-7, "0_0000001"),
            (0.1, "0_1"),
        ];
        for (value, name) in cases {
            assert_eq!(number(value), name);
        }
    }

    #[test]
    fn a_level_is_a_percentage_by_its_digits() {
        let cases = [
            (0.5, "50"),
            (0.999, "99_9"),
            (0.9999, "99_99"),
            (0.05, "5"),
            (0.001, "0_1"),
            (0.29, "29"),
            (0.125, "12_5"),
        ];
        for (level, name) in cases {
            assert_eq!(percent(level), name);
        }
    }

    #[test]
    fn a_field_is_its_path_joined() {
        assert_eq!(field(&FieldPath(vec!["weather".into(), "wind-speed".into()])), "weather_wind_speed");
    }
}
