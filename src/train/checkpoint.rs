//! Checkpoints: all that a run needs to go on, in one file, with the one before it kept.

use crate::error::{Error, Result};
use crate::io::{StoredTensor, TensorFile, load_tensors, save_tensors, write_whole};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The file of the latest checkpoint in a folder.
pub const LATEST: &str = "checkpoint.safetensors";

/// The file of the checkpoint before it.
pub const PREVIOUS: &str = "checkpoint.previous.safetensors";

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
}

/// Writes the latest checkpoint of a folder, whole or not at all; what was the latest is kept as the
/// one before it.
pub(super) fn save(
    folder: &Path,
    tensors: &BTreeMap<String, StoredTensor<'_>>,
    metadata: &[(String, String)],
) -> Result<()> {
    let [latest, previous] = [Which::Latest, Which::Previous].map(|which| which.path(folder));
    if latest.exists() {
        keep(&latest, &previous)?;
    }
    let format = format!("{FORMAT}{VERSION}");
    let metadata = metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let metadata: Vec<_> = metadata.chain([("format", format.as_str())]).collect();
    save_tensors(&latest, tensors, &metadata)
}

/// Makes `previous` another name of the file `latest`, or where that cannot be, a copy. At no moment is
/// `latest` gone.
fn keep(latest: &Path, previous: &Path) -> Result<()> {
    let link = previous.with_extension(format!("{}.part", std::process::id()));
    let linked = fs::hard_link(latest, &link).and_then(|()| fs::rename(&link, previous));
    if linked.is_err() {
        let _ = fs::remove_file(&link);
        let bytes = fs::read(latest).map_err(|source| Error::io(latest, source))?;
        write_whole(previous, &bytes)?;
    }
    Ok(())
}

/// The tensors and metadata of a checkpoint, and its path.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::File`] if it is no checkpoint, damaged, or of a newer
/// format. If the one before it can be read, the error says so.
pub(super) fn load(folder: &Path, which: Which) -> Result<(PathBuf, TensorFile<'static>)> {
    let path = which.path(folder);
    match read(&path) {
        Ok(file) => Ok((path, file)),
        Err(Error::File { path, found, expected }) if which == Which::Latest => {
            let other = Which::Previous.path(folder);
            let expected = match read(&other) {
                Ok(_) => format!("{expected}; the one before it, {}, can be read", other.display()),
                Err(_) => expected,
            };
            Err(Error::File { path, found, expected })
        }
        Err(error) => Err(error),
    }
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
        save(folder, &BTreeMap::from([("x".into(), tensor)]), &[]).unwrap();
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
