//! Peppers: keys kept outside the database, so that whoever reads or writes the database alone can neither guess nor
//! plant a token. Losing them makes every token, password and sealed profile worthless; so their loss is noticed.
//!
//! The file (`pepper_file`) holds one pepper a line, `ID BASE64URL` (32 bytes). One of them makes new hashes, those before
//! it go on verifying old ones, until `grantlog pepper retire` has left nothing that rests on them.

use std::path::PathBuf;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantlog_domain::Timestamp;
use zeroize::Zeroizing;

use super::{Secret, pepper_file};
use crate::entropy::Entropy;

/// Bytes of a pepper.
pub const PEPPER_BYTES: usize = 32;
/// The most peppers that a source may hold.
pub const PEPPERS_MAX: usize = 64;

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
    /// From when on new hashes are made with it; `None`: it is only verified with.
    pub used_from: Option<Timestamp>,
    /// Since when what rests on it is being ended or made anew.
    pub retiring_at: Option<Timestamp>,
    /// Since when it is worth nothing.
    pub retired_at: Option<Timestamp>,
}

impl KnownPepper {
    /// Whether new hashes may be made with it now.
    #[must_use]
    pub fn is_used(&self, now: Timestamp) -> bool {
        self.retired_at.is_none() && self.used_from.is_some_and(|from| from <= now)
    }
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
        "the peppers ({place}): id {id} is new and not higher than {least}, which this database knows: a new pepper gets \
         the next higher id (grantlog pepper rotate)"
    )]
    TooLow { place: String, id: u16, least: u16 },
    #[error("the peppers ({place}): all of them are retired; restore the file that has the newest one")]
    AllRetired { place: String },
    #[error(
        "the database lost the key that names users to clients, which it kept of a retired pepper: restore its table \
         vault_kept_keys from a backup"
    )]
    KeptKeyLost,
    #[error("{path} is there: another change of the peppers is under way. When there is none, remove {path}")]
    BeingChanged { path: String },
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
    bytes: Zeroizing<[u8; PEPPER_BYTES]>,
    mac: hmac::Key,
    expand: hkdf::Prk,
}

impl Pepper {
    pub(super) fn new(id: u16, bytes: &[u8; PEPPER_BYTES]) -> Self {
        Self {
            id,
            bytes: Zeroizing::new(*bytes),
            mac: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            expand: hkdf::Salt::new(hkdf::HKDF_SHA256, b"grantlog").extract(bytes),
        }
    }

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
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

    pub(super) fn check_value(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.hmac("pepper_check/2", b""))
    }

    /// As the database knows a pepper until its events have their codes.
    pub(super) fn check_value_before_codes(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.hmac("pepper_check", b""))
    }

    fn is_known_as(&self, known: &KnownPepper) -> bool {
        [self.check_value(), self.check_value_before_codes()]
            .iter()
            .any(|ours| verify_slices_are_equal(ours.as_bytes(), known.check_value.as_bytes()).is_ok())
    }
}

/// Reads or makes the peppers and holds them against the `known` ones. Those that are not retired, ascending by id, not
/// empty.
pub(super) fn open(
    source: &PepperSource,
    known: &[KnownPepper],
    entropy: &Entropy,
) -> Result<Vec<Pepper>, SecretsError> {
    if let PepperSource::File(path) = source {
        // A new pepper beside an old database would only hide that the old one is lost.
        let lost = known.iter().find(|pepper| pepper.retired_at.is_none()).or(known.first());
        pepper_file::make_if_missing(path, lost.map(|pepper| pepper.id), entropy)?;
    }
    let (place, mut peppers) = read(source)?;
    let newest_known = known.iter().map(|pepper| pepper.id).max().unwrap_or(0);
    if let Some(low) =
        peppers.iter().find(|ours| ours.id < newest_known && !known.iter().any(|known| known.id == ours.id))
    {
        return Err(SecretsError::TooLow { place, id: low.id, least: newest_known });
    }
    for pepper in known.iter().filter(|pepper| pepper.retired_at.is_none()) {
        let Some(ours) = peppers.iter().find(|ours| ours.id == pepper.id) else {
            return Err(SecretsError::Lost { place, id: pepper.id });
        };
        if !ours.is_known_as(pepper) {
            return Err(SecretsError::Different { place, id: pepper.id });
        }
    }
    peppers.retain(|ours| !known.iter().any(|known| known.id == ours.id && known.retired_at.is_some()));
    if peppers.is_empty() { Err(SecretsError::AllRetired { place }) } else { Ok(peppers) }
}

/// One pepper of the source, if it is there and the one that the database knows.
pub(super) fn find(source: &PepperSource, known: &KnownPepper) -> Result<Option<Pepper>, SecretsError> {
    let (place, peppers) = read(source)?;
    match peppers.into_iter().find(|ours| ours.id == known.id) {
        Some(ours) if !ours.is_known_as(known) => Err(SecretsError::Different { place, id: known.id }),
        found => Ok(found),
    }
}

fn read(source: &PepperSource) -> Result<(String, Vec<Pepper>), SecretsError> {
    let (place, text) = match source {
        PepperSource::Text(text) => ("from the environment".to_owned(), Zeroizing::new(text.expose().clone())),
        PepperSource::File(path) => (path.display().to_string(), pepper_file::read(path)?),
    };
    let peppers = parse(&place, &text)?;
    Ok((place, peppers))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{Followed, Kind, Purpose, Secrets};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn entropy() -> Entropy {
        Entropy::seeded(11)
    }

    fn open_now(source: &PepperSource, known: &[KnownPepper]) -> Result<Secrets, SecretsError> {
        Secrets::open(source, known, &entropy(), NOW)
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_made_once_with_mode_0600_and_refused_when_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        let source = PepperSource::File(path.clone());
        let first = open_now(&source, &[]).expect("made");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let again = open_now(&source, &first.known_peppers()).expect("read");
        assert_eq!(again.known_peppers(), first.known_peppers());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(open_now(&source, &[]), Err(SecretsError::ReadableByOthers { mode: 0o640, .. })));
    }

    #[test]
    fn a_lost_or_swapped_pepper_is_an_error_and_makes_no_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("peppers");
        let known = Secrets::ephemeral(&entropy()).known_peppers();
        let lost = open_now(&PepperSource::File(path.clone()), &known);
        assert!(matches!(lost, Err(SecretsError::Lost { id: 1, .. })));
        assert!(!path.exists());
        let other = PepperSource::Text(Secret::new(format!("1 {}", URL_SAFE_NO_PAD.encode([7; 32]))));
        assert!(matches!(open_now(&other, &known), Err(SecretsError::Different { id: 1, .. })));
    }

    #[test]
    fn a_secret_made_before_a_rotation_is_still_read_the_same() {
        let line = |id: u16, fill: u8| format!("{id} {}", URL_SAFE_NO_PAD.encode([fill; 32]));
        let open = |text: String| open_now(&PepperSource::Text(Secret::new(text)), &[]).expect("good");
        let (old, new) = (open(line(1, 1)), open(format!("{};{}", line(2, 2), line(1, 1))));
        let (secret, hash) = old.mint(Kind::Code, Uuid::nil());
        assert_eq!(new.parse(Kind::Code, secret.expose()), Some((Uuid::nil(), hash)));
        let (secret, hash) = new.mint(Kind::Code, Uuid::nil());
        assert_eq!(hash.pepper, 2);
        assert_eq!(old.parse(Kind::Code, secret.expose()), None);
        let names = |secrets: &Secrets| secrets.username_indexes("ann");
        assert_eq!(names(&old)[0], names(&new)[0]);
        let subject = |secrets: &Secrets| secrets.blind_index(Purpose::PairwiseSubject, "ann");
        assert_eq!(subject(&old), subject(&new));
        assert_eq!(new.unseal("x", &old.seal("x", b"y")).map(|text| text.expose().clone()), Some(b"y".to_vec()));
        let mac = old.mac(Purpose::Csrf, b"form");
        assert!(new.verify_mac(Purpose::Csrf, b"form", &mac));
        assert!(!new.verify_mac(Purpose::BrowserState, b"form", &mac));
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

    fn lines(ids: &[u16]) -> PepperSource {
        let line = |id: &u16| format!("{id} {}", URL_SAFE_NO_PAD.encode([*id as u8; 32]));
        PepperSource::Text(Secret::new(ids.iter().map(line).collect::<Vec<_>>().join(";")))
    }

    #[test]
    fn a_retired_pepper_may_be_missing_and_is_worth_nothing_when_it_is_there() {
        let both = open_now(&lines(&[1, 2]), &[]).expect("good");
        let mut known = both.known_peppers();
        for pepper in &mut known {
            pepper.used_from = Some(NOW);
        }
        let (old, _) = open_now(&lines(&[1]), &[]).expect("good").mint(Kind::Code, Uuid::nil());
        assert!(matches!(open_now(&lines(&[2]), &known), Err(SecretsError::Lost { id: 1, .. })));
        known[0].retired_at = Some(NOW);
        for ids in [&[2][..], &[1, 2]] {
            let secrets = open_now(&lines(ids), &known).expect("good");
            assert_eq!(secrets.parse(Kind::Code, old.expose()), None);
        }
        assert!(matches!(open_now(&lines(&[1]), &known), Err(SecretsError::Lost { id: 2, .. })));
        known[1].retired_at = Some(NOW);
        assert!(matches!(open_now(&lines(&[1, 2]), &known), Err(SecretsError::AllRetired { .. })));
    }

    #[test]
    fn a_new_pepper_has_a_higher_id_and_makes_hashes_when_its_time_has_come() {
        let mut known = open_now(&lines(&[5]), &[]).expect("good").known_peppers();
        known[0].used_from = Some(NOW);
        assert!(matches!(open_now(&lines(&[3, 5]), &known), Err(SecretsError::TooLow { id: 3, least: 5, .. })));
        let minted = |known: &[KnownPepper]| {
            let secrets = open_now(&lines(&[5, 6]), known).expect("good");
            secrets.mint(Kind::Code, Uuid::nil()).1.pepper
        };
        // Not known to the database; known and not used; used later; used now.
        assert_eq!(minted(&known), 5);
        known.push(open_now(&lines(&[6]), &[]).expect("good").known_peppers().remove(0));
        assert_eq!(minted(&known), 5);
        known[1].used_from = Some(NOW.plus_seconds(1));
        assert_eq!(minted(&known), 5);
        known[1].used_from = Some(NOW);
        assert_eq!(minted(&known), 6);
    }

    #[test]
    fn a_running_process_takes_in_a_new_pepper_and_lets_go_of_a_retired_one() {
        let mut known = open_now(&lines(&[1]), &[]).expect("good").known_peppers();
        known[0].used_from = Some(NOW);
        let secrets = open_now(&lines(&[1]), &known).expect("good");
        let (old, _) = secrets.mint(Kind::Code, Uuid::nil());
        let subject = secrets.blind_index(Purpose::PairwiseSubject, "ann");
        let mut second = open_now(&lines(&[2]), &[]).expect("good").known_peppers().remove(0);
        second.used_from = Some(NOW.plus_seconds(10));
        known.push(second);
        let (source, later) = (lines(&[1, 2]), NOW.plus_seconds(10));
        assert_eq!(secrets.follow(&lines(&[1]), &known, NOW).expect("read").missing, Some(2));
        assert_eq!(secrets.follow(&source, &known, NOW).expect("read"), Followed::default());
        assert_eq!(secrets.mint(Kind::Code, Uuid::nil()).1.pepper, 1);
        secrets.follow(&source, &known, later).expect("read");
        assert_eq!(secrets.mint(Kind::Code, Uuid::nil()).1.pepper, 2);
        assert!(secrets.parse(Kind::Code, old.expose()).is_some());
        known[0].retiring_at = Some(later);
        assert!(!secrets.follow(&source, &known, later).expect("read").must_stop);
        known[0].retired_at = Some(later);
        secrets.follow(&source, &known, later).expect("read");
        assert_eq!(secrets.parse(Kind::Code, old.expose()), None);
        assert_eq!(secrets.blind_index(Purpose::PairwiseSubject, "ann"), subject);
        // Who has no newer one than that which is being retired cannot go on.
        known[0].retired_at = None;
        let behind = open_now(&lines(&[1]), &known[..1]).expect("good");
        assert!(behind.follow(&lines(&[1]), &known, later).expect("read").must_stop);
    }

    #[test]
    fn what_names_users_to_clients_outlives_its_pepper() {
        let both = open_now(&lines(&[1, 2]), &[]).expect("good");
        let mut known = both.known_peppers();
        let kept = both.seal_identifiers();
        let subject = both.blind_index(Purpose::PairwiseSubject, "ann");
        known[0].retired_at = Some(NOW);
        let secrets = open_now(&lines(&[2]), &known).expect("good");
        assert_ne!(secrets.blind_index(Purpose::PairwiseSubject, "ann"), subject);
        assert!(secrets.open_identifiers(&kept));
        assert_eq!(secrets.blind_index(Purpose::PairwiseSubject, "ann"), subject);
        assert!(!open_now(&lines(&[3]), &[]).expect("good").open_identifiers(&kept));
    }
}
