//! The file of the peppers: made at the first start with mode 0600, changed whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::pepper::{PEPPER_BYTES, SecretsError};
use crate::entropy::Entropy;

const FILE_BYTES_MAX: u64 = 64 * 1024;

const HEAD: &str = "# Grantlog's peppers: keys that its database alone is worthless without. Keep this file secret, and keep a\n\
                    # backup of it apart from the database's. Change it with grantlog pepper rotate and retire. Never remove one\n\
                    # in use.\n";

/// The text of the file, which nobody else may read.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, SecretsError> {
    let io = |source| SecretsError::Io { path: path.display().to_string(), source };
    let file = File::open(path).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretsError::ReadableByOthers { path: path.display().to_string(), mode });
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

/// Makes the file with one pepper when it is not there, unless the database was used with one that is `lost` then.
pub(super) fn make_if_missing(path: &Path, lost: Option<u16>, entropy: &Entropy) -> Result<(), SecretsError> {
    let io = |source| SecretsError::Io { path: path.display().to_string(), source };
    match (path.try_exists().map_err(io)?, lost) {
        (true, _) => Ok(()),
        (false, Some(id)) => Err(SecretsError::Lost { place: path.display().to_string(), id }),
        (false, None) => make(path, entropy).map_err(io),
    }
}

/// Makes the file whole or not at all; when another process is first, its file stays.
fn make(path: &Path, entropy: &Entropy) -> std::io::Result<()> {
    let draft = beside(path, &format!(".{}.new", URL_SAFE_NO_PAD.encode(entropy.bytes::<6>())));
    let mut file = private(&draft)?;
    let text = Zeroizing::new(format!("{HEAD}{}", line(1, entropy).as_str()));
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A link, unlike a rename, never replaces a file that another process has just made.
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    std::fs::remove_file(&draft)?;
    linked
}

/// Adds a new pepper with that id behind what is there.
///
/// # Errors
/// When the file cannot be read or replaced; then it is as it was.
pub fn add(path: &Path, id: u16, entropy: &Entropy) -> Result<(), SecretsError> {
    change(path, |text| {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Zeroizing::new(format!("{text}{end}{}", line(id, entropy).as_str()))
    })
}

/// Takes that pepper out. The others, and what else stands there, stay.
///
/// # Errors
/// As [`add`].
pub fn remove(path: &Path, id: u16) -> Result<(), SecretsError> {
    let is_it = |entry: &str| {
        entry.trim().split_once([' ', ':']).and_then(|(number, _)| number.parse::<u16>().ok()).is_some_and(|n| n == id)
    };
    change(path, |text| {
        let mut kept = Zeroizing::new(String::with_capacity(text.len()));
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with('#') {
                kept.push_str(line);
                continue;
            }
            let entries: Vec<&str> = line.split(';').filter(|entry| !is_it(entry)).collect();
            let end =
                if line.ends_with('\n') && !entries.iter().any(|entry| entry.ends_with('\n')) { "\n" } else { "" };
            // A line of which nothing is left goes too.
            if !entries.is_empty() {
                kept.push_str(&entries.join(";"));
                kept.push_str(end);
            }
        }
        kept
    })
}

/// Replaces the text, whole or not at all; the draft beside the file keeps others from doing it at the same time. Mode and
/// owner stay, so that who could read it still can.
fn change(path: &Path, change: impl FnOnce(&str) -> Zeroizing<String>) -> Result<(), SecretsError> {
    let io = |source| SecretsError::Io { path: path.display().to_string(), source };
    // Behind a link it is the file that changes, not the link.
    let path = path.canonicalize().map_err(io)?;
    let draft = beside(&path, ".new");
    let mut file = match private(&draft) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(SecretsError::BeingChanged { path: draft.display().to_string() });
        }
        made => made.map_err(io)?,
    };
    let changed = read(&path).and_then(|text| {
        let replaced = file.write_all(change(&text).as_bytes()).and_then(|()| keep_owner(&path, &file));
        let replaced = replaced.and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&draft, &path));
        replaced.map_err(io)
    });
    if changed.is_err() {
        let _ = std::fs::remove_file(&draft);
        return changed;
    }
    // That the new name lasts is the folder's to say.
    let folder = path.parent().map(File::open);
    folder.transpose().and_then(|folder| folder.map_or(Ok(()), |folder| folder.sync_all())).map_err(io)
}

#[cfg(unix)]
fn keep_owner(path: &Path, file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let old = std::fs::metadata(path)?;
    let new = file.metadata()?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &File) -> std::io::Result<()> {
    Ok(())
}

/// A new file that only its owner can read.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A line with a new pepper.
fn line(id: u16, entropy: &Entropy) -> Zeroizing<String> {
    let key = Zeroizing::new(entropy.bytes::<PEPPER_BYTES>());
    Zeroizing::new(format!("{id} {}\n", Zeroizing::new(URL_SAFE_NO_PAD.encode(key.as_slice())).as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entropy() -> Entropy {
        Entropy::seeded(21)
    }

    #[test]
    fn a_line_is_added_and_taken_out_and_the_rest_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        make_if_missing(&path, None, &entropy()).expect("made");
        let first = read(&path).expect("read");
        add(&path, 2, &Entropy::seeded(22)).expect("added");
        let both = read(&path).expect("read");
        assert!(both.starts_with(first.as_str()) && both.lines().last().is_some_and(|line| line.starts_with("2 ")));
        remove(&path, 1).expect("removed");
        let second = read(&path).expect("read");
        assert!(
            second.starts_with(HEAD) && second.lines().count() == 4 && second.lines().last() == both.lines().last()
        );
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn several_on_a_line_and_a_missing_line_end_are_no_trouble() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        private(&path).expect("made").write_all(b"# note\n1 a; 2 b\n3 c").expect("written");
        add(&path, 4, &entropy()).expect("added");
        remove(&path, 2).expect("removed");
        let text = read(&path).expect("read");
        assert!(text.starts_with("# note\n1 a\n3 c\n4 "), "{}", text.as_str());
        remove(&path, 3).expect("removed");
        assert!(read(&path).expect("read").starts_with("# note\n1 a\n4 "));
    }

    #[cfg(unix)]
    #[test]
    fn mode_and_link_stay_and_two_changes_at_once_are_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("peppers"), folder.path().join("link"));
        make_if_missing(&path, None, &entropy()).expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).expect("changed");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        add(&link, 2, &entropy()).expect("added");
        assert!(link.is_symlink());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        let before = read(&path).expect("read");
        let under_way = private(&beside(&path, ".new")).expect("made");
        assert!(matches!(add(&path, 3, &entropy()), Err(SecretsError::BeingChanged { .. })));
        drop(under_way);
        assert_eq!(read(&path).expect("read"), before);
    }
}
