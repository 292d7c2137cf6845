//! What is wrong with a configuration: all of it at once.

use std::fmt;

/// Where a value came from. Ordered as errors are listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// This line of the file, from 1.
    Line(usize),
    /// This environment variable.
    Variable(String),
    /// A `--set` argument.
    Set,
    /// Nowhere: the key is missing, or its value is a default.
    Unset,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.pad(&format!("line {line}")),
            Self::Variable(name) => f.pad(name),
            Self::Set => f.pad("--set"),
            Self::Unset => f.pad(""),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where the value came from.
    pub origin: Origin,
    /// The dotted key; empty where the whole file is meant.
    pub key: String,
    /// The value as it was written, shortened; `None` where there is none, or where it may hold a secret.
    pub shown: Option<String>,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.shown, self.key.is_empty()) {
            (_, true) => f.write_str(&self.problem),
            (Some(shown), _) => write!(f, "{} = {shown}: {}", self.key, self.problem),
            (None, _) => write!(f, "{}: {}", self.key, self.problem),
        }
    }
}

/// Everything that is wrong with a configuration, by line; never empty. Nothing but an edit helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", list(.file_name, .errors))]
pub struct ConfigErrors {
    /// The file, as the user named it.
    pub file_name: String,
    /// What is wrong, in the order of the lines; what came from elsewhere or is missing stands last.
    pub errors: Vec<ConfigError>,
}

fn list(file_name: &str, errors: &[ConfigError]) -> String {
    let plural = if errors.len() == 1 { "error" } else { "errors" };
    let width = errors.iter().map(|error| error.origin.to_string().chars().count()).max().unwrap_or(0);
    let mut text = format!("{file_name}: {} {plural}", errors.len());
    for error in errors {
        let origin = if width == 0 { String::new() } else { format!("{:width$}  ", error.origin) };
        text.push_str(&format!("\n  {origin}{error}"));
    }
    text
}

/// Collects errors while a configuration is read.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<ConfigError>);

impl Errors {
    pub fn push(&mut self, origin: &Origin, key: &str, shown: Option<String>, problem: impl Into<String>) {
        // Whatever stands in these may be a password, also where it is misplaced or malformed.
        let may_be_secret = key == "kafka" || key.starts_with("kafka.properties");
        self.0.push(ConfigError {
            origin: origin.clone(),
            key: key.to_owned(),
            shown: shown.filter(|_| !may_be_secret),
            problem: problem.into(),
        });
    }

    /// Whether something is already known to be wrong with a key, with a part of it or with the table it stands in.
    pub fn concern(&self, key: &str) -> bool {
        let holds = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.0.iter().any(|error| holds(key, &error.key) || holds(&error.key, key))
    }

    /// All of them as one error, if there are any.
    pub fn into_result(mut self, file_name: &str) -> Result<(), ConfigErrors> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| a.origin.cmp(&b.origin)); // stable: within a line, in the order of reading
        Err(ConfigErrors { file_name: file_name.to_owned(), errors: self.0 })
    }
}

/// The candidate that a mistyped word most likely meant, if one is close.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let near = candidates.into_iter().map(|candidate| (edits(word, candidate), candidate));
    near.filter(|&(edits, _)| edits <= limit).min_by_key(|&(edits, _)| edits).map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
            };
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_typo_is_one_edit_and_a_stranger_has_no_suggestion() {
        assert_eq!(edits("rte", "rate"), 1);
        assert_eq!(edits("toipc", "topic"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(closest("quantile", ["exceed", "quantiles"]), Some("quantiles"));
        assert_eq!(closest("banana", ["exceed", "quantiles"]), None);
    }

    #[test]
    fn values_that_may_be_secrets_are_not_kept() {
        let mut errors = Errors::default();
        errors.push(&Origin::Set, "kafka.properties.sasl.password", Some("hunter2".into()), "wrong");
        errors.push(&Origin::Set, "kafka", Some("hunter2".into()), "wrong");
        let text = errors.into_result("t.toml").unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_error_concerns_its_key_its_parts_and_its_table() {
        let mut errors = Errors::default();
        errors.push(&Origin::Unset, "score.exceed[1]", None, "wrong");
        assert!(errors.concern("score.exceed"));
        assert!(errors.concern("score"));
        assert!(!errors.concern("score.exceeding"));
        errors.push(&Origin::Unset, "output", None, "wrong");
        assert!(errors.concern("output.topic"));
    }
}
