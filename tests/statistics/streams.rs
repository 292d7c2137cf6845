//! Streams whose truth is known: the target's distribution given its features, to be learned and to be compared with.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};
use tailwater::{math::normal, model::noise::Draws};

/// How many features an event has.
pub const NUM_FEATURES: usize = 2;
/// The probabilities of exceeding that are compared.
pub const TAIL_PROBABILITIES: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// The noise around the location, in units of the scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    Gaussian,
    /// With so many degrees of freedom: the tail index is one over them.
    StudentT(u32),
    /// Azzalini's, with this shape.
    SkewNormal(f64),
    /// Two Gaussians of equal weight and different widths, apart from each other.
    Mixture,
}

/// A target's distribution given its features: m(x) + s(x) times the noise.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    pub noise: Noise,
    location: f64,
    scale: f64,
}

impl Truth {
    /// Location and scale are smooth functions of both features.
    pub fn given(noise: Noise, x: [f64; NUM_FEATURES]) -> Self {
        let location = x[0] + 0.5 * (2.0 * x[1]).sin();
        let scale = (0.3 * x[0] - 0.2 * x[1] * x[1]).exp();
        Self { noise, location, scale }
    }

    pub fn draw(&self, draws: &mut Draws) -> f64 {
        self.location + self.scale * self.noise.draw(draws)
    }

    /// log p(y|x), in nats.
    pub fn log_density(&self, y: f64) -> f64 {
        self.noise.log_density((y - self.location) / self.scale) - self.scale.ln()
    }

    /// Where the noise's quantile lies for these features.
    pub fn place(&self, noise_quantile: f64) -> f64 {
        self.location + self.scale * noise_quantile
    }
}

const APART: f64 = 1.5;
const WIDTHS: [f64; 2] = [0.5, 1.0];

impl Noise {
    fn draw(self, draws: &mut Draws) -> f64 {
        match self {
            Self::Gaussian => draws.normal(),
            Self::StudentT(freedom) => {
                let z = draws.normal();
                let chi_squared: f64 = (0..freedom).map(|_| draws.normal().powi(2)).sum();
                z / (chi_squared / f64::from(freedom)).sqrt()
            }
            Self::SkewNormal(shape) => {
                let delta = shape / shape.hypot(1.0);
                delta * draws.normal().abs() + (1.0 - delta * delta).sqrt() * draws.normal()
            }
            Self::Mixture => {
                let (sign, width) = if draws.uniform() < 0.5 { (-1.0, WIDTHS[0]) } else { (1.0, WIDTHS[1]) };
                sign * APART + width * draws.normal()
            }
        }
    }

    fn log_density(self, z: f64) -> f64 {
        match self {
            Self::Gaussian => normal::log_pdf(z),
            Self::StudentT(freedom) => student(freedom).ln_pdf(z),
            Self::SkewNormal(shape) => {
                std::f64::consts::LN_2 + normal::log_pdf(z) + normal::log_cdf(shape * z)
            }
            Self::Mixture => {
                let part = |center: f64, width: f64| normal::log_pdf((z - center) / width) - width.ln();
                let (a, b) = (part(-APART, WIDTHS[0]), part(APART, WIDTHS[1]));
                a.max(b) + (-(a - b).abs()).exp().ln_1p() - std::f64::consts::LN_2
            }
        }
    }

    /// P(noise > z).
    pub fn survival(self, z: f64) -> f64 {
        match self {
            Self::Gaussian => normal::cdf(-z),
            Self::StudentT(freedom) => student(freedom).sf(z),
            // P(Z > z) of a skew normal is the integral of its density: Simpson's rule over what has any of it.
            Self::SkewNormal(_) => {
                const STEPS: u32 = 2_000;
                let h = (z.max(0.0) + 12.0 - z) / f64::from(STEPS);
                let weight = |i: u32| if i == 0 || i == STEPS { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
                let sum: f64 =
                    (0..=STEPS).map(|i| weight(i) * self.log_density(z + f64::from(i) * h).exp()).sum();
                sum * h / 3.0
            }
            Self::Mixture => {
                0.5 * (normal::cdf((-APART - z) / WIDTHS[0]) + normal::cdf((APART - z) / WIDTHS[1]))
            }
        }
    }

    /// The z that is exceeded with probability `p`.
    pub fn exceeded_with(self, p: f64) -> f64 {
        let (mut low, mut high) = (-1e6, 1e6);
        while high - low > 1e-12 * (1.0 + f64::abs(high)) {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.survival(middle) > p { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }

    /// The upper tail's index; 0 where it falls faster than any power.
    pub fn tail_index(self) -> f64 {
        match self {
            Self::StudentT(freedom) => 1.0 / f64::from(freedom),
            Self::Gaussian | Self::SkewNormal(_) | Self::Mixture => 0.0,
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::Gaussian => "gaussian".into(),
            Self::StudentT(freedom) => format!("student-t {freedom}"),
            Self::SkewNormal(shape) => format!("skew-normal {shape}"),
            Self::Mixture => "mixture".into(),
        }
    }
}

fn student(freedom: u32) -> StudentsT {
    StudentsT::new(0.0, 1.0, f64::from(freedom)).unwrap()
}
