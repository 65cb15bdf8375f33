//! Draws the pictures of the guide from the crate's own numbers, to the same bytes every time:
//! `cargo run --example pictures [FOLDER]`, `src/guide/pictures` if none is given.
//!
//! A file for each picture, after `svg`, the surface that all are drawn on.

mod svg;
mod flow;
mod forward_backward;
mod staircase;
mod cells;
mod tape;
mod temperature;
mod run;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).map_or("src/guide/pictures".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let pictures = [
        ("flow", flow::draw()?),
        ("forward_backward", forward_backward::draw()),
        ("staircase", staircase::draw()?),
        ("cells", cells::draw()?),
        ("tape", tape::draw()?),
        ("temperature", temperature::draw()?),
        ("run", run::draw()?),
    ];
    for (name, picture) in pictures {
        let file = picture.file();
        println!("{name:<18} {:>6} bytes", file.len());
        std::fs::write(folder.join(format!("{name}.svg")), file)?;
    }
    Ok(())
}
