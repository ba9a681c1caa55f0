//! The root half and the other one, from the power failure to the command.

use super::stage::{Stage, is_root, kill, uid_of};
use super::upsd::Upsd;

const EXEC: &str = "NOTIFYFLAG ONBATT SYSLOG+WALL+EXEC\nNOTIFYFLAG SHUTDOWN SYSLOG+EXEC";

fn one_ups(upsd: &Upsd) -> String {
    format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\n{EXEC}", upsd.port)
}

/// Two halves if we are root, else one process: what it does is the same.
#[test]
fn a_power_failure_ends_in_the_command() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    let name = format!("u1@127.0.0.1:{}", upsd.port);
    assert!(
        upsmon.has_in_order(&[
            &format!("UPS {name} on battery"),
            &format!("UPS {name} battery is low"),
            "Too few UPS(es) are healthy (0<1), initiating forced shutdown",
            "Executing automatic power-fail shutdown",
            "Auto logout and shutdown proceeding",
        ]),
        "{}",
        upsmon.seen.join("\n")
    );
    assert!(upsd.has_fsd());
    assert_eq!(stage.read("flag"), "upsmon-shutdown-file");
    let uid = if is_root() { "0" } else { "" };
    let ran = stage.read("shutdown.out");
    assert!(ran.starts_with(uid) && ran.ends_with("upsmon-shutdown-file\n"), "{ran}");
    assert_eq!(ran.lines().count(), 1);
    let told = stage.read("notify.out");
    assert!(told.contains(&format!("ONBATT|{name}|1|UPS {name} on battery|")), "{told}");
    assert!(told.contains("SHUTDOWN||1|Auto logout and shutdown proceeding|"), "{told}");
    let wall = stage.read("wall.out");
    assert!(wall.contains("Executing automatic power-fail shutdown\n"), "{wall}");
    assert!(wall.contains(&format!("UPS {name} on battery\n")), "{wall}");
    // It has closed its connection without a word, which is how a primary sees that we are gone.
    assert!(!upsd.lines().contains(&"LOGOUT".to_owned()));
    let first: Vec<_> = upsd.lines().into_iter().take(6).collect();
    assert_eq!(
        first,
        ["STARTTLS", "USERNAME pri", "PASSWORD secret", "LOGIN u1", "PRIMARY u1", "GET VAR u1 ups.status"]
    );
}

#[test]
fn the_half_that_reads_the_network_is_not_root() {
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    let worker = upsmon.worker();
    assert_ne!(worker, upsmon.child.id());
    upsd.set("u1", "OB");
    upsmon.log("told ONBATT");
    assert_eq!(uid_of(upsmon.child.id()), 0);
    let nobody = uid_of(worker);
    assert_ne!(nobody, 0);
    assert!(stage.read("notify.out").trim_end().ends_with(&format!("|{nobody}")));
    assert_eq!(stage.run(&["-c", "fsd"]).code, Some(0));
    assert_eq!(upsmon.end().code(), Some(0));
    assert!(upsmon.has_in_order(&["User requested FSD", "Executing automatic power-fail shutdown"]));
    assert!(stage.read("shutdown.out").starts_with("0 upsmon-shutdown-file"));
}

#[test]
fn either_half_notices_at_once_that_the_other_is_gone() {
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    kill(upsmon.worker(), "KILL");
    assert_eq!(upsmon.end().code(), Some(1));
    assert!(upsmon.has_in_order(&["upsmon parent: read"]));
    assert!(!stage.path("flag").exists() && !stage.path("shutdown.out").exists());

    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    kill(upsmon.child.id(), "KILL");
    upsmon.log("upsmon parent process died - shutdown impossible");
    upsmon.log("Parent died - shutdown impossible");
    // The other half goes on telling.
    upsd.set("u1", "OB");
    upsmon.log("told ONBATT");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

#[test]
fn a_command_that_fails_leaves_the_host_watched() {
    for arguments in [&["-F"][..], &["-F", "-p"]] {
        let stage = Stage::new();
        let upsd = Upsd::start("u1", "OB LB");
        stage.configure(&format!("{}\nSHUTDOWNCMD \"exit 7\"", one_ups(&upsd)));
        let mut upsmon = stage.start(arguments);
        upsmon.log("Unable to call shutdown command: exit 7");
        upsmon.log("this host was to be shut down");
        upsd.set("u1", "OL");
        upsmon.log("on line power");
        assert_eq!(stage.read("flag"), "upsmon-shutdown-file");
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        let expected = if is_root() && arguments.len() == 1 { 1 } else { 0 };
        assert_eq!(upsmon.end().code(), Some(expected));
    }
}

/// Under a limit on processes, or where memory is short, no thread can be made (here, of a size that no machine has).
#[test]
fn where_no_thread_can_be_made_the_flag_is_set_and_the_command_runs() {
    for arguments in [&["-F"][..], &["-F", "-p"]] {
        let stage = Stage::new();
        let upsd = Upsd::start("u1", "OB LB");
        stage.configure(&one_ups(&upsd));
        let mut command = stage.command(arguments);
        command.env("RUST_MIN_STACK", "140737488355328");
        let mut upsmon = stage.start_command(command);
        assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
        assert!(stage.read("shutdown.out").ends_with("upsmon-shutdown-file\n"), "{}", upsmon.seen.join("\n"));
    }
}

#[test]
fn one_process_does_the_same() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("running as one big root process by request (upsmon -p)");
    upsmon.log("UPS: u1@127.0.0.1");
    assert_eq!(upsmon.worker(), upsmon.child.id());
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0));
    assert!(stage.read("shutdown.out").ends_with(" upsmon-shutdown-file\n"));
}

#[test]
fn a_signal_to_stop_reaches_the_half_that_can_log_out() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    kill(upsmon.child.id(), "TERM");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(upsmon.has_in_order(&["Signal 15: exiting"]));
    assert!(upsd.lines().contains(&"LOGOUT".to_owned()));
}

#[test]
fn whichever_half_is_told_to_reload_the_file_is_read_again() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    // The service manager knows the half it has started.
    for _ in 0..2 {
        kill(upsmon.child.id(), "HUP");
        upsmon.log("Reloading configuration");
    }
    assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
    upsmon.log("Reloading configuration");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
    let ended = stage.run(&["-c", "reload"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no upsmon is running: there is no PID file /"), "{}", ended.stderr);
    // It has one with a single -F, as above.
    assert!(
        ended.stderr.contains("also in the foreground") && !ended.stderr.contains("-FF"),
        "{}",
        ended.stderr
    );
}

#[test]
fn the_primary_stops_when_its_secondary_has_ended() {
    let (first, second) = (Stage::new(), Stage::new());
    let upsd = Upsd::start("u1", "OL");
    first.configure(&format!("{}\nHOSTSYNC 60", one_ups(&upsd)));
    second.configure(&format!("MONITOR u1@127.0.0.1:{} 1 sec secret secondary", upsd.port));
    let mut secondary = second.start(&["-F"]);
    secondary.log("UPS: u1@127.0.0.1");
    upsd.wait_for_logins(1);
    let mut primary = first.start(&["-F"]);
    primary.log("UPS: u1@127.0.0.1");
    upsd.wait_for_logins(2);
    assert_eq!(first.run(&["-c", "fsd"]).code, Some(0));
    primary.log("primary system is waiting for secondaries");
    assert_eq!(secondary.end().code(), Some(0));
    assert!(
        secondary.has_in_order(&["forced shutdown in progress", "Executing automatic power-fail shutdown"])
    );
    assert_eq!(primary.end().code(), Some(0));
    assert!(primary.has_in_order(&["Executing automatic power-fail shutdown"]));
    assert_eq!(
        (first.read("flag"), second.read("flag")),
        ("upsmon-shutdown-file".into(), "upsmon-shutdown-file".into())
    );
}

/// A slip of whoever types a number, a limit that a shell has handed down, a power daemon's broadcast: what kills both
/// halves at once would leave nobody to say so.
#[test]
fn signals_that_mean_nothing_end_neither_half() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.wait_for_polls("u1", 1);
    let both = [upsmon.child.id(), upsmon.worker()];
    for signal in ["ALRM", "VTALRM", "PROF", "IO", "PWR", "XCPU", "XFSZ", "USR2", "PIPE"] {
        both.iter().for_each(|half| kill(*half, signal));
        if signal != "PIPE" {
            upsmon.log(&format!("SIG{signal} means nothing to upsmon"));
        }
    }
    // Those of the real time; the C library keeps the lowest ones for itself.
    for number in [35, 40, 64] {
        both.iter().for_each(|half| kill(*half, &number.to_string()));
        upsmon.log(&format!("Signal {number}: SIGRTMIN+n means nothing to upsmon"));
    }
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(stage.read("shutdown.out").ends_with(" upsmon-shutdown-file\n"));
}
