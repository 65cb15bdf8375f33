//! What tables keep of the original, as lines and as JSON.

use crate::Fault;
use crate::input::Input;
use crate::inspect::bytes;
use crate::progress::bar;
use crate::quality::{Other, Quality, measure};
use crate::table::Table;
use dpq::Tensor;
use dpq::embedding::ScalarTable;
use serde_json::{Map, Value, json};

/// A line of the figures.
pub struct Row {
    pub name: String,
    pub bytes: usize,
    pub ratio: f64,
    pub quality: Quality,
}

/// The figures of small tables with the bytes of their files, and of integers of so many bits an element at
/// their own sizes.
///
/// # Errors
/// If the original cannot be read.
pub fn figures(
    input: &Input,
    tables: &[(&Table, usize)],
    bits: &[u32],
    quiet: bool,
) -> Result<Vec<Row>, Fault> {
    let ids = |first: usize, n: usize| (first..first + n).map(|id| id as u32).collect::<Vec<_>>();
    // As in the small tables' files.
    let words = input.word_bytes();
    let mut others: Vec<Box<Other<'_>>> = Vec::new();
    let mut rows = Vec::new();
    let mut line = |name, bytes, ratio| rows.push((name, bytes, ratio));
    for &(table, file) in tables {
        others.push(Box::new(move |first, rows| table.lookup(&ids(first, rows.shape()[0]))));
        line(table.settings(), file, table.ratio(file));
    }
    for &bits in bits {
        others.push(Box::new(move |_: usize, rows: &Tensor<f32>| {
            let table = ScalarTable::quantize(rows, bits)?;
            Ok(table.lookup(&ids(0, rows.shape()[0]))?)
        }));
        let bytes = scalar_bytes(input, bits);
        let full = 4 * input.rows * input.width;
        line(format!("{bits} bits an element"), bytes + words, full as f64 / bytes as f64);
    }
    let bar = bar("measuring", input.rows, quiet);
    let others: Vec<&Other<'_>> = others.iter().map(|other| &**other).collect();
    let quality = measure(input, &others, |rows| bar.set_position(rows as u64))?;
    bar.finish_and_clear();
    let row = |((name, bytes, ratio), quality)| Row { name, bytes, ratio, quality };
    Ok(rows.into_iter().zip(quality).map(row).collect())
}

/// Bytes of integers and scales.
pub fn scalar_bytes(input: &Input, bits: u32) -> usize {
    input.rows * ((input.width * bits as usize).div_ceil(8) + 4)
}

/// Prints the figures, the small table's first.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(table: &Table, file: usize, rows: &[Row], as_json: bool) -> Result<(), Fault> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if as_json {
        let mut figures = json(&rows[0]);
        let parts = table.parts(file).into_iter().map(|(name, bytes)| (name.into(), bytes.into()));
        figures.insert("parts".into(), Value::Object(parts.collect()));
        figures.insert("rows".into(), table.vocabulary().into());
        figures.insert("width".into(), table.width().into());
        let beside = rows[1..].iter().map(|row| Value::Object(json(row))).collect();
        figures.insert("beside".into(), Value::Array(beside));
        writeln!(out, "{}", serde_json::to_string_pretty(&figures)?)?;
        return Ok(());
    }
    writeln!(out, "{} rows of width {}\n", table.vocabulary(), table.width())?;
    writeln!(
        out,
        "{:>12} {:>6} {:>8} {:>8} {:>11}",
        "bytes", "ratio", "error", "cosine", "neighbours"
    )?;
    for Row { name, bytes, ratio, quality } in rows {
        let Quality { relative_squared_error: error, mean_cosine: cosine, .. } = quality;
        let neighbours = quality.neighbours_at_10.map_or("-".into(), |share| format!("{share:.3}"));
        writeln!(
            out,
            "{bytes:>12} {ratio:>6.1} {error:>8.4} {cosine:>8.4} {neighbours:>11}  {name}"
        )?;
    }
    writeln!(out, "\n{}", bytes(table, file).trim_end())?;
    Ok(())
}

fn json(row: &Row) -> Map<String, Value> {
    let Row { name, bytes, ratio, quality } = row;
    let Value::Object(mut figures) = quality.json() else { unreachable!("an object") };
    figures.insert("settings".into(), name.as_str().into());
    figures.insert("bytes".into(), (*bytes).into());
    figures.insert("ratio".into(), json!(ratio));
    figures
}
