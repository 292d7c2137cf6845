//! What becomes of a model's scores: each is held against its target, wherever that came, and written down.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc::Receiver},
};

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};

use super::{Place, ReplayError, compare::Comparer, lane::Taken};
use crate::{
    backtest::Backtest,
    config::Config,
    density::Densities,
    kafka::client::lock,
    record::{Event, Known},
    run::spec,
    score::{Score, Scored, arrow::BatchBuilder, figures::Figures},
};

/// Rows to a batch of the file.
const BATCH_ROWS: usize = 4_096;
/// Rows to a group of the file: as many are in memory until it is written.
const GROUP_ROWS: usize = 32_768;

/// Judges one model's scores.
pub struct Judge<'a> {
    figures: Figures,
    /// How long an event waits for its target, µs.
    wait_us: i64,
    backtest: Backtest,
    scores: ScoreFile,
    /// Where the scores of several models meet, and which of them this one is.
    comparer: Option<(&'a Mutex<Comparer>, usize)>,
}

impl<'a> Judge<'a> {
    /// A judge of this config's scores, who writes them into a file.
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn new(
        config: &Config,
        file: &Path,
        backtest: Backtest,
        comparer: Option<(&'a Mutex<Comparer>, usize)>,
    ) -> Result<Self, ReplayError> {
        Ok(Self {
            figures: Figures::new(config, Densities::new(config).published()),
            wait_us: i64::try_from(config.target.wait.as_micros()).unwrap_or(i64::MAX),
            backtest,
            scores: ScoreFile::create(config, file)?,
            comparer,
        })
    }

    /// Judges whatever comes.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn run(mut self, taken: &Receiver<Vec<Taken>>) -> Result<Self, ReplayError> {
        while let Ok(taken) = taken.recv() {
            let mut judged = Vec::new();
            for one in taken {
                let (place, scores) = match one {
                    Taken::Scored(scored) => {
                        let scored = self.with_target(scored);
                        self.scores.push(&scored)?;
                        let scores = self.backtest.push(&scored).map(Into::into);
                        (place(&scored.event), scores)
                    }
                    Taken::Passed { partition, at } => ((partition, at), None),
                };
                judged.push((place, scores));
            }
            if let Some((comparer, nth)) = self.comparer {
                lock(comparer).put(nth, judged);
            }
        }
        Ok(self)
    }

    /// Nothing more comes, and all was well: the file gets its name.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn finish(mut self) -> Result<Backtest, ReplayError> {
        self.scores.finish()?;
        Ok(self.backtest)
    }

    /// The score with its target, wherever that came in time.
    fn with_target(&mut self, scored: Scored) -> Scored {
        if !self.comes(&scored.event) || !scored.score.realized.log_score.is_nan() {
            return scored;
        }
        let judged = scored.score.held_back.get().cloned();
        let realized = judged.unwrap_or_else(|| self.figures.realize(&scored.score.params, &scored.event));
        let score = Score { realized, ..Score::clone(&scored.score) };
        Scored { score: Arc::new(score), ..scored }
    }

    /// Whether the event has a target that becomes known within the time that it waits.
    fn comes(&self, event: &Event) -> bool {
        event.target.as_ref().is_some_and(|target| match target.known {
            Known::WithEvent => true,
            Known::At(known_us) => known_us <= event.time_us.saturating_add(self.wait_us),
        })
    }
}

/// Scores in a Parquet file, which has its name when it is whole, and is gone where that does not come.
struct ScoreFile {
    batch: BatchBuilder<Scored>,
    writer: Option<ArrowWriter<File>>,
    partial: PathBuf,
    path: PathBuf,
}

impl ScoreFile {
    fn create(config: &Config, path: &Path) -> Result<Self, ReplayError> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let fault =
            |error: io::Error| ReplayError::Write { file: path.to_owned(), reason: error.to_string() };
        let file = File::create(&partial).map_err(fault)?;
        let schema = spec::schemas(config).0;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(format!("tailwater {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = ArrowWriter::try_new(file, schema.arrow().clone(), Some(properties))
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self { batch: BatchBuilder::new(&schema)?, writer: Some(writer), partial, path: path.to_owned() })
    }

    fn push(&mut self, scored: &Scored) -> Result<(), ReplayError> {
        self.batch.push(scored);
        if self.batch.num_rows() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), ReplayError> {
        let batch = self.batch.take()?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(&batch.rows).map_err(|error| unwritable(&self.path, &error))
    }

    fn finish(&mut self) -> Result<(), ReplayError> {
        self.write()?;
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer.into_inner().map_err(|error| unwritable(&self.path, &error))?;
        let fault =
            |error: io::Error| ReplayError::Write { file: self.path.clone(), reason: error.to_string() };
        file.sync_all().map_err(fault)?;
        fs::rename(&self.partial, &self.path).map_err(fault)
    }
}

impl Drop for ScoreFile {
    fn drop(&mut self) {
        // By now it most often has its name.
        fs::remove_file(&self.partial).ok();
    }
}

fn unwritable(path: &Path, error: &ParquetError) -> ReplayError {
    ReplayError::Write { file: path.to_owned(), reason: error.to_string() }
}

fn place(event: &Event) -> Place {
    (event.partition, event.position())
}
