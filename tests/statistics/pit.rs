//! How far probability integral transforms are from uniform.

/// Kolmogorov's distance of these, sorted, from uniform.
pub fn distance(pits: &[f64]) -> f64 {
    distance_above(pits, 0.0)
}

/// The same within the upper 1 %, relative to it.
pub fn tail_distance(pits: &[f64]) -> f64 {
    distance_above(pits, 0.99) / 0.01
}

fn distance_above(pits: &[f64], from: f64) -> f64 {
    let n = pits.len() as f64;
    let above = pits.iter().enumerate().filter(|(_, pit)| **pit >= from);
    above.map(|(i, pit)| (i as f64 / n - pit).abs().max(((i + 1) as f64 / n - pit).abs())).fold(0.0, f64::max)
}
