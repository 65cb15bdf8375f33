//! Finished tables in every format that the command `dpq` reads: what is opened can be read, as many rows
//! as it says, all numbers finite.
#![no_main]

#[path = "../../src/bin/dpq/input/mod.rs"]
#[allow(dead_code, reason = "the command uses all of it")]
mod input;

use clap::Parser;
use input::{Input, Reading};
use libfuzzer_sys::fuzz_target;

/// As in the command.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    reading: Reading,
}

fuzz_target!(|bytes: &[u8]| {
    let path = dpq_fuzz::file_of(bytes);
    for flags in [&["fuzz"][..], &["fuzz", "--no-words"]] {
        let reading = Arguments::parse_from(flags).reading;
        let Ok(table) = Input::open(&path, &reading) else { continue };
        assert!(table.rows > 0 && table.width > 0);
        assert!(table.words.as_ref().is_none_or(|words| words.len() == table.rows));
        let mut rows = 0;
        let read = table.for_each(|first, piece| {
            assert_eq!(first, rows);
            assert_eq!(piece.shape()[1], table.width);
            assert!(piece.not_finite().is_none());
            rows += piece.shape()[0];
            Ok(())
        });
        assert!(read.is_err() || rows == table.rows);
    }
});
