//! Daemons, second halves and signals with real processes: this program runs itself, in the role its first argument
//! names. Without one it is the test.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "all of this is a test")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal as Number, raise};
use nut_os::clock::WallTime;
use nut_os::daemon::{self, Daemon, Launched, Order, Orphans, Plan, ProcessId, Signal, Signals, Started};
use nut_os::hook::Hook;
use nut_os::log::{self, Destination, LogOptions};
use nut_os::privilege::{self, RunAs};
use nut_os::reexec;
use nut_os::socket::{Accepted, TcpAcceptor};

/// Nothing here takes longer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("daemon") => be_daemon(&args[2], Path::new(&args[3])),
        Some("launch") => be_launcher(&args[2]),
        Some("halves") => be_two_halves(),
        Some("signals") => be_told(),
        Some("drop") => give_up_root(),
        Some("exhaust") => run_out_of_descriptors(),
        Some("look") => look_at_environment(),
        Some("clock") => show_the_clock(),
        Some("panic") => fall_over(),
        Some("urgent") => be_told_at_once(),
        Some("held") => be_told_too_early(),
        Some("orphans") => be_everybodys_parent(),
        _ => test(),
    }
}

// ---- the roles ----

/// Starts as a daemon, and then does as `what` says; reports to the file `report` from the background.
fn be_daemon(what: &str, report: &Path) -> ExitCode {
    let background = what != "stays";
    let banner = (what == "greets").then(|| "Banner of testd".to_owned());
    let plan = Plan { program: "testd".into(), background, banner, args: None };
    let ready = match Daemon::start(&plan).expect("a second process can be made") {
        Started::Launcher(launched) => return launched.report("testd"),
        Started::Daemon(ready) => ready,
    };
    log::init(LogOptions { program: "testd".into(), debug: 0, to: Destination::Stderr });
    match what {
        "fails" => return ready.failed(3, "no key in /etc/nut/upsd.pem"),
        "exits" => {
            tracing::error!("cannot listen");
            return ExitCode::from(7);
        }
        "dies" => {
            let ours = ProcessId::ours();
            daemon::signal(ours, Order::Kill, &[]).expect("we may kill ourselves");
        }
        _ => {}
    }
    tracing::info!("starting");
    // A child that lives on must not keep the launcher waiting, nor take itself for the daemon.
    let mut below =
        Command::new(std::env::current_exe().expect("we have a path")).arg("look").spawn().expect("it runs");
    let below = below.wait().expect("it ends").success();
    ready.ready();
    tracing::info!("not for the terminal");
    let _ = io::stderr().write_all(b"not for the terminal\n");
    let session = nix::unistd::getsid(None).expect("we have a session") == nix::unistd::getpid();
    let text = format!("session={session} below={below} pid={}\n", std::process::id());
    let connection = UnixStream::connect(report);
    let _ = connection.and_then(|mut to| to.write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

/// Starts a daemon and goes on itself, as upssched does with its timer process.
fn be_launcher(report: &str) -> ExitCode {
    let args = ["daemon", "works", report].map(Into::into).to_vec();
    let launched =
        daemon::launch(&Plan { program: "testd".into(), background: true, banner: None, args: Some(args) });
    if launched.expect("a second process can be made") == Launched::Ready {
        ExitCode::from(42)
    } else {
        ExitCode::FAILURE
    }
}

/// Panics, in a task that nobody waits for and then in earnest.
fn fall_over() -> ExitCode {
    log::init(LogOptions { program: "testd".into(), debug: 0, to: Destination::Stderr });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let task = tokio::spawn(async { panic!("one \u{1b}[2J") });
        assert!(task.await.is_err());
    });
    panic!("two");
}

fn be_two_halves() -> ExitCode {
    if let Some(mut socket) = reexec::half("worker") {
        let mut word = [0; 4];
        socket.read_exact(&mut word).expect("the first half speaks first");
        let again = reexec::half("worker").is_none();
        let stdin_is_empty = io::stdin().read(&mut [0; 1]).is_ok_and(|count| count == 0);
        write!(socket, "{} {again} {stdin_is_empty}", String::from_utf8_lossy(&word)).expect("it listens");
        return ExitCode::from(5);
    }
    assert!(reexec::half("other").is_none());
    let (mut child, mut socket) = reexec::start_half("worker").expect("a second half can be made");
    socket.write_all(b"ping").expect("it listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers, and its end closes the socket");
    print!("{answer}");
    let code = child.wait().expect("it ends").code();
    if code == Some(5) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says `ready`, then each signal, until told to stop.
fn be_told() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut signals = Signals::new().expect("signals can be listened to");
        println!("ready");
        loop {
            let signal = signals.next().await;
            println!("{signal:?}");
            if matches!(signal, Signal::Stop { .. }) {
                return ExitCode::SUCCESS;
            }
        }
    })
}

/// Is told three things at once, again and again. A process of its own: in a test's program others ask the kernel for
/// signals, too, and then it may be asked between two of them.
fn be_told_at_once() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut signals = Signals::new().expect("signals can be listened to");
        for _ in 0..3 {
            // Waiting has begun before they come, and is given up; nothing is lost by that.
            tokio::select! {
                biased;
                signal = signals.next() => panic!("{signal:?} came of itself"),
                () = tokio::task::yield_now() => {}
            }
            for number in [Number::SIGUSR2, Number::SIGHUP, Number::SIGTERM] {
                raise(number).expect("we may signal ourselves");
            }
            // All three are known to the runtime once it has looked.
            tokio::task::yield_now().await;
            for _ in 0..3 {
                print!("{:?} ", tokio::time::timeout(PATIENCE, signals.next()).await.expect("it comes"));
            }
        }
    });
    ExitCode::SUCCESS
}

/// Is told four things while it starts, and hears of them when it has started.
fn be_told_too_early() -> ExitCode {
    daemon::hold_signals();
    for number in [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2, Number::SIGPWR] {
        raise(number).expect("we may signal ourselves");
    }
    // What is started meanwhile does not inherit that.
    let child = Command::new("sh").args(["-c", "kill -HUP $$; sleep 60"]).status().expect("there is a shell");
    print!("{:?}", std::os::unix::process::ExitStatusExt::signal(&child));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut signals = Signals::new().expect("signals can be listened to");
        for _ in 0..4 {
            print!(" {:?}", tokio::time::timeout(PATIENCE, signals.next()).await.expect("it comes"));
        }
    });
    ExitCode::SUCCESS
}

/// Gets everybody's orphans while it waits for programs of its own, and says how those ended, and who is left.
fn be_everybodys_parent() -> ExitCode {
    set_child_subreaper(true).expect("anybody may");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let served = async {
        let mut orphans = Orphans::new().expect("ends can be told of");
        // One that has ended and is not waited for stands before all others for whoever asks the kernel.
        let first = Hook::shell("exit 9").start().expect("there is a shell");
        let leaves_many = "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'exit 1' & sh -c 'kill -9 $$' & sleep 0.$i &); done; exit 7";
        let hooks: Vec<_> =
            (0..8).map(|_| Hook::shell(leaves_many).start().expect("there is a shell")).collect();
        let ended = async {
            for hook in hooks {
                assert_eq!(hook.end().await.to_string(), "ended with code 7");
            }
            // Until the first is the only one that is left.
            while children_of(std::process::id()) > 1 {
                tokio::task::yield_now().await;
            }
            first.end().await.to_string()
        };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                end = &mut ended => return end,
                () = orphans.taken_in() => {}
            }
        }
    };
    let end =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, served).await.expect("they are taken in") });
    print!("{end} {}", children_of(std::process::id()));
    ExitCode::SUCCESS
}

fn children_of(pid: u32) -> usize {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.expect("the kernel shows them").split_whitespace().count()
}

/// Becomes nobody, and shows that it is.
fn give_up_root() -> ExitCode {
    let nobody = RunAs::lookup("nobody").expect("there is a user nobody");
    let dropped = privilege::drop_to(&nobody).expect("root may become anybody");
    let denied =
        std::fs::read("/etc/shadow").is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let again = privilege::drop_to(&nobody).expect("there is nothing left to give up");
    print!("{dropped:?} {again:?} {} {denied}", privilege::whoami().user);
    ExitCode::SUCCESS
}

/// Two clients knock when no descriptor is left, another one when there are some again.
fn run_out_of_descriptors() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let served = async {
        let mut acceptor = TcpAcceptor::listen(([127, 0, 0, 1], 0).into()).expect("loopback is there");
        let address = acceptor.address();
        let mut clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(64), hard).unwrap();
        let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        for client in &mut clients {
            assert!(matches!(acceptor.accept().await.unwrap(), Accepted::SentAway));
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
        }
        all.truncate(10);
        let _third = TcpStream::connect(address).unwrap();
        assert!(matches!(acceptor.accept().await.unwrap(), Accepted::Client(..)));
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, served).await.expect("nobody waits") });
    ExitCode::SUCCESS
}

/// Whether a process below a daemon sees itself as what it is: nobody in particular.
fn look_at_environment() -> ExitCode {
    let plan = Plan { program: "look".into(), background: false, banner: None, args: None };
    match Daemon::start(&plan) {
        Ok(Started::Daemon(ready)) if !ready.is_background() && reexec::half("worker").is_none() => {
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// Shows a moment in summer as the wall clock of this place has it.
fn show_the_clock() -> ExitCode {
    print!("{}", WallTime::from_unix(Duration::from_secs(1_720_000_000)));
    ExitCode::SUCCESS
}

// ---- the tests ----

fn test() -> ExitCode {
    let tests: &[(&str, fn())] = &[
        ("a launcher ends with success once the daemon is ready", ready),
        ("the banner comes before all that a daemon has to say", banner_first),
        ("a daemon that cannot start is heard through its launcher, with its code", not_ready),
        ("a daemon in the foreground is its own launcher", foreground),
        ("a launcher may go on by itself", launcher_goes_on),
        ("the service manager hears of the readiness", service_manager),
        ("two halves talk over a socket and see each other's end", halves),
        ("a panic is a line in the log", panics),
        (
            "of signals at once each is told once, the most urgent first",
            each_signal_is_told_once_the_most_urgent_first,
        ),
        ("what is said while a daemon starts is heard when it has started", signals_too_early),
        ("orphans are taken in, and how our own ended is not lost", orphans),
        ("root is given up for good", no_more_root),
        ("without descriptors clients are sent away at once and the listener lives on", no_descriptors),
        ("texts show the time of the place that TZ names, else that of Greenwich", local_time),
        ("signals come one by one and none is lost", signals),
    ];
    println!("\nrunning {} tests", tests.len());
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// A private place where one daemon reports.
struct Place {
    dir: PathBuf,
    listener: std::os::unix::net::UnixListener,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("nut-os-processes-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.join("report")).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { dir, listener }
    }

    fn report(&self) -> String {
        self.dir.join("report").to_str().unwrap().to_owned()
    }

    /// What the daemon reports.
    fn heard(&self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(self.listener.try_clone().unwrap()).unwrap();
            let (stream, _) =
                tokio::time::timeout(PATIENCE, listener.accept()).await.expect("it reports").unwrap();
            let mut stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn ourselves(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(args).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = ourselves(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn ready() {
    let place = Place::new("ready");
    let (code, stdout, stderr) = run(&["daemon", "works", &place.report()]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "", "starting\n"));
    let heard = place.heard();
    assert!(heard.starts_with("session=true below=true pid="), "{heard}");
}

/// What both processes say, in the order in which a person sees it.
fn banner_first() {
    let (mut said, both) = io::pipe().unwrap();
    let mut command = ourselves(&["daemon", "greets", "/none"]);
    command.stdout(both.try_clone().unwrap()).stderr(both);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, "Banner of testd\nstarting\n");
}

fn not_ready() {
    for (what, code, said) in [
        ("fails", 3, "testd: no key in /etc/nut/upsd.pem\n"),
        ("exits", 7, "cannot listen\n"),
        ("dies", 137, "testd: the daemon was killed by signal 9 before it was ready\n"),
    ] {
        assert_eq!(run(&["daemon", what, "/none"]), (Some(code), String::new(), said.to_owned()), "{what}");
    }
}

fn foreground() {
    let place = Place::new("stays");
    let (code, _, stderr) = run(&["daemon", "stays", &place.report()]);
    assert_eq!(code, Some(0));
    assert_eq!(stderr, "starting\nnot for the terminal\nnot for the terminal\n");
    assert!(place.heard().starts_with("session=false below=true"));
}

fn launcher_goes_on() {
    let place = Place::new("launch");
    let (code, _, stderr) = run(&["launch", &place.report()]);
    assert_eq!((code, stderr.as_str()), (Some(42), "starting\n"));
    place.heard();
}

fn service_manager() {
    let place = Place::new("notify");
    let path = place.dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let status = ourselves(&["daemon", "works", &place.report()])
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut buffer = [0; 100];
    let len = manager.recv(&mut buffer).unwrap();
    let word = String::from_utf8_lossy(&buffer[..len]).into_owned();
    let heard = place.heard();
    let pid = heard.trim_end().rsplit_once('=').unwrap().1.to_owned();
    assert_eq!(word, format!("READY=1\nMAINPID={pid}"));
}

/// A line each, which the place in the code is in; it goes where the log goes.
fn panics() {
    let out = ourselves(&["panic"]).env_remove("RUST_BACKTRACE").output().unwrap();
    assert_eq!(out.status.code(), Some(101));
    let text = String::from_utf8(out.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, what) in lines.iter().zip(["one \\u{1b}[2J", "two"]) {
        assert!(line.starts_with("panic at ") && line.contains("processes.rs:"), "{line}");
        assert!(
            line.ends_with(&format!(": {what}; this is a defect of the program: please report it")),
            "{line}"
        );
    }
}

fn halves() {
    let (code, stdout, stderr) = run(&["halves"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "ping true true", ""));
}

fn signals() {
    use io::BufRead;
    let mut child = ourselves(&["signals"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = ProcessId::new(i32::try_from(child.id()).unwrap()).unwrap();
    let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "ready");
    let name = std::env::current_exe().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    for (order, shown) in [
        (Order::Reload, "Reload"),
        (Order::User1, "User1"),
        (Order::Stop, "Stop { name: \"SIGTERM\", number: 15 }"),
    ] {
        daemon::signal(pid, order, &[&name]).unwrap();
        assert_eq!(lines.next().unwrap(), shown);
    }
    assert!(child.wait().unwrap().success());
}

fn each_signal_is_told_once_the_most_urgent_first() {
    let told = "Stop { name: \"SIGTERM\", number: 15 } Reload User2 ".repeat(3);
    assert_eq!(run(&["urgent"]), (Some(0), told, String::new()));
}

fn signals_too_early() {
    assert_eq!(
        run(&["held"]),
        (
            Some(0),
            "Some(1) User1 Reload User2 Other { name: \"SIGPWR\", number: 30 }".to_owned(),
            String::new()
        )
    );
}

fn orphans() {
    assert_eq!(run(&["orphans"]), (Some(0), "ended with code 9 0".to_owned(), String::new()));
}

fn local_time() {
    for (place, shown) in [
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2024-07-03 11:46:40"),
        ("<-0330>3:30", "2024-07-03 06:16:40"),
        ("", "2024-07-03 09:46:40"),
        ("No/Such/Place", "2024-07-03 09:46:40"),
        ("../../etc/passwd", "2024-07-03 09:46:40"),
    ] {
        let out = ourselves(&["clock"]).env("TZ", place).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), shown, "{place}");
    }
    if !Path::new("/usr/share/zoneinfo/Asia/Kathmandu").exists() {
        println!("    (names of zones skipped: this machine has no files of zones)");
        return;
    }
    for place in ["Asia/Kathmandu", ":Asia/Kathmandu", "/usr/share/zoneinfo/Asia/Kathmandu"] {
        let out = ourselves(&["clock"]).env("TZ", place).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "2024-07-03 15:31:40", "{place}");
    }
}

fn no_more_root() {
    if !privilege::is_root() {
        println!("    (skipped: only root has something to give up)");
        return;
    }
    let (code, stdout, stderr) = run(&["drop"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(0), "Became WasNotRoot nobody true", ""));
}

fn no_descriptors() {
    let (code, _, stderr) = run(&["exhaust"]);
    assert_eq!(code, Some(0), "{stderr}");
}
