//! The files: which there are, and how one is put into capitals.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes files of small letters.
pub(crate) fn make(folder: &Path, count: u32, size: u64) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let line = "kill any process at any instruction\n";
    let text: Vec<u8> = line.bytes().cycle().take(size as usize).collect();
    (1..=count).try_for_each(|number| fs::write(folder.join(format!("letters-{number:06}.txt")), &text))
}

/// The files of a folder, in the order of their names.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && !entry.file_type()?.is_dir() {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Puts a file into capitals; returns how many bytes it had.
pub(crate) fn convert(path: PathBuf) -> Result<u64, String> {
    let text = |error: io::Error| error.to_string();
    let path = path.canonicalize().map_err(text)?; // of a link, what it leads to
    let metadata = fs::metadata(&path).map_err(text)?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let content = fs::read_to_string(&path).map_err(text)?;
    replace(&path, content.to_uppercase().as_bytes(), metadata.permissions()).map_err(text)?;
    Ok(content.len() as u64)
}

/// Puts other bytes in the place of a file's, in one step for everybody who looks.
fn replace(path: &Path, bytes: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = write(&beside, bytes, permissions).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside); // The first error is the one to tell.
    }
    written
}

/// Writes a new file, which nobody else can read before it has its permissions.
fn write(path: &Path, bytes: &[u8], permissions: fs::Permissions) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(permissions)
}
