//! `dpq neighbours`

use crate::Fault;
use crate::table::Table;
use clap::Args;
use dpq::pq::nearest_rows;
use std::io::Write;
use std::path::PathBuf;

/// Rows that are compared at a time.
const ROWS: usize = 1 << 14;

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
        let mut found: Vec<(u32, f64)> = Vec::new();
        let all: Vec<u32> = (0..table.vocabulary() as u32).filter(|&other| other != row).collect();
        for others in all.chunks(ROWS) {
            // The row itself first, and then those that it is compared with.
            let ids: Vec<u32> = [row].iter().chain(others).copied().collect();
            let nearest = nearest_rows(&table.lookup(&ids)?, 0, self.count)?;
            found.extend(nearest.into_iter().map(|(i, cosine)| (ids[i as usize], cosine)));
            found.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
            found.truncate(self.count);
        }
        let mut out = std::io::stdout().lock();
        for (row, cosine) in found {
            writeln!(out, "{cosine:.4}  {}", table.name(row))?;
        }
        Ok(())
    }
}
