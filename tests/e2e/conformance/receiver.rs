//! A client's own server, as far as logout needs one: it takes what is posted to it, and answers as it was told to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::poll;

/// How to answer a request.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Status(u16),
    /// Never.
    Hang,
}

/// Listens on a port of this machine, for as long as it lives.
pub struct Receiver {
    port: u16,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// For the next requests; 200 for those after.
    answers: VecDeque<Answer>,
    /// The fields of each form that came.
    forms: Vec<HashMap<String, String>>,
}

impl Receiver {
    pub async fn start(answers: &[Answer]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { answers: answers.iter().copied().collect(), forms: Vec::new() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shared)));
            }
        });
        Receiver { port, state, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/logged_out?x=1", self.port)
    }

    /// The forms so far.
    pub fn forms(&self) -> Vec<HashMap<String, String>> {
        self.state.lock().expect("not poisoned").forms.clone()
    }

    /// The logout tokens, once there are so many.
    pub async fn tokens(&self, count: usize) -> Vec<String> {
        let what = format!("{count} logout tokens");
        let forms = poll::until_at_most(poll::PATIENCE * 3, &what, async || {
            Some(self.forms()).filter(|forms| forms.len() >= count)
        });
        forms.await.iter().map(|form| form["logout_token"].clone()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(form) = form(&mut stream).await else { return };
    let answer = {
        let mut state = state.lock().expect("not poisoned");
        state.forms.push(form);
        state.answers.pop_front().unwrap_or(Answer::Status(200))
    };
    match answer {
        Answer::Status(status) => {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
        }
        // Until the other side goes away.
        Answer::Hang => while stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {},
    }
}

/// The form in a POST.
async fn form(stream: &mut TcpStream) -> Option<HashMap<String, String>> {
    let mut request = Vec::new();
    loop {
        let mut part = [0; 4096];
        let bytes = stream.read(&mut part).await.ok().filter(|bytes| *bytes > 0)?;
        request.extend_from_slice(&part[..bytes]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("POST /logged_out?x=1 "), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
        let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        if body.len() >= length {
            return Some(form_urlencoded::parse(body.as_bytes()).into_owned().collect());
        }
    }
}
