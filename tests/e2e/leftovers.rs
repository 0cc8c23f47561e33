//! After the last case: do the read models still equal the log, did anything panic, and is a secret left anywhere?

use std::fs;

use libtest_mimic::{Failed, Trial};

use crate::harness::{Server, random, secrets, server, site, suite::RUNTIME};

/// The checks, in the order in which they must run. The servers that the cases shared end with them.
pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("leftovers::the_replayed_read_models_equal_the_live_ones", projections_equal),
        Trial::test("leftovers::the_search_finds_a_secret_that_is_there", the_search_finds),
        Trial::test("leftovers::no_secret_is_in_any_table_file_or_log_while_servers_run", no_secret_while_running),
        Trial::test("leftovers::every_server_stops_when_asked_to", servers_stop),
        Trial::test("leftovers::no_secret_is_in_any_table_file_or_log", no_secret),
        Trial::test("leftovers::no_server_panicked", no_panic),
    ]
}

fn projections_equal() -> Result<(), Failed> {
    for server in server::lent_shared() {
        let metrics = RUNTIME.block_on(server.get("/metrics").send());
        fs::write(server.site().directory().join("metrics.txt"), metrics.body)?;
        let output = RUNTIME.block_on(server.site().run(&["projections", "check"]));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() || !said.to_lowercase().contains("equal") {
            return Err(format!("{}: {said}{complained}", server.store()).into());
        }
    }
    Ok(())
}

fn the_search_finds() -> Result<(), Failed> {
    let directory = site::artefacts().with_file_name("e2e-planted");
    fs::create_dir_all(&directory)?;
    let planted = format!("gla_{}", random(48));
    fs::write(directory.join("log"), format!("something {planted} something"))?;
    fs::write(directory.join("table"), [b"\0\xff".as_slice(), &planted.as_bytes()[4..], b"\0"].concat())?;
    let found = secrets::search_for(&[planted, random(48)], &directory);
    fs::remove_dir_all(&directory)?;
    if found.len() == 2 { Ok(()) } else { Err(format!("of two planted secrets {} were found", found.len()).into()) }
}

fn no_secret_while_running() -> Result<(), Failed> {
    server::lent_shared().iter().for_each(|server| server.site().dump());
    no_secret()
}

fn no_secret() -> Result<(), Failed> {
    let found = secrets::search(&site::artefacts());
    let places: Vec<String> = found.iter().take(40).map(|found| found.to_string()).collect();
    match places.is_empty() {
        true => Ok(()),
        false => {
            let (found, secrets) = (found.len(), secrets::count());
            Err(format!("{found} places hold one of {secrets} secrets:\n{}", places.join("\n")).into())
        }
    }
}

fn servers_stop() -> Result<(), Failed> {
    server::take_shared().iter().for_each(Server::stop);
    Ok(())
}

fn no_panic() -> Result<(), Failed> {
    let mut panics = Vec::new();
    for site in fs::read_dir(site::artefacts().join("sites")).into_iter().flatten().flatten() {
        let log = fs::read_to_string(site.path().join("server.log")).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains("panicked"));
        panics.extend(lines.map(|line| format!("{}: {line}", site.path().display())));
    }
    if panics.is_empty() { Ok(()) } else { Err(panics.join("\n").into()) }
}
