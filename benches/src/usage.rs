//! What a process used so far: CPU time, memory, wakeups. Read from Linux' `/proc`.

use crate::error::{BenchError, Doing as _};
use std::fs;
use std::io;
use std::time::Duration;

/// CPU time of all threads, user and system: from `schedstat`, which counts nanoseconds where `stat` counts ticks.
pub(crate) fn cpu(pid: u32) -> Result<Duration, BenchError> {
    let texts = of_threads(pid, "schedstat")?;
    let nanos = texts.iter().filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum();
    Ok(Duration::from_nanos(nanos))
}

/// How often all threads went to sleep of their own will: each time something woke them before.
pub(crate) fn wakeups(pid: u32) -> Result<u64, BenchError> {
    Ok(of_threads(pid, "status")?.iter().map(|text| field(text, "voluntary_ctxt_switches:")).sum())
}

/// This file of every thread. One that ends meanwhile counts no more.
fn of_threads(pid: u32, file: &str) -> Result<Vec<String>, BenchError> {
    let mut texts = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).doing("looking at a server's threads")? {
        let path = task.doing("looking at a server's threads")?.path().join(file);
        match fs::read_to_string(path) {
            Ok(text) => texts.push(text),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).doing("reading what a server's thread used"),
        }
    }
    Ok(texts)
}

/// The thread ended before its file was opened, or before it was read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Memory in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident, shared libraries included.
    pub(crate) resident: u64,
    /// In no file: what this process costs the machine. (`Private_Dirty` would count the pages of a program that was
    /// just built and is not on the disk yet.)
    pub(crate) private: u64,
}

/// The memory of a process now.
pub(crate) fn memory(pid: u32) -> Result<Memory, BenchError> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).doing("reading a server's memory")?;
    Ok(Memory { resident: field(&text, "Rss:"), private: field(&text, "Anonymous:") })
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_uses_can_be_read() {
        let ours = std::process::id();
        let before = cpu(ours).unwrap();
        let memory = memory(ours).unwrap();
        assert!(memory.resident > 500 && memory.private > 20, "{memory:?}");
        // Threads of other tests end in between.
        assert!(before > Duration::ZERO && cpu(ours).unwrap() > Duration::ZERO);
        assert!(wakeups(ours).is_ok());
        assert_eq!(field("Rss:   12 kB\nvoluntary_ctxt_switches:\t7\n", "voluntary_ctxt_switches:"), 7);
    }
}
