//! A small disk in memory, to be filled.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until it is dropped.
pub struct Disk(PathBuf);

impl Disk {
    /// Needs the right to mount: root, or sudo without a password. There is no way around it: a full disk that is not
    /// full shows nothing.
    pub fn new(mebibytes: u32) -> Disk {
        let directory = tempfile::Builder::new().prefix("grantlog-disk.").tempdir().expect("a directory").keep();
        let disk = Disk(directory);
        let options = format!("size={mebibytes}m,mode=0777");
        privileged(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&disk.0))
            .expect("a small disk can be mounted (this scenario needs root)");
        disk
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes every byte that is left.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.filler()).expect("a file");
        for block in [1 << 20, 4096, 1] {
            let bytes = vec![b'x'; block];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("the disk was filled");
    }

    pub fn set_read_only(&self, read_only: bool) {
        let mode = if read_only { "remount,ro" } else { "remount,rw" };
        privileged(Command::new("mount").args(["-o", mode]).arg(&self.0)).expect("the disk can be mounted anew");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(message) = privileged(Command::new("umount").arg(&self.0)) {
            eprintln!("{} is left behind: {message}", self.0.display());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn privileged(command: &mut Command) -> Result<(), String> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let output = if root {
        command.output()
    } else {
        Command::new("sudo").arg("-n").arg(command.get_program()).args(command.get_args()).output()
    };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}
