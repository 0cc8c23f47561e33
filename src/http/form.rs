//! Parameters of a request: form bodies and queries (RFC 6749 Appendix B, 3.1, 3.2), and `multipart/form-data`
//! (RFC 7578) for those endpoints that take it.
//!
//! Strict: wrong percent encoding, NUL, bytes that are not UTF-8 and repeated parameters are refused, because what two
//! readers understand differently is an attack. Limits: `http.body_bytes` and `http.parameters`.

use std::convert::Infallible;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use http_body_util::LengthLimitError;
use warp::{Filter, Rejection};

/// The parameters of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The first of each name.
    pairs: Vec<(String, String)>,
    /// Names that came again; empty unless [`Parameters::parse_keeping_repeats`] was asked.
    repeated: Vec<String>,
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
        let (_, value) = self.pairs.iter().find(|(held, _)| held == name)?;
        (!value.is_empty() && !self.is_repeated(name)).then_some(value)
    }

    /// Takes a value out, for secrets that must not be copied around.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let (_, value) = self.pairs.iter_mut().find(|(held, _)| held == name)?;
        Some(std::mem::take(value)).filter(|value| !value.is_empty())
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
        let mut parameters = Self::default();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            parameters.add(decoded(&pair[..at])?, decoded(value)?, parameters_max)?;
        }
        Ok(parameters)
    }

    async fn parse_multipart(body: Bytes, boundary: String, parameters_max: usize) -> Result<Self, FormError> {
        let mut parts = multer::Multipart::new(stream::iter([Ok::<_, std::io::Error>(body)]), boundary);
        let mut parameters = Self::default();
        while let Some(part) = parts.next_field().await.map_err(|_| FormError::Broken)? {
            let name = part.name().ok_or(FormError::Broken)?.to_owned();
            let value = part.bytes().await.map_err(|_| FormError::Broken)?;
            parameters.add(checked(name.into_bytes())?, checked(value.to_vec())?, parameters_max)?;
        }
        parameters.without_repeats()
    }

    fn add(&mut self, name: String, value: String, parameters_max: usize) -> Result<(), FormError> {
        if self.pairs.len() + self.repeated.len() >= parameters_max {
            return Err(FormError::TooMany);
        }
        if self.pairs.iter().any(|(held, _)| *held == name) {
            self.repeated.push(name);
        } else {
            self.pairs.push((name, value));
        }
        Ok(())
    }

    /// RFC 6749 3.1, 3.2: parameters MUST NOT be included more than once.
    fn without_repeats(self) -> Result<Self, FormError> {
        if self.has_repeats() { Err(FormError::Repeated) } else { Ok(self) }
    }
}

/// Reads one name or value of `application/x-www-form-urlencoded`, strictly.
pub fn decoded(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (rest.next().and_then(hex_digit), rest.next().and_then(hex_digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(FormError::Encoding),
            },
            other => *other,
        });
    }
    checked(bytes)
}

fn hex_digit(byte: &u8) -> Option<u8> {
    char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn checked(bytes: Vec<u8>) -> Result<String, FormError> {
    if bytes.contains(&0) {
        return Err(FormError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| FormError::Encoding)
}

/// Reads the parameters from a request's body.
pub async fn read<B: Buf>(
    content_type: Option<&HeaderValue>,
    body: impl Stream<Item = Result<B, warp::Error>>,
    encodings: Encodings,
    limits: FormLimits,
) -> Result<Parameters, FormError> {
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if is_url_encoded(content_type) {
        return Parameters::parse(&read_body(body, limits.body_bytes).await?, limits.parameters);
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
pub async fn read_keeping_repeats<B: Buf>(
    content_type: Option<&HeaderValue>,
    body: impl Stream<Item = Result<B, warp::Error>>,
    limits: FormLimits,
) -> Result<Parameters, FormError> {
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_url_encoded(content_type) {
        return Err(FormError::ContentType);
    }
    Parameters::parse_keeping_repeats(&read_body(body, limits.body_bytes).await?, limits.parameters)
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

async fn read_body<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    body_bytes_max: usize,
) -> Result<Bytes, FormError> {
    futures::pin_mut!(body);
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| reason(&error))?;
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

fn reason(error: &warp::Error) -> FormError {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.is::<LengthLimitError>() {
            return FormError::TooLarge;
        }
        source = error.source();
    }
    FormError::Broken
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
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from((*chunk).to_owned()))).collect();
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
