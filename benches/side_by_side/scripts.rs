//! What the connections send where one request needs the answer of another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::load::{self, Answer, Script};
use crate::servers::Grantlog;

/// Issues codes for as long as a measurement lasts, at least as many as it can redeem in that time.
pub async fn codes(server: &Arc<Grantlog>, cookie: &str, connections: usize, length: Duration) -> Vec<String> {
    let found = Arc::new(Mutex::new(Vec::new()));
    let request = load::get(&server.authorize_path(), cookie);
    let scripts = (0..connections).map(|_| Authorize { request: request.clone(), found: Arc::clone(&found) });
    load::run(server.address, scripts.collect(), length + length / 2).await;
    let codes = std::mem::take(&mut *found.lock());
    assert!(!codes.is_empty(), "the authorization endpoint gives no codes");
    codes
}

struct Authorize {
    request: Vec<u8>,
    found: Arc<Mutex<Vec<String>>>,
}

impl Script for Authorize {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(&self.request);
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        let code = code_of(answer);
        let right = code.is_some();
        self.found.lock().extend(code);
        right
    }
}

fn code_of(answer: &Answer<'_>) -> Option<String> {
    let location = load::header(answer.head, "location")?;
    let query = location.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned())
}

/// Refresh tokens that nobody has used yet.
pub type Families = Arc<Mutex<Vec<String>>>;

/// Each connection redeems codes until there are none left; the refresh tokens go to `families`.
pub fn redemptions(server: &Arc<Grantlog>, codes: Vec<String>, families: &Families, connections: usize) -> Vec<Redeem> {
    let codes = Arc::new(Mutex::new(codes));
    let script = || Redeem { server: Arc::clone(server), codes: Arc::clone(&codes), families: Arc::clone(families) };
    (0..connections).map(|_| script()).collect()
}

pub struct Redeem {
    server: Arc<Grantlog>,
    codes: Arc<Mutex<Vec<String>>>,
    families: Families,
}

impl Script for Redeem {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(code) = self.codes.lock().pop() else { return false };
        out.extend_from_slice(&self.server.redeem(&code));
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        self.families.lock().extend(member(answer.body, "refresh_token"));
        answer.status == 200
    }
}

/// Rotations after which a connection takes a fresh family, so that streams stay as short as those of real clients.
const ROTATIONS: usize = 10;

/// Each connection refreshes one family after another until there are none left.
pub fn refreshes(server: &Arc<Grantlog>, families: &Families, connections: usize) -> Vec<RefreshFamily> {
    let script = || RefreshFamily {
        server: Arc::clone(server),
        families: Arc::clone(families),
        token: None,
        rotations: ROTATIONS,
    };
    (0..connections).map(|_| script()).collect()
}

pub struct RefreshFamily {
    server: Arc<Grantlog>,
    families: Families,
    token: Option<String>,
    rotations: usize,
}

impl Script for RefreshFamily {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.rotations >= ROTATIONS {
            self.token = self.families.lock().pop();
            self.rotations = 0;
        }
        let Some(token) = &self.token else { return false };
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        out.extend_from_slice(&load::post("/oauth/token", &self.server.basic, &form));
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        self.rotations += 1;
        self.token = member(answer.body, "refresh_token");
        answer.status == 200
    }
}

fn member(json: &str, name: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Value>(json).ok()?.get(name)?.as_str().map(str::to_owned)
}

/// Authorize with a session and remembered consent, redeem, introspect, and again.
pub fn flows(server: &Arc<Grantlog>, cookie: &str, connections: usize) -> Vec<Flow> {
    let authorize = load::get(&server.authorize_path(), cookie);
    (0..connections)
        .map(|_| Flow { server: Arc::clone(server), authorize: authorize.clone(), step: Step::Authorize })
        .collect()
}

pub struct Flow {
    server: Arc<Grantlog>,
    authorize: Vec<u8>,
    step: Step,
}

enum Step {
    Authorize,
    Redeem(String),
    Introspect(String),
}

impl Script for Flow {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        match &self.step {
            Step::Authorize => out.extend_from_slice(&self.authorize),
            Step::Redeem(code) => out.extend_from_slice(&self.server.redeem(code)),
            Step::Introspect(token) => {
                let form = format!("token={token}");
                out.extend_from_slice(&load::post("/oauth/introspect", &self.server.basic, &form));
            }
        }
        true
    }

    fn answered(&mut self, answer: &Answer<'_>) -> bool {
        let next = match &self.step {
            Step::Authorize => code_of(answer).map(Step::Redeem),
            Step::Redeem(_) => member(answer.body, "access_token").map(Step::Introspect),
            Step::Introspect(_) => answer.body.contains("\"active\":true").then_some(Step::Authorize),
        };
        let right = next.is_some();
        self.step = next.unwrap_or(Step::Authorize);
        right
    }
}

/// Argon2id hashes per second with the server's default settings, on as many threads as there are processors.
pub fn argon2_alone(length: Duration) -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let end = Instant::now() + length;
    let worker = move || {
        let argon2 = argon2::Argon2::default();
        let (mut hashes, mut out) = (0_usize, [0; 32]);
        while Instant::now() < end {
            argon2.hash_password_into(b"correct horse battery staple", &[7; 16], &mut out).expect("default settings");
            hashes += 1;
        }
        hashes
    };
    let workers: Vec<_> = (0..threads).map(|_| std::thread::spawn(worker)).collect();
    let hashes: usize = workers.into_iter().map(|worker| worker.join().expect("hashing does not panic")).sum();
    hashes as f64 / length.as_secs_f64()
}
