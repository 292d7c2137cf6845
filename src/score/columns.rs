//! The names of the score columns.

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
}
