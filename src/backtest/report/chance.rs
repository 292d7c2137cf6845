//! What chance explains in a number of independent events.

/// The 95 % range of the share of `events` that something of this probability happens to; by the arcsine, whose deviation
/// does not depend on the probability.
pub fn band(probability: f64, events: u64) -> (f64, f64) {
    if events == 0 || !(0.0..=1.0).contains(&probability) {
        return (f64::NAN, f64::NAN);
    }
    let (angle, reach) = (probability.sqrt().asin(), 0.98 / (events as f64).sqrt());
    let share = |angle: f64| angle.clamp(0.0, std::f64::consts::FRAC_PI_2).sin().powi(2);
    (share(angle - reach), share(angle + reach))
}

/// How many standard deviations a share is off (Freeman & Tukey's double arcsine).
pub fn deviations(share: f64, probability: f64, events: u64) -> f64 {
    if events == 0 || !(0.0..=1.0).contains(&probability) || !(0.0..=1.0).contains(&share) {
        return f64::NAN;
    }
    let events = events as f64;
    let observed = share * events;
    let angle = |share: f64| share.clamp(0.0, 1.0).sqrt().asin();
    let both = angle(observed / (events + 1.0)) + angle((observed + 1.0) / (events + 1.0));
    (events + 0.5).sqrt() * (both - 2.0 * angle(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_is_that_of_the_normal_law_where_there_are_many() {
        let (low, high) = band(0.5, 10_000);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.5098).abs() < 1e-4, "{low} {high}");
        let (low, high) = band(0.001, 100);
        assert!(low == 0.0 && high > 0.01 && high < 0.02, "{low} {high}");
        assert!(band(0.5, 0).0.is_nan() && band(f64::NAN, 5).0.is_nan());
    }

    #[test]
    fn a_share_is_off_by_its_standard_deviations() {
        assert!((deviations(0.515, 0.5, 10_000) - 3.0).abs() < 0.01);
        assert!(deviations(0.01, 0.001, 100) < 2.0);
        assert!(deviations(0.0, 0.1, 1000) < -9.0 && deviations(2.0, 0.1, 10).is_nan());
    }
}
