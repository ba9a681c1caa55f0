//! Real clients, real timer processes, real scripts: what only shows with processes, sockets and signals.

#![expect(clippy::unwrap_used, reason = "all of this is a test")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown, mkfifo};
use nut_os::clock;

/// Nothing here takes longer, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a configuration, a script that tells what it was called with, and the log of all processes.
struct Rig {
    dir: PathBuf,
    /// What the script was called with: `argument|NOTIFYTYPE|UPSNAME|NOTIFYMSG`.
    told: Receiver<String>,
    /// The lines that clients and timer process log. It ends when all of them, and `log_end`, have ended.
    log: Receiver<String>,
    log_end: Option<PipeWriter>,
}

impl Rig {
    /// With these `AT` lines.
    fn new(rules: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("upssched-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        for name in ["told", "gate"] {
            mkfifo(&dir.join(name), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        }
        // Open for both, so that it neither waits for a writer nor ends with one.
        let told = OpenOptions::new().read(true).write(true).open(dir.join("told")).unwrap();
        let (log, log_end) = io::pipe().unwrap();
        let (told, log) = (lines_of(told), lines_of(log));
        let rig = Self { dir, told, log, log_end: Some(log_end) };
        let script = "#!/bin/sh\n\
            printf '%s|%s|%s|%s\\n' \"$1\" \"$NOTIFYTYPE\" \"$UPSNAME\" \"$NOTIFYMSG\" > DIR/told\n\
            case $1 in slow) read -r line < DIR/gate;; esac\n";
        fs::write(rig.path("dispatch"), script.replace("DIR", &rig.dir.display().to_string())).unwrap();
        fs::set_permissions(rig.path("dispatch"), Permissions::from_mode(0o755)).unwrap();
        rig.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n{rules}"));
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn configure(&self, text: &str) {
        let text = text.replace("DIR", &self.dir.display().to_string());
        fs::write(self.path("upssched.conf"), text).unwrap();
    }

    fn command(&self) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_upssched")))
    }

    fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        command.env_clear().env("PATH", path).stdin(Stdio::null());
        command
            .env("NUT_CONFPATH", &self.dir)
            .env("NUT_PIDPATH", &self.dir)
            .env("NUT_DEBUG_SYSLOG", "stderr");
        command.stderr(self.log_end.as_ref().unwrap().try_clone().unwrap());
        command
    }

    fn client(&self, notice: &str, ups: &str) -> Command {
        let mut command = self.command();
        command.env("NOTIFYTYPE", notice).env("UPSNAME", ups).arg(format!("{notice} of {ups}"));
        command
    }

    /// A client that must succeed.
    fn event(&self, notice: &str, ups: &str) {
        let status = self.client(notice, ups).status().unwrap();
        assert!(status.success(), "{notice} {ups}: {status}; {:?}", self.log.try_iter().collect::<Vec<_>>());
    }

    /// The next call of the script.
    fn call(&self) -> String {
        self.told.recv_timeout(PATIENCE).expect("the script is called within the deadline")
    }

    /// The log up to the line that contains this.
    fn log_until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("{error} while waiting for {text:?}; so far: {seen:#?}"),
            }
            if seen.last().is_some_and(|line| line.contains(text)) {
                return seen;
            }
        }
    }

    /// The whole log, once all processes have ended.
    fn log_to_the_end(&mut self) -> Vec<String> {
        self.log_end = None;
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return seen,
                Err(RecvTimeoutError::Timeout) => panic!("some process does not end; so far: {seen:#?}"),
            }
        }
    }

    fn timer_process(&self) -> Pid {
        signed(&self.path("lock")).expect("a timer process holds the lock, and its number stands in it")
    }

    fn signal(&self, signal: Signal) {
        kill(self.timer_process(), signal).unwrap();
    }

    fn list(&self) -> Output {
        self.command().arg("-l").stdout(Stdio::piped()).output().unwrap()
    }

    /// Says something to the timer process as no client of ours would.
    fn say(&self, text: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("pipe")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }
}

/// The process whose number stands in a lock.
fn signed(lock: &Path) -> Option<Pid> {
    fs::read_to_string(lock).ok()?.lines().next()?.parse().ok().map(Pid::from_raw)
}

/// Kills the timer process that holds this lock; only who holds it is ours, and only as long as he does.
fn kill_holder(lock: &Path) {
    if let Ok(file) = File::open(lock)
        && file.try_lock().is_err()
        && let Some(pid) = signed(lock)
    {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for lock in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"lock")) {
            kill_holder(&lock.path());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Lines as they come, read by a thread of their own.
fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

fn starts(log: &[String]) -> usize {
    log.iter().filter(|line| *line == "Timer daemon started").count()
}

#[test]
fn a_burst_of_fifty_starts_one_timer_process_and_loses_nothing() {
    let rules: String = (0..50).map(|nth| format!("AT ONBATT u{nth}@h START-TIMER t{nth} 1\n")).collect();
    let rig = Rig::new(&rules);
    let mut clients: Vec<_> =
        (0..50).map(|nth| rig.client("ONBATT", &format!("u{nth}@h")).spawn().unwrap()).collect();
    let mut calls: Vec<String> = (0..50).map(|_| rig.call()).collect();
    for client in &mut clients {
        assert!(client.wait().unwrap().success());
    }
    let mut expected: Vec<String> =
        (0..50).map(|nth| format!("t{nth}|ONBATT|u{nth}@h|ONBATT of u{nth}@h")).collect();
    calls.sort();
    expected.sort();
    assert_eq!(calls, expected);
    rig.signal(Signal::SIGTERM);
    let log = rig.log_until("Signal 15: exiting");
    assert_eq!(starts(&log), 1, "{log:#?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("New timer: ")).count(), 50);
}

#[test]
fn a_slow_script_delays_neither_timers_nor_clients() {
    let rig = Rig::new(
        "AT ONBATT * START-TIMER slow 0\nAT ONBATT * START-TIMER fast 1\nAT ONLINE * CANCEL-TIMER none asked\n",
    );
    rig.event("ONBATT", "u@h");
    assert_eq!(rig.call(), "slow|ONBATT|u@h|ONBATT of u@h");
    // It waits at its gate from here on, while the others go on.
    assert_eq!(rig.call(), "fast|ONBATT|u@h|ONBATT of u@h");
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "asked|ONLINE|u@h|ONLINE of u@h");
    fs::write(rig.path("gate"), "go\n").unwrap();
}

#[test]
fn a_cancelled_timer_does_not_fire_and_the_log_says_all_in_nuts_words() {
    let rig = Rig::new(
        "AT ONBATT * START-TIMER first 60\nAT ONBATT * START-TIMER second 4\nAT ONLINE * CANCEL-TIMER first back\n",
    );
    rig.event("ONBATT", "u@h");
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "second|ONBATT|u@h|ONBATT of u@h");
    // On a busy machine the second one may fire before the first is cancelled.
    let mut log = rig.log_until("Event: ");
    if !log.contains(&"Cancelling timer: first".to_owned()) {
        log.extend(rig.log_until("Cancelling timer: "));
    }
    log[3..].sort();
    assert_eq!(
        log,
        [
            "Timer daemon started",
            "New timer: first (60 seconds)",
            "New timer: second (4 seconds)",
            "Cancelling timer: first",
            "Event: second ",
        ]
    );
    // Nothing is pending now: the command runs.
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "back|ONLINE|u@h|ONLINE of u@h");
    assert_eq!(rig.log_until("Cancel first"), ["Cancel first, event: back"]);
}

#[test]
fn cancelling_where_there_is_no_timer_process_starts_none() {
    let mut rig = Rig::new("AT ONLINE * CANCEL-TIMER x\nAT ONLINE * CANCEL-TIMER-MATCHED x\n");
    rig.event("ONLINE", "u@h");
    assert!(!rig.path("pipe").exists() && !rig.path("lock").exists());
    assert_eq!(rig.log_to_the_end(), Vec::<String>::new());
}

#[test]
fn a_command_of_a_cancel_starts_the_timer_process_if_it_must() {
    let rig = Rig::new("AT ONLINE * CANCEL-TIMER x back\n");
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "back|ONLINE|u@h|ONLINE of u@h");
    let mode = fs::metadata(rig.path("pipe")).unwrap();
    assert!(mode.file_type().is_socket());
    assert_eq!(mode.permissions().mode() & 0o777, 0o660);
}

#[test]
fn after_a_killed_timer_process_the_next_client_starts_another() {
    let rig = Rig::new("AT ONBATT * START-TIMER x 60\nAT ONLINE * CANCEL-TIMER x gone\n");
    rig.event("ONBATT", "u@h");
    rig.signal(Signal::SIGKILL);
    // Socket, lock file and PID file are left behind; what was pending is lost, so there is nothing to cancel.
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "gone|ONLINE|u@h|ONLINE of u@h");
    assert_eq!(starts(&rig.log_until("Cancel x")), 2);
}

#[test]
fn clients_get_through_while_timer_processes_are_killed() {
    let rules: String = (0..30).map(|nth| format!("AT ONBATT u{nth}@h START-TIMER t{nth} 600\n")).collect();
    let rig = Rig::new(&rules);
    let mut clients: Vec<_> =
        (0..30).map(|nth| rig.client("ONBATT", &format!("u{nth}@h")).spawn().unwrap()).collect();
    for _ in 0..3 {
        for _ in 0..5 {
            rig.log_until("New timer: ");
        }
        kill_holder(&rig.path("lock"));
    }
    for client in &mut clients {
        assert!(client.wait().unwrap().success());
    }
    rig.event("ONBATT", "u0@h");
    assert!(rig.list().status.success());
}

#[test]
fn a_timer_process_told_to_end_says_what_is_lost_and_cleans_up() {
    let mut rig = Rig::new("AT ONBATT * START-TIMER late 60\nAT ONBATT * START-TIMER soon 50\n");
    rig.event("ONBATT", "u@h");
    assert!(rig.path("upssched.pid").exists());
    rig.signal(Signal::SIGTERM);
    let log = rig.log_to_the_end();
    assert_eq!(log.last().unwrap(), "Signal 15: exiting; lost timers (2): soon, late");
    for name in ["pipe", "lock", "upssched.pid"] {
        assert!(!rig.path(name).exists(), "{name}");
    }
}

/// NUT 2.8.0's turns round and round from its first client on.
#[test]
fn waiting_costs_no_processor_time() {
    let rig = Rig::new("AT ONBATT * START-TIMER long 3600\nAT ONBATT * START-TIMER short 3\n");
    rig.event("ONBATT", "u@h");
    // In hundredths of a second, from its start on.
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", rig.timer_process())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    assert_eq!(rig.call(), "short|ONBATT|u@h|ONBATT of u@h");
    // Three seconds are three hundred.
    let took = ticks() - before;
    assert!(took <= 20, "{took}");
}

#[test]
fn it_ends_by_itself_when_nothing_is_left_to_wait_for() {
    let mut rig = Rig::new("AT ONBATT * START-TIMER now 0\n");
    // Measured from before it is there: load can only make that longer.
    let began = clock::now();
    rig.event("ONBATT", "u@h");
    let log = rig.log_to_the_end();
    assert_eq!(log.last().unwrap(), "Timer queue empty, exiting");
    let lived = clock::now().since(began);
    assert!(lived > Duration::from_secs(13), "{lived:?}");
    for name in ["pipe", "lock", "upssched.pid"] {
        assert!(!rig.path(name).exists(), "{name}");
    }
}

#[test]
fn who_comes_at_the_very_end_is_served() {
    let rig = Rig::new(
        "AT ONBATT * START-TIMER now 0\nAT REPLBATT * START-TIMER x 60\nAT REPLBATT * CANCEL-TIMER x\n",
    );
    rig.event("REPLBATT", "u@h");
    // Its time runs out while it is held; a client stands in the queue when it goes on.
    rig.signal(Signal::SIGSTOP);
    let mut client = rig.say("START \"late\" \"1\" \"ONBATT\" \"v@h\" \"m\"\n");
    let quiet = rig.told.recv_timeout(Duration::from_secs(16));
    assert_eq!(quiet, Err(RecvTimeoutError::Timeout));
    rig.signal(Signal::SIGCONT);
    let mut answer = [0; 3];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"OK\n");
    assert_eq!(rig.call(), "late|ONBATT|v@h|m");
    drop(client);
    // It had begun to end, and can be reached again.
    rig.event("ONBATT", "w@h");
    assert_eq!(rig.call(), "now|ONBATT|w@h|ONBATT of w@h");
    let log = rig.log_until("Event: late ");
    assert!(log.contains(&"Timer queue empty, exiting".to_owned()), "{log:#?}");
    assert_eq!(starts(&log), 1);
}

#[test]
fn what_an_impatient_client_left_is_not_done_twice() {
    let rig = Rig::new("AT ONBATT * START-TIMER x 60\n");
    rig.event("ONBATT", "u@h");
    rig.signal(Signal::SIGSTOP);
    drop(rig.say("START \"twice\" \"0\"\n"));
    let mut again = rig.say("START \"twice\" \"0\"\n");
    // He says no more, but he listens.
    again.shutdown(Shutdown::Write).unwrap();
    rig.signal(Signal::SIGCONT);
    let mut answer = String::new();
    again.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "OK\n");
    assert_eq!(rig.call(), "twice|||");
    rig.event("ONBATT", "v@h");
    let log = rig.log_until("New timer: x (60 seconds)");
    assert_eq!(log.len(), 2, "{log:#?}");
    let log = rig.log_until("New timer: x (60 seconds)");
    assert!(
        log.contains(&"a client left before its request was taken: nothing is started for it".to_owned()),
        "{log:#?}"
    );
    assert_eq!(log.iter().filter(|line| *line == "Event: twice ").count(), 1, "{log:#?}");
}

/// NUT's clients wait on one connection for as long as it takes.
#[test]
fn an_order_keeps_its_place_while_the_timer_process_stands_still() {
    let rig = Rig::new(
        "AT COMMBAD * START-TIMER keep 600\nAT ONBATT * START-TIMER early 600\nAT ONLINE * CANCEL-TIMER early\n",
    );
    rig.event("COMMBAD", "u@h");
    rig.signal(Signal::SIGSTOP);
    let mut outage = rig.client("ONBATT", "u@h").spawn().unwrap();
    // Longer than five seconds, after which ours came back behind the other one.
    let quiet = |secs| rig.told.recv_timeout(Duration::from_secs(secs)) == Err(RecvTimeoutError::Timeout);
    assert!(quiet(3));
    let mut back = rig.client("ONLINE", "u@h").spawn().unwrap();
    assert!(quiet(4));
    rig.signal(Signal::SIGCONT);
    for client in [&mut outage, &mut back] {
        assert!(client.wait().unwrap().success());
    }
    let log = rig.log_until("Cancelling timer: early");
    assert!(!log.iter().any(|line| line.contains("trying again")), "{log:#?}");
    let output = rig.list();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("keep\t") && text.lines().count() == 1, "{text}");
}

#[test]
fn a_cancel_waits_for_a_timer_that_is_about_to_be_started() {
    let rig = Rig::new("");
    let conf = "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/later/pipe\nLOCKFN DIR/lock\n\
        AT ONBATT * START-TIMER early 600\nAT ONLINE * CANCEL-TIMER early\n";
    rig.configure(conf);
    let mut outage = rig.client("ONBATT", "u@h").spawn().unwrap();
    rig.log_until("; trying again");
    // It is tried for some eight seconds; the machine may be so slow that these are over, and then nothing is to be seen.
    let mut back = rig.client("ONLINE", "u@h").spawn().unwrap();
    let waits = |line: String| line.contains("a timer of another notice is about to be started");
    while back.try_wait().unwrap().is_none() {
        if rig.log.recv_timeout(Duration::from_millis(50)).is_ok_and(waits) {
            break;
        }
    }
    fs::create_dir(rig.path("later")).unwrap();
    let started = outage.wait().unwrap().success();
    assert!(back.wait().unwrap().success());
    let output = rig.list();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{started}");
    if started {
        let is_void = |line: &str| {
            line == "Cancelling timer: early"
                || line == "Timer early is not started: a later notice has cancelled it already"
        };
        while !is_void(&rig.log.recv_timeout(PATIENCE).expect("it is told in time")) {}
    }
}

#[test]
fn with_too_few_descriptors_it_says_so() {
    let played: Vec<_> = [6, 7, 8]
        .into_iter()
        .map(|limit| {
            let rig = Rig::new("AT ONBATT * START-TIMER t 600\n");
            let mut client = rig.command_of(Path::new("/bin/sh"));
            client.env("NOTIFYTYPE", "ONBATT").env("UPSNAME", "u@h");
            client.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" text"));
            let client = client.arg(env!("CARGO_BIN_EXE_upssched")).spawn().unwrap();
            (limit, rig, client)
        })
        .collect();
    for (limit, rig, mut client) in played {
        let code = client.wait().unwrap().code();
        // A panic ends with another code.
        assert_eq!(code, Some(1), "{limit}");
        rig.log_until("cannot wait for anything: the system refuses what is needed for it");
    }
}

/// Nobody waits for himself.
#[test]
fn a_cancel_below_a_timer_that_cannot_be_started_does_not_wait_for_that() {
    let rig = Rig::new("");
    let rules = "AT ONBATT * START-TIMER t 600\nAT ONBATT * CANCEL-TIMER x\nAT ONBATT * START-TIMER u 600\n";
    rig.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/none/pipe\nLOCKFN DIR/lock\n{rules}"));
    assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1));
    let log: Vec<String> = (0..3).flat_map(|_| rig.log_until("cannot start the timer process")).collect();
    assert!(!log.iter().any(|line| line.contains("of another notice")), "{log:#?}");
}

/// Nor do two for each other: seen is only who waits for nobody.
#[test]
fn clients_that_cancel_and_start_do_not_wait_for_each_other() {
    let rig = Rig::new("AT ONBATT * CANCEL-TIMER back\nAT ONBATT * START-TIMER out 600\n");
    // As somebody would be seen who is about to set a timer, until all of them have seen him.
    let other = File::open(&rig.dir).unwrap();
    other.lock_shared().unwrap();
    let mut clients = ["a@h", "b@h", "c@h", "d@h"].map(|ups| rig.client("ONBATT", ups).spawn().unwrap());
    for _ in &clients {
        rig.log_until("a timer of another notice is about to be started");
    }
    drop(other);
    for client in &mut clients {
        assert!(client.wait().unwrap().success(), "{:#?}", rig.log.try_iter().collect::<Vec<_>>());
    }
    assert_eq!(String::from_utf8(rig.list().stdout).unwrap().lines().count(), 4);
}

#[test]
fn where_there_can_be_no_lock_no_timer_comes_later() {
    let rig = Rig::new("");
    let conf = "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/later/lock\n\
        AT ONBATT * START-TIMER early 0\nAT ONLINE * CANCEL-TIMER early\n";
    rig.configure(conf);
    assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1));
    rig.event("ONLINE", "u@h");
    let log = rig.log_until("cannot use LOCKFN");
    // It is told at once, and not tried again: nobody could see it wait.
    assert!(log.len() == 1 && !log[0].contains("trying again"), "{log:#?}");
}

#[test]
fn a_cancel_that_was_handed_over_counts_though_its_client_is_gone() {
    let rig = Rig::new("AT ONBATT * START-TIMER early 600\n");
    rig.event("ONBATT", "u@h");
    rig.signal(Signal::SIGSTOP);
    drop(rig.say("CANCEL \"early\" \"\" \"ONLINE\" \"u@h\" \"back\"\n"));
    drop(rig.say("CANCEL \"early\" \"command\" \"ONLINE\" \"u@h\" \"back\"\n"));
    rig.signal(Signal::SIGCONT);
    let log = rig.log_until("nothing is started for it");
    assert!(log.contains(&"Cancelling timer: early".to_owned()), "{log:#?}");
    assert_eq!(rig.list().stdout, b"");
}

#[test]
fn a_lockfn_that_holds_something_costs_the_timers_and_not_the_file() {
    let rig = Rig::new("");
    fs::write(rig.path("mine"), "worth something\n").unwrap();
    for name in ["mine", "upssched.conf", "dispatch"] {
        let conf = format!(
            "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/{name}\nAT ONBATT * START-TIMER t 0\nAT ONBATT * EXECUTE now\n"
        );
        rig.configure(&conf);
        let before = fs::read(rig.path(name)).unwrap();
        assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1), "{name}");
        assert_eq!(rig.call(), "now|ONBATT|u@h|ONBATT of u@h");
        rig.log_until("holds something else, so it is left as it is");
        assert_eq!(fs::read(rig.path(name)).unwrap(), before, "{name}");
    }
}

#[test]
fn two_files_with_one_lockfn_do_not_mix_their_timers() {
    let (one, two) = (Rig::new(""), Rig::new(""));
    let rules = "AT ONBATT * START-TIMER t 600\nAT ONLINE * CANCEL-TIMER t\nAT COMMBAD * START-TIMER now 0\n";
    one.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n{rules}"));
    let lock = one.path("lock").display().to_string();
    two.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN {lock}\n{rules}"));
    one.event("ONBATT", "a@one");
    // Nothing of the other one is there to be cancelled.
    two.event("ONLINE", "b@two");
    let upses = |rig: &Rig| -> Vec<String> {
        let text = String::from_utf8(rig.list().stdout).unwrap();
        text.lines().map(|line| line.split('\t').nth(4).unwrap().to_owned()).collect()
    };
    assert_eq!((upses(&one), upses(&two)), (vec!["a@one".to_owned()], vec![]));
    two.event("ONBATT", "b@two");
    assert_eq!((upses(&one), upses(&two)), (vec!["a@one".to_owned()], vec!["b@two".to_owned()]));
    // Each runs its own script.
    two.event("COMMBAD", "b@two");
    assert_eq!(two.call(), "now|COMMBAD|b@two|COMMBAD of b@two");
    two.event("ONLINE", "b@two");
    assert_eq!((upses(&one), upses(&two)), (vec!["a@one".to_owned()], vec![]));
    // A changed PIPEFN leads to nobody else's timers either, and still to one's own.
    two.event("ONBATT", "b@two");
    two.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/new\nLOCKFN {lock}\n{rules}"));
    two.event("ONLINE", "b@two");
    assert_eq!((upses(&one), upses(&two)), (vec!["a@one".to_owned()], vec![]));
}

#[test]
fn what_older_programs_left_behind_is_no_hindrance() {
    let rig = Rig::new("AT ONBATT * START-TIMER now 0\n");
    // A socket nobody listens on, and NUT's lock: a file that nobody may open.
    drop(UnixListener::bind(rig.path("pipe")).unwrap());
    fs::write(rig.path("lock"), "").unwrap();
    fs::set_permissions(rig.path("lock"), Permissions::from_mode(0o000)).unwrap();
    let program = rig.path("upssched");
    fs::copy(env!("CARGO_BIN_EXE_upssched"), &program).unwrap();
    let mut client = rig.command_of(&program);
    client.env("NOTIFYTYPE", "ONBATT").env("UPSNAME", "u@h");
    if Uid::current().is_root() {
        // To root no file is closed: be somebody else.
        let (nobody, nogroup) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
        for name in ["", "pipe", "lock", "told", "dispatch", "upssched.conf"] {
            chown(&rig.path(name), Some(nobody), Some(nogroup)).unwrap();
        }
        client.uid(nobody.as_raw()).gid(nogroup.as_raw());
    }
    let output = client.stdout(Stdio::null()).status().unwrap();
    assert!(output.success(), "{:?}", rig.log.try_iter().collect::<Vec<_>>());
    assert_eq!(rig.call(), "now|ONBATT|u@h|");
}

#[test]
fn a_removed_socket_is_made_again_for_the_next_client() {
    let rig = Rig::new("AT ONBATT * START-TIMER x 60\n");
    rig.event("ONBATT", "u@h");
    fs::remove_file(rig.path("pipe")).unwrap();
    rig.event("ONBATT", "v@h");
    let text = String::from_utf8(rig.list().stdout).unwrap();
    let upses: Vec<&str> = text.lines().map(|line| line.split('\t').nth(4).unwrap()).collect();
    assert_eq!(upses, ["u@h", "v@h"]);
}

#[test]
fn the_list_shows_six_columns_or_that_there_is_nobody() {
    let rig = Rig::new("AT ONBATT * START-TIMER-SHARED x 600\n");
    let output = rig.list();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(rig.log_until("not running"), ["upssched timer is not running"]);
    rig.event("ONBATT", "u@h");
    rig.event("ONBATT", "v@h");
    let output = rig.list();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let columns: Vec<&str> = text.trim_end_matches('\n').split('\t').collect();
    let deadline: u64 = columns[1].parse().unwrap();
    let left: u64 = columns[2].parse().unwrap();
    assert!((500..=600).contains(&left), "{text}");
    assert!(deadline.abs_diff(clock::wall().unix_secs() + left) <= 2, "{text}");
    assert_eq!((columns[0], &columns[3..]), ("x", &["ONBATT", "u@h,v@h", "ONBATT of u@h,ONBATT of v@h"][..]));
}

#[test]
fn requests_that_make_no_sense_disturb_nobody() {
    let rig = Rig::new("AT ONBATT * START-TIMER x 60\n");
    rig.event("ONBATT", "u@h");
    let mut rubbish = rig.say("HELLO\nSTART x\nSTART \"y\" \"-5\"\nLIST-TIMERS\n");
    rubbish.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    rubbish.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.by_ref().take(4).collect::<Vec<_>>(),
        ["ERR UNKNOWN", "ERR UNKNOWN", "OK", "BEGIN LIST TIMERS"]
    );
    assert!(lines.next().unwrap().starts_with("x\t"));
    assert_eq!(lines.collect::<Vec<_>>(), ["END LIST TIMERS", "OK"]);
    let mut endless = rig.say(&"x".repeat(60_000));
    endless.write_all(b"\n").unwrap();
    let mut answer = [0; 12];
    endless.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ERR UNKNOWN\n");
    let log = rig.log_until("Parse error on sock: the line is longer than 8192 bytes");
    assert!(log.contains(&"Unknown command on socket: arg 0: HELLO".to_owned()), "{log:#?}");
    assert!(log.contains(&"bogus offset for timer, ignoring".to_owned()), "{log:#?}");
}

#[test]
fn without_its_variables_it_says_so_and_fails() {
    let rig = Rig::new("");
    for variable in ["UPSNAME", "NOTIFYTYPE"] {
        let output = rig.command().env(variable, "x").stdout(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "Error: environment variables UPSNAME and NOTIFYTYPE must be set.\n\
             This program should only be run from upsmon(8).\n"
        );
    }
    let output = rig.command().arg("-V").stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"Network UPS Tools upssched "));
    assert_eq!(rig.command().arg("-Z").stdout(Stdio::null()).status().unwrap().code(), Some(1));
}

// Scenario E9.
#[test]
fn a_line_above_its_settings_ends_the_file_there() {
    let rig = Rig::new("");
    rig.configure(
        "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nUNHEARD of\n\
         AT REPLBATT x@y EXECUTE other\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE never\n",
    );
    let output = rig.client("ONBATT", "u@h").stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"LOCKFN must be set before any ATs in the config file!\n");
    let log = rig.log_until("LOCKFN must be set");
    assert!(
        log.iter().any(|line| line.contains("upssched.conf:3:1: ") && line.contains("UNHEARD")),
        "{log:#?}"
    );
    rig.configure(
        "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nUNHEARD of\nAT ONBATT * EXECUTE now\n",
    );
    rig.event("ONBATT", "u@h");
    assert_eq!(rig.call(), "now|ONBATT|u@h|ONBATT of u@h");
}

#[test]
fn what_cannot_work_is_said_and_costs_no_other_line() {
    let rig = Rig::new("");
    fs::write(rig.path("pipe"), "no socket").unwrap();
    rig.configure(
        "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n\
         AT ONBATT * START-TIMER x 5\nAT ONBATT * EXECUTE now\n\
         CMDSCRIPT DIR/missing\nAT ONBATT * EXECUTE missing\n",
    );
    assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1));
    assert_eq!(rig.call(), "now|ONBATT|u@h|ONBATT of u@h");
    // Scripts and timers do not wait for each other, so neither do their lines.
    let mut log = Vec::new();
    let missing = format!("exec_cmd({} missing) ended with code 127", rig.path("missing").display());
    // The shell that looks for the script writes in pieces, and ours may come between two of them.
    let in_vain = |line: &&String| line.contains("cannot start the timer process: ");
    while log.iter().filter(in_vain).count() < 2 || !log.iter().any(|line: &String| line.contains(&missing)) {
        log.extend(rig.log_until(" "));
    }
    // It is tried several times, and told once, and once more when it is given up.
    let told: Vec<&String> = log.iter().filter(in_vain).collect();
    assert!(
        told.iter().all(|line| line.contains("is there already and is no socket: move it away")),
        "{log:#?}"
    );
    assert_eq!(told.iter().map(|line| line.ends_with("; trying again")).collect::<Vec<_>>(), [true, false]);
    assert_eq!(fs::read_to_string(rig.path("pipe")).unwrap(), "no socket");

    fs::remove_file(rig.path("upssched.conf")).unwrap();
    assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1));
    let expected = format!("Can't open {}: No such file or directory", rig.path("upssched.conf").display());
    assert!(rig.log_until("Can't open").last().unwrap().starts_with(&expected));
}

#[test]
fn what_is_told_does_not_wait_for_a_script_and_scripts_wait_for_each_other() {
    let rig = Rig::new(
        "AT ONBATT * EXECUTE slow\nAT ONBATT * START-TIMER t 0\nAT ONBATT * EXECUTE second\n\
         AT ONLINE * EXECUTE slow\nAT ONLINE * CANCEL-TIMER long\nAT REPLBATT * START-TIMER long 60\n",
    );
    let mut client = rig.client("ONBATT", "u@h").spawn().unwrap();
    let mut calls = [rig.call(), rig.call()];
    calls.sort();
    assert_eq!(calls, ["slow|ONBATT|u@h|ONBATT of u@h", "t|ONBATT|u@h|ONBATT of u@h"]);
    assert!(client.try_wait().unwrap().is_none(), "it waits for its scripts");
    fs::write(rig.path("gate"), "go\n").unwrap();
    assert_eq!(rig.call(), "second|ONBATT|u@h|ONBATT of u@h");
    assert!(client.wait().unwrap().success());
    // So the hanging mail of an outage's end keeps no timer from its cancel.
    rig.event("REPLBATT", "u@h");
    let mut client = rig.client("ONLINE", "u@h").spawn().unwrap();
    rig.log_until("Cancelling timer: long");
    fs::write(rig.path("gate"), "go\n").unwrap();
    assert!(client.wait().unwrap().success());
}

#[test]
fn what_comes_due_while_nothing_runs_can_still_be_cancelled() {
    let rig = Rig::new("AT ONBATT * START-TIMER early 12\nAT ONLINE * CANCEL-TIMER early back\n");
    rig.event("ONBATT", "u@h");
    rig.signal(Signal::SIGSTOP);
    let quiet = rig.told.recv_timeout(Duration::from_secs(19));
    assert_eq!(quiet, Err(RecvTimeoutError::Timeout));
    rig.signal(Signal::SIGCONT);
    // It has seen that it is late before anybody asks for anything.
    rig.log_until("wait 15 s more: early");
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.log_until("early").last().unwrap(), "Cancelling timer: early");
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "back|ONLINE|u@h|ONLINE of u@h");
}

#[test]
fn a_timers_script_sees_nothing_of_the_notice_that_started_the_process() {
    let rig = Rig::new("");
    let script = "printf '%s|%s|%s\\n' \"$1\" \"$NOTIFYTYPE\" \"${NOTIFYREASON-none}\" > DIR/told\n";
    fs::write(rig.path("reason"), script.replace("DIR", &rig.dir.display().to_string())).unwrap();
    rig.configure(
        "CMDSCRIPT /bin/sh DIR/reason\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n\
         AT SHUTDOWN * EXECUTE now\nAT SHUTDOWN * START-TIMER first 0\nAT ONBATT * START-TIMER second 0\n",
    );
    let mut client = rig.client("SHUTDOWN", "");
    assert!(client.env("NOTIFYREASON", "too few supplies").status().unwrap().success());
    let mut calls = [rig.call(), rig.call()];
    calls.sort();
    assert_eq!(calls, ["first|SHUTDOWN|none", "now|SHUTDOWN|too few supplies"]);
    rig.event("ONBATT", "u@h");
    assert_eq!(rig.call(), "second|ONBATT|none");
}

#[test]
fn what_holds_nothing_gives_way_to_the_socket() {
    for kind in ["fifo", "empty", "link"] {
        let rig = Rig::new("AT ONBATT * START-TIMER now 0\n");
        let pipe = rig.path("pipe");
        match kind {
            // As its name asks for.
            "fifo" => mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap(),
            "empty" => fs::write(&pipe, "").unwrap(),
            _ => std::os::unix::fs::symlink(rig.path("elsewhere"), &pipe).unwrap(),
        }
        rig.event("ONBATT", "u@h");
        assert_eq!(rig.call(), "now|ONBATT|u@h|ONBATT of u@h", "{kind}");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_socket());
    }
}

#[test]
fn a_socket_path_that_cannot_be_costs_only_the_timers() {
    let rig = Rig::new("");
    let name = "p".repeat(120);
    let rules = "AT ONBATT * START-TIMER t 5\nAT ONBATT * EXECUTE now\n";
    rig.configure(&format!("CMDSCRIPT DIR/dispatch\nPIPEFN DIR/{name}\nLOCKFN DIR/lock\n{rules}"));
    assert_eq!(rig.client("ONBATT", "u@h").status().unwrap().code(), Some(1));
    assert_eq!(rig.call(), "now|ONBATT|u@h|ONBATT of u@h");
    let path = rig.path(&name).display().to_string();
    let nuts = format!(
        "Can't create a unix domain socket: pathname '{path}' is too long ({}) for 'struct sockaddr_un->sun_path' on this system (108)",
        path.len()
    );
    let log = rig.log_until("Can't create");
    assert_eq!(log.last(), Some(&nuts), "{log:#?}");
}

#[test]
fn a_changed_pipefn_leaves_no_timer_that_cannot_be_cancelled() {
    let rig = Rig::new("AT ONBATT * START-TIMER early 60\n");
    rig.event("ONBATT", "u@h");
    let elsewhere = "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/new\nLOCKFN DIR/lock\n\
        AT ONLINE * CANCEL-TIMER early\nAT ONBATT * START-TIMER then 1\n";
    rig.configure(elsewhere);
    rig.event("ONLINE", "u@h");
    rig.event("ONBATT", "u@h");
    assert_eq!(rig.call(), "then|ONBATT|u@h|ONBATT of u@h");
    let log = rig.log_until("Event: ");
    assert!(log.contains(&"Cancelling timer: early".to_owned()), "{log:#?}");
    assert_eq!((starts(&log), rig.path("new").exists()), (1, false), "{log:#?}");
    // Once it has ended, the next one listens where the file says.
    rig.signal(Signal::SIGTERM);
    rig.log_until("Signal 15: exiting");
    rig.event("ONBATT", "u@h");
    assert_eq!(rig.call(), "then|ONBATT|u@h|ONBATT of u@h");
    assert!(rig.path("new").exists());
}

#[test]
fn two_pipes_are_two_timer_processes_also_with_one_lock() {
    let rig = Rig::new(
        "AT ONBATT * START-TIMER first 600\nPIPEFN DIR/pipe2\nCMDSCRIPT DIR/dispatch lead\n\
         AT ONBATT * START-TIMER second 600\nAT ONBATT * START-TIMER third 0\nAT ONLINE * CANCEL-TIMER first\n",
    );
    rig.event("ONBATT", "u@h");
    // Each runs the script of the line that started it.
    assert_eq!(rig.call(), "lead|ONBATT|u@h|ONBATT of u@h");
    rig.event("ONLINE", "u@h");
    let output = rig.list();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["first", "second"], "the cancel stood below the other pipe");
    assert_ne!(signed(&rig.path("lock")), signed(&rig.path("lock.2")));
}

#[test]
fn the_timer_process_has_left_everything_of_its_starter() {
    let rig = Rig::new("");
    // What the script finds: where it is, and what its descriptors are.
    let script = "{ pwd; for fd in /proc/$$/fd/*; do echo \"${fd##*/} $(readlink \"$fd\")\"; done; echo end; } > DIR/told\n";
    fs::write(rig.path("look"), script.replace("DIR", &rig.dir.display().to_string())).unwrap();
    rig.configure(
        "CMDSCRIPT /bin/sh DIR/look\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n\
         AT ONBATT * START-TIMER long 600\nAT ONBATT * START-TIMER now 0\n",
    );
    let mut client = rig.client("ONBATT", "u@h");
    client.env("NUT_DEBUG_SYSLOG", "none").current_dir(&rig.dir);
    assert!(client.status().unwrap().success());
    assert_eq!(rig.call(), rig.dir.display().to_string(), "as in NUT it stays where it was started");
    let found: Vec<String> = std::iter::repeat_with(|| rig.call()).take_while(|line| line != "end").collect();
    assert!(found.contains(&"0 /dev/null".to_owned()), "{found:?}");
    assert!(!found.iter().any(|line| line.contains("socket:") || line.contains("lock")), "{found:?}");
    let pid = rig.timer_process();
    assert_eq!(nix::unistd::getsid(Some(pid)).unwrap(), pid);
    for fd in 0..=2 {
        let to = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
        assert_eq!(to, Path::new("/dev/null"), "{fd}");
    }
}

#[test]
fn with_debugging_the_timer_process_keeps_standard_error() {
    let rig = Rig::new("AT ONBATT * START-TIMER long 600\n");
    let mut client = rig.client("ONBATT", "u@h");
    client.env("NUT_DEBUG_SYSLOG", "none");
    // The options stand before the text.
    let mut with = rig.command();
    with.env("NUT_DEBUG_SYSLOG", "none")
        .env("NOTIFYTYPE", "ONBATT")
        .env("UPSNAME", "u@h")
        .args(["-D", "text"]);
    assert!(with.status().unwrap().success());
    rig.log_until("New timer: long (600 seconds)");
    assert!(client.status().unwrap().success());
    rig.log_until("New timer: long (600 seconds)");
}

#[test]
fn the_debug_level_is_that_of_the_option_the_variable_or_the_file() {
    let rig = Rig::new("");
    let conf = "CMDSCRIPT DIR/dispatch\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONLINE * CANCEL-TIMER x\nAT ONLINE * EXECUTE now\n";
    for (variable, option, file, speaks) in [
        ("0", None, "", false),
        ("1", None, "", true),
        ("0", Some("-D"), "", true),
        ("0", None, "DEBUG_MIN 1\n", true),
    ] {
        rig.configure(&format!("{file}{conf}"));
        let mut client = rig.command();
        client.env("NOTIFYTYPE", "ONLINE").env("UPSNAME", "u@h").env("NUT_DEBUG_LEVEL", variable);
        assert!(client.args(option).arg("text").status().unwrap().success());
        assert_eq!(rig.call(), "now|ONLINE|u@h|text");
        // The client has ended, so all it said is in the pipe.
        let log = rig.log_until("Executing command: now");
        let rest = std::iter::from_fn(|| rig.log.recv_timeout(Duration::from_millis(200)).ok());
        let log: Vec<String> = log.into_iter().chain(rest).collect();
        let told = log.iter().any(|line| line.contains("there is nothing to cancel"));
        assert_eq!(told, speaks, "{variable} {option:?} {file}: {log:?}");
    }
}

#[test]
fn an_edited_cmdscript_counts_at_once_for_execute_and_with_the_next_process_for_timers() {
    let rig = Rig::new("AT ONBATT * START-TIMER long 600\n");
    rig.event("ONBATT", "u@h");
    let rules = "AT ONLINE * EXECUTE now\nAT COMMBAD * START-TIMER timer 0\n";
    rig.configure(&format!("CMDSCRIPT DIR/dispatch lead\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n{rules}"));
    rig.event("ONLINE", "u@h");
    assert_eq!(rig.call(), "lead|ONLINE|u@h|ONLINE of u@h");
    rig.event("COMMBAD", "u@h");
    assert_eq!(rig.call(), "timer|COMMBAD|u@h|COMMBAD of u@h");
    rig.signal(Signal::SIGTERM);
    rig.log_until("Signal 15: exiting");
    rig.event("COMMBAD", "u@h");
    assert_eq!(rig.call(), "lead|COMMBAD|u@h|COMMBAD of u@h");
}

#[test]
fn a_script_that_fails_or_says_much_is_told_and_changes_nothing() {
    let rig = Rig::new("");
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done; exit 3\n";
    fs::write(rig.path("much"), script).unwrap();
    rig.configure(
        "CMDSCRIPT /bin/sh DIR/much\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE now\n\
         CMDSCRIPT DIR/dispatch\nAT ONBATT * EXECUTE then\n",
    );
    let mut client = rig.client("ONBATT", "u@h");
    assert!(client.stdout(Stdio::null()).status().unwrap().success());
    assert_eq!(rig.call(), "then|ONBATT|u@h|ONBATT of u@h");
    let log = rig.log_until("Executing command: then");
    let returned = format!("exec_cmd(/bin/sh {} now) returned 3", rig.path("much").display());
    assert!(log.contains(&returned) && log.len() < 20, "{log:#?}");
}
