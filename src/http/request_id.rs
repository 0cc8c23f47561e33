//! Who is asking, and under which id we speak of it: request id and caller address.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use warp::Filter;

use crate::config::TrustedProxies;

/// Carries the request id in the answer, and in a request from a trusted proxy.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest request id that is taken over from a proxy, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Names one request in the answer, the log and the metadata of its events; printable, without blanks.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        // Made from visible ASCII only, see `given` and `RequestIds::next`.
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id that a trusted proxy gave, if it is one that can stand in a log.
    fn given(value: &HeaderValue) -> Option<Self> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&value.len());
        (fits && value.as_bytes().iter().all(plain)).then(|| RequestId(value.clone()))
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
        let text = format!("{:08x}-{number:010x}", self.process);
        RequestId(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0")))
    }
}

/// What every handler may know about the request beside the request itself.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub id: RequestId,
    /// Address of the caller; behind a trusted proxy the one that the proxy saw.
    pub caller: IpAddr,
}

impl RequestContext {
    pub(super) fn new(ids: &RequestIds, proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> Self {
        if !proxies.contains(peer) {
            return RequestContext { id: ids.next(), caller: peer.to_canonical() };
        }
        let forwarded_for = headers.get_all(X_FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
        let given = headers.get(X_REQUEST_ID).and_then(RequestId::given);
        RequestContext { id: given.unwrap_or_else(|| ids.next()), caller: proxies.caller(peer, forwarded_for) }
    }
}

/// Extracts the [`RequestContext`]. Outside of the server (a filter under test) it is a fixed one.
pub fn request_context() -> impl Filter<Extract = (RequestContext,), Error = Infallible> + Copy {
    warp::ext::optional::<RequestContext>().map(|context: Option<RequestContext>| {
        context.unwrap_or(RequestContext {
            id: RequestId(HeaderValue::from_static("none")),
            caller: IpAddr::V4(Ipv4Addr::LOCALHOST),
        })
    })
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
    fn the_last_forwarded_header_counts() {
        let headers = [("x-forwarded-for", "203.0.113.9")];
        assert_eq!(context("10.0.0.7", &headers).caller.to_string(), "203.0.113.9");
        assert_eq!(context("192.0.2.1", &headers).caller.to_string(), "192.0.2.1");
    }
}
