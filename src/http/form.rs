//! Parameters of a request: form bodies and queries (RFC 6749 Appendix B, 3.1, 3.2), and `multipart/form-data`
//! (RFC 7578) for those endpoints that take it.
//!
//! Strict: wrong percent encoding, NUL, bytes that are not UTF-8 and repeated parameters are refused, because what two
//! readers understand differently is an attack. Limits: `http.body_bytes` and `http.parameters`.

use std::convert::Infallible;
use std::error::Error;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use http_body_util::LengthLimitError;
use smallvec::SmallVec;
use warp::{Filter, Rejection};

/// The parameters of one request. They are parts of its text, which is copied only to be decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    text: Bytes,
    /// The first of each name.
    pairs: SmallVec<[Pair; 8]>,
    /// Names that came again; empty unless [`Parameters::parse_keeping_repeats`] was asked.
    repeated: Vec<String>,
}

/// Where name and value stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    name: Range<usize>,
    value: Range<usize>,
}

/// Why a query or body is not a set of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body must be application/x-www-form-urlencoded")]
    ContentType,
    #[error("there are too many parameters")]
    TooMany,
    #[error("a parameter is repeated")]
    Repeated,
    #[error("a parameter is not percent-encoded UTF-8")]
    Encoding,
    #[error("a parameter has a NUL character")]
    Nul,
    #[error("the body ended early or is malformed")]
    Broken,
}

/// How much of a request is read.
#[derive(Clone, Copy, Debug)]
pub struct FormLimits {
    pub body_bytes: usize,
    pub parameters: usize,
}

/// Which encodings of a body an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    UrlEncoded,
    UrlEncodedOrMultipart,
}

impl Parameters {
    /// The value of a parameter. RFC 6749 3.1: one without a value counts as omitted. One that was repeated has none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.find(name).filter(|_| !self.is_repeated(name))?.value.clone();
        // Checked when it was read.
        str::from_utf8(&self.text[value]).ok().filter(|value| !value.is_empty())
    }

    /// Names and values, as they were sent; of what was repeated the first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let part = |range: &Range<usize>| str::from_utf8(&self.text[range.clone()]).unwrap_or_default();
        self.pairs.iter().map(move |pair| (part(&pair.name), part(&pair.value)))
    }

    fn find(&self, name: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| self.text[pair.name.clone()] == *name.as_bytes())
    }

    #[must_use]
    pub fn is_repeated(&self, name: &str) -> bool {
        self.repeated.iter().any(|repeated| repeated == name)
    }

    #[must_use]
    pub fn has_repeats(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// Reads `application/x-www-form-urlencoded` text: a body, or the query of a URL.
    pub fn parse(text: &[u8], parameters_max: usize) -> Result<Self, FormError> {
        Self::parse_keeping_repeats(text, parameters_max)?.without_repeats()
    }

    /// The same, for the authorization endpoint, which tells the client of a repeated parameter by redirect and so must
    /// read on (RFC 6749 4.1.2.1).
    pub fn parse_keeping_repeats(text: &[u8], parameters_max: usize) -> Result<Self, FormError> {
        Self::of(Bytes::copy_from_slice(text), parameters_max)
    }

    fn of(text: Bytes, parameters_max: usize) -> Result<Self, FormError> {
        let mut pairs = split(&text, parameters_max)?;
        if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
            return Self { text, ..Self::default() }.with(pairs);
        }
        let mut text = Vec::from(text);
        for part in pairs.iter_mut().flat_map(|pair| [&mut pair.name, &mut pair.value]) {
            part.end = part.start + decode(&mut text[part.clone()])?.len();
        }
        Self { text: text.into(), ..Self::default() }.with(pairs)
    }

    async fn parse_multipart(body: Bytes, boundary: String, parameters_max: usize) -> Result<Self, FormError> {
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
        let (mut text, mut pairs) = (Vec::new(), SmallVec::new());
        while let Some(part) = parts.next_field().await.map_err(|_| FormError::Broken)? {
            let name = appended(&mut text, part.name().ok_or(FormError::Broken)?.as_bytes());
            let value = appended(&mut text, &part.bytes().await.map_err(|_| FormError::Broken)?);
            push(&mut pairs, Pair { name, value }, parameters_max)?;
        }
        Self { text: text.into(), ..Self::default() }.with(pairs)?.without_repeats()
    }

    /// Takes in what was found in the text.
    fn with(mut self, pairs: SmallVec<[Pair; 8]>) -> Result<Self, FormError> {
        for pair in pairs {
            let name = checked(&self.text[pair.name.clone()])?;
            checked(&self.text[pair.value.clone()])?;
            if self.find(name).is_some() {
                self.repeated.push(name.to_owned());
            } else {
                self.pairs.push(pair);
            }
        }
        Ok(self)
    }

    /// RFC 6749 3.1, 3.2: parameters MUST NOT be included more than once.
    fn without_repeats(self) -> Result<Self, FormError> {
        if self.has_repeats() { Err(FormError::Repeated) } else { Ok(self) }
    }
}

/// Finds names and values, not yet decoded.
fn split(text: &[u8], parameters_max: usize) -> Result<SmallVec<[Pair; 8]>, FormError> {
    let (mut pairs, mut start) = (SmallVec::new(), 0);
    for pair in text.split(|byte| *byte == b'&') {
        let end = start + pair.len();
        if !pair.is_empty() {
            let name = start..pair.iter().position(|byte| *byte == b'=').map_or(end, |at| start + at);
            let value = end.min(name.end + 1)..end;
            push(&mut pairs, Pair { name, value }, parameters_max)?;
        }
        start = end + 1;
    }
    Ok(pairs)
}

fn push(pairs: &mut SmallVec<[Pair; 8]>, pair: Pair, parameters_max: usize) -> Result<(), FormError> {
    if pairs.len() >= parameters_max {
        return Err(FormError::TooMany);
    }
    pairs.push(pair);
    Ok(())
}

fn appended(text: &mut Vec<u8>, part: &[u8]) -> Range<usize> {
    let start = text.len();
    text.extend_from_slice(part);
    start..text.len()
}

/// Decodes one name or value of `application/x-www-form-urlencoded` where it stands, strictly. The answer is the part
/// that holds it.
pub fn decode(text: &mut [u8]) -> Result<&str, FormError> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return checked(text);
    }
    let (mut from, mut to) = (0, 0);
    while let Some(byte) = text.get(from) {
        (text[to], from) = match byte {
            b'+' => (b' ', from + 1),
            b'%' => match (text.get(from + 1).and_then(hex_digit), text.get(from + 2).and_then(hex_digit)) {
                (Some(high), Some(low)) => (high << 4 | low, from + 3),
                _ => return Err(FormError::Encoding),
            },
            other => (*other, from + 1),
        };
        to += 1;
    }
    checked(&text[..to])
}

fn hex_digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn checked(text: &[u8]) -> Result<&str, FormError> {
    if text.contains(&0) {
        return Err(FormError::Nul);
    }
    str::from_utf8(text).map_err(|_| FormError::Encoding)
}

/// Reads the parameters from a request's body.
pub async fn read<B: Buf, E: Into<FormError>>(
    content_type: Option<&HeaderValue>,
    body: impl Stream<Item = Result<B, E>>,
    encodings: Encodings,
    limits: FormLimits,
) -> Result<Parameters, FormError> {
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_url_encoded(content_type) {
        return Parameters::of(read_body(body, limits.body_bytes).await?, limits.parameters)?.without_repeats();
    }
    // multer says no when it is not multipart/form-data or has no boundary.
    match multer::parse_boundary(content_type) {
        Ok(boundary) if encodings == Encodings::UrlEncodedOrMultipart => {
            Parameters::parse_multipart(read_body(body, limits.body_bytes).await?, boundary, limits.parameters).await
        }
        _ => Err(FormError::ContentType),
    }
}

/// The same for the authorization endpoint: see [`Parameters::parse_keeping_repeats`].
pub async fn read_keeping_repeats<B: Buf, E: Into<FormError>>(
    content_type: Option<&HeaderValue>,
    body: impl Stream<Item = Result<B, E>>,
    limits: FormLimits,
) -> Result<Parameters, FormError> {
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_url_encoded(content_type) {
        return Err(FormError::ContentType);
    }
    Parameters::of(read_body(body, limits.body_bytes).await?, limits.parameters)
}

/// The raw query of a request; empty when there is none.
pub fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or_else(async |_: Rejection| Ok::<_, Infallible>((String::new(),)))
}

/// Whether that is `application/x-www-form-urlencoded`; what follows a semicolon (a charset) changes nothing.
#[must_use]
pub fn is_url_encoded(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A whole body, of at most so many bytes.
pub async fn read_body<B: Buf, E: Into<FormError>>(
    body: impl Stream<Item = Result<B, E>>,
    body_bytes_max: usize,
) -> Result<Bytes, FormError> {
    futures::pin_mut!(body);
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(Into::into)?;
        if first.len() + joined.len() + chunk.remaining() > body_bytes_max {
            return Err(FormError::TooLarge);
        }
        // Nearly every body is one chunk, which is then used as it is.
        if first.is_empty() && joined.is_empty() {
            first = chunk.copy_to_bytes(chunk.remaining());
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&chunk.copy_to_bytes(chunk.remaining()));
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// The body as filters of warp hand it on.
impl From<warp::Error> for FormError {
    fn from(error: warp::Error) -> Self {
        let mut source: Option<&dyn Error> = Some(&error);
        while let Some(error) = source {
            if error.is::<LengthLimitError>() {
                return Self::TooLarge;
            }
            source = error.source();
        }
        Self::Broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: FormLimits = FormLimits { body_bytes: 1000, parameters: 10 };

    fn parse(text: &str) -> Result<Parameters, FormError> {
        Parameters::parse(text.as_bytes(), LIMITS.parameters)
    }

    async fn post(content_type: &'static str, chunks: &[&str], encodings: Encodings) -> Result<Parameters, FormError> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok::<_, FormError>(Bytes::from((*chunk).to_owned()))).collect();
        read(Some(&HeaderValue::from_static(content_type)), stream::iter(chunks), encodings, LIMITS).await
    }

    #[test]
    fn plus_and_percent_are_decoded() {
        let parameters = parse("scope=a+b&state=%C3%A9%26%3D&empty=&bare").expect("parameters");
        assert_eq!(parameters.get("scope"), Some("a b"));
        assert_eq!(parameters.get("state"), Some("é&="));
    }

    #[test]
    fn a_parameter_without_a_value_counts_as_omitted() {
        let parameters = parse("empty=&bare").expect("parameters");
        assert_eq!((parameters.get("empty"), parameters.get("bare")), (None, None));
    }

    #[test]
    fn what_is_not_a_set_of_parameters_is_refused() {
        for (text, error) in [
            ("a=%", FormError::Encoding),
            ("a=%4", FormError::Encoding),
            ("a=%zz", FormError::Encoding),
            ("a=%+1", FormError::Encoding),
            ("a=%ff", FormError::Encoding),
            ("a=%00", FormError::Nul),
            ("a=1&a=2", FormError::Repeated),
            ("a=&a=2", FormError::Repeated),
            ("a=1&%61=2", FormError::Repeated),
            ("a=%c3&b=%a9", FormError::Encoding),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let many: String = (0..11).map(|n| format!("p{n}=x&")).collect();
        assert_eq!(parse(&many), Err(FormError::TooMany));
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined_and_a_large_one_refused() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let parameters = post(form, &["a=", "1&", "b=2"], Encodings::UrlEncoded).await.expect("parameters");
        assert_eq!((parameters.get("a"), parameters.get("b")), (Some("1"), Some("2")));
        let large = "x".repeat(600);
        assert_eq!(post(form, &[&large, &large], Encodings::UrlEncoded).await, Err(FormError::TooLarge));
    }

    #[tokio::test]
    async fn only_named_encodings_are_taken() {
        assert_eq!(post("application/json", &["{}"], Encodings::UrlEncoded).await, Err(FormError::ContentType));
        let multipart = "multipart/form-data; boundary=XX";
        let body = "--XX\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\npassword\r\n--XX--\r\n";
        assert_eq!(post(multipart, &[body], Encodings::UrlEncoded).await, Err(FormError::ContentType));
        let parameters = post(multipart, &[body], Encodings::UrlEncodedOrMultipart).await.expect("parameters");
        assert_eq!(parameters.get("grant_type"), Some("password"));
        let cut = &body[..body.len() - 10];
        assert_eq!(post(multipart, &[cut], Encodings::UrlEncodedOrMultipart).await, Err(FormError::Broken));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_to_the_same(value in "[^\0]{1,40}") {
            let text: String = form_urlencoded::Serializer::new(String::new()).append_pair("v", &value).finish();
            let parameters = parse(&text).expect("parameters");
            prop_assert_eq!(parameters.get("v"), Some(value.as_str()));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parameters::parse(&bytes, LIMITS.parameters);
        }
    }
}
