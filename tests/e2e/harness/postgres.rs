//! Databases of a PostgreSQL cluster in the two-role set-up: one role owns the log, another one is the server's, with the rights
//! that docs/postgres-roles.sql gives it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

use url::Url;

use super::{random, site::query};

pub const OWNER: &str = "grantlog_owner";
pub const SERVER: &str = "grantlog_server";

/// One database of a cluster.
pub struct Postgres {
    /// The cluster's own URL, with all rights.
    pub cluster: String,
    pub name: String,
    /// The database as its owner.
    pub owner: String,
}

/// By cluster, the database that others are copied from.
static TEMPLATES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

impl Postgres {
    /// A database that its owner has migrated, as a copy: so it is made once in a run.
    pub fn like_template(cluster: &str) -> Postgres {
        // Others wait meanwhile.
        let mut templates = TEMPLATES.lock().expect("not poisoned");
        let template = templates.entry(cluster.to_owned()).or_insert_with(|| {
            let made = Postgres::empty(cluster);
            let mut migrate = Command::new(env!("CARGO_BIN_EXE_grantlog"));
            for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GRANTLOG_")) {
                migrate.env_remove(name);
            }
            let done = migrate.args(["migrate", "--database", &made.owner]).stdin(Stdio::null()).output();
            let done = done.expect("the binary runs");
            assert!(done.status.success(), "migrate: {}", String::from_utf8_lossy(&done.stderr));
            give_rights(&made.owner);
            made.name
        });
        Postgres::create(cluster, &format!("TEMPLATE {template}"))
    }

    /// A database with nothing in it.
    pub fn empty(cluster: &str) -> Postgres {
        for role in [OWNER, SERVER] {
            query(
                cluster,
                &format!(
                    "DO $$ BEGIN CREATE ROLE {role} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$"
                ),
            );
        }
        // The second for logs that are filled by hand.
        query(cluster, &format!("GRANT {SERVER}, pg_checkpoint TO {OWNER}"));
        Postgres::create(cluster, "")
    }

    fn create(cluster: &str, template: &str) -> Postgres {
        let name = format!("grantlog_{}", random(9).replace('-', "a").to_lowercase());
        query(cluster, &format!("CREATE DATABASE {name} OWNER {OWNER} {template}"));
        let mut made = Postgres { cluster: cluster.to_owned(), name, owner: String::new() };
        made.owner = made.url(OWNER);
        made
    }

    /// The database as that role.
    pub fn url(&self, role: &str) -> String {
        let mut url = Url::parse(&self.cluster).expect("a URL");
        url.set_path(&self.name);
        url.set_username(role).expect("a host");
        url.into()
    }
}

/// Drops what databases were copied from.
pub fn drop_templates() {
    for (cluster, name) in std::mem::take(&mut *TEMPLATES.lock().expect("not poisoned")) {
        // A scenario's own cluster may be gone.
        let _ = super::site::try_query(&cluster, &format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

/// What docs/postgres-roles.sql says, to a database as its owner.
pub fn give_rights(owner: &str) {
    let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/postgres-roles.sql");
    let mut psql = psql();
    psql.args(["--output=/dev/null", "--set", &format!("app={SERVER}"), "--file"]).arg(rights).arg(owner);
    let given = psql.output().expect("psql runs (it comes with postgresql)");
    assert!(given.status.success(), "{}", String::from_utf8_lossy(&given.stderr));
}

/// Finds read models by their names too.
pub fn psql() -> Command {
    let mut command = Command::new("psql");
    command.env("PGOPTIONS", "-c search_path=public,grantlog_read_models");
    command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
    command
}
