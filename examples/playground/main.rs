//! Writes `playground.html`, a page to play with: both forms of DPQ on three tokens, two groups and
//! four codewords, forward and backward, step by step.
//!
//! ```sh
//! cargo run --example playground            # into the current folder
//! cargo run --example playground -- FILE
//! ```

mod join;

fn main() -> std::io::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("playground.html".into());
    std::fs::write(&path, join::page())?;
    println!("Wrote {path}: open it in a browser.");
    Ok(())
}
