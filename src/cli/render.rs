//! Score messages for people and scripts: a table, JSON lines or CSV.
//!
//! Whatever the payload's format, it becomes named values first; the three styles differ only in how they
//! print those. Payloads are printed as they come, so that a live topic can be followed.

use std::{
    fmt,
    io::{self, Write},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type},
    error::ArrowError,
    ipc::reader::StreamReader,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{record::time::rfc3339, score::json::hex};

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns with figures rounded to be read.
    Table,
    /// An object a line, in full precision.
    JsonLines,
    /// A header and a line a row, in full precision; a null is empty.
    Csv,
}

/// A payload that could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// Neither an Arrow stream nor a JSON object.
    #[error("the message is neither an Arrow stream nor a JSON object; is it a score topic? {0}")]
    Unreadable(String),
    /// The output could not be written to.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}

/// Prints payloads to `out`, each as soon as it is given.
#[derive(Debug)]
pub struct Renderer<W> {
    out: W,
    style: Style,
    with_params: bool,
    /// The columns under the last header that was printed.
    columns: Vec<ColumnLayout>,
}

#[derive(Debug)]
struct ColumnLayout {
    name: String,
    /// In characters; grows only, so that later payloads stay aligned.
    width: usize,
}

impl<W: Write> Renderer<W> {
    /// Prints in `style`, `params` left out unless asked for.
    pub fn new(out: W, style: Style, with_params: bool) -> Self {
        Self { out, style, with_params, columns: Vec::new() }
    }

    /// Prints the rows of a payload.
    ///
    /// # Errors
    /// When the payload can't be read (nothing of it is printed), or the output not written to.
    pub fn payload(&mut self, payload: &[u8]) -> Result<(), RenderError> {
        self.print(rows(payload)?)
    }

    /// Prints the last `count` rows of these payloads.
    ///
    /// # Errors
    /// As `payload`.
    pub fn last<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a [u8]>,
        count: usize,
    ) -> Result<(), RenderError> {
        let mut all = Vec::new();
        for payload in payloads {
            all.extend(rows(payload)?);
        }
        let last = all.split_off(all.len().saturating_sub(count));
        self.print(last)
    }

    fn print(&mut self, mut rows: Vec<Fields>) -> Result<(), RenderError> {
        for row in &mut rows {
            if !self.with_params {
                row.retain(|(name, _)| name != "params");
            }
        }
        match self.style {
            Style::Table => self.table(&rows)?,
            Style::JsonLines => self.json_lines(&rows)?,
            Style::Csv => self.csv(&rows)?,
        }
        self.out.flush()?;
        Ok(())
    }

    fn table(&mut self, rows: &[Fields]) -> io::Result<()> {
        let texts: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|(_, value)| rounded(value)).collect()).collect();
        for (index, row) in rows.iter().enumerate() {
            let is_new = self.start_columns(row);
            if is_new {
                let alike = texts[index..].iter().take_while(|texts| texts.len() == row.len());
                for texts in alike {
                    for (column, text) in self.columns.iter_mut().zip(texts) {
                        column.width = column.width.max(text.chars().count());
                    }
                }
                let names = self.columns.iter().map(|column| (column.name.as_str(), column.width));
                let header: Vec<_> = row
                    .iter()
                    .zip(names)
                    .map(|((_, value), (name, width))| pad(name, width, value))
                    .collect();
                writeln!(self.out, "{}", header.join("  ").trim_end())?;
            }
            for (column, text) in self.columns.iter_mut().zip(&texts[index]) {
                column.width = column.width.max(text.chars().count());
            }
            let cells = row.iter().zip(&texts[index]).zip(&self.columns);
            let cells: Vec<_> =
                cells.map(|(((_, value), text), column)| pad(text, column.width, value)).collect();
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }

    fn json_lines(&mut self, rows: &[Fields]) -> io::Result<()> {
        for row in rows {
            for (index, (name, value)) in row.iter().enumerate() {
                let start = if index == 0 { '{' } else { ',' };
                write!(self.out, "{start}{}:{value}", Value::from(name.as_str()))?;
            }
            writeln!(self.out, "}}")?;
        }
        Ok(())
    }

    fn csv(&mut self, rows: &[Fields]) -> io::Result<()> {
        for row in rows {
            if self.start_columns(row) {
                let header: Vec<_> = row.iter().map(|(name, _)| quoted(name)).collect();
                writeln!(self.out, "{}", header.join(","))?;
            }
            let cells: Vec<_> = row.iter().map(|(_, value)| quoted(&plain(value))).collect();
            writeln!(self.out, "{}", cells.join(","))?;
        }
        Ok(())
    }

    /// Takes the row's columns over where they aren't the last header's, and says whether they weren't.
    fn start_columns(&mut self, row: &Fields) -> bool {
        let is_same = self.columns.iter().map(|column| &column.name).eq(row.iter().map(|(name, _)| name));
        if !is_same {
            let layout = |(name, _): &(String, Value)| ColumnLayout {
                name: name.clone(),
                width: name.chars().count(),
            };
            self.columns = row.iter().map(layout).collect();
        }
        !is_same
    }
}

/// A row's values with their names, in order.
type Fields = Vec<(String, Value)>;

fn rows(payload: &[u8]) -> Result<Vec<Fields>, RenderError> {
    if payload.trim_ascii_start().starts_with(b"{") {
        let mut parser = serde_json::Deserializer::from_slice(payload);
        let row = parser.deserialize_map(InOrder).and_then(|row| parser.end().map(|()| row));
        return Ok(vec![row.map_err(|error| RenderError::Unreadable(error.to_string()))?]);
    }
    arrow_rows(payload).map_err(|error| RenderError::Unreadable(error.to_string()))
}

/// An object's fields in their order, which a map would lose.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

fn arrow_rows(payload: &[u8]) -> Result<Vec<Fields>, ArrowError> {
    let mut rows = Vec::new();
    for batch in StreamReader::try_new(payload, None)? {
        let batch: RecordBatch = batch?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let fields = schema.fields().iter().zip(batch.columns());
            let fields = fields.map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
            rows.push(fields.collect::<Result<_, ArrowError>>()?);
        }
    }
    Ok(rows)
}

fn value(column: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            std::str::from_utf8(bytes).map_or_else(|_| format!("0x{}", hex(bytes)), str::to_owned).into()
        }
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => float(column.as_primitive::<Float32Type>().value(row), f32::is_finite),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row), f64::is_finite),
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
            let us = column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(row);
            rfc3339(us).to_string().into()
        }
        DataType::FixedSizeList(..) => {
            let items = column.as_fixed_size_list().value(row);
            Value::Array((0..items.len()).map(|item| value(&items, item)).collect::<Result<_, _>>()?)
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::default())?.value(row).to_string().into(),
    })
}

/// A number, or the text of what JSON has no number for.
fn float<T: Copy + Into<Value> + fmt::Display>(value: T, is_finite: fn(T) -> bool) -> Value {
    if is_finite(value) { value.into() } else { value.to_string().into() }
}

/// For a table: whole numbers whole, others with four significant digits.
fn rounded(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(|| number.to_string(), four_digits)
        }
        Value::Array(items) => items.iter().map(rounded).collect::<Vec<_>>().join(" "),
        // Nothing may break the line.
        Value::String(text) if text.chars().any(char::is_control) => text.escape_debug().to_string(),
        other => plain(other),
    }
}

fn four_digits(value: f64) -> String {
    let size = value.abs();
    if size < 1e9 && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    // What rounds up to a power of ten has one digit fewer behind the point.
    let digits = (1e-4..1e9).contains(&size).then(|| 3 - (size * (1.0 + 5e-5)).log10().floor() as i32);
    match digits {
        Some(digits) => format!("{value:.0$}", digits.max(0) as usize),
        None => format!("{value:.3e}"),
    }
}

/// A value as it is, texts without quotes and null as nothing.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As a field of CSV (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Numbers to the right, so that their points are under one another, and texts to the left.
fn pad(text: &str, width: usize, value: &Value) -> String {
    match value {
        Value::String(_) => format!("{text:<width$}"),
        _ => format!("{text:>width$}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::InputFormat,
        record::{CarryType, Cell, Event},
        score::{
            Score, Scored, Status,
            arrow::BatchBuilder,
            columns::Columns,
            json::JsonEncoder,
            row::{Provenance, RowSchema},
        },
    };

    fn schema() -> RowSchema<Scored> {
        let columns = Columns {
            carry: vec!["flight".into()],
            exceed: vec!["p_gt_15".into()],
            quantiles: vec!["q99".into()],
            shortfall: vec![],
            limited: vec![],
            targets: vec!["target".into()],
            pits: vec!["pit".into()],
        };
        let provenance = Provenance { version: "", group: "", config: "", model: "" };
        RowSchema::scores(&columns, &[CarryType::Text], InputFormat::Json, 2, &provenance)
    }

    fn scored(offset: i64, key: &[u8], flight: &str, figures: [f64; 2]) -> Scored {
        let event = Event {
            partition: 0,
            offset,
            row: 0,
            last: true,
            timestamp_ms: None,
            time_us: 1_357_035_420_000_000,
            key: Some(key.into()),
            features: [].into(),
            carry: [Cell::Text(flight.into())].into(),
            thresholds: [].into(),
            segment: None,
            target: None,
        };
        let is_warm = !figures[0].is_nan();
        let score = Score {
            held_back: Default::default(),
            epoch: 0,
            updates: 7,
            status: if is_warm { Status::Ok } else { Status::Warmup },
            figures: figures.into(),
            params: if is_warm { [0.5, -1.0][..].into() } else { [].into() },
            realized: crate::score::Realized::unknown(1),
        };
        Scored { event: Arc::new(event), score: Arc::new(score) }
    }

    fn rows() -> [Scored; 3] {
        [
            scored(8, b"a", "UA1545", [0.123_456_789, 187.654]),
            scored(9, b"long key", "B6, \"x\"", [1.5e-9, 12.0]),
            scored(10, b"\xff", "", [f64::NAN, f64::NAN]),
        ]
    }

    fn arrow_payload(rows: &[Scored]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(&schema()).unwrap();
        rows.iter().for_each(|row| builder.push(row));
        builder.finish().unwrap()
    }

    fn json_payloads() -> Vec<Vec<u8>> {
        let encoder = JsonEncoder::new(&schema());
        rows().iter().map(|row| encoder.encode(row)).collect()
    }

    fn render(style: Style, with_params: bool, payloads: &[Vec<u8>]) -> String {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, style, with_params);
        for payload in payloads {
            renderer.payload(payload).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_rounded() {
        let table = render(Style::Table, false, &[arrow_payload(&rows())]);
        let expected = "\
key       partition  offset  time                         flight   epoch  updates  status   p_gt_15    q99  target  log_score  pit
a                 0       8  2013-01-01T10:17:00.000000Z  UA1545       0        7  ok        0.1235  187.7
long key          0       9  2013-01-01T10:17:00.000000Z  B6, \"x\"      0        7  ok      1.500e-9     12
0xff              0      10  2013-01-01T10:17:00.000000Z               0        7  warmup
";
        assert_eq!(table, expected);
    }

    #[test]
    fn the_header_comes_once_for_payloads_with_the_same_columns() {
        let payloads = [arrow_payload(&rows()[..1]), arrow_payload(&rows()[1..])];
        for style in [Style::Table, Style::Csv] {
            let text = render(style, false, &payloads);
            assert_eq!(text.lines().count(), 4, "{text}");
            assert_eq!(text.matches("log_score").count(), 1);
        }
    }

    #[test]
    fn csv_is_in_full_precision_and_quoted() {
        let csv = render(Style::Csv, true, &[arrow_payload(&rows())]);
        let expected = r#"key,partition,offset,time,flight,epoch,updates,status,p_gt_15,q99,target,log_score,pit,params
a,0,8,2013-01-01T10:17:00.000000Z,UA1545,0,7,ok,0.123456789,187.654,,,,"[0.5,-1.0]"
long key,0,9,2013-01-01T10:17:00.000000Z,"B6, ""x""",0,7,ok,1.5e-9,12.0,,,,"[0.5,-1.0]"
0xff,0,10,2013-01-01T10:17:00.000000Z,,0,7,warmup,,,,,,
"#;
        assert_eq!(csv, expected);
    }

    #[test]
    fn json_lines_say_the_same_for_both_formats() {
        let of_arrow = render(Style::JsonLines, true, &[arrow_payload(&rows()[..2])]);
        let of_json = render(Style::JsonLines, true, &json_payloads()[..2]);
        assert_eq!(of_arrow, of_json);
        let as_sent: Vec<_> = of_json.lines().map(str::as_bytes).collect();
        assert_eq!(as_sent, json_payloads()[..2]);
    }

    #[test]
    fn params_are_left_out_unless_asked_for() {
        for style in [Style::Table, Style::JsonLines, Style::Csv] {
            let payloads = [arrow_payload(&rows())];
            assert!(!render(style, false, &payloads).contains("-1"));
            assert!(render(style, true, &payloads).contains("0.5"));
        }
    }

    #[test]
    fn the_last_rows_of_several_payloads_are_one_table() {
        let payloads = [arrow_payload(&rows()[..2]), arrow_payload(&rows()[2..])];
        let last = |count| {
            let mut out = Vec::new();
            let mut renderer = Renderer::new(&mut out, Style::Csv, false);
            renderer.last(payloads.iter().map(Vec::as_slice), count).unwrap();
            String::from_utf8(out).unwrap()
        };
        let keys = |text: &str| text.lines().skip(1).map(|l| l[..4].to_owned()).collect::<Vec<_>>();
        assert_eq!(keys(&last(2)), ["long", "0xff"]);
        assert_eq!(keys(&last(9)).len(), 3);
        assert_eq!(last(0), "");
    }

    #[test]
    fn a_payload_of_another_kind_is_an_error_and_prints_nothing() {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, Style::Table, false);
        for payload in [&b""[..], b"hello", b"{\"a\": 1", b"{} {}"] {
            let error = renderer.payload(payload).unwrap_err();
            assert!(matches!(error, RenderError::Unreadable(_)), "{error}");
        }
        assert!(out.is_empty());
    }

    #[test]
    fn a_text_can_t_break_the_table_s_lines() {
        let table =
            render(Style::Table, false, &[arrow_payload(&[scored(0, b"a\nb", "\x1b[31m", [0.5, 1.0])])]);
        assert_eq!(table.lines().count(), 2);
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn figures_have_four_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (-15.0, "-15"),
            (0.99999, "1.000"),
            (0.5, "0.5000"),
            (12.3456, "12.35"),
            (99.999, "100.0"),
            (-1234.56, "-1235"),
            (123_456.7, "123457"),
            (0.000_123_45, "0.0001234"),
            (1e-7, "1.000e-7"),
            (1.5e12, "1.500e12"),
        ] {
            assert_eq!(four_digits(value), text, "{value}");
        }
    }
}
