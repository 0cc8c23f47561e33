//! One client at work: it takes tokens, redeems codes, refreshes, revokes, asks, and remembers every answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::harness::{Answer, CALLBACK, Client, Pkce, Server, browser::query_of, http::Request};
use crate::model::{Expected, Grant, Once, Tally};
use crate::world::World;

/// Grants that a flow looks after at a time.
const GRANTS_MAX: usize = 8;
/// Ended tokens that a flow asks about at the end; the oldest go first.
const ENDED_MAX: usize = 64;
/// Between two attempts when nothing answers.
const BREATH: Duration = Duration::from_millis(10);

/// What came of a request.
pub enum Heard {
    /// 200 or a redirect: it was done.
    Yes(Answer),
    /// 400 or 401: it was refused.
    No(Answer),
    /// No answer, or 503, or 429: it may or may not have been done.
    Nothing,
}

pub struct Flow {
    world: Arc<World>,
    rng: Rng,
    /// The oldest first.
    pub grants: Vec<Grant>,
    /// Tokens whose end was acknowledged, and the client that asks, also of grants that are not looked after any more.
    ended: VecDeque<(Client, String)>,
    pub tally: Tally,
    pub violations: Vec<String>,
    pub checked: usize,
}

impl Flow {
    pub fn new(world: &Arc<World>, seed: u64) -> Flow {
        let world = Arc::clone(world);
        let (grants, violations) = (Vec::new(), Vec::new());
        Flow {
            world,
            rng: Rng::with_seed(seed),
            grants,
            ended: VecDeque::new(),
            tally: Tally::default(),
            violations,
            checked: 0,
        }
    }

    /// Works until the world stops, or something does not hold.
    pub async fn run(mut self) -> Flow {
        while self.world.is_running() && self.violations.is_empty() {
            self.step().await;
        }
        self
    }

    /// Sends a request, and says what may be believed of the answer.
    pub async fn ask(&mut self, request: Request) -> Heard {
        let Ok(answer) = request.try_send().await else {
            tokio::time::sleep(BREATH).await;
            return Heard::Nothing;
        };
        match answer.status {
            200 | 302 | 303 => Heard::Yes(answer),
            400 | 401 => Heard::No(answer),
            429 | 503 if answer.header("retry-after").is_some() => {
                tokio::time::sleep(BREATH).await;
                Heard::Nothing
            }
            _ => {
                self.violations.push(format!("neither done, nor refused, nor put off: {answer}"));
                Heard::Nothing
            }
        }
    }

    /// What must have been done was refused.
    fn wrongly_refused(&mut self, what: &str, answer: &Answer) {
        self.violations.push(format!("{what} was refused: {answer}"));
    }

    async fn step(&mut self) {
        let server = self.world.server();
        let random = self.rng.u32(..100);
        let chosen = if self.grants.is_empty() { None } else { Some(self.rng.usize(..self.grants.len())) };
        match (random, chosen) {
            (0..16, _) | (_, None) => self.take_service_token(&server).await,
            (16..18, _) => self.take_password_tokens(&server).await,
            (18..28, _) => self.take_code(&server).await,
            (28..78, Some(grant)) => self.go_on(&server, grant).await,
            (78..84, Some(grant)) => self.revoke_access(&server, grant).await,
            (84..88, Some(grant)) => self.revoke_refresh(&server, grant).await,
            (88..91, Some(grant)) => self.use_replaced(&server, grant).await,
            (_, Some(grant)) => self.introspect_one(&server, grant).await,
        }
    }

    fn keep(&mut self, grant: Grant) {
        self.grants.push(grant);
        if self.grants.len() > GRANTS_MAX {
            let forgotten = self.grants.remove(0);
            let ended = forgotten.tokens.iter().filter(|token| forgotten.expected_of(token) == Expected::Ended);
            self.ended.extend(ended.map(|token| (forgotten.client.clone(), token.access.clone())));
            self.ended.drain(..self.ended.len().saturating_sub(ENDED_MAX));
        }
    }

    async fn take_service_token(&mut self, server: &Server) {
        let client = self.world.service.clone();
        self.open(server, &client, &[("grant_type", "client_credentials")]).await;
    }

    async fn take_password_tokens(&mut self, server: &Server) {
        let (client, user) = (self.world.password.clone(), self.world.user.clone());
        let form = [
            ("grant_type", "password"),
            ("username", user.username.as_str()),
            ("password", user.password.as_str()),
            ("scope", "profile"),
        ];
        self.open(server, &client, &form).await;
    }

    async fn open(&mut self, server: &Server, client: &Client, form: &[(&str, &str)]) {
        match self.ask(server.post_as(client, "/oauth/token", form)).await {
            Heard::Yes(answer) => {
                self.tally.acknowledged("grant.opened");
                let mut grant = Grant::new(client);
                grant.receive(&answer);
                self.keep(grant);
            }
            Heard::No(answer) => self.wrongly_refused("a new grant", &answer),
            Heard::Nothing => self.tally.in_doubt("grant.opened"),
        }
    }

    /// A code for the user who is signed in and has allowed this client before.
    async fn take_code(&mut self, server: &Server) {
        let (client, pkce) = (self.world.web.clone(), Pkce::new());
        let url = server.code_url(&client, &pkce);
        match self.ask(server.get(&url).header("cookie", &self.world.cookies)).await {
            Heard::Yes(answer) => {
                let callback = answer.location();
                match callback.as_ref().and_then(|callback| query_of(callback).remove("code")) {
                    Some(code) => {
                        self.tally.acknowledged("grant.code_issued");
                        self.keep(Grant::with_code(&client, code, &pkce));
                    }
                    None if callback.is_some_and(|url| url.query().unwrap_or_default().contains("temporarily")) => {
                        self.tally.in_doubt("grant.code_issued");
                    }
                    // A node that is not up to date cannot know that the consent still stands, so it asks: nothing was given.
                    None if answer.text().contains("id=\"consent-form\"") => {}
                    None => self.wrongly_refused("a code for somebody who is signed in", &answer),
                }
            }
            Heard::No(answer) => self.wrongly_refused("a code", &answer),
            Heard::Nothing => self.tally.in_doubt("grant.code_issued"),
        }
    }

    /// Redeems the code, or refreshes.
    async fn go_on(&mut self, server: &Server, grant: usize) {
        let grant_now = &self.grants[grant];
        if let Some((code, verifier)) = grant_now.code.clone() {
            let form = [
                ("grant_type", "authorization_code"),
                ("code", code.secret.as_str()),
                ("redirect_uri", CALLBACK),
                ("code_verifier", verifier.as_str()),
            ];
            self.use_once(server, grant, "grant.code_redeemed", &code, &form).await;
        } else if let Some(refresh) = grant_now.refresh.clone() {
            let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.secret.as_str())];
            self.use_once(server, grant, "grant.refreshed", &refresh, &form).await;
        } else {
            self.take_service_token(server).await;
        }
    }

    async fn use_once(
        &mut self,
        server: &Server,
        grant: usize,
        event: &'static str,
        once: &Once,
        form: &[(&str, &str)],
    ) {
        let request = server.post_as(&self.grants[grant].client, "/oauth/token", form);
        let heard = self.ask(request).await;
        let known = &mut self.grants[grant];
        match heard {
            Heard::Yes(answer) => {
                self.tally.acknowledged(event);
                if known.expected == Expected::Ended {
                    self.violations.push(format!("{event} after the grant's end was acknowledged: {answer}"));
                    return;
                }
                // It was taken, so the grant still stood.
                known.expected = Expected::Active;
                known.code = None;
                known.receive(&answer);
            }
            // Either the grant has ended, or this was a second use, and that ends it.
            Heard::No(_) if once.in_doubt || known.expected != Expected::Active => {
                known.expected = Expected::Ended;
                known.code = None;
            }
            Heard::No(answer) => self.wrongly_refused(event, &answer),
            Heard::Nothing => {
                self.tally.in_doubt(event);
                // If it was a second use, it may have ended the grant; if not, it may be used now.
                if once.in_doubt {
                    known.expected = known.expected.and(Expected::Either);
                }
                if let Some((code, _)) = &mut known.code {
                    code.in_doubt = true;
                } else if let Some(refresh) = &mut known.refresh {
                    refresh.in_doubt = true;
                }
            }
        }
    }

    async fn revoke(&mut self, server: &Server, grant: usize, token: &str) -> Expected {
        let request = server.post_as(&self.grants[grant].client, "/oauth/revoke", &[("token", token)]);
        match self.ask(request).await {
            Heard::Yes(_) => {
                self.tally.acknowledged("revocation");
                Expected::Ended
            }
            Heard::No(answer) => {
                self.wrongly_refused("a revocation", &answer);
                Expected::Either
            }
            Heard::Nothing => Expected::Either,
        }
    }

    async fn revoke_access(&mut self, server: &Server, grant: usize) {
        if self.grants[grant].tokens.is_empty() {
            return;
        }
        let token = self.rng.usize(..self.grants[grant].tokens.len());
        let access = self.grants[grant].tokens[token].access.clone();
        let ended = self.revoke(server, grant, &access).await;
        let token = &mut self.grants[grant].tokens[token];
        token.expected = token.expected.and(ended);
    }

    async fn revoke_refresh(&mut self, server: &Server, grant: usize) {
        let Some(refresh) = self.grants[grant].refresh.clone() else { return };
        let ended = self.revoke(server, grant, &refresh.secret).await;
        self.grants[grant].expected = self.grants[grant].expected.and(ended);
    }

    /// Shows a refresh token that was replaced: refused, and the whole grant ends (RFC 9700 4.14.2).
    async fn use_replaced(&mut self, server: &Server, grant: usize) {
        let Some(replaced) = self.grants[grant].replaced.clone() else { return };
        let form = [("grant_type", "refresh_token"), ("refresh_token", replaced.as_str())];
        let request = server.post_as(&self.grants[grant].client, "/oauth/token", &form);
        match self.ask(request).await {
            Heard::Yes(answer) => self.violations.push(format!("a replaced refresh token was taken: {answer}")),
            Heard::No(_) => {
                self.tally.acknowledged("reuse");
                self.grants[grant].expected = Expected::Ended;
            }
            Heard::Nothing => {
                self.grants[grant].expected = self.grants[grant].expected.and(Expected::Either);
            }
        }
    }

    async fn introspect_one(&mut self, server: &Server, grant: usize) {
        if self.grants[grant].tokens.is_empty() {
            return;
        }
        let token = self.rng.usize(..self.grants[grant].tokens.len());
        self.introspect(server, grant, token).await;
    }

    /// Asks about one token and holds the answer against what is known.
    async fn introspect(&mut self, server: &Server, grant: usize, token: usize) {
        let known = &self.grants[grant];
        let expected = known.expected_of(&known.tokens[token]);
        let form = [("token", known.tokens[token].access.as_str())];
        match self.ask(server.post_as(&known.client, "/oauth/introspect", &form)).await {
            Heard::Yes(answer) => {
                self.checked += 1;
                if !expected.allows(answer.json()["active"] == true) {
                    self.violations.push(format!("{expected:?} was acknowledged, but the answer is {answer}"));
                }
            }
            Heard::No(answer) => self.wrongly_refused("an introspection", &answer),
            Heard::Nothing => {}
        }
    }

    /// Asks about everything that it knows, on a server that is well. Of so many percent of its grants it also uses the
    /// code or the refresh token, and then a replaced one, which ends them.
    pub async fn verify(mut self, deep_percent: u8) -> Flow {
        let server = self.world.server();
        for (client, token) in std::mem::take(&mut self.ended) {
            let asked = self.ask(server.post_as(&client, "/oauth/introspect", &[("token", token.as_str())])).await;
            if let Heard::Yes(answer) = asked {
                self.checked += 1;
                if answer.json()["active"] == true {
                    self.violations.push(format!("the end was acknowledged, but the answer is {answer}"));
                }
                self.ended.push_back((client, token));
            }
        }
        for grant in 0..self.grants.len() {
            for token in 0..self.grants[grant].tokens.len() {
                self.introspect(&server, grant, token).await;
            }
            if self.grants[grant].can_go_on() && self.rng.u8(..100) < deep_percent {
                self.checked += 1;
                self.go_on(&server, grant).await;
                self.use_replaced(&server, grant).await;
                // After the second use of the replaced one, the newest must be of no use either.
                self.go_on(&server, grant).await;
            }
        }
        self
    }
}
