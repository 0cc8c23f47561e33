//! A client's site in a real browser: a callback, one that leads on, a page that signs out, one that never answers, one that
//! the browser is sent to afterwards, one that asks the server's frame whether anything has changed, one that is a client by
//! itself, and one that opens a popup.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

use crate::harness::{browser::query_of, http::encode};

use super::{cross_origin, popup};

/// Answers on a port of this machine, for as long as the runtime lives.
pub struct Application {
    pub base: String,
    asked: Arc<Mutex<Vec<Url>>>,
}

/// Asks the frame at `op` with `message`, and shows what it answers.
const ASKING: &str = r#"<!doctype html><meta charset="utf-8"><title>Asking</title><p id="answer"></p>
<iframe id="op" title="op"></iframe><script>
const asked = new URLSearchParams(location.search), op = document.getElementById("op");
addEventListener("message", (event) => {
  if (event.source === op.contentWindow) document.getElementById("answer").textContent = event.data;
});
op.onload = () => op.contentWindow.postMessage(asked.get("message"), new URL(op.src).origin);
op.src = asked.get("op");
</script>"#;

const PAGE: &str =
    "<!doctype html><meta charset=\"utf-8\"><title>Client</title><p id=\"client\">Back at the client</p>";

impl Application {
    pub async fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://127.0.0.1:{}", listener.local_addr().expect("an address").port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (own, shared) = (base.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (own, asked) = (own.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let mut request = vec![0; 16_384];
                    let read = stream.read(&mut request).await.unwrap_or(0);
                    let text = String::from_utf8_lossy(&request[..read]).into_owned();
                    let path = text.split(' ').nth(1).unwrap_or("/");
                    let Ok(url) = Url::parse(&format!("{own}{path}")) else { return };
                    let page = match url.path() {
                        "/asking" => ASKING,
                        cross_origin::PATH => cross_origin::PAGE,
                        popup::OPENER_PATH => popup::OPENER,
                        popup::POPUP_PATH => popup::POPUP,
                        _ => PAGE,
                    };
                    let onward = query_of(&url).remove("to").filter(|_| url.path() == "/leads-on");
                    let hangs = url.path() == "/hangs";
                    asked.lock().expect("not poisoned").push(url);
                    if hangs {
                        // Until the browser goes away.
                        while stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
                        return;
                    }
                    let (status, page) = match onward {
                        Some(to) => (format!("303 See Other\r\nLocation: {to}"), ""),
                        None => ("200 OK".to_owned(), page),
                    };
                    let head = "Content-Type: text/html\r\nConnection: close\r\nContent-Length:";
                    let answer = format!("HTTP/1.1 {status}\r\n{head} {}\r\n\r\n{page}", page.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Application { base, asked }
    }

    /// A URI of this site that leads on to another address.
    pub fn leading_to(&self, to: &str) -> String {
        self.url(&format!("/leads-on?{}", encode(&[("to", to)])))
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// What browsers have asked for at that path.
    pub fn asked(&self, path: &str) -> Vec<Url> {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter(|url| url.path() == path).cloned().collect()
    }
}
