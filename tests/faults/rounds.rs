//! The course of most scenarios: work, break something, mend it, recover, look.

use std::time::Duration;

use crate::harness::{Server, Site};
use crate::scenario::{Report, Run};
use crate::world::{Load, Working};

/// How long the flows work before something breaks, at most, and after it was mended.
const BEFORE: Duration = Duration::from_millis(700);
const AFTER: Duration = Duration::from_millis(300);

/// `fault` breaks and mends while the flows work; the server must recover by itself.
pub async fn online(run: &Run, site: &Site, arguments: &[&str], fault: impl AsyncFnMut(&mut Load, &Server)) -> Report {
    course(run, site, arguments, fault, async |load, working, _| {
        load.world.recovered().await;
        tokio::time::sleep(AFTER).await;
        load.end(working).await;
    })
    .await
}

/// `fault` ends the server's process; it is started again.
pub async fn crash(run: &Run, site: &Site, arguments: &[&str], fault: impl AsyncFnMut(&mut Load, &Server)) -> Report {
    course(run, site, arguments, fault, async |load, working, server| {
        server.kill();
        load.end(working).await;
        load.world.restart().await;
    })
    .await
}

async fn course(
    run: &Run,
    site: &Site,
    arguments: &[&str],
    mut fault: impl AsyncFnMut(&mut Load, &Server),
    mut recover: impl AsyncFnMut(&mut Load, Working, &Server),
) -> Report {
    let mut load = Load::new(run, site, arguments).await;
    for _ in 0..run.rounds {
        let working = load.begin().await;
        tokio::time::sleep(load.moment(BEFORE)).await;
        let server = load.world.server();
        fault(&mut load, &server).await;
        recover(&mut load, working, &server).await;
        if !load.verify().await {
            break;
        }
    }
    load.finish().await
}
