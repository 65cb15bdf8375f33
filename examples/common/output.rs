//! The folder `--out`: what can be refused is refused before training, and nothing of an earlier run
//! is lost.

use super::Result;
use super::arguments::Kind;
use super::report::REPORT;
use clap::ValueEnum;
use dpq::Error;
use dpq::io::{check_writable, write_whole};
use dpq::train::{BEST, LATEST, PREVIOUS, Which};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::iter::once;
use std::path::{Path, PathBuf};

/// The results of a whole run, in `--out` itself.
pub const RESULT: &str = "result.json";

/// An epoch a line, in a model's folder.
pub const METRICS: &str = "metrics.jsonl";

/// The compact table, in a model's folder.
pub const TABLE: &str = "embedding.safetensors";

/// What only some programs write into a model's folder.
const WHOLE: [&str; 2] = ["translator.safetensors", "embedding.target.safetensors"];

/// Room is asked for no more epochs than this: a run may be meant to be stopped.
const EPOCHS: usize = 1000;

/// More than an epoch's line in `metrics.jsonl` takes.
const EPOCH_BYTES: usize = 512;

/// More than the report takes.
const REPORT_BYTES: usize = 1 << 18;

/// More than a table's header takes, or a model's part of `result.json`.
const HEADER_BYTES: usize = 4096;

/// Creates `out` with a folder for each model, given with the bytes of its files, and moves the
/// results of an earlier run to a folder of their own, which is returned.
///
/// # Errors
/// If something stands in the way of a file, or there is no room for all of them. Earlier results are
/// then where they were.
pub fn prepare(out: &Path, models: &[(Kind, usize)], epochs: usize) -> Result<Option<PathBuf>> {
    check(out, models, epochs)?;
    let earlier = set_earlier_aside(out)?;
    for &(kind, _) in models {
        create_folder(&out.join(kind.name()))?;
    }
    Ok(earlier)
}

/// Creates the folders; makes sure that nothing stands in the way, and that there is room.
fn check(out: &Path, models: &[(Kind, usize)], epochs: usize) -> Result<()> {
    let folder = |kind: Kind| out.join(kind.name());
    create_folder(out)?;
    check_writable(&out.join(RESULT))?;
    check_writable(&out.join(REPORT))?;
    for &(kind, _) in models {
        create_folder(&folder(kind))?;
        for file in [METRICS, TABLE, LATEST, PREVIOUS, BEST].iter().chain(&WHOLE) {
            check_writable(&folder(kind).join(file))?;
        }
    }
    once(out.to_path_buf())
        .chain(Kind::value_variants().iter().map(|&kind| folder(kind)))
        .for_each(remove_parts);
    let mut all = HEADER_BYTES + REPORT_BYTES;
    for &(kind, files) in models {
        let bytes = files + epochs.min(EPOCHS) * EPOCH_BYTES + 2 * HEADER_BYTES;
        probe(&folder(kind), bytes)?;
        all += bytes;
    }
    probe(out, all)
}

/// Makes sure that a run can go on in `out`: that there is a checkpoint of at least one model, that all
/// are of these models and `settings`, nothing in the way, and room.
///
/// # Errors
/// If not.
pub fn reopen(
    out: &Path,
    models: &[(Kind, usize)],
    epochs: usize,
    which: Which,
    settings: impl Fn(Kind) -> Vec<(String, String)>,
) -> Result<()> {
    let refuse = |found: String, expected: String| {
        Err(Error::File { path: out.to_path_buf(), found, expected }.into())
    };
    let mut any = false;
    for &kind in Kind::value_variants() {
        let folder = out.join(kind.name());
        if ![Which::Latest, Which::Previous].iter().any(|which| which.is_in(&folder)) {
            continue;
        }
        if !models.iter().any(|(own, _)| *own == kind) {
            let name = kind.name();
            return refuse(format!("a checkpoint of {name}"), format!("--embedding with {name}"));
        }
        dpq::train::check(&folder, which, &settings(kind))?;
        any = true;
    }
    if !any {
        return refuse("no checkpoint of these models".into(), "one to go on from".into());
    }
    check(out, models, epochs)
}

/// Keeps other runs out of a folder as long as the lock lives. Where the system has no locks, nothing is
/// kept out.
///
/// # Errors
/// If another run is in it.
pub fn lock(out: &Path) -> Result<Option<File>> {
    create_folder(out)?;
    let path = out.join(".lock");
    let Ok(lock) = File::create(&path) else { return Ok(None) };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let (path, found) = (out.to_path_buf(), "another run in it".into());
            Err(Error::File { path, found, expected: "a folder of its own".into() }.into())
        }
        _ => Ok(Some(lock)),
    }
}

fn create_folder(folder: &Path) -> Result<()> {
    if !folder.is_dir() && fs::symlink_metadata(folder).is_ok() {
        let (path, expected) = (folder.to_path_buf(), "a folder, or nothing".into());
        let found = if folder.is_symlink() { "a link to no folder" } else { "a file" }.into();
        return Err(Error::File { path, found, expected }.into());
    }
    Ok(fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?)
}

/// Removes what a run that was killed was writing. A part that stays is harmless.
fn remove_parts(folder: PathBuf) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".dpq-") && name.ends_with(b".part") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes sure that a folder takes new files, and its disk as many bytes.
fn probe(folder: &Path, bytes: usize) -> Result<()> {
    let file = folder.join(".dpq-probe.part");
    write_whole(&file, &vec![0; bytes]).map_err(|error| match error {
        Error::Io { source, .. } => Error::Io { path: folder.into(), source },
        other => other,
    })?;
    Ok(fs::remove_file(&file).map_err(|source| Error::io(folder, source))?)
}

/// Moves the results of an earlier run, those of models that this one does not train too, to
/// `out/earlier/1` or the next number that is free.
fn set_earlier_aside(out: &Path) -> Result<Option<PathBuf>> {
    let exists = |path: PathBuf| fs::symlink_metadata(path).is_ok();
    let has_results = |model: &&str| {
        let folder = out.join(model);
        [METRICS, TABLE, LATEST, PREVIOUS].iter().any(|file| exists(folder.join(file)))
    };
    let models = Kind::value_variants().iter().map(|kind| kind.name()).filter(has_results);
    let found: Vec<&str> =
        [RESULT, REPORT].into_iter().filter(|name| exists(out.join(name))).chain(models).collect();
    if found.is_empty() {
        return Ok(None);
    }
    let aside = create_numbered(&out.join("earlier"))?;
    for name in found {
        let path = out.join(name);
        fs::rename(&path, aside.join(name)).map_err(|source| Error::io(path, source))?;
    }
    Ok(Some(aside))
}

fn create_numbered(parent: &Path) -> Result<PathBuf> {
    create_folder(parent)?;
    let mut number = 1;
    loop {
        let path = parent.join(number.to_string());
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(Error::io(path, source).into()),
        }
    }
}
