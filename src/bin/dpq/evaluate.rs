//! `dpq evaluate`

use crate::Fault;
use crate::compress::with_threads;
use crate::figures::{figures, print};
use crate::input::{Input, Reading, misfit};
use crate::table::Table;
use clap::Args;
use dpq::Error;
use std::path::PathBuf;

/// Measures what a small table keeps of the table that it was made of
#[derive(Args)]
#[command(after_help = "Example:\n  dpq evaluate glove.6B.50d.txt glove.dpq")]
pub struct Evaluate {
    /// The finished table: .npy, safetensors, word2vec's or GloVe's files
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// A file that `dpq compress` wrote, or a training program
    file: PathBuf,
    /// The tensor to take from a safetensors file; not needed if it has only one matrix
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Threads to work with; as many as there are processors by default
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

impl Evaluate {
    pub fn run(&self) -> Result<(), Fault> {
        with_threads(self.threads, || self.measure())
    }

    fn measure(&self) -> Result<(), Fault> {
        let table = Table::load(&self.file)?;
        let input = Input::open(&self.input, &Reading::numbers_only(self.tensor.clone()))?;
        if [table.vocabulary(), table.width()] != [input.rows, input.width] {
            let found = format!("a table of {} x {}", table.vocabulary(), table.width());
            let expected = format!("{} x {}, as {}", input.rows, input.width, self.input.display());
            return Err(misfit(&self.file, found, expected).into());
        }
        let io = |source| Error::io(&self.file, source);
        let file = std::fs::metadata(&self.file).map_err(io)?.len() as usize;
        let rows = figures(&input, &[(&table, file)], &[], self.quiet)?;
        print(&table, file, &rows, self.json)
    }
}
