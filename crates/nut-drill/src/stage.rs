//! A private directory with configuration, state and the running programs; gone, with all it started, when dropped.

use crate::guard::{Guard, PREFIX, end_all_of};
use crate::programs::{Programs, ProgramsError};
use crate::record::{Record, Recorder, What};
use crate::tell;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest line of a program that is taken in whole.
const MAX_LINE: u64 = 16 * 1024;

/// Longest path of the directory that stages are made in: the sockets of a stage have up to 50 bytes more, and the
/// system takes 107.
const MAX_BASE: usize = 50;

/// Why something on a stage did not work.
#[derive(Debug, Error)]
pub enum StageError {
    /// Paths of a stage must fit into the address of a socket, and into configuration files without quotes.
    #[error(
        "{path} cannot be used for temporary files here: its path must be at most {MAX_BASE} bytes long, of letters, \
         digits and any of /._-; name another directory, for instance: TMPDIR=/tmp"
    )]
    Base {
        /// The directory for temporary files.
        path: PathBuf,
    },
    /// A file or directory of the stage.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("{program} cannot be started")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The programs are not there.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A signal could not be sent.
    #[error("{program} cannot be signalled")]
    Signal {
        /// To which.
        program: String,
        /// Why.
        source: nix::Error,
    },
}

/// A private directory with configuration, state and the running programs.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    keep: bool,
    guard: Guard,
    programs: Programs,
    recorder: Recorder,
    listener: JoinHandle<()>,
    /// What happened on this stage.
    pub record: Record,
}

/// A program that runs on a stage.
#[derive(Debug)]
pub struct Running {
    program: String,
    pid: Pid,
    ended: watch::Receiver<Option<Option<i32>>>,
}

/// One host of a stage: a folder of configuration, a folder of state.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name in the record.
    pub name: String,
    /// Where its configuration is (`NUT_CONFPATH`).
    pub conf: PathBuf,
    /// Where its sockets and PID files are (`NUT_STATEPATH`, `NUT_PIDPATH`).
    pub state: PathBuf,
}

impl Stage {
    /// Makes a new stage with programs that are fresh.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn new(programs: Programs) -> Result<Self, StageError> {
        let folder = private_folder()?;
        let guard = Guard::start(&programs.path("upsdrill")?, &folder)
            .map_err(|source| StageError::Start { program: "upsdrill guard".to_owned(), source })?;
        let link = folder.join("programs");
        std::os::unix::fs::symlink(programs.folder(), &link)
            .map_err(|source| StageError::File { path: link.clone(), source })?;
        let programs = programs.seen_at(link);
        let (record, recorder) = Record::new();
        let listener = tell::listen(&folder, recorder.clone())
            .map_err(|source| StageError::File { path: folder.clone(), source })?;
        let stage = Self { folder, keep: false, guard, programs, recorder, listener, record };
        make_folder(&stage.folder.join("bin"))?;
        make_folder(&stage.folder.join("log"))?;
        Ok(stage)
    }

    /// Leaves the directory when the stage goes, for a look.
    pub fn keep(&mut self) {
        self.keep = true;
        self.guard.keep();
    }

    /// The directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The programs, by a path within the stage: configuration files name them without quotes wherever they are.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Where entries for the record are handed in.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Makes a host: its two folders.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn host(&self, name: &str) -> Result<Host, StageError> {
        let root = self.folder.join(name);
        let host = Host { name: name.to_owned(), conf: root.join("etc"), state: root.join("run") };
        for folder in [&root, &host.conf, &host.state] {
            make_folder(folder)?;
        }
        Ok(host)
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn write(&self, path: &Path, text: &str) -> Result<(), StageError> {
        write_with_mode(path, text, 0o600)
    }

    /// Writes a script into the stage's `bin` (which stands first in the `PATH` of every program) that tells the
    /// record that it ran, as `script` of this host, with its arguments; gives its path.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn teller(&self, host: &Host, script: &str, file: &str) -> Result<PathBuf, StageError> {
        let path = self.folder.join("bin").join(file);
        let drill = self.programs.path("upsdrill")?;
        let text = format!("#!/bin/sh\nexec {} tell {} {script} \"$@\"\n", drill.display(), host.name);
        write_with_mode(&path, &text, 0o700)?;
        Ok(path)
    }

    /// Writes a script of any text into the stage's `bin`; gives its path.
    ///
    /// # Errors
    /// [`StageError::File`].
    pub fn script(&self, file: &str, text: &str) -> Result<PathBuf, StageError> {
        let path = self.folder.join("bin").join(file);
        write_with_mode(&path, text, 0o700)?;
        Ok(path)
    }

    /// Starts a program of the house on a host; its lines and its end go to the record, its lines to a file, too.
    ///
    /// # Errors
    /// See [`StageError`].
    pub fn start(&self, host: &Host, program: &str, args: &[&str]) -> Result<Running, StageError> {
        let path = self.programs.path(program)?;
        self.start_at(host, program, &path, args, &[])
    }

    /// Starts any program on a host, with further environment.
    ///
    /// # Errors
    /// [`StageError::Start`].
    pub fn start_at(
        &self,
        host: &Host,
        label: &str,
        path: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Running, StageError> {
        let failed = |source| StageError::Start { program: label.to_owned(), source };
        let mut command = self.command(host, path);
        command.args(args).envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| failed(io::Error::other("it ended at once")))?;
        let log = self.folder.join("log").join(format!("{}-{label}.log", host.name));
        let (told, ended) = watch::channel(None);
        let outputs = Outputs {
            host: host.name.clone(),
            program: label.to_owned(),
            recorder: self.recorder.clone(),
            log: Some(log),
        };
        let streams = (child.stdout.take(), child.stderr.take());
        tokio::spawn(outputs.follow(child, streams, told));
        Ok(Running { program: label.to_owned(), pid, ended })
    }

    /// Runs a program of the house to its end and gives its exit code and what it wrote to standard output.
    ///
    /// # Errors
    /// [`StageError::Start`].
    pub async fn run(
        &self,
        host: &Host,
        program: &str,
        args: &[&str],
    ) -> Result<(Option<i32>, String, String), StageError> {
        let path = self.programs.path(program)?;
        let mut command = self.command(host, &path);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let failed = |source| StageError::Start { program: program.to_owned(), source };
        let output = command.output().await.map_err(failed)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    }

    fn command(&self, host: &Host, path: &Path) -> Command {
        let mut search = self.folder.join("bin").into_os_string();
        if let Some(inherited) = std::env::var_os("PATH") {
            search.push(":");
            search.push(inherited);
        }
        let mut command = Command::new(path);
        command
            .current_dir(&self.folder)
            // Only who is started by cargo itself builds.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("NUT_DEBUG_LEVEL")
            .env("PATH", search)
            .env(tell::STAGE, &self.folder)
            .env("NUT_CONFPATH", &host.conf)
            .env("NUT_STATEPATH", &host.state)
            .env("NUT_ALTPIDPATH", &host.state)
            .env("NUT_PIDPATH", &host.state)
            // The machine's own bus is none of their business; a test that wants one puts it there.
            .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.folder.join("bus").display()))
            // What would go to the system log goes to the record.
            .env("NUT_DEBUG_SYSLOG", "stderr");
        command
    }
}

impl Running {
    /// What it is called in the record.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// Sends a signal; one that has ended gets none.
    ///
    /// # Errors
    /// [`StageError::Signal`].
    pub fn signal(&self, signal: Signal) -> Result<(), StageError> {
        if !self.runs() {
            return Ok(());
        }
        match kill(self.pid, signal) {
            // It has ended, and its last lines are being read before that is told.
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(source) => Err(StageError::Signal { program: self.program.clone(), source }),
        }
    }

    /// Waits for its end and gives its exit code, if it was not killed.
    pub async fn ended(&mut self) -> Option<i32> {
        match self.ended.wait_for(Option::is_some).await {
            Ok(code) => (*code).flatten(),
            Err(_) => None,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.listener.abort();
        end_all_of(&self.folder);
        if !self.keep {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Follows one program: its lines, then its end.
struct Outputs {
    host: String,
    program: String,
    recorder: Recorder,
    log: Option<PathBuf>,
}

impl Outputs {
    async fn follow(
        self,
        mut child: Child,
        (stdout, stderr): (Option<tokio::process::ChildStdout>, Option<tokio::process::ChildStderr>),
        told: watch::Sender<Option<Option<i32>>>,
    ) {
        let lines = async {
            tokio::join!(self.lines(stdout), self.lines(stderr));
        };
        // Children that outlive the program may hold its outputs open: its end counts, not theirs.
        tokio::pin!(lines);
        let mut read = false;
        let code = loop {
            tokio::select! {
                () = &mut lines, if !read => read = true,
                status = child.wait() => break status.ok().and_then(|status| status.code()),
            }
        };
        if !read {
            // What it wrote last comes before its end, if nobody else keeps the outputs open.
            let soon = std::time::Duration::from_millis(100);
            read = tokio::time::timeout(soon, lines.as_mut()).await.is_ok();
        }
        // Whoever waits for the end must not also have to take in the record, which holds us up when it is full.
        told.send_replace(Some(code));
        self.recorder.tell(&self.host, What::Ended { program: self.program.clone(), code }).await;
        if !read {
            lines.await;
        }
    }

    async fn lines(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = tokio::io::AsyncReadExt::take(&mut reader, MAX_LINE);
            match limited.read_until(b'\n', &mut line).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(log) = &self.log
                && let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(log)
            {
                let _ = io::Write::write_all(&mut file, format!("{text}\n").as_bytes());
            }
            self.recorder.tell(&self.host, What::Line { program: self.program.clone(), text }).await;
        }
    }
}

/// A breath between two looks at something that gives no sign of its own, such as a socket that another program makes.
pub async fn turn() {
    nut_os::clock::until(nut_os::clock::now().after(std::time::Duration::from_millis(20))).await;
}

fn private_folder() -> Result<PathBuf, StageError> {
    let base = std::env::temp_dir();
    if !is_plain(&base) {
        return Err(StageError::Base { path: base });
    }
    // No name is used twice in one process: what a former stage does as it goes must not meet its successor.
    static STAGES: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let nth = STAGES.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("{PREFIX}{}-{nth}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(StageError::File { path, source }),
        }
    }
    Err(StageError::File { path: base, source: io::Error::from(io::ErrorKind::AlreadyExists) })
}

/// Whether paths below this directory need no quotes anywhere and leave room for a socket's name.
fn is_plain(base: &Path) -> bool {
    let bytes = base.as_os_str().as_encoded_bytes();
    bytes.len() <= MAX_BASE && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
}

fn make_folder(path: &Path) -> Result<(), StageError> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| StageError::File { path: path.to_owned(), source })
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), StageError> {
    let written =
        fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    written.map_err(|source| StageError::File { path: path.to_owned(), source })
}
