//! What is told about a config: label values of its metrics, and how its distributions are to be read.

use serde_json::json;

use crate::{
    config::{Config, FlowKind, ModelKind, Support},
    density::Density,
    metrics::MetricsSpec,
    operator::category_features,
};

/// The label values that this config's metrics have from the start.
#[must_use]
pub fn metrics(config: &Config) -> MetricsSpec {
    MetricsSpec {
        features: config.features.iter().map(|f| f.name.clone()).collect(),
        categories: category_features(config).iter().map(|&i| config.features[i].name.clone()).collect(),
        quantiles: config.score.quantiles.iter().map(ToString::to_string).collect(),
        thresholds: config.score.exceed.iter().map(|t| t.name.clone()).collect(),
        libtorch: env!("TAILWATER_LIBTORCH"),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// How to read the column `params`, as JSON: the schema's metadata `tailwater.model`.
#[must_use]
pub fn params_description(config: &Config, density: &dyn Density) -> String {
    let layout = match config.model.kind {
        ModelKind::Nfn => "the flows' raw parameters from the base to the data",
        ModelKind::Mdn => "logits, means and raw scales of the Gaussians",
        ModelKind::Kmn => "logits of the kernels place by place, places, raw scales",
    };
    let of_u = match config.target.support {
        Support::Real => "u having that density",
        Support::Positive => "u = log(1 + exp(v)), v having that density",
    };
    let mut description = json!({
        "kind": config.model.kind.name(),
        "density_params": density.num_params(),
        "layout": format!("{layout}, then center and scale of the target: y = center + scale * u, {of_u}"),
    });
    if config.model.kind == ModelKind::Nfn {
        description["flows"] = config.model.flows.iter().copied().map(FlowKind::name).collect();
    }
    if let Some(step) = config.target.step {
        description["step"] = step.into();
    }
    description.to_string()
}
