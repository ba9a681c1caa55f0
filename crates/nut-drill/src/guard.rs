//! Clearing a stage away, however the process that made it ends: its processes, its directory.

use crate::tell;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;

/// What the name of every stage's directory begins with: the guard removes no other.
pub(crate) const PREFIX: &str = "cobnut-";

/// What the guard reads when the directory shall stay.
const KEEP: &[u8] = b"keep";

/// A second process that clears a stage away when the first ended without doing so (`kill -9`): it holds the other end
/// of a pipe, and acts when that closes.
#[derive(Debug)]
pub(crate) struct Guard(std::process::Child);

impl Guard {
    /// Starts `upsdrill guard` on a stage's directory.
    pub(crate) fn start(drill: &Path, folder: &Path) -> io::Result<Self> {
        let child = std::process::Command::new(drill)
            .arg("guard")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is for the first process.
            .process_group(0)
            .env_remove(tell::STAGE)
            .spawn()?;
        Ok(Self(child))
    }

    /// The directory shall stay.
    pub(crate) fn keep(&mut self) {
        if let Some(pipe) = &mut self.0.stdin {
            // If the guard is gone there is nobody to clear anything away.
            let _ = io::Write::write_all(pipe, KEEP);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What `upsdrill guard` does: waits for the end of its input, then ends every process of the stage, and removes its
/// directory unless told to keep it.
///
/// A directory that is not a stage's is left alone, whoever named it.
pub fn guard(folder: &Path) {
    if !folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX)) {
        return;
    }
    let mut said = Vec::new();
    let limit = u64::try_from(KEEP.len()).unwrap_or(u64::MAX);
    let _ = io::Read::read_to_end(&mut io::Read::take(io::stdin(), limit), &mut said);
    let keep = said == KEEP;
    if keep {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
    }
    end_all_of(folder);
    if !keep {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Kills every process that was started on this stage, also those that left their parents: they carry the stage's
/// directory in their environment.
pub(crate) fn end_all_of(stage: &Path) {
    let mut marker = format!("{}=", tell::STAGE).into_bytes();
    marker.extend_from_slice(stage.as_os_str().as_encoded_bytes());
    // Twice: one may start another between our looks.
    for _ in 0..2 {
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let Ok(environment) = fs::read(process.path().join("environ")) else { continue };
            if environment.split(|byte| *byte == 0).any(|variable| variable == marker) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_no_stage_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("other-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        guard(&folder);
        assert!(folder.is_dir());
        fs::remove_dir(&folder).unwrap();
    }
}
