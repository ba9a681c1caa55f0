//! The system log: notices, and what scripts and the command have to say, while upsmon is in the background.
//!
//! Nobody's `/dev/log` is touched: the program gets a `/dev` of its own, where it may have one.

use super::stage::{DEADLINE, PROGRAM, Stage, is_root, kill};
use super::upsd::Upsd;
use nut_os::clock;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

/// Runs what follows with a `/dev` that holds three devices, and the socket `log` of the directory if it is there.
const OWN_DEV: &str = "set -e; dir=$1; shift; mkdir -p \"$dir/dev\"; mount -t tmpfs -o size=1m cobnut \"$dir/dev\"; \
    for name in null zero urandom; do touch \"$dir/dev/$name\"; mount --bind \"/dev/$name\" \"$dir/dev/$name\"; done; \
    if [ -e \"$dir/log\" ]; then touch \"$dir/dev/log\"; mount --bind \"$dir/log\" \"$dir/dev/log\"; fi; \
    mount --rbind \"$dir/dev\" /dev; exec \"$@\"";

/// The program in a mount namespace with a `/dev` of its own; nothing where that cannot be had.
fn in_own_dev(stage: &Stage, arguments: &[&str]) -> Option<Command> {
    let own_dev = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", OWN_DEV, "sh"]).arg(stage.path(""));
        command
    };
    let may = is_root() && own_dev().arg("true").status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: no /dev of one's own can be had here");
        return None;
    }
    let mut command = own_dev();
    command.arg(PROGRAM).args(arguments);
    let mut command = stage.placed(command);
    command.env_remove("NUT_DEBUG_SYSLOG");
    Some(command)
}

/// A log daemon.
struct SystemLog(UnixDatagram);

impl SystemLog {
    fn new(stage: &Stage) -> Self {
        let path = stage.path("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// Waits for a message with this text.
    fn wait(&self, text: &str) -> String {
        let mut seen = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(len) = self.0.recv(&mut buffer) else { panic!("no {text:?} in {seen:#?}") };
            let message = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if message.contains(text) {
                return message;
            }
            seen.push(message);
        }
    }
}

#[test]
fn a_notice_for_the_system_log_can_be_tested() {
    let stage = Stage::new();
    stage.configure("MONITOR u1@127.0.0.1:1 1 pri secret primary\nNOTIFYFLAG ONBATT SYSLOG");
    let arguments = ["--test-notice", "ONBATT", "u2@far"];
    let Some(without) = in_own_dev(&stage, &arguments) else { return };
    let failed = stage.run_command(without);
    assert_eq!(failed.code, Some(1), "{}{}", failed.stdout, failed.stderr);
    let why = "SYSLOG: FAILED: no system log takes messages at /dev/log: No such file";
    assert!(failed.stdout.contains(why), "{}", failed.stdout);

    let log = SystemLog::new(&stage);
    let sent = stage.run_command(in_own_dev(&stage, &arguments).unwrap());
    assert_eq!(sent.code, Some(0), "{}{}", sent.stdout, sent.stderr);
    assert!(sent.stdout.contains("SYSLOG: sent to the system log, facility daemon, priority notice"));
    let message = log.wait("UPS u2@far on battery");
    // Facility 3 (daemon) and priority 5 (notice) in one number.
    assert!(message.starts_with("<29>") && message.contains(" upsmon["), "{message}");
}

#[test]
fn in_the_background_scripts_and_the_command_speak_to_the_system_log() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.script("notify", "echo \"cannot reach the mail server for $NOTIFYTYPE\" >&2; exit 3");
    stage.script("shutdown", "echo 'no bus to talk to' >&2; exit 7");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG ONBATT SYSLOG+EXEC",
        upsd.port
    ));
    let Some(command) = in_own_dev(&stage, &[]) else { return };
    let log = SystemLog::new(&stage);
    let launched = stage.run_command(command);
    assert_eq!(launched.code, Some(0), "{}{}", launched.stdout, launched.stderr);
    let started = log.wait("Startup successful: upsmon");
    assert!(started.starts_with("<30>"), "{started}");
    upsd.set("u1", "OB");
    let message = log.wait("NOTIFYCMD: cannot reach the mail server for ONBATT");
    assert!(message.starts_with("<30>") && message.contains(" upsmon["), "{message}");
    log.wait("/notify for ONBATT ended with code 3");
    upsd.set("u1", "OB LB");
    log.wait("SHUTDOWNCMD: no bus to talk to");
    log.wait("Unable to call shutdown command: ");
    log.wait("this host was to be shut down");
    let worker = stage.read("upsmon.pid");
    kill(worker.trim().parse().unwrap(), "TERM");
    log.wait("Signal 15: exiting");
    log.wait("the other half has ended");
}

/// What it is told last it may act upon when we are long gone, and say much.
#[test]
fn a_script_that_outlives_us_may_say_what_it_likes() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.script(
        "notify",
        "echo started; while [ ! -e \"$DIR/go\" ]; do sleep 0.05; done\n\
         head -c 300000 /dev/zero || exit 1; echo on >&2 || exit 1; echo done > \"$DIR/done\"",
    );
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG ONBATT EXEC",
        upsd.port
    ));
    let Some(command) = in_own_dev(&stage, &[]) else { return };
    let log = SystemLog::new(&stage);
    let launched = stage.run_command(command);
    assert_eq!(launched.code, Some(0), "{}{}", launched.stdout, launched.stderr);
    upsd.set("u1", "OB");
    log.wait("NOTIFYCMD: started");
    let worker = stage.read("upsmon.pid").trim().parse().unwrap();
    kill(worker, "TERM");
    log.wait("the other half has ended");
    fs::write(stage.path("go"), "").unwrap();
    let until = clock::now() + DEADLINE;
    while stage.read("done") != "done\n" {
        assert!(clock::now() < until, "it waits for somebody to read, or was killed");
        std::thread::yield_now();
    }
}

/// It takes connections and reads nothing. The system log keeps what fits, and no more is waited for than once and briefly.
#[test]
fn a_log_daemon_that_hangs_delays_no_shutdown() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.script("notify", "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i + 1)); done; echo > \"$DIR/told\"");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG ONBATT SYSLOG+EXEC\nFINALDELAY 0",
        upsd.port
    ));
    let Some(command) = in_own_dev(&stage, &[]) else { return };
    let _log = SystemLog::new(&stage);
    let launched = stage.run_command(command);
    assert_eq!(launched.code, Some(0), "{}{}", launched.stdout, launched.stderr);
    let until = clock::now() + DEADLINE;
    for (status, file) in [("OB", "told"), ("OB LB", "shutdown.out")] {
        upsd.set("u1", status);
        while !stage.path(file).exists() {
            assert!(clock::now() < until, "no {file}");
            std::thread::yield_now();
        }
    }
}
