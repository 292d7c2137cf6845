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
    /// P(Z > z) = (1 + z / ν)^−ν for z > 0: positive, with the tail index 1 / ν.
    Lomax(u32),
}

/// How targets come about: location and scale are functions of the features, the noise is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stream {
    pub name: &'static str,
    pub noise: Noise,
    /// How much the scale differs between events.
    pub spread: Spread,
    /// What targets are rounded to.
    pub step: Option<f64>,
    /// How the stream changes as it goes on.
    pub change: Change,
}

/// How a stream changes as it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    Never,
    /// From this event on the location has the other sign and the scale is doubled.
    Break {
        at: usize,
    },
    /// Location and scale grow by so much over so many events, and stay there.
    Ramp {
        factor: f64,
        over: usize,
    },
    /// The features that location and scale are functions of turn into each other, once around in so many events.
    Turn {
        period: usize,
    },
}

/// How much the scale differs between events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// By the threefold.
    Usual,
    /// By the thirtyfold.
    Wide,
}

const fn usual(name: &'static str, noise: Noise) -> Stream {
    Stream { name, noise, spread: Spread::Usual, step: None, change: Change::Never }
}

pub const STUDENT_3: Stream = usual("student-t 3", Noise::StudentT(3));
pub const GAUSSIAN: Stream = usual("gaussian", Noise::Gaussian);
pub const ROUNDED: Stream = Stream { name: "rounded t 3", step: Some(0.5), ..usual("", Noise::StudentT(3)) };
pub const POSITIVE: Stream = usual("positive 3", Noise::Lomax(3));
pub const MIXTURE: Stream = usual("mixture", Noise::Mixture);

pub const BREAK: Stream =
    Stream { name: "break", change: Change::Break { at: 50_000 }, ..usual("", Noise::Gaussian) };
pub const RAMP: Stream = Stream {
    name: "ramp",
    change: Change::Ramp { factor: 100.0, over: 1_000_000 },
    ..usual("", Noise::StudentT(5))
};

pub const TURN: Stream =
    Stream { name: "turn", change: Change::Turn { period: 500_000 }, ..usual("", Noise::StudentT(5)) };

pub const STREAMS: [Stream; 10] = [
    usual("student-t 2", Noise::StudentT(2)),
    STUDENT_3,
    usual("student-t 5", Noise::StudentT(5)),
    usual("student-t 30", Noise::StudentT(30)),
    GAUSSIAN,
    usual("skew-normal 4", Noise::SkewNormal(4.0)),
    MIXTURE,
    Stream { name: "wide scale", spread: Spread::Wide, ..usual("", Noise::Gaussian) },
    ROUNDED,
    POSITIVE,
];

impl Stream {
    /// What a config says of such a target.
    pub fn sets(&self) -> Vec<String> {
        let step = self.step.map(|step| format!("target.step={step}"));
        let support = self.is_positive().then(|| "target.support=positive".to_owned());
        step.into_iter().chain(support).collect()
    }

    fn is_positive(&self) -> bool {
        matches!(self.noise, Noise::Lomax(_))
    }

    /// The distribution of the target of the stream's nth event, which has these features.
    pub fn given(&self, nth: usize, x: [f64; NUM_FEATURES]) -> Truth {
        let x = match self.change {
            Change::Turn { period } => {
                let (sin, cos) = (std::f64::consts::TAU * nth as f64 / period as f64).sin_cos();
                [cos * x[0] - sin * x[1], sin * x[0] + cos * x[1]]
            }
            _ => x,
        };
        let location = if self.is_positive() { 0.0 } else { x[0] + 0.5 * (2.0 * x[1]).sin() };
        let log_scale = match self.spread {
            Spread::Usual => 0.3 * x[0] - 0.2 * x[1] * x[1],
            Spread::Wide => 1.5 * x[0] - 0.4 * x[1] * x[1],
        };
        let scale = log_scale.exp();
        let (location, scale) = match self.change {
            Change::Break { at } if nth >= at => (-location, 2.0 * scale),
            Change::Ramp { factor, over } => {
                let grown = factor.powf(nth.min(over) as f64 / over as f64);
                (grown * (location + 2.0), grown * scale)
            }
            _ => (location, scale),
        };
        Truth { noise: self.noise, step: self.step, location, scale }
    }
}

/// A target's distribution given its features: m(x) + s(x) times the noise, perhaps rounded.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    noise: Noise,
    step: Option<f64>,
    location: f64,
    scale: f64,
}

impl Truth {
    pub fn draw(&self, draws: &mut Draws) -> f64 {
        let y = self.location + self.scale * self.noise.draw(draws);
        self.step.map_or(y, |step| (y / step).round() * step)
    }

    /// log p(y|x), in nats; of a rounded target, the logarithm of its probability.
    pub fn log_score(&self, y: f64) -> f64 {
        let noise = |y: f64| (y - self.location) / self.scale;
        match self.step {
            None => self.noise.log_density(noise(y)) - self.scale.ln(),
            Some(step) => {
                let (low, high) = (noise(y - 0.5 * step), noise(y + 0.5 * step));
                // The noises that are rounded are symmetric: the smaller side keeps its digits.
                let (low, high) = if low + high > 0.0 { (low, high) } else { (-high, -low) };
                (self.noise.survival(low) - self.noise.survival(high)).ln()
            }
        }
    }

    /// P(Y > t|x).
    pub fn exceeds(&self, t: f64) -> f64 {
        let t = self.step.map_or(t, |step| ((t / step).floor() + 0.5) * step);
        self.noise.survival((t - self.location) / self.scale)
    }

    /// Where the noise's quantile lies for these features; of a rounded target, the multiple that it is rounded to.
    pub fn place(&self, noise_quantile: f64) -> f64 {
        let y = self.location + self.scale * noise_quantile;
        self.step.map_or(y, |step| (y / step - 0.5).ceil() * step)
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
            Self::Lomax(power) => {
                let power = f64::from(power);
                power * (draws.uniform().powf(-1.0 / power) - 1.0)
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
            Self::Lomax(power) => -(f64::from(power) + 1.0) * (z / f64::from(power)).ln_1p(),
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
            Self::Lomax(power) => (-f64::from(power) * (z.max(0.0) / f64::from(power)).ln_1p()).exp(),
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
            Self::StudentT(freedom) | Self::Lomax(freedom) => 1.0 / f64::from(freedom),
            Self::Gaussian | Self::SkewNormal(_) | Self::Mixture => 0.0,
        }
    }
}

fn student(freedom: u32) -> StudentsT {
    StudentsT::new(0.0, 1.0, f64::from(freedom)).unwrap()
}
