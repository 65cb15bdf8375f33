//! `dpq neighbours`

use crate::Fault;
use crate::table::Table;
use clap::Args;
use dpq::pq::nearest_rows;
use std::io::Write;
use std::path::PathBuf;

/// Prints the rows whose vectors have the smallest angle to that of a word, with the cosine
#[derive(Args)]
#[command(after_help = "Example:\n  dpq neighbours glove.dpq king --count 5")]
pub struct Neighbours {
    /// A file that `dpq compress` wrote, or a training program
    file: PathBuf,
    /// A word, or the number of a row
    #[arg(value_name = "WORD|ID")]
    word: String,
    /// How many
    #[arg(long, default_value_t = 10, value_name = "N")]
    count: usize,
}

impl Neighbours {
    pub fn run(&self) -> Result<(), Fault> {
        let table = Table::load(&self.file)?;
        let row = table.row(&self.word)?;
        let all: Vec<u32> = (0..table.vocabulary() as u32).collect();
        let found = nearest_rows(&table.lookup(&all)?, row, self.count)?;
        let mut out = std::io::stdout().lock();
        for (row, cosine) in found {
            writeln!(out, "{cosine:.4}  {}", table.name(row))?;
        }
        Ok(())
    }
}
