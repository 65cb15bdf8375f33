//! Files written whole or not at all.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many symbolic links in a row are followed. Linux stops at as many.
const MOST_LINKS: usize = 40;

/// Writes a file whole or not at all: to a temporary file in the same folder, synced, then renamed.
///
/// A symbolic link stays, and the file that it leads to is written. A file that is replaced leaves
/// its permissions to the new one. The temporary file is `.dpq-<process>-<number>.part`; it stays
/// only if the process is killed. Several may write to one path at a time, and the last one wins.
///
/// # Errors
/// Those of [`check_writable`], and [`Error::Io`] if writing fails; `path` is then as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let (target, permissions) = target(path)?;
    replace(&target, permissions, bytes).map_err(|source| Error::io(path, source))
}

/// Refuses what [`write_whole`] would refuse before it writes anything. A program asks this before
/// it works for hours.
///
/// It checks that the path has a file name; that symbolic links end somewhere; that what stands
/// there, if anything, is a regular file that may be written to; and that its folder exists. It does
/// not check that the folder takes another file, or that the disk has room for it.
///
/// # Errors
/// [`Error::File`] if the path names no file, or something that is no regular file; [`Error::Io`] if
/// the file is read-only, or the system refuses to say.
pub fn check_writable(path: &Path) -> Result<()> {
    target(path).map(|_| ())
}

/// The path that is written to, all links followed, and the permissions of the file there.
fn target(path: &Path) -> Result<(PathBuf, Option<Permissions>)> {
    let misfit = |found: &str| Error::File {
        path: path.to_path_buf(),
        found: found.into(),
        expected: "a regular file, or nothing".into(),
    };
    let io = |source| Error::io(path, source);
    let mut target = path.to_path_buf();
    for _ in 0..=MOST_LINKS {
        if !names_a_file(&target) {
            return Err(misfit("no file name"));
        }
        let metadata = match fs::symlink_metadata(&target) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // A file may be missing, its folder may not.
                fs::metadata(folder(&target)).map_err(io)?;
                return Ok((target, None));
            }
            Err(error) => return Err(io(error)),
        };
        if metadata.is_symlink() {
            let next = fs::read_link(&target).map_err(io)?;
            target = folder(&target).join(next);
        } else if metadata.is_file() {
            let permissions = metadata.permissions();
            if permissions.readonly() {
                return Err(io(ErrorKind::PermissionDenied.into()));
            }
            // Others may be kept from writing by what the permissions do not tell.
            File::options().write(true).open(&target).map_err(io)?;
            return Ok((target, Some(permissions)));
        } else {
            return Err(misfit(kind(&metadata)));
        }
    }
    Err(misfit("links that lead in a circle"))
}

/// Whether a path ends in a name: not in `/`, `.` or `..`.
fn names_a_file(path: &Path) -> bool {
    let ends_in = |name: &std::ffi::OsStr| {
        path.as_os_str().as_encoded_bytes().ends_with(name.as_encoded_bytes())
    };
    path.file_name().is_some_and(ends_in)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What something is that is neither a regular file nor a link.
fn kind(metadata: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "a pipe";
        } else if kind.is_socket() {
            return "a socket";
        } else if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if metadata.is_dir() { "a folder" } else { "something else" }
}

fn replace(target: &Path, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    let (part, mut file) = create_part(folder(target))?;
    let write = || {
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&part, target)
    };
    write().inspect_err(|_| {
        // The first error is the one to report; a part that cannot be removed is harmless.
        let _ = fs::remove_file(&part);
    })?;
    // The new name outlives a loss of power where the system can promise it; the file is whole anyway.
    #[cfg(unix)]
    let _ = File::open(folder(target)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// A new file that nobody else writes to. Its name is short: a long one of the user's leaves no room
/// for more.
fn create_part(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!(".dpq-{}-{number}.part", std::process::id()));
        match File::create_new(&part) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (part, file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use tempfile::{TempDir, tempdir};

    /// The names in a folder, sorted.
    fn names(folder: &TempDir) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What both functions say of a path after naming it.
    fn refusal(path: &Path) -> String {
        let [asked, written] = [check_writable(path), write_whole(path, b"new")]
            .map(|refused| refused.unwrap_err().to_string());
        assert_eq!(asked, written);
        written.strip_prefix(&format!("{}: ", path.display())).expect("the path").to_string()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(folder.path().join("x.part"), "mine").unwrap();
        for text in ["old", "new", ""] {
            check_writable(&path).unwrap();
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_to_string(folder.path().join("x.part")).unwrap(), "mine");
        assert_eq!(names(&folder), ["x", "x.part"]);
    }

    #[test]
    fn two_may_write_to_one_path_while_others_read() {
        let folder = tempdir().unwrap();
        let path = &folder.path().join("x");
        let whole = [vec![1; 100_000], vec![2; 50_000]];
        write_whole(path, &whole[0]).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers = whole.each_ref().map(|bytes| {
                scope.spawn(move || (0..50).try_for_each(|_| write_whole(path, bytes)))
            });
            let reader = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let read = fs::read(path).unwrap();
                    assert!(whole.contains(&read), "{} bytes", read.len());
                }
            });
            let written = writers.map(|writer| writer.join().unwrap());
            stop.store(true, Ordering::Relaxed);
            reader.join().unwrap();
            written.into_iter().for_each(Result::unwrap);
        });
        assert_eq!(names(&folder), ["x"]);
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let folder = tempdir().unwrap();
        let (taken, _) = create_part(folder.path()).unwrap();
        let name = taken.file_name().unwrap().to_str().unwrap();
        let number: usize =
            name.rsplit('-').next().unwrap().trim_end_matches(".part").parse().unwrap();
        for next in number + 1..number + 100 {
            let name = format!(".dpq-{}-{next}.part", std::process::id());
            fs::write(folder.path().join(name), "mine").unwrap();
        }
        write_whole(&folder.path().join("x"), b"new").unwrap();
        for name in names(&folder).iter().filter(|name| *name != "x" && !taken.ends_with(name)) {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "mine", "{name}");
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_the_file_system_takes() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x".repeat(255));
        write_whole(&path, b"text").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"text");
    }

    #[test]
    fn what_names_no_file_is_refused() {
        let folder = tempdir().unwrap();
        let expected = "found no file name, expected a regular file, or nothing";
        for path in ["", "/", "..", "x/..", "x/"] {
            assert_eq!(refusal(Path::new(path)), expected, "{path}");
        }
        assert_eq!(refusal(&folder.path().join("x/.")), expected);
        let missing = folder.path().join("nowhere").join("x");
        assert!(matches!(check_writable(&missing), Err(Error::Io { .. })));
        assert!(matches!(write_whole(&missing, b""), Err(Error::Io { .. })));
    }

    #[test]
    fn a_read_only_file_is_refused_and_kept() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "old").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&path, permissions).unwrap();
        for refused in [check_writable(&path), write_whole(&path, b"new")] {
            let kind = match refused {
                Err(Error::Io { source, .. }) => source.kind(),
                other => panic!("{other:?}"),
            };
            assert_eq!(kind, ErrorKind::PermissionDenied);
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(&folder), ["x"]);
    }

    #[test]
    fn a_folder_is_refused() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x");
        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&path), "found a folder, expected a regular file, or nothing");
        assert_eq!(names(&folder), ["x"]);
    }

    #[test]
    fn after_an_error_no_part_is_left() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("x");
        fs::create_dir(&path).unwrap();
        // As if the folder had come after the check.
        replace(&path, None, b"new").unwrap_err();
        assert_eq!(names(&folder), ["x"]);
    }

    #[cfg(unix)]
    mod unix {
        use super::*;
        use std::os::unix::fs::{PermissionsExt, symlink};
        use std::os::unix::net::UnixListener;
        use std::process::Command;

        #[test]
        fn permissions_are_kept() {
            let folder = tempdir().unwrap();
            let path = folder.path().join("x");
            for mode in [0o600, 0o664, 0o777] {
                fs::write(&path, "old").unwrap();
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
                write_whole(&path, b"new").unwrap();
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            }
        }

        #[test]
        fn links_are_followed() {
            let folder = tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            fs::create_dir(at("deep")).unwrap();
            // To a link in another folder, and from there to a file beside that folder.
            symlink("deep/link", at("link")).unwrap();
            symlink("../x", at("deep/link")).unwrap();
            for text in ["where nothing was", "over that"] {
                check_writable(&at("link")).unwrap();
                write_whole(&at("link"), text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(at("x")).unwrap(), text);
                assert!(at("link").is_symlink() && at("deep/link").is_symlink());
                assert!(!at("x").is_symlink());
            }
            assert_eq!(names(&folder), ["deep", "link", "x"]);
            assert_eq!(fs::read_dir(at("deep")).unwrap().count(), 1);
        }

        #[test]
        fn links_in_a_circle_are_refused() {
            let folder = tempdir().unwrap();
            let path = folder.path().join("a");
            symlink("b", &path).unwrap();
            symlink("a", folder.path().join("b")).unwrap();
            assert_eq!(
                refusal(&path),
                "found links that lead in a circle, expected a regular file, or nothing"
            );
            assert_eq!(names(&folder), ["a", "b"]);
        }

        #[test]
        fn devices_pipes_and_sockets_are_refused() {
            let folder = tempdir().unwrap();
            let wanted = "expected a regular file, or nothing";
            assert_eq!(refusal(Path::new("/dev/null")), format!("found a device, {wanted}"));
            let link = folder.path().join("link");
            symlink("/dev/null", &link).unwrap();
            assert_eq!(refusal(&link), format!("found a device, {wanted}"));
            let socket = folder.path().join("socket");
            let _listener = UnixListener::bind(&socket).unwrap();
            assert_eq!(refusal(&socket), format!("found a socket, {wanted}"));
            let pipe = folder.path().join("pipe");
            match Command::new("mkfifo").arg(&pipe).status() {
                Ok(status) if status.success() => {
                    assert_eq!(refusal(&pipe), format!("found a pipe, {wanted}"));
                }
                other => println!("no pipe tried: mkfifo gave {other:?}"),
            }
        }
    }
}
