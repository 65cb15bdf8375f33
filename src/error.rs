//! What can go wrong with things that come from outside: files, configurations, ids, data.
//!
//! Wrong shapes are programmer errors: they do not give an [`Error`], they panic at the caller's line.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the offending value, what was expected, and where.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write `path`.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A file is not what it should be.
    File {
        /// The file or folder.
        path: PathBuf,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
    },
    /// A setting has an invalid value.
    Config {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Data does not fill the shape that it was given.
    Shape {
        /// The shape asked for.
        shape: Vec<usize>,
        /// How many elements there were.
        elements: usize,
    },
    /// An id lies outside its vocabulary.
    Id {
        /// The id.
        id: u32,
        /// The vocabulary's size: ids are `0..vocabulary`.
        vocabulary: usize,
    },
    /// A target is none of the classes.
    Target {
        /// The target.
        target: u32,
        /// How many classes there are: targets are `0..classes`.
        classes: usize,
    },
    /// A step of training failed.
    Training {
        /// Its epoch, counted from 1.
        epoch: usize,
        /// The step within the epoch, counted from 1.
        step: usize,
        /// The last checkpoint, if there is one.
        checkpoint: Option<PathBuf>,
        /// What went wrong.
        source: Box<Error>,
    },
    /// Another rank of those that train together is not there any more, or does something else.
    Rank {
        /// Which.
        rank: usize,
        /// What it has done.
        what: String,
    },
    /// A number is infinite or NaN where it must be finite.
    NotFinite {
        /// Which number: the tensor and what it is for.
        what: String,
        /// Its value.
        value: f64,
    },
}

impl Error {
    /// That the operating system refused to read or write `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { path: path.into(), source: Arc::new(source) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::File { path, found, expected } => {
                write!(f, "{}: found {found}, expected {expected}", path.display())
            }
            Error::Config { name, value, expected } => {
                write!(f, "{name} = {value}: expected {expected}")
            }
            Error::Shape { shape, elements } => {
                let held = shape.iter().map(|&n| n as f64).product::<f64>();
                write!(f, "{elements} elements do not fill the shape {shape:?}, which holds {held}")
            }
            Error::Id { id, vocabulary } => {
                write!(f, "id {id} is outside the vocabulary: expected 0..{vocabulary}")
            }
            Error::Target { target, classes } => {
                write!(f, "target {target} is outside the classes: expected 0..{classes}")
            }
            Error::Training { epoch, step, checkpoint, source } => {
                write!(f, "epoch {epoch}, step {step}: {source}")?;
                match checkpoint {
                    Some(path) => write!(f, "; the last checkpoint is {}", path.display()),
                    None => Ok(()),
                }
            }
            Error::Rank { rank, what } => write!(f, "rank {rank} {what}"),
            Error::NotFinite { what, value } => {
                write!(f, "{what} is {value}: expected a finite number")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(&**source),
            Error::Training { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
