//! Peppers: keys kept outside the database, so that whoever reads or writes the database alone can neither guess nor
//! plant a token. Losing them makes every token, password and sealed profile worthless; so their loss is noticed.
//!
//! The file holds one pepper a line, `ID BASE64URL` (32 bytes), made at the first start with mode 0600. To rotate, add
//! a line with a higher id and restart; the highest makes new hashes, the others go on verifying old ones. A line may
//! go only when the database no longer knows its id.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Secret;
use crate::entropy::Entropy;

/// Bytes of a pepper.
pub const PEPPER_BYTES: usize = 32;
/// The most peppers that a source may hold.
pub const PEPPERS_MAX: usize = 64;
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where the peppers are kept.
#[derive(Clone, Debug)]
pub enum PepperSource {
    /// A file, made when it is missing and the database knows no pepper yet.
    File(PathBuf),
    /// The text of such a file, from the environment; `;` or line ends between the peppers.
    Text(Secret<String>),
}

/// What the database knows of a pepper: enough to notice its loss, not enough to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPepper {
    pub id: u16,
    /// HMAC of a fixed text; base64url.
    pub check_value: String,
}

/// Why the peppers cannot be used. The texts say how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} can be read or written by others (mode {mode:03o}); it holds keys: chmod 600 {path}")]
    ReadableByOthers { path: String, mode: u32 },
    #[error("the peppers ({place}), line {line}: expected an id from 1 to 65535 and 32 bytes in base64url")]
    Malformed { place: String, line: usize },
    #[error("the peppers ({place}): id {id} stands there twice")]
    Repeated { place: String, id: u16 },
    #[error("the peppers ({place}): there is none, or more than {PEPPERS_MAX}")]
    Count { place: String },
    #[error(
        "this database was used with pepper {id}, which is missing ({place}). Without it no token or password of this \
         database can be verified: restore the pepper file, or start with another database"
    )]
    Lost { place: String, id: u16 },
    #[error(
        "pepper {id} ({place}) is not the one that this database was used with: restore the pepper file that belongs to \
         it, or start with another database"
    )]
    Different { place: String, id: u16 },
}

/// One pepper.
pub(super) struct Pepper {
    id: u16,
    mac: hmac::Key,
    expand: hkdf::Prk,
}

impl Pepper {
    pub(super) fn new(id: u16, bytes: &[u8; PEPPER_BYTES]) -> Self {
        Self {
            id,
            mac: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            expand: hkdf::Salt::new(hkdf::HKDF_SHA256, b"grantlog").extract(bytes),
        }
    }

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    /// HMAC-SHA-256 of `data`, separated by `label`: the same data under another label has another code.
    pub(super) fn hmac(&self, label: &str, data: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(b"grantlog/1/");
        context.update(label.as_bytes());
        context.update(&[0]);
        context.update(data);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// A key of its own for `purpose`.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let info = [b"grantlog/1/".as_slice(), purpose.as_bytes()];
        self.expand
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .expect("HKDF-SHA-256 gives 32 bytes");
        key
    }

    pub(super) fn known(&self) -> KnownPepper {
        KnownPepper { id: self.id, check_value: URL_SAFE_NO_PAD.encode(self.hmac("pepper_check", b"")) }
    }
}

/// Reads or makes the peppers and holds them against the `known` ones. Ascending by id, not empty.
pub(super) fn open(
    source: &PepperSource,
    known: &[KnownPepper],
    entropy: &Entropy,
) -> Result<Vec<Pepper>, SecretsError> {
    let (place, text) = match source {
        PepperSource::Text(text) => ("from the environment".to_owned(), Zeroizing::new(text.expose().clone())),
        PepperSource::File(path) => (path.display().to_string(), read_or_make(path, known, entropy)?),
    };
    let peppers = parse(&place, &text)?;
    for pepper in known {
        let Some(ours) = peppers.iter().find(|ours| ours.id == pepper.id) else {
            return Err(SecretsError::Lost { place, id: pepper.id });
        };
        if verify_slices_are_equal(ours.known().check_value.as_bytes(), pepper.check_value.as_bytes()).is_err() {
            return Err(SecretsError::Different { place, id: pepper.id });
        }
    }
    Ok(peppers)
}

fn parse(place: &str, text: &str) -> Result<Vec<Pepper>, SecretsError> {
    let mut peppers: Vec<Pepper> = Vec::new();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    for (at, line) in lines.flat_map(|(at, line)| line.split(';').map(move |entry| (at, entry.trim()))) {
        if line.is_empty() {
            continue;
        }
        let malformed = || SecretsError::Malformed { place: place.to_owned(), line: at + 1 };
        let (id, key) = line.split_once([' ', ':']).ok_or_else(malformed)?;
        let id: u16 = id.parse().ok().filter(|id| *id > 0).ok_or_else(malformed)?;
        let mut bytes = Zeroizing::new([0; PEPPER_BYTES]);
        if URL_SAFE_NO_PAD.decode_slice(key.trim(), bytes.as_mut_slice()) != Ok(PEPPER_BYTES) {
            return Err(malformed());
        }
        if peppers.iter().any(|pepper| pepper.id == id) {
            return Err(SecretsError::Repeated { place: place.to_owned(), id });
        }
        peppers.push(Pepper::new(id, &bytes));
    }
    if peppers.is_empty() || peppers.len() > PEPPERS_MAX {
        return Err(SecretsError::Count { place: place.to_owned() });
    }
    peppers.sort_by_key(|pepper| pepper.id);
    Ok(peppers)
}

fn read_or_make(path: &Path, known: &[KnownPepper], entropy: &Entropy) -> Result<Zeroizing<String>, SecretsError> {
    let io = |source| SecretsError::Io { path: path.display().to_string(), source };
    match std::fs::File::open(path) {
        Ok(file) => read(path, file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // A new pepper beside an old database would only hide that the old one is lost.
            if let Some(lost) = known.first() {
                return Err(SecretsError::Lost { place: path.display().to_string(), id: lost.id });
            }
            make(path, entropy).map_err(io)?;
            read(path, std::fs::File::open(path).map_err(io)?)
        }
        Err(error) => Err(io(error)),
    }
}

fn read(path: &Path, file: std::fs::File) -> Result<Zeroizing<String>, SecretsError> {
    let io = |source| SecretsError::Io { path: path.display().to_string(), source };
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

/// Makes the file whole or not at all; when another process is first, its file stays.
fn make(path: &Path, entropy: &Entropy) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", URL_SAFE_NO_PAD.encode(entropy.bytes::<6>())));
    let draft = PathBuf::from(draft);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let key = Zeroizing::new(entropy.bytes::<PEPPER_BYTES>());
    let text = Zeroizing::new(format!(
        "# Grantlog's peppers: keys that its database alone is worthless without. Keep this file secret, and keep a\n\
         # backup of it apart from the database's. To rotate, add a line with a higher id. Never remove one in use.\n\
         1 {}\n",
        URL_SAFE_NO_PAD.encode(key.as_slice())
    ));
    let mut file = options.open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // A link, unlike a rename, never replaces a file that another process has just made.
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    std::fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Kind, Secrets};
    use uuid::Uuid;

    fn entropy() -> Entropy {
        Entropy::seeded(11)
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_made_once_with_mode_0600_and_refused_when_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        let source = PepperSource::File(path.clone());
        let first = Secrets::open(&source, &[], &entropy()).expect("made");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let again = Secrets::open(&source, &first.known_peppers(), &Entropy::seeded(12)).expect("read");
        assert_eq!(again.known_peppers(), first.known_peppers());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(
            Secrets::open(&source, &[], &entropy()),
            Err(SecretsError::ReadableByOthers { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_lost_or_swapped_pepper_is_an_error_and_makes_no_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        let known = Secrets::ephemeral(&entropy()).known_peppers();
        let lost = Secrets::open(&PepperSource::File(path.clone()), &known, &entropy());
        assert!(matches!(lost, Err(SecretsError::Lost { id: 1, .. })));
        assert!(!path.exists());
        let other = PepperSource::Text(Secret::new(format!("1 {}", URL_SAFE_NO_PAD.encode([7; 32]))));
        assert!(matches!(Secrets::open(&other, &known, &entropy()), Err(SecretsError::Different { id: 1, .. })));
    }

    #[test]
    fn a_secret_made_before_a_rotation_is_still_read_the_same() {
        let line = |id: u16, fill: u8| format!("{id} {}", URL_SAFE_NO_PAD.encode([fill; 32]));
        let open = |text: String| Secrets::open(&PepperSource::Text(Secret::new(text)), &[], &entropy()).expect("good");
        let (old, new) = (open(line(1, 1)), open(format!("{};{}", line(2, 2), line(1, 1))));
        let (secret, hash) = old.mint(Kind::Code, Uuid::nil());
        assert_eq!(new.parse(Kind::Code, secret.expose()), Some((Uuid::nil(), hash)));
        let (secret, hash) = new.mint(Kind::Code, Uuid::nil());
        assert_eq!(hash.pepper, 2);
        assert_eq!(old.parse(Kind::Code, secret.expose()), None);
        assert_eq!(
            old.blind_index(super::super::Purpose::UsernameIndex, "ann"),
            new.blind_index(super::super::Purpose::UsernameIndex, "ann")
        );
        assert_eq!(new.unseal("x", &old.seal("x", b"y")).map(|text| text.expose().clone()), Some(b"y".to_vec()));
        let mac = old.mac(super::super::Purpose::Csrf, b"form");
        assert!(new.verify_mac(super::super::Purpose::Csrf, b"form", &mac));
        assert!(!new.verify_mac(super::super::Purpose::BrowserState, b"form", &mac));
    }

    #[test]
    fn malformed_lines_are_refused_with_their_number() {
        let key = URL_SAFE_NO_PAD.encode([1; 32]);
        let open = |text: &str| parse("test", text).map(|peppers| peppers.len());
        assert!(matches!(open(&format!("1 {key}\n2 {key}\n\n# note\n")), Ok(2)));
        for (text, line) in [("nonsense", 1), ("0 AAAA", 1), (&format!("1 {key}\n2 {key}x"), 2), ("70000 AAAA", 1)] {
            assert!(matches!(open(text), Err(SecretsError::Malformed { line: at, .. }) if at == line), "{text}");
        }
        assert!(matches!(open(&format!("1 {key}\n1 {key}")), Err(SecretsError::Repeated { id: 1, .. })));
        assert!(matches!(open("# nothing"), Err(SecretsError::Count { .. })));
    }
}
