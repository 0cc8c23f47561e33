//! A server whose log is filled while it stands.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantlog::entropy::Entropy;
use grantlog::secrets::{PepperSource, Secrets};
use grantlog_domain::{ClientId, Timestamp};
use grantlog_projections::db::{Db, OpenOptions};
use grantlog_projections::mac::MacKeys;
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

use crate::load;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

/// One Grantlog with a database of its own, and a client.
pub struct Grantlog {
    pub address: SocketAddr,
    folder: TempDir,
    database: String,
    client_id: String,
    basic: String,
    process: Option<Child>,
}

impl Grantlog {
    pub async fn new(store: Store) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let database = match store {
            Store::Sqlite => format!("sqlite:{}", folder.path().join("size.db").display()),
            Store::Postgres => new_database(&folder).await,
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        drop(listener);
        let (client_id, basic) = (String::new(), String::new());
        let mut server = Self { address, folder, database, client_id, basic, process: None };
        server.start().await;
        let made = server.command(&[
            "--json",
            "client",
            "create",
            "--name",
            "Size",
            "--scope",
            "profile",
            "--grant-type",
            "client_credentials",
        ]);
        let made: Value = serde_json::from_str(&made).expect("client create prints JSON");
        let text = |name: &str| made[name].as_str().expect("client create prints the client").to_owned();
        server.client_id = text("client_id");
        server.basic = basic_header(&server.client_id, &text("client_secret"));
        server
    }

    pub fn database(&self) -> &str {
        &self.database
    }

    /// The keys of its log.
    pub fn keys(&self) -> MacKeys {
        let source = PepperSource::File(self.folder.path().join("grantlog.pepper"));
        Secrets::open(&source, &[], &Entropy::system(), Timestamp(0)).expect("the server's pepper").mac_keys()
    }

    pub fn client(&self) -> ClientId {
        self.client_id.parse().expect("a client id")
    }

    /// Answers how long it took from the start of the process until it was ready.
    pub async fn start(&mut self) -> Duration {
        let began = Instant::now();
        let mut command = self.grantlog();
        command.args(["serve", "--listen", &self.address.to_string()]).env("GRANTLOG_LOG_LEVEL", "warn");
        self.process = Some(command.stdout(Stdio::null()).spawn().expect("the server starts"));
        let request = load::get("/health/ready", "");
        while began.elapsed() < Duration::from_secs(600) {
            if tokio::net::TcpStream::connect(self.address).await.is_ok()
                && load::once(self.address, &request).await.0 == 200
            {
                return began.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server is not ready after 10 minutes");
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Runs `grantlog ARGUMENTS`; gives back what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.grantlog().args(arguments).stderr(Stdio::inherit()).output().expect("the command runs");
        assert!(output.status.success(), "{arguments:?} failed");
        String::from_utf8(output.stdout).expect("the command prints text")
    }

    fn grantlog(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grantlog"));
        command.current_dir(self.folder.path()).env("GRANTLOG_DATABASE", &self.database);
        command
    }

    pub fn client_credentials(&self) -> Vec<u8> {
        load::post("/oauth/token", &self.basic, "grant_type=client_credentials&scope=profile")
    }

    pub fn introspect(&self, token: &str) -> Vec<u8> {
        load::post("/oauth/introspect", &self.basic, &format!("token={token}"))
    }

    pub async fn token(&self) -> String {
        let (status, _, body) = load::once(self.address, &self.client_credentials()).await;
        assert_eq!(status, 200, "{body}");
        let json: Value = serde_json::from_str(&body).expect("a token response is JSON");
        json["access_token"].as_str().expect("a token response has a token").to_owned()
    }

    pub async fn open(&self) -> Db {
        Db::open(&self.database, &OpenOptions::default()).await.expect("the database is there")
    }

    /// Whether a table has not taken in the whole log.
    pub fn is_behind(&self) -> bool {
        let status: Value = serde_json::from_str(&self.command(&["--json", "projections", "status"])).expect("JSON");
        let mut tables = status["tables"].as_array().expect("a list of tables").iter();
        tables.any(|table| table["active"] == true && table["lag_events"] != 0)
    }

    /// Rows of the token table that have been of no use for an hour.
    pub async fn expired_rows(&self) -> i64 {
        let db = self.open().await;
        let sql = "SELECT COUNT(*) FROM tokens_v1 WHERE expires_at < (SELECT MAX(recorded_at) / 1000 - 3600 FROM \
                   projection_checkpoint)";
        db.fetch(sql, &[]).await.expect("counted").first().map_or(0, |row| row.int(0).expect("a number"))
    }

    pub fn memory_mib(&self) -> f64 {
        let process = self.process.as_ref().expect("the server runs").id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
    }
}

impl Drop for Grantlog {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A database of the cluster that `tests/run` starts and removes.
async fn new_database(folder: &TempDir) -> String {
    let cluster = std::env::var("GRANTLOG_TEST_POSTGRES").expect("benches/size is started through tests/run postgres");
    let name = folder.path().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = format!("size_{}", name.trim_start_matches('.').to_lowercase());
    let mut connection = PgConnection::connect(&cluster).await.expect("PostgreSQL answers");
    connection.execute(format!("CREATE DATABASE {name}").as_str()).await.expect("a database can be made");
    let mut url = url::Url::parse(&cluster).expect("the cluster's URL");
    url.set_path(&name);
    url.to_string()
}

fn basic_header(id: &str, secret: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Authorization: Basic {text}\r\n")
}
