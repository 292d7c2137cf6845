//! Gaussian quadrature with n points, exact for polynomials of degree below 2n: Gauss–Laguerre, ∫₀^∞ f(s) e⁻ˢ ds ≈ Σ wᵢ f(sᵢ),
//! and Gauss–Legendre, ∫₀¹ f(s) ds ≈ Σ wᵢ f(sᵢ).

/// The nodes, ascending, and the weights of the rule with `n` points, 1 ≤ n ≤ 128.
///
/// The nodes are the eigenvalues of the Laguerre polynomials' Jacobi matrix (Golub & Welsch 1969), found by
/// bisection on its Sturm sequence; the weights are the Christoffel numbers 1 / Σₖ Lₖ(s)².
///
/// # Panics
/// If `n` is outside 1..=128, beyond which the polynomials overflow.
#[must_use]
pub fn gauss_laguerre(n: usize) -> (Vec<f64>, Vec<f64>) {
    assert!((1..=128).contains(&n), "a rule has 1 to 128 points, not {n}");
    let nodes: Vec<f64> = (0..n).map(|nth| node(n, nth)).collect();
    let weights = nodes.iter().map(|&x| weight(n, x)).collect();
    (nodes, weights)
}

/// The nodes in (0, 1), ascending, and the weights of Gauss–Legendre's rule with `n` ≥ 1 points.
///
/// Newton's method on the Legendre polynomial from Tricomi's first guess at its roots; weights 2 / ((1 − x²) Pₙ′(x)²), halved.
#[must_use]
pub fn gauss_legendre(n: usize) -> (Vec<f64>, Vec<f64>) {
    let root = |nth: usize| {
        let mut x = -(std::f64::consts::PI * (nth as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let value;
            (value, slope) = legendre(n, x);
            x -= value / slope;
        }
        (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(root).unzip()
}

/// Pₙ(x) and its derivative, for |x| < 1.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut previous, mut current) = (0.0, 1.0);
    for k in 0..n {
        let k = k as f64;
        (previous, current) = (current, ((2.0 * k + 1.0) * x * current - k * previous) / (k + 1.0));
    }
    (current, n as f64 * (previous - x * current) / (1.0 - x * x))
}

/// The `nth` lowest eigenvalue of the matrix with 2i + 1 on its diagonal and i beside it.
fn node(n: usize, nth: usize) -> f64 {
    let (mut low, mut high) = (0.0, 4.0 * n as f64);
    loop {
        let middle = 0.5 * (low + high);
        if !(low < middle && middle < high) {
            return middle;
        }
        if eigenvalues_below(n, middle) > nth {
            high = middle;
        } else {
            low = middle;
        }
    }
}

/// As many as there are negative pivots (Sylvester's law of inertia).
fn eigenvalues_below(n: usize, x: f64) -> usize {
    let mut pivot = 1.0;
    let mut negative = 0;
    for i in 0..n {
        let i = i as f64;
        pivot = 2.0 * i + 1.0 - x - i * i / pivot;
        if pivot == 0.0 {
            pivot = f64::MIN_POSITIVE.sqrt();
        }
        negative += usize::from(pivot < 0.0);
    }
    negative
}

fn weight(n: usize, x: f64) -> f64 {
    let (mut previous, mut current, mut sum) = (0.0, 1.0, 0.0);
    for k in 0..n {
        sum += current * current;
        let k = k as f64;
        (previous, current) = (current, ((2.0 * k + 1.0 - x) * current - k * previous) / (k + 1.0));
    }
    1.0 / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_points_are_the_known_ones() {
        let (nodes, weights) = gauss_laguerre(2);
        let root = 2f64.sqrt();
        for (actual, expected) in nodes.iter().zip([2.0 - root, 2.0 + root]) {
            assert!((actual - expected).abs() < 1e-15 * 4.0);
        }
        for (actual, expected) in weights.iter().zip([(2.0 + root) / 4.0, (2.0 - root) / 4.0]) {
            assert!((actual - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn polynomials_are_integrated_exactly_over_the_unit_interval() {
        for n in [1, 2, 5, 24, 64] {
            let (nodes, weights) = gauss_legendre(n);
            assert!(nodes.is_sorted() && nodes.iter().all(|x| (0.0..1.0).contains(x)));
            for power in 0..2 * n {
                let sum: f64 = nodes.iter().zip(&weights).map(|(x, w)| w * x.powi(power as i32)).sum();
                assert!((sum * (power + 1) as f64 - 1.0).abs() < 1e-12, "n = {n}, s^{power}: {sum:e}");
            }
        }
    }

    #[test]
    fn polynomials_are_integrated_exactly() {
        for n in [1, 3, 16, 32, 64, 128] {
            let (nodes, weights) = gauss_laguerre(n);
            let mut factorial = 1.0;
            for power in 0..(2 * n).min(40) {
                factorial *= (power as f64).max(1.0);
                let sum: f64 = nodes.iter().zip(&weights).map(|(x, w)| w * x.powi(power as i32)).sum();
                assert!((sum / factorial - 1.0).abs() < 1e-11, "n = {n}, s^{power}: {sum:e}");
            }
        }
    }

    #[test]
    fn nodes_ascend_and_weights_are_positive() {
        for n in [1, 32, 128] {
            let (nodes, weights) = gauss_laguerre(n);
            assert!(nodes.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(weights.iter().all(|&w| w > 0.0 && w.is_finite()));
        }
    }
}
