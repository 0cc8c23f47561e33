//! Where an access token stands in a request: RFC 6750 2.
//!
//! In the header (2.1) and, where a setting allows it, in a form body (2.2). Never in the query (2.3): URLs are logged,
//! kept in histories and sent on as referrers.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::form::Parameters;

/// Why there is no access token to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerFault {
    /// RFC 6750 3.1: the answer has no error code then.
    #[error("an access token is needed")]
    Missing,
    #[error("the access token is sent in more than one way")]
    MoreThanOne,
    #[error("the Authorization header is malformed")]
    Malformed,
}

/// Finds the access token. `query` is the raw query; `body` the parameters of a form body, if it may hold the token.
pub fn token<'a>(headers: &'a HeaderMap, query: &str, body: Option<&'a Parameters>) -> Result<&'a str, BearerFault> {
    let in_header = from_header(headers)?;
    let in_body = body.and_then(|parameters| parameters.get("access_token"));
    // RFC 6750 2: clients MUST NOT use more than one method, so a token in the query spoils one in the header.
    match (in_header, in_body, in_query(query)) {
        (Some(token), None, false) | (None, Some(token), false) => well_formed(token),
        (None, None, _) => Err(BearerFault::Missing),
        _ => Err(BearerFault::MoreThanOne),
    }
}

/// The token of the `Authorization` header; another scheme is not for us.
fn from_header(headers: &HeaderMap) -> Result<Option<&str>, BearerFault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(BearerFault::MoreThanOne);
    }
    let value = value.to_str().map_err(|_| BearerFault::Malformed)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    // RFC 9110 11.1: schemes are case-insensitive.
    Ok(scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim_start_matches(' ')))
}

fn in_query(query: &str) -> bool {
    !query.is_empty() && query.split('&').any(|pair| pair.split('=').next() == Some("access_token"))
}

/// Which bytes may stand before the padding.
const B64TOKEN: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    table
};

/// RFC 6750 2.1: `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn well_formed(token: &str) -> Result<&str, BearerFault> {
    let body = token.trim_end_matches('=');
    let fits = !body.is_empty() && body.bytes().all(|byte| B64TOKEN[usize::from(byte)]);
    if fits { Ok(token) } else { Err(BearerFault::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    fn body(text: &str) -> Parameters {
        Parameters::parse(text.as_bytes(), 10).expect("parameters")
    }

    #[test]
    fn the_header_holds_the_token_whatever_the_case_of_its_scheme() {
        for value in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(token(&headers(&[value]), "", None), Ok("abc"), "{value}");
        }
    }

    #[test]
    fn without_a_token_there_is_none() {
        assert_eq!(token(&headers(&[]), "", None), Err(BearerFault::Missing));
        assert_eq!(token(&headers(&["Basic YTpi"]), "", None), Err(BearerFault::Missing));
        assert_eq!(token(&headers(&[]), "access_token=abc", None), Err(BearerFault::Missing));
    }

    #[test]
    fn a_malformed_header_is_told_apart() {
        for value in ["Bearer", "Bearer ", "Bearer a b", "Bearer a\"b", "Bearer ==", "Bearer a,b"] {
            assert_eq!(token(&headers(&[value]), "", None), Err(BearerFault::Malformed), "{value}");
        }
    }

    #[test]
    fn the_body_counts_only_where_it_is_handed_in() {
        let body = body("access_token=abc");
        assert_eq!(token(&headers(&[]), "", Some(&body)), Ok("abc"));
    }

    #[test]
    fn two_ways_at_once_are_refused() {
        let body = body("access_token=abc");
        assert_eq!(token(&headers(&["Bearer abc"]), "", Some(&body)), Err(BearerFault::MoreThanOne));
        assert_eq!(token(&headers(&["Bearer abc"]), "x=1&access_token=abc", None), Err(BearerFault::MoreThanOne));
        assert_eq!(token(&headers(&["Bearer abc", "Bearer abc"]), "", None), Err(BearerFault::MoreThanOne));
    }
}
