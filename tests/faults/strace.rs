//! Faults of the operating system: strace makes a running server's system calls fail, or kills it in one.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::harness::{Server, poll};

/// While it lives, calls of the server fail as its rule says.
pub struct Injection(Child);

impl Injection {
    /// `rule` is what `strace --inject` takes: `pwrite64:error=EROFS`.
    pub async fn into(server: &Server, rule: &str) -> Injection {
        let process = server.process_id();
        let log = server.site().directory().join("strace.log");
        let (calls, _) = rule.split_once(':').expect("calls and what happens to them");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-p", &process.to_string(), "-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={rule}"), "-o"]).arg(log);
        let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let injection = Injection(strace.spawn().expect("strace runs; tests/run installs it"));
        poll::until("strace has every thread of the server", async || {
            // A server that is dead already was caught in time.
            is_traced(process).then_some(())
        })
        .await;
        injection
    }

    /// Lets the server go on undisturbed.
    pub async fn end(mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).stderr(Stdio::null()).status();
        poll::until("strace ends", async || self.0.try_wait().expect("a child")).await;
    }
}

fn is_traced(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.contains("State:\tZ")
            || status.lines().all(|line| line.strip_prefix("TracerPid:").is_none_or(|tracer| tracer.trim() != "0"))
    })
}
