//! A private directory with configuration and state, the programs started in it, and what they say.

use nut_drivers::connection::gone_within;
use nut_os::clock;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long anything may take on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `holds`, and fails if that takes too long.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(gone_within(DEADLINE, holds)), "not in time: {what}");
}

pub(crate) struct Stage {
    dir: PathBuf,
}

impl Stage {
    /// A directory with this ups.conf. As root the drivers stay root, for want of a user nut.
    pub(crate) fn new(sections: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nd{}-{number}", std::process::id()));
        let stage = Self { dir };
        std::fs::create_dir_all(stage.dir.join("conf")).unwrap();
        std::fs::create_dir_all(stage.dir.join("run")).unwrap();
        stage.conf(sections);
        stage
    }

    pub(crate) fn conf(&self, sections: &str) {
        self.write("ups.conf", &format!("user = root\n{sections}"));
    }

    /// Writes a file beside ups.conf, at once as a whole.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let beside = self.dir.join(format!("conf/.{name}"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(&beside, self.dir.join("conf").join(name)).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join("conf").join(name)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The files in the state directory.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.run())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, program: &str, args: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(args.split_whitespace())
            .env("NUT_CONFPATH", self.dir.join("conf"))
            .env("NUT_STATEPATH", self.run())
            .env_remove("NUT_ALTPIDPATH")
            .env_remove("NUT_PIDPATH")
            .env_remove("NUT_DEBUG_LEVEL")
            .env_remove("NOTIFY_SOCKET")
            .env("NUT_DEBUG_SYSLOG", "none")
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub(crate) fn output(&self, program: &str, args: &str) -> Said {
        self.output_of(self.command(program, args))
    }

    pub(crate) fn output_of(&self, mut command: Command) -> Said {
        // To files: a driver that goes on in the background holds no pipe of ours that we would wait for.
        let (out, err) = (self.dir.join("stdout"), self.dir.join("stderr"));
        let mut child =
            command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
        let code = end_of(&mut child);
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        Said { code, out: read(&out), err: read(&err) }
    }

    /// Starts a driver in the foreground.
    pub(crate) fn start(&self, program: &str, args: &str) -> Running {
        self.start_as(self.command(program, args))
    }

    /// What it says on standard output is in the file `shown`.
    pub(crate) fn start_as(&self, mut command: Command) -> Running {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = self.dir.join(format!("log-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let child = command
            .stdout(File::create(self.dir.join("shown")).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Running { child, log }
    }

    /// A driver that runs, as its PID file has it, and has no socket. It notes each SIGTERM in the file `notes`, and then
    /// does this.
    pub(crate) fn start_without_socket(&self, name: &str, ups: &str, on_term: &str) -> Running {
        let (program, notes) = (self.path(name), self.path("notes"));
        let script = format!(
            "#!/bin/sh\ntrap 'echo TERM >>{0}; {on_term}' TERM\necho runs >>{0}\nwhile :; do sleep 0.05; done\n",
            notes.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let running = self.start(program.to_str().unwrap(), "");
        std::fs::write(self.run().join(format!("{name}-{ups}.pid")), format!("{}\n", running.pid())).unwrap();
        eventually("it runs", || notes.exists());
        running
    }

    /// What such a driver has noted.
    pub(crate) fn notes(&self) -> String {
        std::fs::read_to_string(self.path("notes")).unwrap()
    }

    /// Waits for a driver's socket, and connects to it.
    pub(crate) fn connect(&self, socket: &str) -> Reader {
        self.connect_at(&self.run().join(socket))
    }

    pub(crate) fn connect_at(&self, path: &Path) -> Reader {
        eventually(&format!("a driver listens on {}", path.display()), || UnixStream::connect(path).is_ok());
        Reader::connect(path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever a failed test left running in the background.
        for name in self.left_over().iter().filter(|name| name.ends_with(".pid")) {
            if let Ok(pid) = nut_os::daemon::read_pid(&self.run().join(name)) {
                let _ = nut_os::daemon::signal(pid, nut_os::daemon::Order::Kill, &["dummy-ups", "apcsmart"]);
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The exit code of a process; it must end in time.
pub(crate) fn end_of(child: &mut Child) -> Option<i32> {
    let child = std::cell::RefCell::new(child);
    eventually("the program ends", || child.borrow_mut().try_wait().unwrap().is_some());
    child.borrow_mut().wait().unwrap().code()
}

/// A driver in the foreground; killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit code, once it has ended; none if a signal killed it.
    pub(crate) fn end(&mut self) -> Option<i32> {
        end_of(&mut self.child)
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reader of a driver's socket.
pub(crate) struct Reader {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Reader {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, pending: Vec::new() }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next line; nothing at the end.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                return Some(String::from_utf8(line).unwrap().trim_end().to_owned());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                // What was queued when we said something to one who was ending.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing heard in time: {error}"),
            }
        }
    }

    /// All lines up to and with this one, which must come.
    pub(crate) fn until(&mut self, wanted: &str) -> Vec<String> {
        let began = clock::now();
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            seen.push(line);
            if seen.last().is_some_and(|line| line == wanted) {
                return seen;
            }
            assert!(clock::now().since(began) < DEADLINE, "no {wanted:?} in time, but {seen:?}");
        }
        panic!("the driver ended without {wanted:?}, with {seen:?}");
    }

    /// Waits until this is the status.
    pub(crate) fn until_status(&mut self, status: &str) {
        let wanted = format!("SETINFO ups.status \"{status}\"");
        let began = clock::now();
        while !self.dump().contains(&wanted) {
            assert!(clock::now().since(began) < DEADLINE, "no {status} in time");
        }
    }

    pub(crate) fn dump(&mut self) -> Vec<String> {
        self.say("DUMPALL\n");
        self.until("DUMPDONE")
    }

    /// The value of a variable as it is now, as it stands on the wire.
    pub(crate) fn value(&mut self, name: &str) -> Option<String> {
        self.say(&format!("DUMPVALUE {name}\n"));
        let start = format!("SETINFO {name} ");
        self.until("DUMPDONE").iter().rev().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    }
}
