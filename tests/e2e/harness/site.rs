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

use super::random;

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
    /// Set when the database is one of the cluster's, to be dropped: the cluster's URL and the database's name.
    cluster: Option<(String, String)>,
    settings: Vec<(String, String)>,
}

static SITES: AtomicUsize = AtomicUsize::new(0);

impl Site {
    /// A fresh database on that store. `settings` are names and values in the environment, without `GRANTLOG_`:
    /// `("OAUTH_REFRESH_GRACE_SECONDS", "5")`.
    pub fn new(store: Store, settings: &[(&str, &str)]) -> Site {
        match store {
            Store::Sqlite => Site::with_database("sqlite:grantlog.db".into(), store, settings, None),
            Store::Postgres => {
                let url = Store::postgres_url().expect("GRANTLOG_TEST_POSTGRES names a PostgreSQL; tests/run sets it");
                Site::on_cluster(&url, settings)
            }
        }
    }

    /// A fresh database on that PostgreSQL cluster.
    pub fn on_cluster(cluster: &str, settings: &[(&str, &str)]) -> Site {
        let name = format!("grantlog_{}", random(9).replace('-', "a").to_lowercase());
        query(cluster, &format!("CREATE DATABASE {name}"));
        let url = cluster.replacen("/postgres?", &format!("/{name}?"), 1);
        assert_ne!(url, cluster, "the cluster's URL names the database postgres");
        Site::with_database(url, Store::Postgres, settings, Some((cluster.to_owned(), name)))
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
        let site = Site::new(store, settings);
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
                restore(site.database(), &unpacked(&fixture.join("postgres.sql.gz")));
                let foreign = site.run(&["migrate"]).await;
                assert!(String::from_utf8_lossy(&foreign.stderr).contains("--rebase"), "{foreign:?}");
                site.run_well(&["migrate", "--rebase"]).await;
                site.run_well(&["migrate"]).await;
            }
        }
        site
    }

    /// A SQLite database in that file.
    #[allow(dead_code, reason = "the faults use it")]
    pub fn on_file(file: &Path, settings: &[(&str, &str)]) -> Site {
        Site::with_database(format!("sqlite:{}", file.display()), Store::Sqlite, settings, None)
    }

    fn with_database(
        database: String,
        store: Store,
        settings: &[(&str, &str)],
        cluster: Option<(String, String)>,
    ) -> Site {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let directory = artefacts().join("sites").join(format!("{store}-{number}"));
        // What an earlier run left there is not this site's.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory for the site");
        let settings = settings.iter().map(|(name, value)| (format!("GRANTLOG_{name}"), (*value).to_owned())).collect();
        Site(Arc::new(Inner { store, directory, database, cluster, settings }))
    }

    /// The same with one more variable, by its whole name, in the environment of everything that runs on it.
    #[allow(dead_code, reason = "the faults use it")]
    pub fn with_variable(mut self, name: &str, value: &str) -> Site {
        let inner = Arc::get_mut(&mut self.0).expect("nobody has a clone yet");
        inner.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn store(&self) -> Store {
        self.0.store
    }

    /// Its working directory: SQLite file, pepper, logs.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    pub fn database(&self) -> &str {
        &self.0.database
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
        command
            .current_dir(self.directory())
            .env("GRANTLOG_DATABASE", self.database())
            .env("GRANTLOG_PEPPER_FILE", "grantlog.pepper")
            .envs(self.0.settings.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Writes the PostgreSQL database out as text beside the logs, for the search for secrets.
    pub fn dump(&self) {
        if self.0.cluster.is_some() {
            let done = pg_dump(self.database(), &self.directory().join("dump.sql")).output();
            let done = done.expect("pg_dump runs (it comes with postgresql)");
            assert!(done.status.success(), "pg_dump: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some((cluster, name)) = &self.cluster else { return };
        // A case that is failing already must not panic a second time here, so what fails is only said.
        let file = self.directory.join("dump.sql");
        for mut command in
            [pg_dump(&self.database, &file), psql(cluster, &format!("DROP DATABASE {name} WITH (FORCE)"))]
        {
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
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
    command.args(["--command", statement, database]);
    command
}

fn unpacked(file: &Path) -> Vec<u8> {
    let done = Command::new("gzip").args(["--decompress", "--stdout"]).arg(file).output().expect("gzip runs");
    assert!(done.status.success(), "gzip: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Runs a dump.
fn restore(database: &str, dump: &[u8]) {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", database]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("psql runs (it comes with postgresql)");
    child.stdin.take().expect("a pipe").write_all(dump).expect("psql reads");
    assert!(child.wait().expect("psql ends").success(), "the dump cannot be restored");
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
