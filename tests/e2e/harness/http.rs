//! A small HTTP client: no redirects, no cookies, and every secret that passes through it is registered.

use std::time::Duration;

use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use url::Url;

use super::secrets;

/// A connection pool. Redirects are what many cases are about, so none is followed.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()
        .expect("an HTTP client")
}

/// `application/x-www-form-urlencoded`, as a query or a body.
pub fn encode(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// A request being put together.
pub struct Request {
    client: reqwest::Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(client: &reqwest::Client, method: Method, url: String) -> Request {
        Request { client: client.clone(), method, url, headers: HeaderMap::new(), body: None }
    }

    pub fn header(mut self, name: &str, value: &str) -> Request {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// `Authorization: Basic`, both halves form-encoded first (RFC 6749 2.3.1).
    pub fn basic(self, id: &str, secret: &str) -> Request {
        use base64::Engine;
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(id), encoded(secret));
        let credentials = base64::engine::general_purpose::STANDARD.encode(pair);
        secrets::register(&credentials);
        self.header("authorization", &format!("Basic {credentials}"))
    }

    pub fn bearer(self, token: &str) -> Request {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Request {
        for (name, value) in fields {
            secrets::register_field(name, value);
        }
        self.raw_form(encode(fields))
    }

    /// A form body as it stands, right or wrong.
    pub fn raw_form(self, body: impl Into<Vec<u8>>) -> Request {
        self.body("application/x-www-form-urlencoded", body)
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// Sends it. Panics when no answer comes.
    pub async fn send(self) -> Answer {
        let line = format!("{} {}", self.method, self.url);
        self.try_send().await.unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    /// Sends it, where no answer at all is a possible end.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let mut request = self.client.request(self.method, self.url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let answer = Answer {
            url: response.url().clone(),
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        };
        secrets::register_answer(&answer);
        Ok(answer)
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, which must say that it is JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/json"), "not JSON but {content_type:?}: {self}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("header values here are ASCII"))
    }

    /// Where it redirects to, if it does.
    pub fn location(&self) -> Option<Url> {
        let location = self.header("location")?;
        Some(self.url.join(location).unwrap_or_else(|error| panic!("Location {location:?}: {error}")))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// RFC 6749 5.1 and 5.2: what holds tokens, or says why there are none, is stored nowhere.
    #[track_caller]
    pub fn expect_no_store(self) -> Answer {
        let cache = self.header("cache-control").unwrap_or_default();
        assert!(cache.contains("no-store"), "Cache-Control: {cache:?}: {self}");
        self
    }

    /// RFC 6749 5.2: a JSON object with `error`, in an answer that is stored nowhere.
    #[track_caller]
    pub fn expect_error(self, status: u16, error: &str) -> Answer {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{self}");
        self.expect_no_store()
    }

    /// RFC 6749 5.2 allows 400 and 401 for a client that did not authenticate in a header.
    #[track_caller]
    pub fn expect_invalid_client(self) -> Answer {
        assert!(matches!(self.status, 400 | 401), "{self}");
        let status = self.status;
        self.expect_error(status, "invalid_client")
    }

    /// An answer in the range of the client's own faults, and not a crash or a hang.
    #[track_caller]
    pub fn expect_client_error(self) -> Answer {
        assert!((400..500).contains(&self.status), "{self}");
        self
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text();
        let shown: String = text.chars().take(1500).collect();
        write!(f, "{} from {}\n{:?}\n{shown}", self.status, self.url, self.headers)
    }
}
