//! A client's own server: documents that the server under test may fetch.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::net::TcpListener;
use warp::{Filter, http::StatusCode};

/// What a path answers.
#[derive(Clone)]
enum Document {
    Body(String),
    Redirect(String),
    /// No answer at all.
    Silence,
}

/// Cheap to clone; anything that was not put there is answered 404.
#[derive(Clone)]
pub struct Documents {
    address: SocketAddr,
    held: Arc<Mutex<HashMap<String, Document>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Documents {
    pub async fn start() -> Documents {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let documents = Documents { address, held: Arc::default(), asked: Arc::default() };
        let served = documents.clone();
        let route = warp::path::full().then(move |path: warp::path::FullPath| {
            let served = served.clone();
            async move {
                served.asked.lock().expect("not poisoned").push(path.as_str().to_owned());
                let found = served.held.lock().expect("not poisoned").get(path.as_str()).cloned();
                let answer = warp::http::Response::builder();
                let answer = match found {
                    Some(Document::Body(body)) => answer.body(body),
                    Some(Document::Redirect(to)) => {
                        answer.status(StatusCode::FOUND).header("location", to).body(String::new())
                    }
                    Some(Document::Silence) => std::future::pending().await,
                    None => answer.status(StatusCode::NOT_FOUND).body(String::new()),
                };
                answer.expect("an answer")
            }
        });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        documents
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The same by https, which this server does not speak: whoever connects is noticed all the same.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn put(&self, path: &str, body: impl ToString) {
        self.set(path, Document::Body(body.to_string()));
    }

    pub fn redirect(&self, path: &str, to: &str) {
        self.set(path, Document::Redirect(to.to_owned()));
    }

    pub fn silence(&self, path: &str) {
        self.set(path, Document::Silence);
    }

    fn set(&self, path: &str, document: Document) {
        self.held.lock().expect("not poisoned").insert(path.to_owned(), document);
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().expect("not poisoned").iter().filter(|asked| *asked == path).count()
    }

    /// How often anything was.
    pub fn asked_at_all(&self) -> usize {
        self.asked.lock().expect("not poisoned").len()
    }
}
