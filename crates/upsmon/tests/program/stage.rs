//! A private directory with configuration and scripts, and the program running in it.

use nut_os::clock;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// No wait of a test is longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(80);

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_upsmon");

pub(crate) struct Stage {
    dir: PathBuf,
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

impl Stage {
    /// A directory with a script for each thing upsmon runs, and fast timing.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("upsmon-test-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(dir.join("bin")).unwrap();
        // The half that runs as another user writes here, too.
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let stage = Self { dir };
        stage.script("bin/wall", "cat >> \"$DIR/wall.out\"");
        stage.script(
            "notify",
            "echo \"$NOTIFYTYPE|$UPSNAME|$#|$1|$(id -u)\" >> \"$DIR/notify.out\"; echo \"told $NOTIFYTYPE\"",
        );
        stage.script("shutdown", "echo \"$(id -u) $(cat \"$DIR/flag\" 2>&1)\" >> \"$DIR/shutdown.out\"");
        stage
    }

    pub(crate) fn script(&self, name: &str, body: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\nDIR='{}'\n{body}\n", self.dir.display())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes `upsmon.conf`: these lines behind what every test needs.
    pub(crate) fn configure(&self, lines: &str) {
        let dir = self.dir.display();
        let text = format!(
            "POLLFREQ 1\nPOLLFREQALERT 1\nDEADTIME 5\nHOSTSYNC 5\nFINALDELAY 1\n\
             SHUTDOWNCMD {dir}/shutdown\nPOWERDOWNFLAG {dir}/flag\nNOTIFYCMD {dir}/notify\n\
             RUN_AS_USER nobody\n{lines}\n"
        );
        fs::write(self.path("upsmon.conf"), text).unwrap();
    }

    /// The program, with its files in this directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(PROGRAM), arguments)
    }

    /// The same of a copy of it.
    pub(crate) fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg0("upsmon").args(arguments);
        self.placed(command)
    }

    /// Any command that ends in the program, with its files in this directory.
    pub(crate) fn placed(&self, mut command: Command) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command
            .env("NUT_CONFPATH", &self.dir)
            .env("NUT_PIDPATH", &self.dir)
            .env("NUT_STATEPATH", &self.dir)
            .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.path("bus").display()))
            .env("PATH", path)
            .env_remove("NUT_ALTPIDPATH")
            .env_remove("NUT_DEBUG_LEVEL")
            .env("NUT_DEBUG_SYSLOG", "none")
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_command(self.command(arguments))
    }

    /// Runs a command to its end.
    pub(crate) fn run_command(&self, mut command: Command) -> Ended {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, done) = mpsc::channel();
        let pid = child.id();
        thread::spawn(move || sender.send(child.wait_with_output()));
        match done.recv_timeout(DEADLINE) {
            Ok(output) => Ended::of(output.unwrap()),
            Err(_) => {
                kill(pid, "KILL");
                panic!("{command:?} does not end");
            }
        }
    }

    /// Starts it, with its log to be followed, and what its scripts say.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_command(self.command(arguments))
    }

    /// Starts a command that becomes the program.
    pub(crate) fn start_command(&self, mut command: Command) -> Running {
        let (output, input) = std::io::pipe().unwrap();
        let child = command.stdout(input.try_clone().unwrap()).stderr(input).spawn().unwrap();
        // It holds the writing ends, too.
        drop(command);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Running { child, lines, seen: Vec::new(), pid_file: self.path("upsmon.pid") }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A script that was just started may still be writing here; none can once the directory is gone.
        for _ in 0..2000 {
            if fs::remove_dir_all(&self.dir).is_ok() || !self.dir.exists() {
                break;
            }
            thread::yield_now();
        }
    }
}

/// A program that has ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A program at work.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
    pid_file: PathBuf,
}

impl Running {
    /// Waits until a line with this text is logged, and gives it.
    #[track_caller]
    pub(crate) fn log(&mut self, text: &str) -> String {
        self.log_within(text, DEADLINE).unwrap_or_else(|| panic!("no {text:?} in\n{}", self.seen.join("\n")))
    }

    /// The same, with `None` if it does not come in this time.
    pub(crate) fn log_within(&mut self, text: &str, time: Duration) -> Option<String> {
        let until = clock::now() + time;
        while let Ok(line) = self.lines.recv_timeout(until.since(clock::now())) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return Some(line);
            }
        }
        None
    }

    /// Waits for its end; the rest of its log is in `seen` then.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = clock::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(until.since(clock::now())) {
                Ok(line) => self.seen.push(line),
                // All that hold the log have ended.
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The process that watches.
    pub(crate) fn worker(&self) -> u32 {
        fs::read_to_string(&self.pid_file).unwrap().trim().parse().unwrap()
    }

    /// Whether the lines with these texts were logged in this order.
    pub(crate) fn has_in_order(&self, texts: &[&str]) -> bool {
        let mut lines = self.seen.iter();
        texts.iter().all(|text| lines.any(|line| line.contains(text)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if let Ok(pid) = fs::read_to_string(&self.pid_file) {
                kill(pid.trim().parse().unwrap_or(0), "KILL");
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Signals one process.
pub(crate) fn kill(pid: u32, signal: &str) {
    if pid > 1 {
        let kill = format!("kill -{signal} {pid}");
        let _ = Command::new("/bin/sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }
}

pub(crate) fn uid_of(pid: u32) -> u32 {
    let mut text = String::new();
    fs::File::open(Path::new("/proc").join(pid.to_string()).join("status"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let line = text.lines().find(|line| line.starts_with("Uid:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
