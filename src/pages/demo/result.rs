//! The page of the demo: the client's view on the left, the log's on the right.

use askama::Template;
use grantlog_domain::grant::GrantEvent;
use grantlog_domain::{Event, Recorded, Timestamp};
use grantlog_projections::feed::stream;
use http::StatusCode;
use serde_json::json;
use warp::reply::Response;

use super::calls;
use super::explain::explain;
use super::flow::{self, Done, Kept, Step, StepKind};
use crate::pages::chrome::Chrome;
use crate::pages::failure::PageError;
use crate::pages::moment::Moment;
use crate::pages::visit::Visit;
use crate::secrets::Kind;

/// Most events that are shown, the newest.
const EVENTS_MAX: i64 = 50;

#[derive(Template)]
#[template(path = "demo_result.html")]
pub struct DemoResultPage {
    pub chrome: Chrome,
    pub title: &'static str,
    pub last_step: Option<StepView>,
    pub has_refresh_token: bool,
    pub token_response: String,
    pub active: bool,
    pub introspection: String,
    pub me_status: u16,
    pub me: String,
    pub grant_id: String,
    pub lines: Vec<EventLine>,
}

/// What was tried last.
pub struct StepView {
    pub refused: bool,
    pub title: &'static str,
    pub words: &'static str,
    pub status: u16,
    pub answer: String,
}

/// One event, in words and as it is stored.
pub struct EventLine {
    pub words: &'static str,
    pub at: Moment,
    pub event_type: &'static str,
    pub ended: bool,
    pub json: String,
}

#[derive(Template)]
#[template(path = "demo_denied.html")]
pub struct DeniedPage {
    pub chrome: Chrome,
    pub error: String,
}

/// The answer was an error: most often, the user said no.
pub async fn denied(visit: &Visit, error: String) -> Result<Response, PageError> {
    let chrome = visit.chrome("").await?;
    Ok(chrome.page(StatusCode::OK, &DeniedPage { chrome: chrome.clone(), error }))
}

pub async fn show(visit: &Visit) -> Result<Response, PageError> {
    let Some(Kept::Done(done)) = flow::kept(visit) else {
        return Ok(flow::forget(&visit.app).redirect("/"));
    };
    let app = &visit.app;
    let access_token = done.token("access_token");
    let introspected = calls::introspect(app, access_token).await?;
    let me = calls::me(app, access_token).await?;
    let grant_id = app.secrets.parse(Kind::Code, &done.code).map(|(id, _)| id.to_string()).unwrap_or_default();
    let events = stream::newest(app.store.log(), "grant", &grant_id, EVENTS_MAX).await?;
    let chrome = visit.chrome("").await?;
    let view = DemoResultPage {
        chrome: chrome.clone(),
        title: title(&done),
        last_step: done.step.as_ref().map(step),
        has_refresh_token: !done.token("refresh_token").is_empty(),
        token_response: calls::pretty(&done.token_response),
        active: introspected.json()["active"] == true,
        introspection: introspected.shown(),
        me_status: me.status,
        me: me.shown(),
        grant_id,
        lines: events.iter().map(line).collect(),
    };
    Ok(chrome.page(StatusCode::OK, &view))
}

fn title(done: &Done) -> &'static str {
    match done.step.as_ref().map(|step| step.kind) {
        None => "It worked",
        Some(StepKind::Refused) => "The code was refused",
        Some(StepKind::Refreshed | StepKind::Replayed | StepKind::Revoked) => "What happened next",
    }
}

fn step(step: &Step) -> StepView {
    let refused = step.status != 200;
    let (title, words) = match (step.kind, refused) {
        (StepKind::Refreshed, false) => {
            ("Refreshed.", "There is a new access token and a new refresh token; the old refresh token is used up.")
        }
        (StepKind::Refreshed, true) => ("Not refreshed.", "The server refused the refresh token."),
        (StepKind::Replayed, true) => (
            "The code was used a second time.",
            "The server refused it, and ended everything that the first use gave: a code that comes twice may be stolen.",
        ),
        (StepKind::Revoked, false) => {
            ("Revoked.", "The client gave its refresh token back, and all that came of the grant ended with it.")
        }
        (StepKind::Revoked, true) => ("Not revoked.", "The server refused it."),
        (StepKind::Refused, true) => ("The code was not exchanged.", "The server refused it."),
        (StepKind::Replayed | StepKind::Refused, false) => ("The code was taken.", "That should not have happened."),
    };
    StepView { refused, title, words, status: step.status, answer: step.answer.clone() }
}

fn line(recorded: &Recorded) -> EventLine {
    let stored = json!({
        "aggregate_type": recorded.event.aggregate_type(),
        "aggregate_id": recorded.aggregate_id,
        "sequence": recorded.sequence,
        "position": recorded.position,
        "event_type": recorded.event.event_type(),
        "payload": recorded.event.payload(),
        "metadata": recorded.metadata.to_map(),
    });
    EventLine {
        words: explain(&recorded.event),
        at: Moment::from(Timestamp(recorded.recorded_at.div_euclid(1000))),
        event_type: recorded.event.event_type(),
        ended: matches!(&recorded.event, Event::Grant(GrantEvent::Revoked { .. })),
        json: calls::pretty(&stored),
    }
}

/// The page with one value wherever a value goes, for the test that every page escapes.
#[cfg(test)]
pub(crate) fn hostile_result(chrome: Chrome, value: &'static str) -> DemoResultPage {
    let step = StepView { refused: true, title: value, words: value, status: 400, answer: value.to_owned() };
    let at = Moment::from(Timestamp(0));
    let line = EventLine { words: value, at, event_type: value, ended: true, json: value.to_owned() };
    DemoResultPage {
        chrome,
        title: value,
        last_step: Some(step),
        has_refresh_token: true,
        token_response: value.to_owned(),
        active: true,
        introspection: value.to_owned(),
        me_status: 200,
        me: value.to_owned(),
        grant_id: value.to_owned(),
        lines: vec![line],
    }
}

#[cfg(test)]
pub(crate) fn hostile_denial(chrome: Chrome, value: &'static str) -> DeniedPage {
    DeniedPage { chrome, error: value.to_owned() }
}
