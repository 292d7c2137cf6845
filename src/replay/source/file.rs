//! Records in a file: newline-delimited JSON, CSV, Parquet or Arrow, each of them also compressed with zstd.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{RecordBatch, RecordBatchReader},
    csv::{ReaderBuilder, reader::Format as CsvFormat},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
    ipc::reader::{FileReader, StreamReader},
};
use parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, errors::ParquetError};

use super::{PIECE_ROWS, Piece, lines::LineReader};

/// What a compressed file begins with (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// What an Arrow file begins with; a stream does not.
const ARROW_MAGIC: &[u8] = b"ARROW1";

/// How a file holds its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A JSON object a line.
    Json,
    /// Comma-separated values with a header line.
    Csv,
    /// Parquet.
    Parquet,
    /// An Arrow IPC file or stream.
    Arrow,
}

impl FileFormat {
    const EXTENSIONS: [(&str, Self); 9] = [
        ("json", Self::Json),
        ("jsonl", Self::Json),
        ("ndjson", Self::Json),
        ("csv", Self::Csv),
        ("parquet", Self::Parquet),
        ("arrow", Self::Arrow),
        ("arrows", Self::Arrow),
        ("feather", Self::Arrow),
        ("ipc", Self::Arrow),
    ];

    /// The format that a file's name says.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let name = name.strip_suffix(".zst").or_else(|| name.strip_suffix(".zstd")).unwrap_or(&name);
        let (_, extension) = name.rsplit_once('.')?;
        Self::EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format)
    }
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Its name says nothing of its format.
    #[error(
        "its name doesn't say what it holds; name it .ndjson, .csv, .parquet or .arrow (each also with .zst behind it)"
    )]
    Format,
    /// It can't be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what its name says.
    #[error("{0}; correct the file, or name it after the format that it has")]
    Content(String),
}

impl From<ArrowError> for FileError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Io(error),
            error => Self::Content(error.to_string()),
        }
    }
}

/// Counts the bytes that are read of a file.
struct Counted {
    file: File,
    read_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Reads a file's records from its first to its last.
pub struct FileSource {
    rows: Rows,
    next: i64,
    progress: Progress,
}

enum Rows {
    Lines(LineReader<Box<dyn BufRead>>),
    Table { batches: Batches, is_typed: bool },
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// How much of a file was read.
struct Progress {
    read: Arc<AtomicU64>,
    all: u64,
}

impl Progress {
    /// The same batches, each of which counts with its weight.
    fn counting(
        &self,
        batches: impl RecordBatchReader + 'static,
        weight: fn(&RecordBatch) -> u64,
    ) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'static {
        let read = self.read.clone();
        batches.inspect(move |batch| {
            let weight = batch.as_ref().map_or(0, weight);
            read.fetch_add(weight, Ordering::Relaxed);
        })
    }
}

impl FileSource {
    /// Opens a file. Of lines longer than `max_bytes` no more is read than shows that they are.
    ///
    /// # Errors
    /// When it is not there, or not what its name says.
    pub fn open(path: &Path, max_bytes: usize) -> Result<Self, FileError> {
        let format = FileFormat::of(path).ok_or(FileError::Format)?;
        let bytes = Progress { read: Arc::default(), all: std::fs::metadata(path)?.len() };
        let open = || open(path, &bytes.read);
        let (rows, progress) = match format {
            FileFormat::Json => (Rows::Lines(LineReader::new(open()?, max_bytes)), bytes),
            FileFormat::Csv => {
                let (header, _) = CsvFormat::default().with_header(true).infer_schema(open()?, Some(0))?;
                // What a text means is for who wants it to say: a column may look like numbers for long.
                let texts =
                    header.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true));
                let schema = Schema::new(texts.collect::<Vec<_>>());
                let reader = ReaderBuilder::new(Arc::new(schema))
                    .with_header(true)
                    .with_batch_size(PIECE_ROWS)
                    .build_buffered(open()?)?;
                (Rows::Table { batches: Box::new(reader), is_typed: false }, bytes)
            }
            FileFormat::Arrow => {
                let mut reader = open()?;
                if reader.fill_buf()?.starts_with(ARROW_MAGIC) {
                    let file = FileReader::try_new_buffered(seekable(path, reader)?, None)?;
                    let progress = Progress { read: Arc::default(), all: file.num_batches() as u64 };
                    let batches = in_pieces(progress.counting(file, |_| 1));
                    (Rows::Table { batches, is_typed: true }, progress)
                } else {
                    let batches = in_pieces(StreamReader::try_new(reader, None)?);
                    (Rows::Table { batches, is_typed: true }, bytes)
                }
            }
            FileFormat::Parquet => {
                let malformed = |error: ParquetError| FileError::Content(error.to_string());
                let file = seekable(path, open()?)?;
                let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(malformed)?;
                let num_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
                let progress = Progress { read: Arc::default(), all: num_rows };
                let reader = builder.with_batch_size(PIECE_ROWS).build().map_err(malformed)?;
                let batches = Box::new(progress.counting(reader, |batch| batch.num_rows() as u64));
                (Rows::Table { batches, is_typed: true }, progress)
            }
        };
        Ok(Self { rows, next: 0, progress })
    }

    /// The next records; `None` after the last.
    ///
    /// # Errors
    /// When it can't be read on.
    pub fn read(&mut self) -> Result<Option<Piece>, FileError> {
        match &mut self.rows {
            Rows::Lines(lines) => Ok(lines.read()?.map(|lines| {
                self.next = lines.first + lines.ranges.len() as i64;
                Piece::Lines(lines)
            })),
            Rows::Table { batches, is_typed } => {
                let Some(rows) = batches.next().transpose()? else { return Ok(None) };
                let first = self.next;
                self.next += rows.num_rows() as i64;
                Ok(Some(Piece::Table { first, rows, is_typed: *is_typed }))
            }
        }
    }

    /// The number of the record that comes next, from 0.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// How much was read, of how much: in bytes, or where a file tells them in rows or batches.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.progress.read.load(Ordering::Relaxed).min(self.progress.all), self.progress.all)
    }
}

/// A file's bytes, decompressed where they are compressed.
fn open(path: &Path, read: &Arc<AtomicU64>) -> io::Result<Box<dyn BufRead>> {
    let mut reader = BufReader::new(Counted { file: File::open(path)?, read_bytes: read.clone() });
    if reader.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        return Ok(Box::new(BufReader::new(zstd::Decoder::with_buffer(reader)?)));
    }
    Ok(Box::new(reader))
}

/// The file itself; where that is compressed, its contents in a temporary file, since its end has to be read first.
fn seekable(path: &Path, mut contents: Box<dyn BufRead>) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut magic = [0; ZSTD_MAGIC.len()];
    let is_compressed = file.read_exact(&mut magic).is_ok() && magic == ZSTD_MAGIC;
    if is_compressed {
        file = tempfile::tempfile()?;
        io::copy(&mut contents, &mut file)?;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

/// Cuts batches of any size into pieces.
fn in_pieces(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + 'static) -> Batches {
    let cut = |batch: RecordBatch| {
        let starts = (0..batch.num_rows()).step_by(PIECE_ROWS);
        starts.map(|start| batch.slice(start, PIECE_ROWS.min(batch.num_rows() - start))).collect::<Vec<_>>()
    };
    Box::new(batches.flat_map(move |batch| match batch {
        Ok(batch) => cut(batch).into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    }))
}
