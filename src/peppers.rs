//! Goes after the peppers while the server runs: takes in a new one before the others make anything with it, and lets go of
//! a retired one. So rotating and retiring need no restart where the server can read the pepper file anew.

use std::time::Duration;

use crate::app::App;

/// How often it is looked what the database knows. A new pepper is used [`TAKE_OVER_SECONDS`] after it became known there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// From when a new pepper is known until hashes are made with it: every server has looked several times by then.
pub const TAKE_OVER_SECONDS: i64 = 10;

/// Longest answer that is waited for: a connection that died in silence must not be the end of it.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Looks between two lines in the log about the same trouble.
const SAID_EVERY: u32 = 30;

/// Runs for as long as the server may; ends when what it makes is hashed under a pepper that is being retired.
pub async fn follow(app: App) {
    let mut troubles = 0_u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // Without the database nothing is made either.
        let Ok(Ok(known)) = tokio::time::timeout(ANSWER_MAX, app.store.peppers()).await else { continue };
        let followed = app.secrets.follow(&app.settings.pepper, &known, app.now());
        if let Ok(keys) = app.store.log().keys() {
            app.secrets.renew_keys(keys);
        }
        let trouble = match followed {
            Ok(followed) if followed.must_stop => {
                tracing::error!(
                    "the pepper of this server is being retired, and it has no newer one: give it the newest"
                );
                return;
            }
            Ok(followed) => followed.missing.map(|id| format!("pepper {id}, which the database knows, is not here")),
            Err(error) => Some(error.to_string()),
        };
        match trouble {
            Some(trouble) => {
                if troubles.is_multiple_of(SAID_EVERY) {
                    tracing::error!("{trouble}; what other servers make with it is refused here");
                }
                troubles = troubles.wrapping_add(1);
            }
            None => troubles = 0,
        }
    }
}
