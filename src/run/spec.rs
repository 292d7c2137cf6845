//! What is told about a config: label values of its metrics, and how its distributions are to be read.

use serde_json::json;

use crate::{
    config::{Calibrate, Config, FlowKind, ModelKind, Support},
    density::{Densities, Density},
    metrics::MetricsSpec,
    model,
    operator::category_features,
    record,
    score::{
        Outcome, Scored,
        columns::{self, Columns},
        exceed::Exceed,
        row::{Provenance, RowSchema},
    },
};

/// The label values that this config's metrics have from the start.
#[must_use]
pub fn metrics(config: &Config) -> MetricsSpec {
    let fields = 0..config.target.fields.len();
    let levels = config.score.quantiles.iter();
    let quantiles =
        levels.flat_map(|p| fields.clone().map(move |axis| format!("{}{p}", columns::prefix(config, axis))));
    MetricsSpec {
        features: config.features.iter().map(|f| f.name.clone()).collect(),
        categories: category_features(config).iter().map(|&i| config.features[i].name.clone()).collect(),
        quantiles: quantiles.collect(),
        thresholds: Exceed::all(config).iter().map(Exceed::label).collect(),
        libtorch: env!("TAILWATER_LIBTORCH"),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// The schemas of the scores and of the outcomes.
#[must_use]
pub fn schemas(config: &Config) -> (RowSchema<Scored>, RowSchema<Outcome>) {
    let columns = Columns::new(config);
    let hash = config.hash();
    let density = Densities::new(config).published();
    let model = params_description(config, density.as_ref());
    let provenance = Provenance {
        version: env!("CARGO_PKG_VERSION"),
        group: &config.kafka.group,
        config: &hash,
        model: &model,
    };
    let (carry, format) = (record::carry_types(config), config.input.format);
    let num_params = model::num_params(density.as_ref());
    (
        RowSchema::scores(&columns, &carry, format, num_params, &provenance),
        RowSchema::outcomes(&columns, &carry, format, &provenance),
    )
}

/// How to read the column `params`, as JSON: the schema's metadata `tailwater.model`.
fn params_description(config: &Config, density: &dyn Density) -> String {
    let layout = match config.model.kind {
        ModelKind::Nfn => "the flows' raw parameters from the base to the data",
        ModelKind::Mdn => "ten logits, ten means, ten raw scales; scale = 0.001 + log(1 + exp(raw))",
        ModelKind::Kmn => {
            "40 logits (20 places by 2 scales), 20 places, 2 raw scales; scale = 0.001 + log(1 + exp(raw))"
        }
    };
    let of_u = match config.target.support {
        Support::Real => "u having that density",
        Support::Positive => {
            "u having that density, each of whose parts is that of log(1 + exp(x)) where x has the part's own"
        }
    };
    let of_baseline = if density.dim() == 1 {
        ", then the baseline's: location m, log scale s, raw lower and upper index, log share v, shift, ratio; the density is \
         (1 - exp(v)) times the net's at u plus exp(v) times that of a tail layer at (u - shift) / ratio, over ratio; \
         v = 0: there is no net yet"
    } else {
        ""
    };
    let of_map = match config.score.calibrate {
        Calibrate::Off => "",
        Calibrate::Online => {
            ", then the calibrating map's: z0 and seven log slopes; F being those raw parameters' distribution function, the net's is \
             Phi(x(Phi^-1(F(u)))), where x(z) is the inverse of z(x) = z0 + integral of s from 0 to x, s being linear between these slopes \
             at -3, -2 .. 3 and constant beyond"
        }
    };
    let mut description = json!({
        "kind": config.model.kind.name(),
        "density_params": density.num_params(),
        "layout": format!(
            "{layout}{of_map}{of_baseline}, then center and scale of each target: y = center + scale * u, {of_u}"
        ),
    });
    if config.model.kind == ModelKind::Nfn {
        description["flows"] = config.model.flows.iter().copied().map(FlowKind::name).collect();
    }
    if density.dim() > 1 {
        description["targets"] = config.target.fields.iter().map(ToString::to_string).collect();
    }
    if let Some(step) = config.target.step {
        description["step"] = step.into();
    }
    description.to_string()
}
