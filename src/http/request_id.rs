//! Who is asking, and under which id we speak of it: request id and caller address.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};
use warp::Filter;

use crate::config::{ForwardedHeader, TrustedProxies};

/// Carries the request id in the answer, and in a request from a trusted proxy.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether it was said that a proxy cannot be understood.
static UNREADABLE: Once = Once::new();

/// Longest request id that is taken over from a proxy, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Names one request in the answer, the log and the metadata of its events; printable, without blanks.
#[derive(Clone, Copy)]
pub struct RequestId {
    /// Visible ASCII only, see `given` and `RequestIds::next`.
    text: [u8; REQUEST_ID_BYTES_MAX],
    length: usize,
}

impl RequestId {
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).unwrap_or(HeaderValue::from_static("0"))
    }

    /// The id that a trusted proxy gave, if it is one that can stand in a log.
    fn given(value: &HeaderValue) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&value.len());
        (fits && value.as_bytes().iter().all(plain)).then(|| Self::of(value.as_bytes()))
    }

    /// `text` is at most [`REQUEST_ID_BYTES_MAX`] long.
    fn of(text: &[u8]) -> Self {
        let mut id = Self { text: [0; REQUEST_ID_BYTES_MAX], length: text.len() };
        id.text[..text.len()].copy_from_slice(text);
        id
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(out)
    }
}

/// Makes request ids: a part that tells this process from others, and a counter.
pub struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// `process` is random, so that the ids of two nodes or two starts do not meet.
    pub fn new(process: u32) -> Self {
        RequestIds { process, next: AtomicU64::new(1) }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Eight hexadecimal digits, a hyphen, ten more: written by hand, because it is done for every request.
        let mut text = *b"00000000-0000000000";
        write_hex(&mut text[..8], self.process.into());
        write_hex(&mut text[9..], number);
        RequestId::of(&text)
    }
}

/// The last digits of `number`, as many as there is place for.
fn write_hex(digits: &mut [u8], number: u64) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
    }
}

/// What every handler may know about the request beside the request itself.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub id: RequestId,
    /// Address of the caller; behind a trusted proxy the one that the proxy saw.
    pub caller: IpAddr,
    /// Who is at the other end of the connection: the caller, or a proxy.
    pub peer: IpAddr,
}

impl RequestContext {
    pub(super) fn new(ids: &RequestIds, proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> Self {
        if !proxies.contains(peer) {
            return RequestContext { id: ids.next(), caller: peer.to_canonical(), peer };
        }
        let header = match proxies.header() {
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        // What is not even text is no address either.
        let lines = headers.get_all(header).iter().map(|value| value.to_str().unwrap_or("?"));
        let caller = proxies.caller(peer, lines);
        if caller.unreadable {
            UNREADABLE.call_once(|| {
                tracing::warn!(
                    proxy = %peer,
                    "a trusted proxy says in http.forwarded_header who the caller is, and it is no address: the caller \
                     counts as the proxy, as all of its callers do. This is said once"
                );
            });
        }
        let given = headers.get(X_REQUEST_ID).and_then(RequestId::given);
        RequestContext { id: given.unwrap_or_else(|| ids.next()), caller: caller.address, peer }
    }

    /// Of a request that did not come through the server.
    pub(super) fn unknown() -> Self {
        let peer = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        RequestContext { id: RequestId::of(b"none"), caller: peer, peer }
    }
}

/// Extracts the [`RequestContext`]. Outside of the server (a filter under test) it is a fixed one.
pub fn request_context() -> impl Filter<Extract = (RequestContext,), Error = Infallible> + Copy {
    warp::ext::optional::<RequestContext>()
        .map(|context: Option<RequestContext>| context.unwrap_or_else(RequestContext::unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn context(peer: &str, headers: &[(&'static str, &'static str)]) -> RequestContext {
        let settings = Settings::with(&[("http.trusted_proxies", "10.0.0.0/24")]).unwrap();
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let ids = RequestIds::new(0xabcd);
        RequestContext::new(&ids, &settings.http.trusted_proxies, peer.parse().unwrap(), &headers.collect())
    }

    #[test]
    fn only_a_trusted_proxy_names_the_request() {
        assert_eq!(context("192.0.2.1", &[("x-request-id", "mine")]).id.as_str(), "0000abcd-0000000001");
        assert_eq!(context("10.0.0.7", &[("x-request-id", "mine")]).id.as_str(), "mine");
        assert_eq!(context("10.0.0.7", &[("x-request-id", "a b")]).id.as_str(), "0000abcd-0000000001");
        assert_eq!(context("10.0.0.7", &[]).id.as_str(), "0000abcd-0000000001");
    }

    #[test]
    fn ids_count_on_and_show_the_process() {
        let ids = RequestIds { process: 0x0012_abcd, next: AtomicU64::new(0xff_ffff_ffff) };
        assert_eq!(ids.next().as_str(), "0012abcd-ffffffffff");
        assert_eq!(ids.next().as_str(), "0012abcd-0000000000");
        assert_eq!(ids.next().header(), "0012abcd-0000000001");
    }

    #[test]
    fn the_header_of_the_setting_counts() {
        let headers = [("x-forwarded-for", "203.0.113.9:50123"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(context("10.0.0.7", &headers).caller.to_string(), "203.0.113.9");
        assert_eq!(context("192.0.2.1", &headers).caller.to_string(), "192.0.2.1");
    }
}
