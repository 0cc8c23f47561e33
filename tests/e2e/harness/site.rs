//! A site: a fresh database, the directory beside it, and the settings that its servers share.

use std::{
    fmt, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::postgres::{self, Postgres, SERVER};

/// The databases that every case runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    Sqlite,
    Postgres,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Sqlite => "sqlite",
            Store::Postgres => "postgres",
        })
    }
}

impl Store {
    /// A URL with the right to create databases; `tests/run` starts a cluster and sets it.
    pub fn postgres_url() -> Option<String> {
        std::env::var("GRANTLOG_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
    }
}

/// Where everything that a run leaves is kept: `target/e2e-artefacts/`.
pub fn artefacts() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("e2e-artefacts")
}

/// Cheap to clone; the database is dumped and dropped with the last clone.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

struct Inner {
    store: Store,
    directory: PathBuf,
    database: String,
    /// Set when the database is one of a cluster's, to be dropped.
    postgres: Option<Postgres>,
    settings: Vec<(String, String)>,
}

static SITES: AtomicUsize = AtomicUsize::new(0);

impl Site {
    /// A fresh database on that store. `settings` are names and values in the environment, without `GRANTLOG_`:
    /// `("OAUTH_REFRESH_GRACE_SECONDS", "5")`.
    pub fn new(store: Store, settings: &[(&str, &str)]) -> Site {
        match store {
            Store::Sqlite => Site::with_database("sqlite:grantlog.db".into(), store, settings, None),
            Store::Postgres => Site::on_cluster(&cluster(), settings),
        }
    }

    /// A fresh database on that PostgreSQL cluster: migrated by its owner, and for a server that owns nothing but its read
    /// models, as docs/postgres-roles.sql says.
    pub fn on_cluster(cluster: &str, settings: &[(&str, &str)]) -> Site {
        Site::with_postgres(Postgres::like_template(cluster), settings)
    }

    /// A database with nothing in it.
    #[allow(dead_code, reason = "not every suite has need of it")]
    pub fn empty(store: Store, settings: &[(&str, &str)]) -> Site {
        match store {
            Store::Sqlite => Site::new(store, settings),
            Store::Postgres => Site::with_postgres(Postgres::empty(&cluster()), settings),
        }
    }

    fn with_postgres(postgres: Postgres, settings: &[(&str, &str)]) -> Site {
        Site::with_database(postgres.url(SERVER), Store::Postgres, settings, Some(postgres))
    }

    /// Where a fixture is: a folder of `tests/fixtures/`.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    /// A database as an earlier release left it, with its pepper. What its operator does before the start of this release
    /// is done: a log that comes into another cluster is made at home there.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub async fn restored(store: Store, fixture: &str, settings: &[(&str, &str)]) -> Site {
        let site = Site::empty(store, settings);
        let fixture = Site::fixture(fixture);
        let pepper = site.directory().join("grantlog.pepper");
        fs::copy(fixture.join(format!("{store}.pepper")), &pepper).expect("the pepper");
        // A checkout keeps no such mode.
        fs::set_permissions(&pepper, fs::Permissions::from_mode(0o600)).expect("its mode");
        match store {
            Store::Sqlite => {
                let file = fixture.join("sqlite.db.gz");
                fs::write(site.directory().join("grantlog.db"), unpacked(&file)).expect("the database");
            }
            Store::Postgres => {
                restore(site.owner(), &unpacked(&fixture.join("postgres.sql.gz")));
                let foreign = site.run(&["migrate", "--database", site.owner()]).await;
                assert!(String::from_utf8_lossy(&foreign.stderr).contains("--rebase"), "{foreign:?}");
                site.run_well(&["migrate", "--rebase", "--database", site.owner()]).await;
                site.run_well(&["migrate", "--database", site.owner()]).await;
                postgres::give_rights(site.owner());
            }
        }
        site
    }

    /// A SQLite database in that file.
    #[allow(dead_code, reason = "the faults use it")]
    pub fn on_file(file: &Path, settings: &[(&str, &str)]) -> Site {
        Site::with_database(format!("sqlite:{}", file.display()), Store::Sqlite, settings, None)
    }

    fn with_database(database: String, store: Store, settings: &[(&str, &str)], postgres: Option<Postgres>) -> Site {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let directory = artefacts().join("sites").join(format!("{store}-{number}"));
        // What an earlier run left there is not this site's.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory for the site");
        let settings = settings.iter().map(|(name, value)| (format!("GRANTLOG_{name}"), (*value).to_owned())).collect();
        Site(Arc::new(Inner { store, directory, database, postgres, settings }))
    }

    /// The same with one more variable, by its whole name, in the environment of everything that runs on it.
    #[allow(dead_code, reason = "the faults use it")]
    pub fn with_variable(mut self, name: &str, value: &str) -> Site {
        let inner = Arc::get_mut(&mut self.0).expect("nobody has a clone yet");
        inner.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same directory, where nobody says which database and which pepper.
    #[allow(dead_code, reason = "the faults have no need of it")]
    pub fn with_nothing_named(&self) -> Site {
        Site(Arc::new(Inner {
            store: self.0.store,
            directory: self.0.directory.clone(),
            database: String::new(),
            postgres: None,
            settings: self.0.settings.clone(),
        }))
    }

    pub fn store(&self) -> Store {
        self.0.store
    }

    /// Its working directory: SQLite file, pepper, logs.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// As the server's role, which the commands run as too unless they are told otherwise.
    pub fn database(&self) -> &str {
        &self.0.database
    }

    /// The same database as the role that owns it: for what only the owner may do, and for looking at it.
    pub fn owner(&self) -> &str {
        self.0.postgres.as_ref().map_or(self.database(), |postgres| &postgres.owner)
    }

    /// Whether the site has a setting of that name (without `GRANTLOG_`).
    pub fn has(&self, name: &str) -> bool {
        self.0.settings.iter().any(|(other, _)| other.strip_prefix("GRANTLOG_") == Some(name))
    }

    /// The binary, set up for this site and for nothing that happens to be in the environment of the tests.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantlog"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
            command.env_remove(name);
        }
        if !self.database().is_empty() {
            command.env("GRANTLOG_DATABASE", self.database()).env("GRANTLOG_PEPPER_FILE", "grantlog.pepper");
        }
        command.current_dir(self.directory()).envs(self.0.settings.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Writes the PostgreSQL database out as text beside the logs, for the search for secrets.
    pub fn dump(&self) {
        if self.0.postgres.is_some() {
            let done = pg_dump(self.owner(), &self.directory().join("dump.sql")).output();
            let done = done.expect("pg_dump runs (it comes with postgresql)");
            assert!(done.status.success(), "pg_dump: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(Postgres { cluster, name, owner }) = &self.postgres else { return };
        // A case that is failing already must not panic a second time here, so what fails is only said.
        let file = self.directory.join("dump.sql");
        for mut command in [pg_dump(owner, &file), psql(cluster, &format!("DROP DATABASE {name} WITH (FORCE)"))] {
            match command.output() {
                Ok(done) if done.status.success() => {}
                Ok(done) => eprintln!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)),
                Err(error) => eprintln!("{command:?}: {error}"),
            }
        }
    }
}

fn pg_dump(database: &str, file: &Path) -> Command {
    let mut command = Command::new("pg_dump");
    command.arg("--dbname").arg(database).arg("--file").arg(file);
    command
}

fn psql(database: &str, statement: &str) -> Command {
    let mut command = postgres::psql();
    command.args(["--tuples-only", "--no-align", "--command", statement, database]);
    command
}

fn unpacked(file: &Path) -> Vec<u8> {
    let done = Command::new("gzip").args(["--decompress", "--stdout"]).arg(file).output().expect("gzip runs");
    assert!(done.status.success(), "gzip: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Runs a dump.
fn restore(database: &str, dump: &[u8]) {
    let mut child = postgres::psql()
        .args(["--output=/dev/null", database])
        .stdin(Stdio::piped())
        .spawn()
        .expect("psql runs (it comes with postgresql)");
    child.stdin.take().expect("a pipe").write_all(dump).expect("psql reads");
    assert!(child.wait().expect("psql ends").success(), "the dump cannot be restored");
}

fn cluster() -> String {
    Store::postgres_url().expect("GRANTLOG_TEST_POSTGRES names a PostgreSQL; tests/run sets it")
}

/// Runs one statement through psql and gives back what it printed.
pub fn query(database: &str, statement: &str) -> String {
    try_query(database, statement).unwrap_or_else(|message| panic!("psql: {message}"))
}

/// As [`query`], where a refusal is a possible end.
pub fn try_query(database: &str, statement: &str) -> Result<String, String> {
    let done = psql(database, statement).output().expect("psql runs (it comes with postgresql)");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}
