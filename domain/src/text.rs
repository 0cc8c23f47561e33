//! Values that are stored as the text that spells them, read without a copy of the text.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserializer;
use serde::de::{Error, Visitor};

struct Spelled<T>(PhantomData<T>);

impl<T> Visitor<'_> for Spelled<T>
where
    T: FromStr,
    T::Err: Display,
{
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// A digest with the number of what made it, as it is stored: `NUMBER.BASE64URL`.
pub(crate) fn write_digest(out: &mut fmt::Formatter<'_>, number: u16, digest: &[u8; 32]) -> fmt::Result {
    write!(out, "{number}.{}", URL_SAFE_NO_PAD.encode(digest))
}

/// Reads what [`write_digest`] wrote.
pub(crate) fn read_digest(text: &str) -> Option<(u16, [u8; 32])> {
    let (number, encoded) = text.split_once('.')?;
    let mut digest = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(encoded, &mut digest).ok()?;
    Some((number.parse().ok()?, digest)).filter(|_| length == digest.len())
}

/// Reads a string and parses it.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: Display,
{
    deserializer.deserialize_str(Spelled(PhantomData))
}
