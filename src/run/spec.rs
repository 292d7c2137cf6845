//! What is told about a config: label values of its metrics, and how its distributions are to be read.

use serde_json::json;

use crate::{
    config::{Config, FlowKind},
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
    json!({
        "kind": "nfn",
        "flows": config.model.flows.iter().copied().map(FlowKind::name).collect::<Vec<_>>(),
        "density_params": density.num_params(),
        "layout": "the flows' raw parameters from the base to the data, then center and scale of the target: \
                   y = center + scale * u, u having the flows' density",
    })
    .to_string()
}
