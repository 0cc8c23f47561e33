//! The log itself: whether it is one that commands can have made, and whether it holds what was acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Site, poll};
use crate::model::Tally;
use crate::scenario::Report;

/// Events by type.
pub type Counted = BTreeMap<String, usize>;

/// What reading a whole log found.
#[derive(Debug, Default)]
pub struct Found {
    pub counted: Counted,
    pub wrong: Vec<String>,
}

/// A grant as its stream tells it; a second look at the rules, on purpose apart from the server's own.
#[derive(Default)]
struct Stream {
    sequence: i64,
    redeemed: bool,
    ended: bool,
    refresh: HashSet<String>,
    access: HashSet<String>,
}

/// Reads the whole log of a site.
pub async fn read(site: &Site) -> Found {
    let text = site.run_well(&["events", "export"]).await;
    let mut found = Found::default();
    let (mut streams, mut ids, mut positions) = (HashMap::new(), HashSet::new(), HashSet::new());
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        let name = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let kind = name("event_type");
        *found.counted.entry(kind.clone()).or_default() += 1;
        let id = event["metadata"]["event_id"].as_str().unwrap_or_default().to_owned();
        let stream: &mut Stream = streams.entry((name("aggregate_type"), name("aggregate_id"))).or_default();
        let wrong = stream.take_in(&kind, &event);
        let twice = !ids.insert(id) || !positions.insert(event["position"].as_i64());
        let twice = twice.then_some("its id or position was given twice");
        found.wrong.extend(wrong.or(twice).map(|wrong| format!("{wrong}: {line}")));
    }
    found
}

impl Stream {
    /// What is wrong with this event as the next one, if something is.
    fn take_in(&mut self, kind: &str, event: &Value) -> Option<&'static str> {
        self.sequence += 1;
        if event["sequence"].as_i64() != Some(self.sequence) {
            return Some("the stream has a hole");
        }
        let payload = event["payload"].as_object()?.values().next().unwrap_or(&Value::Null);
        let access = payload["access_token"]["hash"].to_string();
        let refresh = payload["refresh_token"].to_string();
        let is_first = self.sequence == 1;
        let wrong = match kind {
            "grant.code_issued" | "grant.opened" => !is_first,
            "grant.code_redeemed" => is_first || self.redeemed || self.ended,
            "grant.refreshed" => is_first || self.ended || self.refresh.is_empty(),
            "grant.access_token_revoked" => self.ended || !self.access.contains(&payload["token"].to_string()),
            "grant.revoked" => is_first || self.ended,
            _ => false,
        };
        match kind {
            "grant.opened" | "grant.code_redeemed" | "grant.refreshed" => {
                self.redeemed = true;
                let fresh = self.access.insert(access) && (refresh == "null" || self.refresh.insert(refresh));
                if !fresh {
                    return Some("a token was given twice");
                }
            }
            "grant.revoked" => self.ended = true,
            _ => {}
        }
        wrong.then_some("it cannot follow what stands before it")
    }
}

/// Reads the log and holds it against what clients were told; then lets the read models be compared with it.
pub async fn check(site: &Site, before: &Counted, tally: &Tally, report: &mut Report) {
    let found = read(site).await;
    report.checked += found.counted.values().sum::<usize>();
    report.violations.extend(found.wrong.into_iter().take(5));
    for (event, count) in tally.0.iter().filter(|(event, _)| event.starts_with("grant.")) {
        let of = |counted: &Counted| counted.get(*event).copied().unwrap_or_default();
        let (appended, least) = (of(&found.counted) - of(before), count.acknowledged);
        report.check((least..=least + count.in_doubt).contains(&appended), || {
            format!("{appended} {event} in the log; {least} were acknowledged, {} in doubt", count.in_doubt)
        });
    }
    caught_up(site).await;
    let output = site.run(&["projections", "check"]).await;
    report.check(output.status.success(), || {
        format!(
            "projections check: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
}

/// Waits until every table has taken in the whole log; a server must be at work.
pub async fn caught_up(site: &Site) {
    poll::until_at_most(Duration::from_secs(60), "the tables of the read models have caught up", async || {
        let status = site.run_json(&["projections", "status"]).await;
        let tables = status["tables"].as_array().expect("tables").clone();
        tables.iter().all(|table| table["lag_events"] == 0).then_some(())
    })
    .await;
}
