//! Reads `tests/golden/backtest.json`, which `tests/golden/backtest.py` writes, and draws what both make their series of.

#![allow(clippy::unwrap_used)]

use serde_json::Value;

/// One case: what went in, and what a reference implementation made of it.
#[derive(Debug)]
pub struct Case(Value);

/// The cases of a section.
pub fn cases(section: &str) -> Vec<Case> {
    let file: Value = serde_json::from_str(include_str!("../../../tests/golden/backtest.json")).unwrap();
    let cases = file[section]["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases.into_iter().map(Case).collect()
}

impl Case {
    pub fn number(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap_or_else(|| panic!("{key} of {}", self.0))
    }

    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap()
    }

    pub fn numbers(&self, key: &str) -> Vec<f64> {
        self.0[key].as_array().unwrap().iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
    }

    /// Panics unless `actual` is what is said under `key`, but for so much of it.
    #[track_caller]
    pub fn check(&self, key: &str, actual: f64, tolerance: f64) {
        let expected = self.number(key);
        assert!(
            (actual - expected).abs() <= tolerance * expected.abs(),
            "{key} = {actual:e}, expected {expected:e}, of {}",
            self.0
        );
    }
}

/// Knuth's linear congruential generator of MMIX.
#[derive(Debug)]
pub struct Lcg(pub u64);

impl Lcg {
    /// Uniform on (0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        crate::math::normal::quantile(self.uniform())
    }
}

/// Panics unless about the shares of 1 %, 10 % and 50 % of these p-values are below that: within four standard deviations and
/// `slack` times the share.
#[track_caller]
pub fn check_uniform(p_values: &[f64], slack: f64) {
    let n = p_values.len() as f64;
    for level in [0.01, 0.1, 0.5] {
        let share = p_values.iter().filter(|&&p| p <= level).count() as f64 / n;
        let most = 4.0 * (level * (1.0 - level) / n).sqrt() + slack * level;
        assert!((share - level).abs() <= most, "{share} of p-values are below {level}");
    }
}
