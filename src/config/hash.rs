//! The hash of what changes the numbers.

use xxhash_rust::xxh3::xxh3_64;

use super::Config;

impl Config {
    /// A short hash, in hexadecimal, of everything that changes the scores: event time, features, target, model,
    /// learning and figures. Brokers, topics and batching of the output leave it as it is, and so does the way in
    /// which a value was written.
    #[must_use]
    pub fn hash(&self) -> String {
        let Self { input, features, target, model, learn, score, .. } = self;
        // What these print is kept by a test, so that no release changes the hash unawares.
        let text = format!("{:?}", (&input.time, features, target, model, learn, score));
        format!("{:016x}", xxh3_64(text.as_bytes()))
    }
}
