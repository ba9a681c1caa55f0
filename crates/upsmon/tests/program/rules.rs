//! Rules of upsmon that only the program can show: what it says at its start, signals, names, what goes over the wire.
//! `docs/upsmon-rules.md` is the list of all.

use super::stage::{PROGRAM, Stage, is_root, kill, uid_of};
use super::upsd::Upsd;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

fn one_ups(upsd: &Upsd) -> String {
    format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary", upsd.port)
}

#[test]
fn at_its_start_it_says_what_it_watches_and_what_it_lacks() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    let at = |ups: &str| format!("{ups}@127.0.0.1:{}", upsd.port);
    let lines = format!(
        "{}\nMONITOR {} 0 sec secret secondary\nMONITOR {} 2 sec secret slave",
        one_ups(&upsd),
        at("u2"),
        at("u3")
    );
    stage.configure(&lines);
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("(secondary)");
    let flag = format!("Using power down flag file {}", stage.path("flag").display());
    assert!(
        upsmon.has_in_order(&[
            "Network UPS Tools upsmon ",
            "Could not find PID file to see if previous upsmon instance is already running!",
            &flag,
            &format!("UPS: {} (primary) (power value 1)", at("u1")),
            &format!("UPS: {} (monitoring only)", at("u2")),
            &format!("UPS: {} (secondary) (power value 2)", at("u3")),
        ]),
        "{}",
        upsmon.seen.join("\n")
    );
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();

    // Neither a command nor a flag, and a PID file that is none: it watches all the same, and says so.
    fs::write(stage.path("upsmon.conf"), format!("{}\nRUN_AS_USER nobody\nFINALDELAY 0\n", one_ups(&upsd)))
        .unwrap();
    fs::write(stage.path("upsmon.pid"), "none\n").unwrap();
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@");
    for said in [
        "Could not parse PID file to see if previous upsmon instance is already running!",
        "Warning: no shutdown command defined!",
        "No POWERDOWNFLAG value was configured in ",
    ] {
        assert!(upsmon.has_in_order(&[said]), "{said}: {}", upsmon.seen.join("\n"));
    }
    upsd.set("u1", "OB LB");
    upsmon.log("Unable to call shutdown command: (null)");
    upsmon.log("this host was to be shut down");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

#[test]
fn the_banner_comes_first_unless_it_is_not_wanted() {
    let stage = Stage::new();
    for arguments in [&["-c", "stop"][..], &["-K"], &["-V"], &["-h"]] {
        let ended = stage.run(arguments);
        assert!(ended.stdout.starts_with("Network UPS Tools upsmon "), "{arguments:?}: {}", ended.stdout);
    }
    let mut command = stage.command(&["-c", "stop"]);
    command.env("NUT_QUIET_INIT_BANNER", "true");
    let ended = stage.run_command(command);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
}

#[test]
fn each_signal_does_what_it_says_and_a_stray_one_nothing() {
    for (signal, number) in [("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        let stage = Stage::new();
        let upsd = Upsd::start("u1", "OB");
        stage.configure(&one_ups(&upsd));
        let mut upsmon = stage.start(&["-F", "-p"]);
        upsmon.log("on battery");
        // NUT dies of it.
        kill(upsmon.worker(), "USR2");
        upsmon.log("SIGUSR2 means nothing to upsmon");
        let polls = upsd.polls().get("u1").copied().unwrap_or(0);
        upsd.wait_for_polls("u1", polls + 2);
        kill(upsmon.worker(), signal);
        assert_eq!(upsmon.end().code(), Some(0), "{signal}");
        assert!(
            upsmon.has_in_order(&[
                &format!("Signal {number}: User requested EXIT"),
                &format!("Signal {number}: exiting")
            ]),
            "{}",
            upsmon.seen.join("\n")
        );
        assert_eq!(upsd.lines().last().map(String::as_str), Some("LOGOUT"), "{signal}");
        assert!(!stage.path("flag").exists() && !upsd.has_fsd());
    }
    if !is_root() {
        eprintln!("skipped: only root has two halves");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@");
    for signal in ["USR1", "USR2", "PIPE", "USR1"] {
        kill(upsmon.child.id(), signal);
        let polls = upsd.polls().get("u1").copied().unwrap_or(0);
        upsd.wait_for_polls("u1", polls + 2);
    }
    assert!(!upsd.has_fsd());
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

#[test]
fn the_file_says_whom_it_runs_as_and_minus_u_counts_only_without_it() {
    if !is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let upsd = Upsd::start("u1", "OL");
    let mut uids = Vec::new();
    for directive in ["RUN_AS_USER nobody", ""] {
        let stage = Stage::new();
        let text = format!("{}\n{directive}\nSHUTDOWNCMD true\n", one_ups(&upsd));
        fs::write(stage.path("upsmon.conf"), text).unwrap();
        let mut upsmon = stage.start(&["-F", "-u", "daemon"]);
        upsmon.log("UPS: u1@");
        uids.push(uid_of(upsmon.worker()));
        assert_eq!(uid_of(upsmon.child.id()), 0);
        // Whom it runs as it stays.
        fs::write(stage.path("upsmon.conf"), format!("{}\nRUN_AS_USER bin\n", one_ups(&upsd))).unwrap();
        assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
        upsmon.log("Signal 1: User requested RELOAD");
        upsmon.log("Reloading configuration");
        let polls = upsd.polls().get("u1").copied().unwrap_or(0);
        upsd.wait_for_polls("u1", polls + 1);
        assert_eq!(uid_of(upsmon.worker()), uids[uids.len() - 1]);
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        upsmon.end();
    }
    let of = |user: &str| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with(&format!("{user}:"))).unwrap();
        line.split(':').nth(2).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(uids, [of("nobody"), of("daemon")]);
}

#[test]
fn one_of_another_name_is_another_instance() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let named = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg0("/usr/local/sbin/upsmon-west").args(arguments);
        stage.placed(command)
    };
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@");
    let mut west = stage.start_command(named(&["-F", "-p"]));
    west.log("UPS: u1@");
    assert!(west.has_in_order(&["Network UPS Tools upsmon-west "]), "{}", west.seen.join("\n"));
    let pid = stage.read("upsmon-west.pid");
    assert_eq!(pid, format!("{}\n", west.child.id()));
    let mode = fs::metadata(stage.path("upsmon-west.pid")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);
    // Each is told by its own name, and its files go with it.
    assert_eq!(stage.run_command(named(&["-c", "stop"])).code, Some(0));
    assert_eq!(west.end().code(), Some(0));
    assert!(!stage.path("upsmon-west.pid").exists() && stage.path("upsmon.pid").exists());
    assert_eq!(stage.run_command(named(&["-c", "stop"])).code, Some(1));
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

// NUT 2.8.0 says that it runs already, and so the power is never cut.
#[test]
fn k_answers_while_an_instance_runs() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@");
    assert_eq!(stage.run(&["-K"]).code, Some(1));
    fs::write(stage.path("flag"), "upsmon-shutdown-file").unwrap();
    let set = stage.run(&["-K"]);
    assert_eq!(set.code, Some(0), "{}", set.stderr);
    // And it has changed nothing.
    assert_eq!(stage.read("flag"), "upsmon-shutdown-file");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

#[test]
fn each_poll_asks_for_what_it_needs_and_no_more() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 0 sec secret secondary\nMINSUPPLIES 0", upsd.port));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@");
    upsd.wait_for_polls("u1", 3);
    upsd.set("u1", "ALARM OL");
    upsmon.log("one or more active alarms: [Fire! $(id) \"quoted\"]");
    upsd.set("u1", "OL");
    upsmon.log("no longer in an alarm state");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
    let lines = upsd.lines();
    let first = [
        // Power value 0 logs in too, since NUT 2.4.
        "STARTTLS",
        "USERNAME sec",
        "PASSWORD secret",
        "LOGIN u1",
        "GET VAR u1 ups.status",
        // What the UPS has not is not asked for again on this connection.
        "GET VAR u1 ups.mode.buzzwords",
        "GET VAR u1 experimental.ups.mode.buzzwords",
        "GET VAR u1 ups.status",
    ];
    assert_eq!(lines[..first.len()], first);
    let (status, alarm) = ("GET VAR u1 ups.status", "GET VAR u1 ups.alarm");
    let rest = &lines[first.len() - 1..];
    assert!(rest.iter().all(|line| [status, alarm, "LOGOUT"].contains(&line.as_str())), "{rest:?}");
    // The alarm is asked for behind the status that has the word, each time, and at no other.
    let alarms = rest.windows(2).filter(|two| two[1] == alarm).map(|two| two[0].as_str());
    assert!(alarms.clone().count() > 0 && alarms.clone().all(|before| before == status), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("LOGOUT"));
}

/// Where there is no root half that has read the file at its start, a reload changes what is done last, too.
#[test]
fn one_process_takes_another_command_and_another_flag_at_a_reload() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@");
    let (other, flag) = (stage.path("other"), stage.path("flag2"));
    let command = format!("cp {} {}", flag.display(), other.display());
    stage.script("notify2", "echo \"another was told $NOTIFYTYPE\"");
    let more = format!("NOTIFYCMD {}\nNOTIFYFLAG ONBATT EXEC\nDEBUG_MIN 1", stage.path("notify2").display());
    let lines =
        format!("{}\n{more}\nSHUTDOWNCMD \"{command}\"\nPOWERDOWNFLAG {}", one_ups(&upsd), flag.display());
    stage.configure(&lines);
    assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
    upsmon.log("Reloading configuration");
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(!upsmon.has_in_order(&["redefined in split-process mode"]));
    assert!(upsmon.seen.iter().any(|line| line.contains("another was told ONBATT")));
    // Debugging began with the new file, and not before.
    let is_debugging = |line: &String| line.contains("must be done") || line.contains("happened");
    let first = upsmon.seen.iter().position(is_debugging).expect("it debugs");
    assert!(upsmon.seen[..first].iter().any(|line| line.contains("Reloading configuration")));
    assert_eq!(stage.read("other"), "upsmon-shutdown-file");
    assert!(!stage.path("flag").exists() && !stage.path("shutdown.out").exists());
    let mode = fs::metadata(stage.path("flag2")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644);
}

#[test]
fn a_notifycmd_that_cannot_run_costs_its_notice_alone() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    for command in ["/no/such/program", "\"/no/such/program -x\"", "/etc", "\"exit 3\""] {
        upsd.set("u1", "OL");
        let lines = format!("{}\nNOTIFYFLAG ONBATT EXEC\nNOTIFYCMD {command}", one_ups(&upsd));
        stage.configure(&lines);
        let mut upsmon = stage.start(&["-F", "-p"]);
        upsmon.log("UPS: u1@");
        upsd.set("u1", "OB");
        let told = upsmon.log("ONBATT");
        assert!(told.contains("NOTIFYCMD "), "{command}: {told}");
        let polls = upsd.polls().get("u1").copied().unwrap_or(0);
        upsd.wait_for_polls("u1", polls + 2);
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        assert_eq!(upsmon.end().code(), Some(0), "{command}");
    }
}
