//! The demo: a client that runs inside this server and shows what it sees, beside what the log keeps of it.
//!
//! `flow` keeps the client's state in a sealed cookie; `calls` talks to this server's own endpoints over HTTP, as any
//! client would; `result` is the page; `explain` says events in words for a newcomer.

mod calls;
mod explain;
mod flow;
mod result;

use form_urlencoded::Serializer;
use warp::reply::Response;

#[cfg(test)]
pub(super) use self::result::{hostile_denial, hostile_result};

use self::calls::Called;
use self::flow::{Done, Kept, Started, Step, StepKind};
use super::failure::PageError;
use super::visit::Visit;
use crate::app::App;
use crate::demo;

/// The part of the first page that shows the demo client.
pub(super) struct DemoPanel {
    pub client_name: String,
    pub curl: String,
    pub client_id: String,
    pub client_secret: String,
}

impl DemoPanel {
    pub fn new(app: &App) -> Self {
        Self {
            client_name: demo::CLIENT_NAME.to_owned(),
            curl: demo::curl_line(app),
            client_id: demo::client_id().to_string(),
            client_secret: demo::client_secret(app).expose().clone(),
        }
    }
}

/// A path below `/demo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// What came of the flow.
    Result,
    /// The redirect URI of the demo client.
    Callback,
    Try,
    Refresh,
    Replay,
    Revoke,
}

impl Page {
    /// The page that the last part of a path names.
    pub fn find(name: &str) -> Option<Self> {
        match name {
            "callback" => Some(Self::Callback),
            "try" => Some(Self::Try),
            "refresh" => Some(Self::Refresh),
            "replay" => Some(Self::Replay),
            "revoke" => Some(Self::Revoke),
            _ => None,
        }
    }
}

pub async fn answer(visit: &Visit, page: Page) -> Result<Response, PageError> {
    if !visit.app.settings.demo {
        return Err(PageError::NotFound);
    }
    match page {
        Page::Result => result::show(visit).await,
        Page::Callback => callback(visit).await,
        Page::Try => start(visit).await,
        Page::Refresh => go_on(visit, StepKind::Refreshed).await,
        Page::Replay => go_on(visit, StepKind::Replayed).await,
        Page::Revoke => go_on(visit, StepKind::Revoked).await,
    }
}

/// The client's first step (RFC 6749 4.1.1): `state`, a verifier and its challenge, and off to the authorization
/// endpoint.
async fn start(visit: &Visit) -> Result<Response, PageError> {
    visit.check_form()?;
    let started = Started::new(visit.app.secrets.entropy());
    let issuer = &visit.app.settings.issuer;
    let mut query = Serializer::new(String::new());
    query.append_pair("response_type", "code").append_pair("client_id", &demo::client_id().to_string());
    query.append_pair("redirect_uri", &issuer.url(demo::CALLBACK)).append_pair("scope", "profile");
    query.append_pair("state", &started.state).append_pair("code_challenge", &started.challenge());
    query.append_pair("code_challenge_method", "S256");
    let target = format!("/oauth/authorize?{}", query.finish());
    Ok(flow::keep(&visit.app, &Kept::Started(started)).redirect(&target))
}

/// The redirect URI (RFC 6749 4.1.2): checks `state` and `iss`, exchanges the code, and shows the result under an
/// address that can be loaded again.
async fn callback(visit: &Visit) -> Result<Response, PageError> {
    let Some(Kept::Started(started)) = flow::kept(visit) else {
        return Err(PageError::Request("Nothing is under way in this browser. Please begin on the first page.".into()));
    };
    let issuer = &visit.app.settings.issuer;
    // RFC 6749 10.12 and RFC 9207 2.4.
    if visit.parameters.get("state") != Some(&started.state) || visit.parameters.get("iss") != Some(issuer.as_str()) {
        return Err(PageError::Request("This answer does not belong to what was asked in this browser.".into()));
    }
    let Some(code) = visit.parameters.get("code") else {
        let error = visit.parameters.get("error").unwrap_or("no error code").to_owned();
        return result::denied(visit, error).await;
    };
    let exchanged = calls::exchange(&visit.app, code, &started.verifier).await?;
    let step = (!exchanged.is_success()).then(|| exchanged.step(StepKind::Refused));
    let done = Done {
        code: code.to_owned(),
        verifier: started.verifier,
        token_response: exchanged.json(),
        step,
        until: flow::end(&visit.app),
    };
    Ok(flow::keep(&visit.app, &Kept::Done(done)).redirect("/demo"))
}

/// One more step with what the client holds.
async fn go_on(visit: &Visit, kind: StepKind) -> Result<Response, PageError> {
    visit.check_form()?;
    let Some(Kept::Done(mut done)) = flow::kept(visit) else {
        return Ok(flow::forget(&visit.app).redirect("/"));
    };
    let app = &visit.app;
    let called: Called = match kind {
        StepKind::Refreshed => calls::refresh(app, done.token("refresh_token")).await?,
        StepKind::Revoked => calls::revoke(app, done.token("refresh_token")).await?,
        StepKind::Replayed | StepKind::Refused => calls::exchange(app, &done.code, &done.verifier).await?,
    };
    if kind == StepKind::Refreshed && called.is_success() {
        done.token_response = called.json();
    }
    done.step = Some(called.step(kind));
    Ok(flow::keep(app, &Kept::Done(done)).redirect("/demo"))
}

impl Called {
    fn step(&self, kind: StepKind) -> Step {
        Step { kind, status: self.status, answer: self.shown() }
    }
}
