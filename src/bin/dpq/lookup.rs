//! `dpq lookup`

use crate::Fault;
use crate::table::Table;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

/// Prints rows of a small table: a word and its numbers a line, as GloVe's files have them
#[derive(Args)]
#[command(after_help = "Examples:\n  dpq lookup glove.dpq king queen\n  dpq lookup table.dpq 0 17")]
pub struct Lookup {
    /// A file that `dpq compress` wrote, or a training program
    file: PathBuf,
    /// Words, or numbers of rows
    #[arg(required = true, value_name = "WORD|ID")]
    words: Vec<String>,
}

impl Lookup {
    pub fn run(&self) -> Result<(), Fault> {
        let table = Table::load(&self.file)?;
        let rows = self.words.iter().map(|word| table.row(word)).collect::<Result<Vec<_>, _>>()?;
        let found = table.lookup(&rows)?;
        let mut out = std::io::stdout().lock();
        for (&row, numbers) in rows.iter().zip(found.rows()) {
            write!(out, "{}", table.name(row))?;
            for x in numbers {
                write!(out, " {x}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
