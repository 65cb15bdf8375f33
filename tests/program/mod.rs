//! The example programs, as tests run them.

use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A program by its name. `cargo test` builds it; a run of these tests alone does not.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let folder = test.parent().and_then(Path::parent).expect("a folder of builds");
    let path = folder.join("examples").join(name);
    assert!(path.is_file(), "no {}: cargo build --all-features --examples", path.display());
    path
}

#[track_caller]
pub fn stdout(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// The one line that a refusal prints, less the folder.
#[track_caller]
pub fn refusal(output: &Output, folder: &TempDir) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err.trim().replace(&format!("{}/", folder.path().display()), "")
}
