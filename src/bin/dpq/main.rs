//! The command `dpq`: makes a finished table of embeddings small, says what that costs, and looks into the
//! result.

mod compress;
mod evaluate;
mod figures;
mod input;
mod inspect;
mod low_rank;
mod lookup;
mod neighbours;
mod progress;
mod quality;
mod report;
mod table;
mod weights;
mod work;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What went wrong, in one line.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Makes finished tables of embeddings small
///
/// A table of V rows of d numbers becomes a few codes a row and small codebooks. No model is needed, and no
/// training data.
#[derive(Parser)]
#[command(name = "dpq", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compress(Box<compress::Compress>),
    Inspect(inspect::Inspect),
    Lookup(lookup::Lookup),
    Neighbours(neighbours::Neighbours),
    Evaluate(evaluate::Evaluate),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Compress(compress) => compress.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Lookup(lookup) => lookup.run(),
        Command::Neighbours(neighbours) => neighbours.run(),
        Command::Evaluate(evaluate) => evaluate.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(fault) if is_broken_pipe(&*fault) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(fault: &(dyn std::error::Error + 'static)) -> bool {
    let io = fault.downcast_ref::<std::io::Error>();
    io.is_some_and(|fault| fault.kind() == std::io::ErrorKind::BrokenPipe)
}
