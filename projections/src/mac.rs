//! The message authentication code of an event: that it was decided by a Grantlog, and not written into the table by
//! somebody else. HMAC-SHA-256 (RFC 2104) under a key that the database never sees, over all that an event says and where
//! it stands in its stream; docs/decisions/0016 has the reasons.
//!
//! As text, base64url: two bytes that name the key, and the first 16 bytes of the code. A `~` before it: the event was
//! there before events had a code, and a migration took the log for true as it was.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of the code that are kept.
const TAG_BYTES: usize = 16;
const ID_BYTES: usize = 2;
/// Characters of a code.
const TEXT_BYTES: usize = (ID_BYTES + TAG_BYTES) / 3 * 4;
/// Before the code of an event that a migration attested.
const ATTESTED: char = '~';

/// All of an event that counts: what it says, and its place in its stream. Where it stands in the log the database says.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    pub aggregate_type: &'a str,
    pub aggregate_id: &'a str,
    pub sequence: i64,
    pub event_type: &'a str,
    pub event_version: &'a str,
    /// As it is stored, down to its spaces.
    pub payload: &'a str,
    /// The same.
    pub metadata: &'a str,
}

/// A code, as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac([u8; TEXT_BYTES]);

impl Mac {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How an event came into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever appended it had the key.
    Decided,
    /// It was there when the log was put under the key.
    Attested,
}

/// What a code is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Genuine(Origin),
    /// Absent or wrong.
    Forged,
    /// It names a key that is not here: another node may have a newer one.
    UnknownKey(u16),
}

/// Most keys.
const KEYS_MAX: usize = 64;

/// The keys; one of them makes new codes. They change while a process runs, without a lock: a place is written once, and what
/// changes is a number and a flag.
pub struct MacKeys {
    places: [OnceLock<Held>; KEYS_MAX],
    /// Place of the one that makes codes.
    maker: AtomicUsize,
}

struct Held {
    id: u16,
    key: hmac::Key,
    retired: AtomicBool,
}

impl Default for MacKeys {
    fn default() -> Self {
        Self { places: [const { OnceLock::new() }; KEYS_MAX], maker: AtomicUsize::new(0) }
    }
}

impl MacKeys {
    /// These keys with their names; the last one makes codes.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (u16, [u8; KEY_BYTES])>) -> Self {
        let all = Self::default();
        for (id, key) in keys {
            all.add(id, key);
            all.make_with(id);
        }
        all
    }

    /// Takes in a key that verifies.
    pub fn add(&self, id: u16, key: [u8; KEY_BYTES]) {
        let held = Held { id, key: hmac::Key::new(hmac::HMAC_SHA256, &key), retired: AtomicBool::new(false) };
        if let Some(place) = self.places.iter().find(|place| place.get().is_none()) {
            // Whoever was faster with the same key has written it.
            let _ = place.set(held);
        }
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.places.iter().map_while(OnceLock::get)
    }

    /// Whether that key is or was here.
    #[must_use]
    pub fn has(&self, id: u16) -> bool {
        self.held().any(|held| held.id == id)
    }

    /// From now on that key makes codes.
    pub fn make_with(&self, id: u16) {
        if let Some(at) = self.held().position(|held| held.id == id) {
            self.maker.store(at, Ordering::Release);
        }
    }

    /// Codes under the other keys are worth nothing from now on.
    pub fn keep_only(&self, keep: impl Fn(u16) -> bool) {
        for held in self.held().filter(|held| !keep(held.id)) {
            held.retired.store(true, Ordering::Release);
        }
    }

    /// Name of the key that a code is said to be under.
    #[must_use]
    pub fn named_in(mac: &str) -> Option<u16> {
        let text = mac.strip_prefix(ATTESTED).unwrap_or(mac);
        let mut bytes = [0; ID_BYTES + TAG_BYTES];
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The code of an event that came into the log in this way, as text.
    #[must_use]
    pub fn of(&self, origin: Origin, content: &Content<'_>) -> String {
        match origin {
            Origin::Decided => self.decided(content).as_str().to_owned(),
            Origin::Attested => self.attested(content),
        }
    }

    /// The code of a new event.
    #[must_use]
    pub fn decided(&self, content: &Content<'_>) -> Mac {
        self.make(Origin::Decided, content)
    }

    /// The code of an event that was there before, as text.
    #[must_use]
    pub fn attested(&self, content: &Content<'_>) -> String {
        format!("{ATTESTED}{}", self.make(Origin::Attested, content).as_str())
    }

    fn make(&self, origin: Origin, content: &Content<'_>) -> Mac {
        let mut text = [0; TEXT_BYTES];
        if let Some(Held { id, key, .. }) = self.places[self.maker.load(Ordering::Acquire)].get() {
            let mut bytes = [0; ID_BYTES + TAG_BYTES];
            bytes[..ID_BYTES].copy_from_slice(&id.to_be_bytes());
            bytes[ID_BYTES..].copy_from_slice(&tag(key, origin, content));
            // The length fits, so this cannot fail.
            let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        }
        Mac(text)
    }

    /// What `mac`, as it is stored, says of `content`.
    #[must_use]
    pub fn verify(&self, content: &Content<'_>, mac: Option<&str>) -> Verdict {
        let Some(mac) = mac else { return Verdict::Forged };
        let (origin, text) = match mac.strip_prefix(ATTESTED) {
            Some(text) => (Origin::Attested, text),
            None => (Origin::Decided, mac),
        };
        let mut bytes = [0; ID_BYTES + TAG_BYTES];
        if text.len() != TEXT_BYTES || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).is_err() {
            return Verdict::Forged;
        }
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        match self.held().find(|held| held.id == id && !held.retired.load(Ordering::Acquire)) {
            None => Verdict::UnknownKey(id),
            Some(Held { key, .. })
                if verify_slices_are_equal(&tag(key, origin, content), &bytes[ID_BYTES..]).is_ok() =>
            {
                Verdict::Genuine(origin)
            }
            Some(_) => Verdict::Forged,
        }
    }
}

impl fmt::Debug for MacKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.held().map(|held| held.id)).finish()
    }
}

/// The lengths stand before the texts, so no two different events give the same bytes.
fn tag(key: &hmac::Key, origin: Origin, content: &Content<'_>) -> [u8; TAG_BYTES] {
    let Content { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata } = *content;
    let texts = [aggregate_type, aggregate_id, event_type, event_version, payload, metadata];
    let mut input = Input { context: hmac::Context::with_key(key), waiting: [0; 256], length: 0 };
    input.put(match origin {
        Origin::Decided => b"grantlog/event/1",
        Origin::Attested => b"grantlog/event/~",
    });
    for text in texts {
        input.put(&(text.len() as u64).to_be_bytes());
    }
    input.put(&sequence.to_be_bytes());
    for text in texts {
        input.put(text.as_bytes());
    }
    input.finish()
}

/// Short pieces are handed over together.
struct Input {
    context: hmac::Context,
    waiting: [u8; 256],
    length: usize,
}

impl Input {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(free) = self.waiting[self.length..].get_mut(..bytes.len()) {
            free.copy_from_slice(bytes);
            self.length += bytes.len();
            return;
        }
        self.context.update(&self.waiting[..self.length]);
        self.context.update(bytes);
        self.length = 0;
    }

    fn finish(mut self) -> [u8; TAG_BYTES] {
        self.context.update(&self.waiting[..self.length]);
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&self.context.sign().as_ref()[..TAG_BYTES]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(ids: &[u16]) -> MacKeys {
        MacKeys::new(ids.iter().map(|id| (*id, [u8::try_from(*id).unwrap(); KEY_BYTES])))
    }

    const CONTENT: Content<'static> = Content {
        aggregate_type: "session",
        aggregate_id: "a",
        sequence: 1,
        event_type: "session.started",
        event_version: "1.0",
        payload: "{}",
        metadata: "{}",
    };

    #[test]
    fn the_newest_key_makes_codes_and_the_others_go_on_verifying() {
        let (before, both) = (keys(&[1]), keys(&[1, 2]));
        let (old, new) = (before.decided(&CONTENT), both.decided(&CONTENT));
        assert_eq!(both.verify(&CONTENT, Some(old.as_str())), Verdict::Genuine(Origin::Decided));
        assert_eq!(both.verify(&CONTENT, Some(new.as_str())), Verdict::Genuine(Origin::Decided));
        assert_eq!(before.verify(&CONTENT, Some(new.as_str())), Verdict::UnknownKey(2));
        assert_eq!(new.as_str().len(), 24);
    }

    #[test]
    fn a_key_comes_and_goes_while_others_verify() {
        let keys = keys(&[1]);
        let old = keys.decided(&CONTENT);
        keys.add(2, [2; KEY_BYTES]);
        assert_eq!(keys.decided(&CONTENT), old, "it is not used yet");
        keys.make_with(2);
        let new = keys.decided(&CONTENT);
        assert_eq!((MacKeys::named_in(old.as_str()), MacKeys::named_in(new.as_str())), (Some(1), Some(2)));
        keys.keep_only(|id| id == 2);
        assert_eq!(keys.verify(&CONTENT, Some(old.as_str())), Verdict::UnknownKey(1));
        assert_eq!(keys.verify(&CONTENT, Some(new.as_str())), Verdict::Genuine(Origin::Decided));
    }

    #[test]
    fn how_an_event_came_into_the_log_cannot_be_changed() {
        let keys = keys(&[1]);
        let (decided, attested) = (keys.decided(&CONTENT), keys.attested(&CONTENT));
        assert_eq!(keys.verify(&CONTENT, Some(&attested)), Verdict::Genuine(Origin::Attested));
        assert_eq!(keys.verify(&CONTENT, Some(&attested[1..])), Verdict::Forged);
        assert_eq!(keys.verify(&CONTENT, Some(&format!("~{}", decided.as_str()))), Verdict::Forged);
    }

    #[test]
    fn what_is_no_code_is_none() {
        let keys = keys(&[1]);
        for mac in
            [None, Some(""), Some("~"), Some("AAEAAAAAAAAAAAAAAAAAAAAA"), Some("ß"), Some("~~AAAAAAAAAAAAAAAAAAAAAAAA")]
        {
            assert_eq!(keys.verify(&CONTENT, mac), Verdict::Forged, "{mac:?}");
        }
    }

    proptest! {
        /// Any field that is another one, and anything that moves from one field into the next, is refused.
        #[test]
        fn a_code_is_worth_something_for_its_event_alone(
            texts in prop::array::uniform6("[a-c\u{e9}]{0,4}|.{200,300}"),
            others in prop::array::uniform6("[a-c\u{e9}]{0,4}|.{200,300}"),
            sequence in 1i64..4,
            other_sequence in 1i64..4,
        ) {
            let keys = keys(&[1]);
            fn of(texts: &[String; 6], sequence: i64) -> Content<'_> {
                let [aggregate_type, aggregate_id, event_type, event_version, payload, metadata] = texts.each_ref();
                Content { aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata }
            }
            let mac = keys.decided(&of(&texts, sequence));
            let genuine = Verdict::Genuine(Origin::Decided);
            prop_assert_eq!(keys.verify(&of(&texts, sequence), Some(mac.as_str())), genuine);
            let is_same = texts == others && sequence == other_sequence;
            prop_assert_eq!(keys.verify(&of(&others, other_sequence), Some(mac.as_str())) == genuine, is_same);
            for field in 0..6 {
                let mut changed = texts.clone();
                changed[field].push('x');
                prop_assert_eq!(keys.verify(&of(&changed, sequence), Some(mac.as_str())), Verdict::Forged);
                if let Some(moved) = texts[field].chars().last().filter(|_| field < 5) {
                    let mut shifted = texts.clone();
                    shifted[field].pop();
                    shifted[field + 1].insert(0, moved);
                    prop_assert_eq!(keys.verify(&of(&shifted, sequence), Some(mac.as_str())), Verdict::Forged);
                }
            }
            prop_assert_eq!(keys.verify(&of(&texts, sequence + 1), Some(mac.as_str())), Verdict::Forged);
        }
    }
}
