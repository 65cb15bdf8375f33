//! `dpq inspect`

use crate::Fault;
use crate::table::{Kind, Table};
use clap::Args;
use dpq::Error;
use dpq::pq::Usage;
use std::io::Write;
use std::path::PathBuf;

/// Prints what a small table is: its settings, every byte of its file, and how its rows use the codewords
#[derive(Args)]
#[command(after_help = "Example:\n  dpq inspect glove.dpq")]
pub struct Inspect {
    /// A file that `dpq compress` wrote, or a training program
    file: PathBuf,
}

impl Inspect {
    pub fn run(&self) -> Result<(), Fault> {
        let table = Table::load(&self.file)?;
        let io = |source| Error::io(&self.file, source);
        let file = std::fs::metadata(&self.file).map_err(io)?.len() as usize;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} rows of width {}", table.vocabulary(), table.width())?;
        writeln!(out, "{}", table.settings())?;
        writeln!(out, "{:.1} times smaller than in 32 bits, words aside", table.ratio(file))?;
        writeln!(out)?;
        write!(out, "{}", bytes(&table, file))?;
        if let Kind::Compact(compact) = &table.kind {
            writeln!(out, "\n{}", Usage::of(compact.codes()))?;
        }
        Ok(())
    }
}

/// A line for every part of the file, and one for all of it.
pub fn bytes(table: &Table, file: usize) -> String {
    let parts = table.parts(file).into_iter().chain([("file", file)]);
    parts.map(|(name, bytes)| format!("{name:<12} {bytes:>12} bytes\n")).collect()
}
