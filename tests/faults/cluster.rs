//! A PostgreSQL cluster of a scenario's own, to stop, starve and start again without disturbing anybody.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Cluster {
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl Cluster {
    /// In a fresh directory under `parent`, with these variables in its environment.
    pub fn create(parent: &Path, environment: &[(&str, &str)]) -> Cluster {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Cluster { directory: PathBuf::new(), environment };
        let parent = parent.to_str().expect("UTF-8").to_owned();
        cluster.environment.push(("TMPDIR".to_owned(), parent));
        cluster.directory = PathBuf::from(cluster.command(&["create"]).expect("a cluster can be made"));
        cluster
    }

    pub fn url(&self) -> String {
        self.command(&["url", self.path()]).expect("the cluster has a URL")
    }

    /// As a crashing machine would: no shutdown checkpoint, every connection cut.
    pub fn stop(&self) {
        let _ = self.command(&["stop", self.path()]);
    }

    /// Starts it; one that runs already is left alone.
    pub fn start(&self) -> Result<(), String> {
        self.command(&["start", self.path()]).map(drop)
    }

    fn path(&self) -> &str {
        self.directory.to_str().expect("UTF-8")
    }

    fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
        let mut command = Command::new(script);
        command.args(arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        let output = command.output().expect("tests/cluster runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(message) = self.command(&["destroy", self.path()]) {
            eprintln!("the cluster is left behind: {message}");
        }
    }
}
