//! The root half: writes the power-down flag and runs `SHUTDOWNCMD`. It reads no network and no file any more.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::{Child, ExitCode, ExitStatus};
use std::time::Duration;

use nut_conf::upsmon_conf::UpsmonConf;
use nut_os::daemon::{
    Order, Orphans, Ours, ProcessId, ReadySignal, Signal, Signals, Watchdog, notify_watchdog, signal,
};
use nut_os::files::FileError;
use nut_os::hook::{Hook, HookEnd};
use nut_os::log::Chain;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::link::{FromParent, ToParent};
use crate::shell::aside::Aside;
use crate::shell::flag::{self, Flag};

/// How long writing the flag may take before the command is run without it: a disk that hangs must not keep the host up.
const FLAG_PATIENCE: Duration = Duration::from_secs(10);

/// How long noting which boot it belongs to may take: that is for another day.
const MARK_PATIENCE: Duration = Duration::from_secs(2);

/// How long to wait before a command is tried again for which no process or no memory was to be had.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is tried: with [`PAUSE`] between, for five minutes. Then it has failed, which is told, and the host stays up.
const MAX_TRIES: u32 = 300;

/// What is done last, as read at the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastOrders {
    /// `POWERDOWNFLAG`; nothing if none is named, or the file is somebody else's.
    flag: Option<PathBuf>,
    /// Whether it could not be read at the start, so that it must be looked at again.
    is_doubtful: bool,
    /// `SHUTDOWNCMD` as one text for a shell.
    command: Option<String>,
}

impl LastOrders {
    /// As the configuration says. A flag file that is somebody else's is left alone from now on.
    #[must_use]
    pub fn new(conf: &UpsmonConf) -> Self {
        let (flag, is_doubtful) = match conf.power_down_flag.as_ref().map(PathBuf::from) {
            None => (None, false),
            Some(path) => match Flag::look(&path) {
                Flag::Absent | Flag::Set | Flag::Stale => (Some(path), false),
                Flag::Foreign(why) => {
                    let is_doubtful = flag::tell_foreign(&path, why.as_ref());
                    (is_doubtful.then_some(path), is_doubtful)
                }
            },
        };
        Self { flag, is_doubtful, command: shell_text(&conf.shutdown_command) }
    }

    /// Removes a flag that an earlier shutdown has left: this time the power is to stay.
    pub fn clear_flag(&self) {
        if let Some(path) = &self.flag {
            flag::clear(path);
        }
    }

    /// Writes the flag, then runs the command, and tells what came of it; the command's end is told last, and is told
    /// whatever happens: who waits for it must not wait for somebody who is gone.
    pub fn carry_out(
        self,
        speaker: &'static str,
        aside: Aside,
        reports: mpsc::Sender<FromParent>,
    ) -> JoinHandle<()> {
        let work = tokio::spawn(self.work(speaker, aside, reports.clone()));
        tokio::spawn(async move {
            if let Err(error) = work.await {
                error!(%error, "{speaker}what stops this host has failed");
                let _ = reports.send(FromParent::NotRun).await;
            }
        })
    }

    async fn work(self, speaker: &'static str, mut aside: Aside, reports: mpsc::Sender<FromParent>) {
        // Nobody may be listening any more; what must be done is done all the same.
        if let Some(path) = self.flag {
            match write_flag(&mut aside, path.clone(), self.is_doubtful).await {
                Ok(()) => {
                    let _ = aside.run(MARK_PATIENCE, move || flag::write_mark(&path)).await;
                }
                Err(error) => {
                    error!("Failed to create power down flag! {}", Chain(&error));
                    let _ = reports.send(FromParent::FlagFailed).await;
                }
            }
        }
        let Some(command) = self.command else {
            error!("{speaker}Unable to call shutdown command: (null)");
            let _ = reports.send(FromParent::NotRun).await;
            return;
        };
        let hook = Hook::shell(&command).called("SHUTDOWNCMD");
        let end = persist(speaker, PAUSE, || {
            let hook = hook.clone();
            async move { hook.run().await }
        })
        .await;
        if !end.is_success() {
            error!("{speaker}Unable to call shutdown command: {command} ({end})");
        }
        let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        let report = match end {
            HookEnd::Exited(code) => FromParent::Ended(byte(code)),
            HookEnd::Killed(signal) => FromParent::Killed(byte(signal)),
            HookEnd::TimedOut { .. } | HookEnd::NotStarted(_) => FromParent::NotRun,
        };
        let _ = reports.send(report).await;
    }
}

/// Runs it; again where it never ran for want of a process or of memory (a limit on this service, a container's, scripts
/// that have run wild): such a want passes, and the power does not wait.
async fn persist<F: Future<Output = HookEnd>>(
    speaker: &str,
    pause: Duration,
    mut run: impl FnMut() -> F,
) -> HookEnd {
    for tries in 1..MAX_TRIES {
        match run().await {
            HookEnd::NotStarted(error)
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory) =>
            {
                // Once: the log's process needs its turn, too.
                if tries == 1 {
                    error!(%error, "{speaker}SHUTDOWNCMD could not be started; it is tried again every {pause:?}");
                }
            }
            end => return end,
        }
        let _ = timeout(pause, std::future::pending::<()>()).await;
    }
    run().await
}

async fn write_flag(aside: &mut Aside, path: PathBuf, is_doubtful: bool) -> Result<(), FileError> {
    let late = FileError::Refused {
        doing: "write in time",
        path: path.clone(),
        source: io::ErrorKind::TimedOut.into(),
    };
    aside
        .run(FLAG_PATIENCE, move || if is_doubtful { flag::write_if_ours(&path) } else { flag::write(&path) })
        .await
        .unwrap_or(Err(late))
}

/// `SHUTDOWNCMD` as one text for a shell: its first word as it stands, further ones as arguments.
fn shell_text(words: &[String]) -> Option<String> {
    let (first, arguments) = words.split_first()?;
    let mut text = first.clone();
    for argument in arguments {
        text.push_str(" '");
        text.push_str(&argument.replace('\'', r"'\''"));
        text.push('\'');
    }
    Some(text)
}

/// Starts the other half by `start`, and waits for its word until it ends.
///
/// Gives the exit code: 0 after a shutdown that worked, or when we were told to stop; else 1, since then nobody watches
/// this host any more. Before the other half is ready its own code counts.
pub fn run(
    start: impl FnOnce() -> io::Result<(Child, StdStream)>,
    orders: LastOrders,
    ready: ReadySignal,
) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(start, orders, ready)));
    served.unwrap_or_else(|error| {
        error!(%error, "upsmon parent: the other half could not be started or heard");
        ExitCode::FAILURE
    })
}

async fn serve(
    start: impl FnOnce() -> io::Result<(Child, StdStream)>,
    orders: LastOrders,
    ready: ReadySignal,
) -> io::Result<ExitCode> {
    // From here on these signals do not end us.
    let mut signals = Signals::new()?;
    let mut orphans = Orphans::new()?;
    let aside = Aside::start();
    let (mut child, socket) = start()?;
    let _ours = Ours::new(Some(child.id()));
    socket.set_nonblocking(true)?;
    let (mut from_child, mut to_child) = UnixStream::from_std(socket)?.into_split();
    let (sender, mut reports) = mpsc::channel(4);
    let mut ready = Some(ready);
    let mut orders = Some(orders);
    let mut command = None;
    let mut was_carried_out = false;
    loop {
        let mut word = [0];
        tokio::select! {
            read = from_child.read(&mut word) => match (read, ToParent::parse(word[0])) {
                (Ok(1..), Some(ToParent::Ready)) => {
                    if let Some(ready) = ready.take() {
                        ready.ready();
                    }
                }
                (Ok(1..), Some(ToParent::ShutDown)) => match orders.take() {
                    Some(orders) => {
                        command = Some(orders.carry_out("upsmon parent: ", aside.clone(), sender.clone()));
                    }
                    None => warn!("upsmon parent: asked for a second shutdown; one is enough"),
                },
                (Ok(1..), None) => {
                    error!("upsmon parent: got bogus pipe command {:#04x}", word[0]);
                    return Ok(ExitCode::FAILURE);
                }
                (Ok(0) | Err(_), _) => break,
            },
            Some(report) = reports.recv() => {
                was_carried_out |= report == FromParent::Ended(0);
                // If it has ended meanwhile, that is seen at the next reading.
                let _ = to_child.write_all(&report.encode()).await;
            }
            () = orphans.taken_in() => {}
            signal = signals.next() => match signal {
                Signal::Stop { .. } => pass_on(&child, Order::Stop),
                // The service manager knows this half; the file is read by the other one.
                Signal::Reload => pass_on(&child, Order::Reload),
                // A forced shutdown is asked of the half in the PID file, and of nobody by mistake.
                Signal::User1 | Signal::User2 | Signal::Other { .. } => {}
            },
        }
    }
    let was_ordered = command.is_some();
    if let Some(command) = command {
        // The other half need not wait for the end of the command, but we must; and since it said for us that all is
        // well, we do now: a service manager that hears nothing would end the command with us.
        let mut command = command;
        let mut watchdog = Watchdog::new()?;
        loop {
            notify_watchdog();
            tokio::select! {
                _ = &mut command => break,
                () = watchdog.fired() => {}
                () = orphans.taken_in() => {}
                // Whoever wants us to stop now wants what we are doing.
                signal = signals.next() => if let Signal::Stop { number, .. } = signal {
                    warn!("upsmon parent: Signal {number}: not before SHUTDOWNCMD has ended");
                },
            }
        }
        while let Ok(report) = reports.try_recv() {
            was_carried_out |= report == FromParent::Ended(0);
        }
    }
    let status = child.wait()?;
    Ok(last_word(status, ready.is_some(), was_ordered.then_some(was_carried_out)))
}

/// What the end of the other half means for us. `carried_out` is nothing where nobody ordered a shutdown: then it ends well
/// only when it was told to, by us or by whoever told it himself.
fn last_word(status: ExitStatus, never_ready: bool, carried_out: Option<bool>) -> ExitCode {
    if never_ready {
        // It has said why, unless it was killed.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        if code.is_none() {
            error!("upsmon parent: read: the other half has ended ({status}) before it was ready");
        }
        return ExitCode::from(code.filter(|code| *code > 0).unwrap_or(1));
    }
    if carried_out.unwrap_or(status.success()) {
        info!("upsmon parent: the other half has ended: {status}");
        return ExitCode::SUCCESS;
    }
    error!("upsmon parent: read: the other half has ended ({status}); this host is not watched any more");
    ExitCode::FAILURE
}

/// Passes the wish on to the half that can log out in order, or read the file.
fn pass_on(child: &Child, order: Order) {
    let pid = i32::try_from(child.id()).ok().and_then(ProcessId::new);
    if let Some(Err(error)) = pid.map(|pid| signal(pid, order, &[])) {
        warn!(%error, "upsmon parent: cannot pass on the signal ({order:?})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::flag::MAGIC;
    use nut_drill::scratch::Scratch;
    use proptest::prelude::*;

    async fn carried_out(orders: LastOrders) -> Vec<FromParent> {
        let (sender, mut reports) = mpsc::channel(4);
        orders.carry_out("", Aside::start(), sender).await.unwrap();
        let mut all = Vec::new();
        while let Some(report) = reports.recv().await {
            all.push(report);
        }
        all
    }

    #[test]
    fn an_old_flag_is_removed_and_a_foreign_one_left_alone() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        let conf =
            UpsmonConf { power_down_flag: Some(path.to_str().unwrap().to_owned()), ..UpsmonConf::default() };
        std::fs::write(&path, MAGIC).unwrap();
        LastOrders::new(&conf).clear_flag();
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        let orders = LastOrders::new(&conf);
        orders.clear_flag();
        assert_eq!(orders.flag, None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    /// A disk may be back when the host must stop, and a file be gone.
    #[tokio::test]
    async fn a_flag_that_cannot_be_read_at_the_start_is_looked_at_again_before_it_is_written() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        let conf =
            UpsmonConf { power_down_flag: Some(path.to_str().unwrap().to_owned()), ..UpsmonConf::default() };
        let orders = || {
            // It leads to itself.
            std::os::unix::fs::symlink(&path, &path).unwrap();
            LastOrders { command: Some("true".into()), ..LastOrders::new(&conf) }
        };
        assert_eq!(carried_out(orders()).await, [FromParent::FlagFailed, FromParent::Ended(0)]);
        assert!(path.is_symlink());
        std::fs::remove_file(&path).unwrap();
        for (then, told, holds) in [
            (None, &[][..], MAGIC),
            (Some(&b"precious"[..]), &[FromParent::FlagFailed][..], &b"precious"[..]),
            (Some(MAGIC), &[][..], MAGIC),
        ] {
            let orders = orders();
            std::fs::remove_file(&path).unwrap();
            if let Some(then) = then {
                std::fs::write(&path, then).unwrap();
            }
            assert_eq!(carried_out(orders).await, [told, &[FromParent::Ended(0)]].concat(), "{then:?}");
            assert_eq!(std::fs::read(&path).unwrap(), holds, "{then:?}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// What the root half ends with if the other one is this piece of shell, whose standard input is the socket.
    fn ends_with(other_half: &str, orders: LastOrders) -> String {
        let start = || {
            let (ours, theirs) = StdStream::pair()?;
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", other_half]).stdin(std::os::fd::OwnedFd::from(theirs));
            Ok((command.spawn()?, ours))
        };
        let plan = nut_os::daemon::Plan {
            program: "upsmon".to_owned(),
            background: false,
            banner: None,
            args: None,
        };
        let Ok(nut_os::daemon::Started::Daemon(ready)) = nut_os::daemon::Daemon::start(&plan) else {
            panic!("in the foreground this is the daemon");
        };
        format!("{:?}", run(start, orders, ready))
    }

    #[test]
    fn nothing_but_its_two_words_moves_the_root_half() {
        let dir = Scratch::new();
        let (flag, ran) = (dir.path("flag"), dir.path("ran"));
        let command = format!("echo ran >> '{}'", ran.display());
        let orders = || LastOrders {
            flag: Some(flag.clone()),
            command: Some(command.clone()),
            ..LastOrders::default()
        };
        let (success, failure) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
        // The end of its input tells the other half that we are gone.
        for (says, expected) in [
            // Who ends well was told to.
            ("printf '\\002' >&0", &success),
            ("printf '\\002' >&0; exit 1", &failure),
            ("printf '\\002' >&0; kill -9 $$", &failure),
            ("printf '\\002\\177' >&0; cat", &failure),
            ("printf '\\002ShutDown' >&0; cat", &failure),
            ("printf '\\000' >&0; cat", &failure),
            ("printf '\\002\\003' >&0; cat", &failure),
        ] {
            assert_eq!(&ends_with(says, orders()), expected, "{says}");
            assert!(!flag.exists() && !ran.exists(), "{says}");
        }
        // Asked twice it does it once; the other half stays until it is told of the end.
        assert_eq!(ends_with("printf '\\002\\001\\001' >&0; head -c 2", orders()), success);
        assert_eq!(std::fs::read_to_string(&ran).unwrap(), "ran\n");
        assert_eq!(std::fs::read(&flag).unwrap(), MAGIC);
        // Who ends at once after the order has it carried out all the same, and a command that fails is no success.
        assert_eq!(ends_with("printf '\\002\\001' >&0", orders()), success);
        let fails = LastOrders { command: Some("exit 3".into()), ..LastOrders::default() };
        assert_eq!(ends_with("printf '\\002\\001' >&0; head -c 2", fails), failure);
        // Before it was ready its own code counts.
        assert_eq!(ends_with("exit 7", LastOrders::default()), format!("{:?}", ExitCode::from(7)));
    }

    #[test]
    fn further_words_of_the_command_are_arguments() {
        let words =
            |words: &[&str]| shell_text(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&[]), None);
        assert_eq!(words(&["/sbin/shutdown -h +0"]).unwrap(), "/sbin/shutdown -h +0");
        assert_eq!(words(&["/x", "a b", "it's", "$(id)"]).unwrap(), r"/x 'a b' 'it'\''s' '$(id)'");
    }

    #[tokio::test]
    async fn the_flag_is_there_before_the_command_runs() {
        let dir = Scratch::new();
        let (flag, seen) = (dir.path("flag"), dir.path("seen"));
        let command = format!("cp '{}' '{}'", flag.display(), seen.display());
        let orders = LastOrders { flag: Some(flag), command: Some(command), ..LastOrders::default() };
        assert_eq!(carried_out(orders).await, [FromParent::Ended(0)]);
        assert_eq!(std::fs::read(&seen).unwrap(), MAGIC);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever stood at its place, and however the command ends: it runs once, and finds the flag whole if one could
        /// be written.
        #[test]
        fn whatever_was_there_the_command_runs_once_and_behind_the_flag(
            before in 0usize..5,
            code in 0u8..=255,
            words in prop::collection::vec("[a-z $'\"]{1,6}", 0..3),
        ) {
            let dir = Scratch::new();
            let flag = if before == 4 { dir.path("no/flag") } else { dir.path("flag") };
            match before {
                1 => std::fs::write(&flag, MAGIC).unwrap(),
                2 => std::fs::write(&flag, [MAGIC, b"\nof another day"].concat()).unwrap(),
                3 => std::fs::write(&flag, "precious").unwrap(),
                _ => {}
            }
            // What it finds, and what it was given, a line for each run.
            let script = dir.path("command");
            let text = format!("(cat '{}'; echo; echo \"$@\") >>'{}' 2>/dev/null; exit {code}", flag.display(), dir.path("ran").display());
            std::fs::write(&script, text).unwrap();
            let command = format!("sh '{}'", script.display());
            let conf = UpsmonConf {
                power_down_flag: Some(flag.to_str().unwrap().to_owned()),
                shutdown_command: std::iter::once(command).chain(words.iter().cloned()).collect(),
                ..UpsmonConf::default()
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut told = runtime.block_on(carried_out(LastOrders::new(&conf)));
            prop_assert_eq!(told.pop(), Some(FromParent::Ended(code)));
            let failed: &[FromParent] = if before == 4 { &[FromParent::FlagFailed] } else { &[] };
            prop_assert_eq!(told, failed);
            let found = match before {
                3 => "precious",
                4 => "",
                _ => std::str::from_utf8(MAGIC).unwrap(),
            };
            let ran = std::fs::read_to_string(dir.path("ran")).unwrap();
            prop_assert_eq!(ran, format!("{found}\n{}\n", words.join(" ")));
        }
    }

    #[tokio::test]
    async fn a_command_for_which_there_is_no_process_is_tried_again() {
        let none = |kind: io::ErrorKind| HookEnd::NotStarted(kind.into());
        let busy = || none(io::ErrorKind::WouldBlock);
        for (mut ends, expected) in [
            (vec![busy(), none(io::ErrorKind::OutOfMemory), HookEnd::Exited(3)], "ended with code 3"),
            (vec![none(io::ErrorKind::NotFound)], "could not be started: entity not found"),
            ((0..MAX_TRIES).map(|_| busy()).collect(), "could not be started: operation would block"),
            (vec![HookEnd::Killed(9)], "was killed by signal 9"),
        ] {
            ends.reverse();
            let end = persist("", Duration::from_micros(1), || std::future::ready(ends.pop().unwrap())).await;
            assert_eq!((end.to_string().as_str(), ends.len()), (expected, 0));
        }
    }

    #[test]
    fn whatever_fails_in_us_the_end_is_told() {
        let dir = Scratch::new();
        // Where there is no clock, waiting with patience panics.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let orders = LastOrders {
            flag: Some(dir.path("flag")),
            command: Some("true".into()),
            ..LastOrders::default()
        };
        assert_eq!(runtime.block_on(carried_out(orders)), [FromParent::NotRun]);
    }

    #[tokio::test]
    async fn what_fails_is_told_and_the_command_runs_without_a_flag() {
        let dir = Scratch::new();
        let orders = LastOrders {
            flag: Some(dir.path("no/such/dir")),
            command: Some("exit 7".into()),
            ..LastOrders::default()
        };
        assert_eq!(carried_out(orders).await, [FromParent::FlagFailed, FromParent::Ended(7)]);
        assert_eq!(carried_out(LastOrders::default()).await, [FromParent::NotRun]);
        let killed = LastOrders { command: Some("kill -9 $$".into()), ..LastOrders::default() };
        assert_eq!(carried_out(killed).await, [FromParent::Killed(9)]);
    }
}
