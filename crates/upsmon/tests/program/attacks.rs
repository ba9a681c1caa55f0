//! What would keep it from its duty: halves that are killed, storms of signals, files that cannot be opened, nothing left.

use super::stage::{DEADLINE, PROGRAM, Stage, is_root, kill};
use super::upsd::Upsd;
use nut_os::clock;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn one_ups(upsd: &Upsd, more: &str) -> String {
    format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\n{more}", upsd.port)
}

/// Waits until a file has this text in it.
#[track_caller]
fn wait_for(stage: &Stage, name: &str, text: &str) {
    let until = clock::now() + DEADLINE;
    while !stage.read(name).contains(text) {
        assert!(clock::now() < until, "no {text:?} in {name}");
        std::thread::yield_now();
    }
}

/// A command that waits for a word of the test, so that there is a moment at which it runs.
const SLOW_COMMAND: &str = "echo begun; while [ ! -e \"$DIR/go\" ]; do sleep 0.05; done\n\
                            echo \"$(cat \"$DIR/flag\")\" >> \"$DIR/shutdown.out\"";

#[test]
fn once_it_has_begun_no_death_of_a_half_ends_the_command() {
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    for kills_the_root_half in [false, true] {
        let stage = Stage::new();
        let upsd = Upsd::start("u1", "OB LB");
        stage.script("shutdown", SLOW_COMMAND);
        stage.configure(&one_ups(&upsd, "FINALDELAY 0"));
        let mut upsmon = stage.start(&["-F"]);
        upsmon.log("begun");
        let victim = if kills_the_root_half { upsmon.child.id() } else { upsmon.worker() };
        kill(victim, "KILL");
        if kills_the_root_half {
            upsmon.log("has died before it said what came of that: SHUTDOWNCMD may or may not be at work");
        }
        assert!(!stage.path("shutdown.out").exists());
        fs::write(stage.path("go"), "").unwrap();
        wait_for(&stage, "shutdown.out", "upsmon-shutdown-file\n");
        if kills_the_root_half {
            kill(upsmon.worker(), "TERM");
            upsmon.end();
        } else {
            // The root half has waited for it, and ends with the truth: the host goes down.
            assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
        }
        assert_eq!(stage.read("shutdown.out"), "upsmon-shutdown-file\n");
    }
}

#[test]
fn a_half_that_is_killed_between_decision_and_command_stops_no_host_and_that_is_said() {
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB LB");
    stage.configure(&one_ups(&upsd, "FINALDELAY 3600"));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("Executing automatic power-fail shutdown");
    kill(upsmon.worker(), "KILL");
    assert_eq!(upsmon.end().code(), Some(1));
    assert!(upsmon.has_in_order(&["this host is not watched any more"]));
    assert!(!stage.path("flag").exists() && !stage.path("shutdown.out").exists());
}

/// As fast as a shell can.
#[test]
fn a_storm_of_reloads_delays_no_shutdown() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB");
    stage.configure(&one_ups(&upsd, "FINALDELAY 0"));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("on battery");
    let storm = format!("while kill -HUP {} 2>/dev/null; do :; done", upsmon.worker());
    let mut storm = Command::new("/bin/sh").args(["-c", &storm]).spawn().unwrap();
    upsmon.log("Reloading configuration");
    upsd.set("u1", "OB LB");
    upsmon.log("initiating forced shutdown");
    assert_eq!(upsmon.end().code(), Some(0));
    // It ends with its victim.
    assert!(storm.wait().unwrap().success());
    assert!(stage.read("shutdown.out").ends_with("upsmon-shutdown-file\n"));
}

/// Holds a script such that the kernel lets nobody open it for a while (a lease), as if it lay on a server that has lost its
/// power: who starts it waits. Gives how long the kernel lets that be; nothing where that cannot be had.
fn hold(stage: &Stage, name: &str) -> Option<(Child, Duration)> {
    const HOLD: &str = "use Fcntl; $SIG{IO} = 'IGNORE'; open(F, '+<', $ARGV[0]) or exit 1; \
                        fcntl(F, 1024, F_WRLCK) or exit 1; $| = 1; print \"held\\n\"; <STDIN>;";
    let mut holder = Command::new("perl");
    holder.args(["-e", HOLD]).arg(stage.path(name)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().ok()?;
    let mut held = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut held).unwrap();
    let seconds = fs::read_to_string("/proc/sys/fs/lease-break-time").ok()?;
    (held == "held\n").then(|| (holder, Duration::from_secs(seconds.trim().parse().unwrap())))
}

/// Whether the host was stopped before anybody could open the script; nothing where it cannot be held.
fn stops_while_the_script_is_held(arguments: &[&str]) -> Option<bool> {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, "FINALDELAY 0\nNOTIFYFLAG ONBATT SYSLOG+WALL+EXEC"));
    let mut upsmon = stage.start(arguments);
    upsmon.log("UPS: u1@127.0.0.1");
    let (mut holder, limit) = hold(&stage, "notify")?;
    let (mut of_wall, _) = hold(&stage, "bin/wall")?;
    let since = clock::now();
    upsd.set("u1", "OB");
    upsmon.log("on battery");
    upsd.set("u1", "OB LB");
    wait_for(&stage, "shutdown.out", "upsmon-shutdown-file");
    let in_time = clock::now().since(since) < limit;
    assert!(!in_time || stage.read("notify.out").is_empty(), "{}", stage.read("notify.out"));
    for holder in [&mut holder, &mut of_wall] {
        drop(holder.stdin.take());
        holder.wait().unwrap();
    }
    if in_time {
        // Let go it does its work. (A program that somebody still has open to write cannot be run at all.)
        wait_for(&stage, "notify.out", "ONBATT|u1@");
        wait_for(&stage, "wall.out", "on battery");
    }
    assert_eq!(upsmon.end().code(), Some(0));
    Some(in_time)
}

#[test]
fn a_script_that_cannot_even_be_opened_delays_no_decision() {
    for arguments in [&["-F"][..], &["-F", "-p"]] {
        // On a machine that is busy beyond measure the kernel may let it go before all is done.
        let stopped = (0..3).map(|_| stops_while_the_script_is_held(arguments));
        match stopped.take_while(Option::is_some).flatten().find(|in_time| *in_time) {
            Some(_) => {}
            None if stops_while_the_script_is_held(arguments).is_none() => {
                return eprintln!("skipped: there is no perl, or no lease on this file system");
            }
            None => panic!("{arguments:?}: it waits until the script can be opened"),
        }
    }
}

/// Too few for half of its connections, which must leave what the command needs.
#[test]
fn with_hardly_a_descriptor_left_the_command_runs() {
    let stage = Stage::new();
    let upsd = Upsd::start("u0", "OL");
    let line = |nth| format!("MONITOR u{nth}@127.0.0.1:{} 1 pri secret primary\n", upsd.port);
    let lines: String = (0..30).map(line).collect();
    stage.configure(&format!("{lines}FINALDELAY 0\nMINSUPPLIES 30"));
    for nth in 0..30 {
        upsd.set(&format!("u{nth}"), "OL");
    }
    for arguments in ["-F", "-F -p"] {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("ulimit -n 20; exec \"$0\" {arguments}"), PROGRAM]);
        let mut upsmon = stage.start_command(stage.placed(command));
        upsmon.log("Too many open files");
        for nth in 0..30 {
            upsd.set(&format!("u{nth}"), "OB LB");
        }
        assert_eq!(upsmon.end().code(), Some(0), "{arguments}: {}", upsmon.seen.join("\n"));
        assert!(stage.read("shutdown.out").ends_with("upsmon-shutdown-file\n"), "{arguments}");
        fs::remove_file(stage.path("shutdown.out")).unwrap();
        for nth in 0..30 {
            upsd.set(&format!("u{nth}"), "OL");
        }
        upsd.forget_fsd();
    }
}

#[test]
fn on_a_full_disk_it_runs_without_its_files_and_says_what_fails() {
    const FULL: &str = "set -e; dir=$1; shift; mount -t tmpfs -o size=16k cobnut \"$dir/full\"; mkdir \"$dir/full/pid\"; \
                        dd if=/dev/zero of=\"$dir/full/filler\" 2>/dev/null || true; exec \"$@\"";
    let stage = Stage::new();
    fs::create_dir(stage.path("full")).unwrap();
    let full = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", FULL, "sh"]).arg(stage.path(""));
        command
    };
    let may = is_root() && full().arg("true").status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("skipped: no disk of one's own can be had here");
        return;
    }
    let upsd = Upsd::start("u1", "OL");
    stage.script("shutdown", "echo ran >> \"$DIR/shutdown.out\"");
    stage.configure(&one_ups(
        &upsd,
        &format!("FINALDELAY 0\nPOWERDOWNFLAG {}", stage.path("full/flag").display()),
    ));
    for arguments in [&["-F"][..], &["-F", "-p"]] {
        let mut command = full();
        command.arg(PROGRAM).args(arguments);
        let mut command = stage.placed(command);
        command.env("NUT_PIDPATH", stage.path("full/pid"));
        let mut upsmon = stage.start_command(command);
        upsmon.log("No space left on device: upsmon -c will not find this instance");
        upsmon.log("UPS: u1@127.0.0.1");
        upsd.set("u1", "OB LB");
        assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
        let why = "Failed to create power down flag! cannot write ";
        let failed = upsmon.seen.iter().find(|line| line.contains(why));
        assert!(failed.is_some_and(|line| line.ends_with("No space left on device")), "{:#?}", upsmon.seen);
        assert_eq!(stage.read("shutdown.out"), "ran\n");
        fs::remove_file(stage.path("shutdown.out")).unwrap();
        upsd.set("u1", "OL");
        upsd.forget_fsd();
    }
}
