//! The default model in the place of the flights' own.

/// The default net but for its size, its layers, averaging and optimiser; neither calibrated nor with shortfalls.
pub const DEFAULTS: [&str; 5] = [
    "model.flows=[\"radial\",\"radial\",\"radial\",\"radial\",\"tail\"]",
    "learn.average=0.95",
    "learn.optimizer=adam",
    "score.calibrate=off",
    "score.shortfall=[]",
];
