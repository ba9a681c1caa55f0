//! A private directory with configuration, the program running in it, and the other ends of its sockets.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// Who runs the test: nobody else may be named without being root, and root has no `nut`.
pub(crate) fn current_user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective());
    user.unwrap().expect("the user has a name").name
}

/// A private directory; removed when it goes.
pub(crate) struct Stage(PathBuf);

impl Stage {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("upsd-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upsd"));
        command.args(options);
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Command {
        self.prepare(&mut command);
        command
    }

    /// Leads whatever this runs to the private directory.
    pub(crate) fn prepare(&self, command: &mut Command) {
        command.stdin(Stdio::null());
        for name in ["NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH"] {
            command.env(name, &self.0);
        }
        for name in [
            "NUT_DEBUG_LEVEL",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "WATCHDOG_PID",
            "ALLOW_NO_DEVICE",
            "ALLOW_NOT_ALL_LISTENERS",
            "NUT_QUIET_INIT_BANNER",
        ] {
            command.env_remove(name);
        }
        command.env("NUT_DEBUG_SYSLOG", "none");
    }

    /// Runs to the end: the exit code, and what was said on both outputs.
    pub(crate) fn run(&self, options: &[&str]) -> (i32, String) {
        let output = self.command(options).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().expect("no signal"), said)
    }

    /// Runs to the end with this on standard input: the exit code, and what was said on each output.
    pub(crate) fn run_with_input(&self, options: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.command(options);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let (stdout, stderr) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        (output.status.code().expect("no signal"), stdout.unwrap(), stderr.unwrap())
    }

    /// Starts upsd in the foreground; returns when it listens.
    pub(crate) fn start(&self, options: &[&str]) -> Upsd {
        let user = current_user();
        let options = [&["-F", "-u", &user], options].concat();
        self.spawn(self.command(&options))
    }

    /// As [`Stage::start`], with so many descriptors at most.
    pub(crate) fn start_with_descriptors(&self, most: u32) -> Upsd {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -n {most} && exec \"$0\" \"$@\""));
        command.args([env!("CARGO_BIN_EXE_upsd"), "-F", "-u", &current_user()]);
        self.spawn(self.prepared(command))
    }

    /// Starts what this command starts, which is upsd in the foreground; returns when it listens.
    pub(crate) fn spawn(&self, command: Command) -> Upsd {
        let mut upsd = self.spawn_deaf(command);
        let line = upsd.logged("listening on");
        upsd.port = line.rsplit(' ').next().unwrap().parse().expect(&line);
        upsd.logged("Running as foreground process");
        upsd
    }

    /// As [`Stage::spawn`], but it may listen nowhere yet.
    pub(crate) fn spawn_deaf(&self, mut command: Command) -> Upsd {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Upsd { child, log, unread: RefCell::default(), port: 0 }
    }

    /// A port nobody has at this moment.
    pub(crate) fn free_port(&self) -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    pub(crate) fn client_at_conf_port(&self) -> Client {
        let conf = std::fs::read_to_string(self.path("upsd.conf")).unwrap();
        self.client_at_port(conf.trim().rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub(crate) fn client_at_port(&self, port: u16) -> Client {
        Client::connect("127.0.0.1".parse().unwrap(), port)
    }

    /// Ends the process whose number the PID file holds, when it goes.
    pub(crate) fn ends_by_pid_file(&self) -> impl Drop + use<> {
        self.ends_by_pid_file_at("upsd.pid")
    }

    /// As [`Stage::ends_by_pid_file`], with another file.
    pub(crate) fn ends_by_pid_file_at(&self, name: &str) -> impl Drop + use<> {
        struct End(PathBuf);
        impl Drop for End {
            fn drop(&mut self) {
                let text = std::fs::read_to_string(&self.0).unwrap_or_default();
                if let Ok(pid) = text.trim().parse() {
                    let pid = nix::unistd::Pid::from_raw(pid);
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
                }
            }
        }
        End(self.path(name))
    }

    /// For what no event tells: a file going away.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let mut left = 6000;
        while !is_so() {
            assert!(left > 0, "waited for too long");
            left -= 1;
            pause();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A hundredth of a second, without a sleep: nobody ever sends anything.
pub(crate) fn pause() {
    let (_sender, receiver) = channel::<()>();
    let _ = receiver.recv_timeout(Duration::from_millis(10));
}

/// The running program; killed when it goes.
pub(crate) struct Upsd {
    child: Child,
    log: Receiver<String>,
    /// Lines of the log that nobody has waited for yet.
    unread: RefCell<Vec<String>>,
    port: u16,
}

impl Upsd {
    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client at this port of this host.
    pub(crate) fn client_at(&self, port: u16) -> Client {
        Client::connect("127.0.0.1".parse().unwrap(), port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect("127.0.0.1".parse().unwrap(), self.port)
    }

    /// A client whose own address is this one.
    pub(crate) fn client_from(&self, address: &str) -> Client {
        Client::connect_from(address, self.port)
    }

    /// Waits for a line of the log that has this in it, and takes it out.
    pub(crate) fn logged(&self, text: &str) -> String {
        let mut unread = self.unread.borrow_mut();
        if let Some(at) = unread.iter().position(|line| line.contains(text)) {
            return unread.remove(at);
        }
        loop {
            match self.log.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => unread.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("not logged: {text}\nbut: {unread:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("ended before: {text}\nbut: {unread:#?}"),
            }
        }
    }

    /// All lines of the log so far that nobody has waited for.
    pub(crate) fn unread_log(&self) -> String {
        let mut unread = self.unread.borrow_mut();
        unread.extend(self.log.try_iter());
        unread.join("\n")
    }

    fn kill(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub(crate) fn hang_up(&self) {
        self.kill(nix::sys::signal::Signal::SIGHUP);
    }

    /// Asks it to end; gives the exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.kill(nix::sys::signal::Signal::SIGTERM);
        self.logged("Signal 15: exiting");
        self.child.wait().unwrap().code().expect("no signal")
    }

    /// How many descriptors it has open now.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// How many lines of the log so far have this in them, those that were waited for left out.
    pub(crate) fn log_lines(&self, text: &str) -> usize {
        let mut unread = self.unread.borrow_mut();
        unread.extend(self.log.try_iter());
        unread.iter().filter(|line| line.contains(text)).count()
    }

    /// Asks it to end; gives all lines of the log that nobody has taken out.
    pub(crate) fn stop_and_tell(mut self) -> Vec<String> {
        self.kill(nix::sys::signal::Signal::SIGTERM);
        self.child.wait().unwrap();
        let mut lines = self.unread.take();
        lines.extend(self.log.iter());
        lines
    }

    /// Waits for its end, which somebody else asked for; gives the exit code.
    pub(crate) fn ended(mut self) -> i32 {
        self.child.wait().unwrap().code().expect("no signal")
    }

    /// Memory it has now.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Upsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the network protocol.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: IpAddr, port: u16) -> Self {
        Self::new(TcpStream::connect(SocketAddr::new(address, port)).unwrap())
    }

    pub(crate) fn connect_from(address: &str, port: u16) -> Self {
        let from: SocketAddr = format!("{address}:0").parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(from).unwrap();
            let to = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Self::new(stream)
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// The answer, unless the other side has closed.
    pub(crate) fn try_ask(&mut self, request: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        line.strip_suffix('\n').map(str::to_owned)
    }

    pub(crate) fn ask(&mut self, request: &str, expected: &str) {
        self.say(request);
        assert_eq!(self.line(), expected, "{request}");
    }

    /// Asks again and again until the answer is this one.
    pub(crate) fn ask_until(&mut self, request: &str, expected: &str) {
        let mut left = 6000;
        loop {
            self.say(request);
            let answer = self.line();
            if answer == expected {
                return;
            }
            assert!(left > 0, "{request}: still {answer}");
            left -= 1;
            pause();
        }
    }

    /// Whether the other side has closed, with nothing more to be read.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // It may have closed before it read all we said.
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether an answer is there, without waiting for it.
    pub(crate) fn has_answer(&mut self) -> bool {
        let stream = self.0.get_mut();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        peeked.is_ok()
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    pub(crate) fn stream_clone(&self) -> TcpStream {
        self.0.get_ref().try_clone().unwrap()
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }
}

/// A driver that does what the test says; its socket goes with it.
pub(crate) struct Driver {
    listener: UnixListener,
    path: PathBuf,
}

impl Driver {
    pub(crate) fn listen(stage: &Stage, name: &str) -> Self {
        let path = stage.path(name);
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// Waits for upsd to connect.
    pub(crate) fn accept(&self) -> Link {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let mut wait = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut wait, PollTimeout::try_from(DEADLINE).unwrap()).unwrap();
        assert_eq!(count, 1, "upsd does not connect");
        let (stream, _) = self.listener.accept().unwrap();
        Link::from(stream)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The driver's end of a connection.
pub(crate) struct Link(BufReader<UnixStream>);

impl Link {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    /// The next line, unless the other side has closed.
    pub(crate) fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(1..) => line.strip_suffix('\n').map(str::to_owned),
            Ok(0) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl From<UnixStream> for Link {
    fn from(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}
