//! What an operator hears when something is wrong: a clear message, the right exit code, never a panic. And what every
//! command promises: help, and JSON.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::harness::{
    Browser, Server, Site, Store, User, poll, random, secrets, site,
    suite::{Case, on, own, shared},
};

pub const CASES: &[&[Case]] = &[
    shared![
        every_command_and_subcommand_has_help,
        every_result_is_json_when_asked_for,
        events_are_shown_followed_and_exported,
        keys_are_listed_rotated_and_retired,
        all_grants_of_a_user_and_a_client_are_revoked_at_once,
        a_short_password_is_refused_everywhere,
        a_wrong_argument_says_which,
    ],
    own![
        a_newer_schema_is_explained,
        a_lost_pepper_file_is_explained_and_not_made_anew,
        a_swapped_pepper_file_is_explained,
        a_pepper_file_that_others_can_read_is_refused,
        a_schema_that_is_missing_is_explained,
    ],
    on![Sqlite:
        a_locked_file_is_explained,
        a_file_that_is_no_database_is_explained,
        a_wrong_url_is_wrong_usage,
        a_settings_file_that_is_wrong_is_explained,
        a_database_on_the_network_wants_tls,
    ],
    on![Postgres: a_missing_database_and_a_wrong_port_are_explained],
];

/// Holds a failure against its exit code and the words that its message must have.
#[track_caller]
fn expect_failure(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!message.contains("panicked") && !message.contains("RUST_BACKTRACE"), "{message}");
    assert!(output.stdout.is_empty(), "a result beside the failure: {}", String::from_utf8_lossy(&output.stdout));
}

/// The commands that a help text lists.
fn commands_in(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

async fn every_command_and_subcommand_has_help(server: Server) {
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = server.site().run_well(&arguments).await;
        assert!(help.contains("Usage: grantlog"), "{arguments:?}: {help}");
        seen += 1;
        waiting.extend(commands_in(&help).into_iter().map(|name| [&command[..], &[name]].concat()));
    }
    assert!(seen > 30, "only {seen} commands were found");
}

async fn every_result_is_json_when_asked_for(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    server.tokens(&client, &user).await;
    let site = server.site();
    let users = site.run_json(&["user", "show", &user.username]).await;
    let user_id = users["user_id"].as_str().expect("an id").to_owned();
    let grants = site.run_json(&["grant", "list", "--client", &client.id]).await;
    let grant = grants[0]["grant_id"].as_str().expect("a grant").to_owned();
    for arguments in [
        &["client", "list"][..],
        &["client", "show", &client.id],
        &["client", "update", &client.id, "--name", "Renamed"],
        &["client", "disable", &client.id],
        &["client", "enable", &client.id],
        &["user", "list"],
        &["user", "disable", &user_id],
        &["user", "enable", &user.username],
        &["grant", "show", &grant],
        &["grant", "revoke", &grant],
        &["grant", "list", "--all", "--limit", "2"],
        &["key", "list"],
        &["events", "list", "--limit", "3"],
        &["events", "list", "--aggregate", &client.id],
        &["events", "show", &grant],
        &["events", "show", "1"],
        &["projections", "status"],
        &["migrate"],
    ] {
        let result = site.run_json(arguments).await;
        assert!(result.is_object() || result.is_array(), "{arguments:?}: {result}");
    }
    let rotated = site.run_json(&["client", "rotate-secret", &client.id]).await;
    secrets::register(rotated["client_secret"].as_str().expect("a new secret"));
}

async fn events_are_shown_followed_and_exported(server: Server) {
    let (user, client) = (server.user().await, server.web_client().await);
    let site = server.site();
    let mut follow = site.command();
    follow.args(["events", "follow", "--json"]).stdout(std::process::Stdio::piped());
    let mut following = follow.spawn().expect("the command runs");
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
    let (out, kept) = (following.stdout.take().expect("a pipe"), lines.clone());
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
            kept.lock().expect("not poisoned").push(serde_json::from_str(&line).expect("a line of JSON"));
        }
    });
    let seen = |grant: &str, event_type: &str| {
        let lines = lines.lock().expect("not poisoned");
        lines.iter().any(|event| event["aggregate_id"] == *grant && event["event_type"] == *event_type)
    };
    let grant = poll::until("the follower shows a refresh", async || {
        let tokens = server.tokens(&client, &user).await;
        server.refresh(&client, &tokens.refresh).await.expect(200);
        let grants = site.run_json(&["grant", "list", "--client", &client.id, "--limit", "1"]).await;
        let grant = grants[0]["grant_id"].as_str().expect("a grant").to_owned();
        seen(&grant, "grant.refreshed").then_some(grant)
    })
    .await;
    following.kill().expect("it can be ended");
    following.wait().expect("a child");

    let shown = site.run_json(&["events", "show", &grant]).await;
    let types: Vec<_> = shown.as_array().expect("a list").iter().map(|event| event["event_type"].clone()).collect();
    assert_eq!(types, ["grant.code_issued", "grant.code_redeemed", "grant.refreshed"]);
    let position = shown[2]["position"].to_string();
    let one = site.run_json(&["events", "show", &position]).await;
    assert_eq!(one["event_type"], "grant.refreshed");
    let missing = site.run(&["events", "show", "999999999"]).await;
    expect_failure(&missing, 3, &["999999999"]);

    let file = site.directory().join(format!("export-{}.jsonl", random(6)));
    site.run_well(&["events", "export", "--output", &file.display().to_string()]).await;
    let exported = fs::read_to_string(&file).expect("the export");
    let events: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_grant: Vec<_> = events.iter().filter(|event| event["aggregate_id"] == *grant).collect();
    assert_eq!(of_grant.len(), 3);
    assert!(of_grant.iter().zip(shown.as_array().expect("a list")).all(|(exported, shown)| *exported == shown));
    let again = site.run(&["events", "export", "--output", &file.display().to_string()]).await;
    expect_failure(&again, 1, &["exists"]);
}

async fn keys_are_listed_rotated_and_retired(server: Server) {
    // RFC 7517: what a retired key signed can still be verified, so it stays published. OpenID Connect Core 10.1.1: the next
    // one is published first, unless it is urgent.
    let site = server.site();
    let with = |keys: &Value, alg: &str, status: &str| -> Vec<String> {
        let is = |key: &&Value| key["alg"] == alg && key["status"] == status;
        let keys = keys.as_array().expect("a list").iter().filter(is);
        keys.map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
    };
    for alg in ["ES256", "EdDSA", "PS256"] {
        let before = with(&site.run_json(&["key", "list"]).await, alg, "active");
        let next = site.run_json(&["key", "rotate", "--alg", alg]).await;
        assert_eq!(with(&next, alg, "active"), before, "the next one signs at once");
        let waiting = with(&next, alg, "created");
        assert_eq!(waiting.len(), 1, "{next}");
        let now = site.run_json(&["key", "rotate", "--alg", alg, "--now"]).await;
        assert_eq!(with(&now, alg, "active"), waiting, "one key signs");
        assert!(with(&now, alg, "retired").contains(&before[0]), "{now}");
    }
    let kid = with(&site.run_json(&["key", "list"]).await, "EdDSA", "active").remove(0);
    let published = async || {
        let keys = server.get("/oauth/jwks").send().await.expect(200).json();
        keys["keys"].as_array().expect("keys").iter().any(|key| key["kid"] == *kid)
    };
    poll::until("the server publishes the key", async || published().await.then_some(())).await;
    let keys = site.run_json(&["key", "retire", &kid]).await;
    assert!(with(&keys, "EdDSA", "retired").contains(&kid), "{keys}");
    assert_eq!(with(&keys, "EdDSA", "active").len(), 1, "nobody signs: {keys}");
    assert!(published().await, "a retired key is still published");
    let unknown = site.run(&["key", "retire", "no-such-kid"]).await;
    expect_failure(&unknown, 3, &["no-such-kid"]);
    expect_failure(&site.run(&["key", "rotate", "--alg", "HS256"]).await, 2, &["HS256", "ES256"]);
    // Others sign with these keys at the same time.
    site.run_well(&["key", "rotate"]).await;
}

async fn all_grants_of_a_user_and_a_client_are_revoked_at_once(server: Server) {
    let (user, other, client) = (server.user().await, server.user().await, server.web_client().await);
    let (first, second) = (server.tokens(&client, &user).await, server.tokens(&client, &user).await);
    let others = server.tokens(&client, &other).await;
    let user_id =
        server.site().run_json(&["user", "show", &user.username]).await["user_id"].as_str().map(str::to_owned);
    let user_id = user_id.expect("an id");
    let arguments = ["grant", "revoke", "--user", &user_id, "--client", &client.id];
    assert_eq!(server.site().run_json(&arguments).await["revoked"], 2);
    poll::until("the server sees that both have ended", async || {
        let ended = !server.is_active(&client, &first.access).await && !server.is_active(&client, &second.access).await;
        ended.then_some(())
    })
    .await;
    assert!(server.is_active(&client, &others.access).await);
    assert_eq!(server.site().run_json(&["grant", "revoke", "--client", &client.id]).await["revoked"], 1);
    poll::until("the server sees that the other has ended", async || {
        (!server.is_active(&client, &others.access).await).then_some(())
    })
    .await;
    expect_failure(&server.site().run(&["grant", "revoke"]).await, 2, &["<GRANT>"]);
}

async fn a_short_password_is_refused_everywhere(server: Server) {
    // NIST SP 800-63B-3 5.1.1.2: at least 8 characters, on the command line and on the page alike.
    let name = format!("user-{}", random(6).to_lowercase());
    let create = ["user", "create", "--username", &name, "--password-stdin"];
    let (short, enough) = ("älter7!", format!("ä{}", &random(6)[..7]));
    secrets::register(&enough);
    expect_failure(&server.site().run_with(&create, short).await, 4, &["8 characters"]);
    let made = server.site().run_with(&create, &enough).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let user = User { username: name, password: enough };
    let mut browser = Browser::signed_in(&server, &user).await;
    let page = browser.open("/account").await;
    let fields = [("current_password", user.password.as_str()), ("new_password", short)];
    let page = browser.submit(&page, "password-form", "password-submit", &fields).await;
    assert!(page.text_of("password-error").is_some(), "{}", page.answer);
    assert_eq!(page.answer.status, 422);
}

async fn a_wrong_argument_says_which(server: Server) {
    let site = server.site();
    expect_failure(&site.run(&["client", "lisst"]).await, 2, &["lisst", "list"]);
    expect_failure(&site.run(&["client", "create", "--name", "x", "--grant-type", "magic"]).await, 2, &["magic"]);
    let uri = ["client", "create", "--name", "x", "--redirect-uri", "http://evil.example/cb"];
    expect_failure(&site.run(&uri).await, 4, &["https"]);
    expect_failure(&site.run(&["user", "show", "nobody-of-that-name"]).await, 3, &["nobody-of-that-name"]);
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    for noun in ["client", "grant", "user"] {
        expect_failure(&site.run(&[noun, "show", nobody]).await, 3, &[nobody]);
    }
}

async fn a_newer_schema_is_explained(store: Store) {
    let site = Site::new(store, &[]);
    site.run_well(&["migrate"]).await;
    let (yes, empty) = if store == Store::Postgres { ("true", "'\\x00'") } else { ("1", "x'00'") };
    let statement = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', {yes}, {empty}, 0)"
    );
    match store {
        Store::Postgres => drop(site::query(site.owner(), &statement)),
        Store::Sqlite => {
            let file = site.directory().join("grantlog.db");
            let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("the file");
            sqlx::query(&statement).execute(&pool).await.expect("inserted");
            pool.close().await;
        }
    }
    for arguments in [&["client", "list"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
        expect_failure(&site.run(arguments).await, 1, &["newer Grantlog", "9999"]);
    }
}

async fn a_schema_that_is_missing_is_explained(store: Store) {
    let site = Site::empty(store, &[]);
    if store == Store::Sqlite {
        fs::write(site.directory().join("grantlog.db"), "").expect("an empty file");
    }
    // One rule, and one count: only migrate and serve bring a database up to date.
    let create = ["client", "create", "--name", "x", "--redirect-uri", "https://x.example/cb"];
    let mut lacks = String::new();
    // On SQLite an empty file is a new one to what makes one: another process may have begun it a moment ago.
    let refused: &[&[&str]] =
        if store == Store::Sqlite { &[&["client", "list"]] } else { &[&["client", "list"], &create] };
    for arguments in refused {
        let output = site.run(arguments).await;
        expect_failure(&output, 1, &["grantlog migrate", "grantlog serve"]);
        lacks = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    let (_, missing) = lacks.split_once("lacks ").expect("how many are missing");
    let missing: i64 = missing.split(' ').next().and_then(|count| count.parse().ok()).expect("a number");
    // On PostgreSQL the owner migrates, and these commands run as the server's role.
    if store == Store::Sqlite {
        assert_eq!(site.run_json(&["migrate"]).await["applied"], missing);
        site.run_well(&create).await;
    }
}

async fn a_lost_pepper_file_is_explained_and_not_made_anew(store: Store) {
    let site = Site::new(store, &[]);
    site.run_well(&["migrate"]).await;
    site.run_well(&["client", "list"]).await;
    let file = site.directory().join("grantlog.pepper");
    fs::rename(&file, site.directory().join("moved.pepper")).expect("the pepper file was there");
    for arguments in [&["client", "list"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        expect_failure(&site.run(arguments).await, 1, &["grantlog.pepper", "restore the pepper file"]);
        assert!(!file.exists(), "a new pepper hides that the old one is lost");
    }
}

async fn a_swapped_pepper_file_is_explained(store: Store) {
    let (site, other) = (Site::new(store, &[]), Site::new(store, &[]));
    for site in [&site, &other] {
        site.run_well(&["migrate"]).await;
        site.run_well(&["client", "list"]).await;
    }
    let file = |site: &Site| site.directory().join("grantlog.pepper");
    fs::copy(file(&other), file(&site)).expect("copied");
    for arguments in [&["client", "list"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        expect_failure(&site.run(arguments).await, 1, &["grantlog.pepper", "not the one"]);
    }
}

async fn a_pepper_file_that_others_can_read_is_refused(store: Store) {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new(store, &[]);
    site.run_well(&["migrate"]).await;
    site.run_well(&["client", "list"]).await;
    let file = site.directory().join("grantlog.pepper");
    let mode = fs::metadata(&file).expect("the pepper file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "as it was made");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("changed");
    expect_failure(&site.run(&["client", "list"]).await, 1, &["chmod 600", "grantlog.pepper"]);
}

async fn a_locked_file_is_explained(store: Store) {
    let site = Site::new(store, &[("STORE_CONNECT_TIMEOUT_SECONDS", "1")]);
    site.run_well(&["migrate"]).await;
    let file = site.directory().join("grantlog.db");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.expect("the file");
    let mut holder = pool.acquire().await.expect("a connection");
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *holder).await.expect("locked");
    let create = ["client", "create", "--name", "x", "--redirect-uri", "https://x.example/cb"];
    for arguments in [&create[..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
        expect_failure(&site.run(arguments).await, 5, &["locked"]);
    }
    sqlx::query("ROLLBACK").execute(&mut *holder).await.expect("free again");
    site.run_well(&create).await;
}

async fn a_file_that_is_no_database_is_explained(store: Store) {
    let site = Site::new(store, &[]);
    fs::write(site.directory().join("grantlog.db"), "This is a letter to my aunt. ".repeat(100)).expect("a file");
    for arguments in [&["client", "list"][..], &["migrate"]] {
        expect_failure(&site.run(arguments).await, 5, &["not an SQLite database"]);
    }
    let none = site.run(&["--database", "sqlite:nowhere.db", "client", "list"]).await;
    expect_failure(&none, 5, &["nowhere.db", "does not exist"]);
    assert!(!site.directory().join("nowhere.db").exists(), "a command that reads made a database");
}

async fn a_wrong_url_is_wrong_usage(store: Store) {
    let site = Site::new(store, &[]);
    for url in ["mysql://localhost/x", "postgres:", "nonsense", "sqlite:", "sqlite::memory:", "sqlite:x.db?mode=ro"] {
        expect_failure(&site.run(&["--database", url, "client", "list"]).await, 2, &["`database` from --database"]);
    }
    let secret = site.run(&["--database", "postgres://u:hush-hush@[::1/x", "client", "list"]).await;
    expect_failure(&secret, 2, &["database"]);
    assert!(!String::from_utf8_lossy(&secret.stderr).contains("hush-hush"), "the password is printed");
}

async fn a_settings_file_that_is_wrong_is_explained(store: Store) {
    let site = Site::new(store, &[]);
    expect_failure(&site.run(&["--config", "nowhere.toml", "migrate"]).await, 2, &["nowhere.toml"]);
    for (text, words) in [
        ("[http]\nbody_byte = 1024\n", &["http.body_byte", "http.body_bytes"][..]),
        ("[http]\nbody_bytes = 12\n", &["http.body_bytes", "1024"]),
        ("[http]\nbody_bytes = \"many\"\n", &["http.body_bytes"]),
        ("[oauth]\nrequire_pkce = \"some\"\n", &["oauth.require_pkce", "public", "all"]),
        ("[http\n", &["not valid TOML: line 1"]),
        ("database = \"postgres://u:hush-hush@h/x\n", &["not valid TOML: line 1"]),
        ("lisen = \"127.0.0.1:1\"\n", &["lisen", "listen"]),
    ] {
        let file = site.directory().join("wrong.toml");
        fs::write(&file, text).expect("a file");
        let output = site.run(&["--config", "wrong.toml", "migrate"]).await;
        expect_failure(&output, 2, &[words, &["wrong.toml"]].concat());
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hush-hush"), "the password is printed");
    }
    // What is typed in the wrong place is not repeated either.
    let output = site.run(&["migrate", "postgres://u:hush-hush@h/x"]).await;
    expect_failure(&output, 2, &["postgres://***@h/x"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hush-hush"), "the password is printed");
    let output = site.command().env("GRANTLOG_LOG_LEVEL", "inof").arg("migrate").output().expect("the command runs");
    expect_failure(&output, 2, &["GRANTLOG_LOG_LEVEL", "must be a level"]);
    let output = site.command().env("GRANTLOG_PORT", "tcp://10.0.0.1:5000").arg("migrate").output();
    assert!(output.expect("the command runs").status.success(), "a Service called grantlog keeps it from starting");
}

async fn a_missing_database_and_a_wrong_port_are_explained(store: Store) {
    let site = Site::new(store, &[("STORE_CONNECT_TIMEOUT_SECONDS", "1")]);
    let port = crate::harness::server::free_port();
    let down = format!("postgres://grantlog:hush-hush-password@127.0.0.1:{port}/grantlog");
    let missing = site.database().replacen("localhost/grantlog_", "localhost/no_such_", 1);
    assert_ne!(missing, site.database());
    for arguments in [&["client", "list"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = site.run(&[&["--database", &down], arguments].concat()).await;
        expect_failure(&output, 5, &["127.0.0.1", "reached"]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hush-hush"), "the password is printed");
        let output = site.run(&[&["--database", &missing], arguments].concat()).await;
        expect_failure(&output, 5, &["createdb"]);
    }
}

async fn a_database_on_the_network_wants_tls(store: Store) {
    // RFC 5737 3: nobody is there.
    let site = Site::new(store, &[("STORE_CONNECT_TIMEOUT_SECONDS", "1")]);
    let open = "postgres://grantlog:hush-hush-password@192.0.2.1/grantlog";
    for arguments in [&["client", "list"][..], &["migrate"], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = site.run(&[&["--database", open], arguments].concat()).await;
        expect_failure(&output, 5, &["192.0.2.1", "sslmode=verify-full"]);
        let safe = format!("{open}?sslmode=verify-full");
        let output = site.run(&[&["--database", &safe], arguments].concat()).await;
        assert!(!String::from_utf8_lossy(&output.stderr).contains("nobody on the way"));
    }
}
