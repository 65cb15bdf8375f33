//! Checkpoints: all that a run needs to go on, in one file, with the one before it kept.

use crate::error::{Error, Result};
use crate::io::{StoredTensor, TensorFile, load_tensors, save_tensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file of the latest checkpoint in a folder.
pub const LATEST: &str = "checkpoint.safetensors";

/// The file of the checkpoint before it.
pub const PREVIOUS: &str = "checkpoint.previous.safetensors";

/// A checkpoint that is whole and about to become the latest.
const NEXT: &str = "checkpoint.next.safetensors";

/// `format` in the metadata begins with this, and ends in the version.
const FORMAT: &str = "dpq checkpoint ";
const VERSION: u32 = 1;

/// Which checkpoint of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest one.
    Latest,
    /// The one before it, in case the latest is damaged or unwanted.
    Previous,
}

impl Which {
    /// Its file in a folder.
    pub fn path(self, folder: &Path) -> PathBuf {
        folder.join(if self == Which::Latest { LATEST } else { PREVIOUS })
    }

    /// Whether it is there.
    pub fn is_in(self, folder: &Path) -> bool {
        finish(folder);
        self.path(folder).exists()
    }
}

/// Ends what a save that was killed between its two last renames had begun.
fn finish(folder: &Path) {
    let (next, latest) = (folder.join(NEXT), folder.join(LATEST));
    if next.exists() && !latest.exists() {
        // Where it cannot be, what reads the latest says so.
        let _ = fs::rename(next, latest);
    }
}

/// Writes the latest checkpoint of a folder, whole or not at all. What was the latest is kept as the one
/// before it, unless it is `damaged`. At every moment one of the two, or the new one, is there and whole.
pub(super) fn save(
    folder: &Path,
    tensors: &BTreeMap<String, StoredTensor<'_>>,
    metadata: &[(String, String)],
    damaged: bool,
) -> Result<()> {
    finish(folder);
    let format = format!("{FORMAT}{VERSION}");
    let metadata = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let metadata: Vec<_> = metadata.chain([("format", format.as_str())]).collect();
    let next = folder.join(NEXT);
    save_tensors(&next, tensors, &metadata)?;
    let [latest, previous] = [Which::Latest, Which::Previous].map(|which| which.path(folder));
    if !damaged && latest.exists() {
        fs::rename(&latest, &previous).map_err(|source| Error::io(&previous, source))?;
    }
    fs::rename(&next, &latest).map_err(|source| Error::io(&latest, source))
}

/// Checks that the metadata have what `own` has, and no other settings of a program.
///
/// # Errors
/// [`Error::File`] with the first that differs, and both values.
pub(super) fn check_settings(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    own: &[(String, String)],
) -> Result<()> {
    let refuse = |name: &str, found: &str, expected: &str| {
        let name = name.strip_prefix(SETTING).unwrap_or(name);
        Err(Error::File {
            path: path.to_path_buf(),
            found: format!("{name} = {found}"),
            expected: format!("{name} = {expected}"),
        })
    };
    for (name, value) in own {
        match metadata.get(name) {
            Some(found) if found == value => {}
            found => return refuse(name, found.map_or("nothing", String::as_str), value),
        }
    }
    let other =
        |name: &&String| name.starts_with(SETTING) && !own.iter().any(|(own, _)| own == *name);
    match metadata.keys().find(other) {
        Some(name) => refuse(name, &metadata[name], "nothing"),
        None => Ok(()),
    }
}

/// Names of a program's own settings begin with this.
pub(super) const SETTING: &str = "setting.";

/// Checks a program's settings, as [`Trainer::setting`](super::Trainer::setting) was given them, against
/// a checkpoint, before anything else is done.
///
/// # Errors
/// As [`Trainer::resume`](super::Trainer::resume).
pub fn check(folder: &Path, which: Which, settings: &[(String, String)]) -> Result<()> {
    let (path, (_, metadata)) = load(folder, which)?;
    let own = settings.iter().map(|(name, value)| (format!("{SETTING}{name}"), value.clone()));
    check_settings(&path, &metadata, &own.collect::<Vec<_>>())
}

/// The tensors and metadata of a checkpoint, and its path.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if it is no checkpoint, damaged, or of a newer
/// format. If the one before it can be read, the error says so.
pub(super) fn load(folder: &Path, which: Which) -> Result<(PathBuf, TensorFile<'static>)> {
    finish(folder);
    let path = which.path(folder);
    let error = match read(&path) {
        Ok(file) => return Ok((path, file)),
        Err(error) => error,
    };
    let other = Which::Previous.path(folder);
    if which == Which::Previous || read(&other).is_err() {
        return Err(error);
    }
    let offer = format!("; the one before it, {}, can be read", other.display());
    Err(match error {
        Error::File { path, found, expected } => {
            Error::File { path, found, expected: expected + &offer }
        }
        Error::Io { path, source } => Error::File {
            path,
            found: source.to_string(),
            expected: format!("a checkpoint{offer}"),
        },
        other => other,
    })
}

fn read(path: &Path) -> Result<TensorFile<'static>> {
    let refuse = |found: String, expected: String| {
        Err(Error::File { path: path.to_path_buf(), found, expected })
    };
    let (tensors, metadata) = load_tensors(path)?;
    let format = metadata.get("format").map_or("", String::as_str);
    let version = format.strip_prefix(FORMAT).and_then(|version| version.parse::<u32>().ok());
    match version {
        Some(1..=VERSION) => Ok((tensors, metadata)),
        Some(newer) => refuse(
            format!("a checkpoint of format {newer}"),
            format!("format 1 to {VERSION}: a newer version of this program wrote it"),
        ),
        None => refuse(format!("format {format:?} in its metadata"), "a checkpoint".into()),
    }
}

/// The tensors whose names begin with `prefix`, without it.
pub(super) fn section(
    tensors: &BTreeMap<String, StoredTensor<'static>>,
    prefix: &str,
) -> BTreeMap<String, StoredTensor<'static>> {
    let within = |(name, tensor): (&String, &StoredTensor<'static>)| {
        Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()))
    };
    tensors.iter().filter_map(within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn save_number(folder: &Path, x: f64) {
        let tensor = StoredTensor::from_tensor(&Tensor::scalar(x));
        save(folder, &BTreeMap::from([("x".into(), tensor)]), &[], false).unwrap();
    }

    fn number(folder: &Path, which: Which) -> f64 {
        let (_, (tensors, _)) = load(folder, which).unwrap();
        tensors["x"].to_tensor::<f64>().unwrap().item()
    }

    #[test]
    fn the_one_before_is_kept_and_offered_if_the_latest_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(matches!(load(folder, Which::Latest), Err(Error::Io { .. })));
        (1..4).for_each(|i| save_number(folder, f64::from(i)));
        assert_eq!((number(folder, Which::Latest), number(folder, Which::Previous)), (3.0, 2.0));
        let files = fs::read_dir(folder).unwrap().count();
        assert_eq!(files, 2, "nothing but the two is left");

        let path = Which::Latest.path(folder);
        let bytes = fs::read(&path).unwrap();
        for cut in [0, 7, 100, bytes.len() - 1] {
            // A new file, as the other name of the old one is the checkpoint before.
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = load(folder, Which::Latest).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.ends_with("checkpoint.previous.safetensors, can be read"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        let error = load(folder, Which::Latest).unwrap_err().to_string();
        assert!(error.ends_with("checkpoint.previous.safetensors, can be read"), "{error}");
        // A damaged one does not take the place of the one before it.
        fs::write(&path, "damaged").unwrap();
        let tensor = StoredTensor::from_tensor(&Tensor::scalar(9.0_f64));
        save(folder, &BTreeMap::from([("x".into(), tensor)]), &[], true).unwrap();
        assert_eq!((number(folder, Which::Latest), number(folder, Which::Previous)), (9.0, 2.0));
        // Killed between the two renames.
        fs::rename(&path, folder.join(NEXT)).unwrap();
        assert!(Which::Latest.is_in(folder));
        assert_eq!(number(folder, Which::Latest), 9.0);
    }

    #[test]
    fn a_newer_format_and_another_file_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = Which::Latest.path(folder.path());
        for (format, expected) in [
            ("dpq checkpoint 2", "found a checkpoint of format 2, expected format 1 to 1"),
            ("dpq parameters 1", "found format \"dpq parameters 1\" in its metadata"),
        ] {
            save_tensors(&path, &BTreeMap::new(), &[("format", format)]).unwrap();
            let error = load(folder.path(), Which::Latest).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
