//! `-c`: orders to the running instance.

use super::stage::{PROGRAM, Stage, is_root};
use super::upsd::Upsd;
use std::process::Command;

fn with_ups(stage: &Stage, upsd: &Upsd, more: &str) {
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\n{more}", upsd.port));
}

#[test]
fn a_reload_takes_what_is_new_and_keeps_what_is_not_named() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    with_ups(&stage, &upsd, "NOTIFYMSG ONBATT \"%s: mains failed\"");
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    // Only the UPS and a new text for another notice.
    let text = format!(
        "MONITOR u1@127.0.0.1:{} 2 pri secret primary\nNOTIFYMSG ONLINE \"%s: mains are back\"\n",
        upsd.port
    );
    std::fs::write(stage.path("upsmon.conf"), text).unwrap();
    assert_eq!(stage.run(&["-c", "re"]).code, Some(0));
    upsmon.log("Reloading configuration");
    upsmon.log("redefined power value to 2");
    upsd.set("u1", "OB");
    upsmon.log(": mains failed");
    upsd.set("u1", "OL");
    upsmon.log(": mains are back");

    std::fs::write(stage.path("upsmon.conf"), "MINSUPPLIES 9\n").unwrap();
    assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
    upsmon.log("Reload failed: total power value (0) less than MINSUPPLIES (9)");
    std::fs::remove_file(stage.path("upsmon.conf")).unwrap();
    assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
    upsmon.log("Reload failed: can't open ");
    upsd.set("u1", "OB");
    upsmon.log(": mains failed");
}

/// A service manager that starts again whatever has failed must not start again what was told to end.
#[test]
fn stop_logs_out_and_both_halves_end_well() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    with_ups(&stage, &upsd, "");
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(upsmon.has_in_order(&["Signal 15: exiting"]));
    assert!(upsd.lines().contains(&"LOGOUT".to_owned()));
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(1));
}

#[test]
fn a_second_instance_is_refused() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    with_ups(&stage, &upsd, "");
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    let second = stage.run(&["-F"]);
    assert_eq!(second.code, Some(1));
    let text = "Fatal error: A previous upsmon instance is already running!\n\
                Either stop the previous instance first, or use the 'reload' command.\n";
    assert!(second.stdout.contains(text), "{}", second.stdout);
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

/// In a container process numbers begin anew with each start, and a file that a power cut has left holds our own.
#[test]
fn a_pid_file_with_our_own_number_is_an_old_one() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    with_ups(&stage, &upsd, "");
    let numbered = |arguments: &str| {
        let mut shell = Command::new("/bin/sh");
        let text = format!("echo $$ > \"$NUT_PIDPATH/upsmon.pid\"; exec '{PROGRAM}' {arguments}");
        shell.args(["-c", &text]);
        stage.placed(shell)
    };
    for arguments in ["-F", "-F -p"] {
        let mut upsmon = stage.start_command(numbered(arguments));
        upsmon.log("UPS: u1@127.0.0.1");
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    }
    // The launcher's.
    let launched = stage.run_command(numbered(""));
    assert_eq!(launched.code, Some(0), "{} {}", launched.stdout, launched.stderr);
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    // Whoever tells somebody does not tell himself.
    let told = stage.run_command(numbered("-c stop"));
    assert!(told.code == Some(1) && told.stderr.contains("is an old one"), "{:?} {}", told.code, told.stderr);
}

#[test]
fn orders_that_reach_nobody_fail() {
    let stage = Stage::new();
    for (arguments, code, text) in [
        (&["-c", "reload"][..], 1, "upsmon.pid"),
        (&["-c", "reload", "-P", "0"], 1, "Ignoring invalid pid number 0"),
        (&["-c", "reload", "-P", "1"], 1, "process 1 is "),
        (&["-c", ""], 1, "-c needs a command"),
        (&["-c", "bogus"], 0, "unknown command 'bogus'"),
        (&["-Z"], 0, "invalid option -- 'Z'"),
    ] {
        let ended = stage.run(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}");
        assert!(ended.stderr.contains(text), "{arguments:?}: {}", ended.stderr);
    }
    std::fs::write(stage.path("upsmon.pid"), "999999999\n").unwrap();
    assert_eq!(stage.run(&["-c", "fsd"]).code, Some(1));
}

#[test]
fn the_launcher_says_success_only_when_it_is_true() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    with_ups(&stage, &upsd, "");
    let launched = stage.run(&[]);
    assert_eq!(launched.code, Some(0), "{}", launched.stderr);
    assert!(launched.stdout.starts_with("Network UPS Tools upsmon "), "{}", launched.stdout);
    // It was ready: it has a PID file, and takes orders.
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));

    let stage = Stage::new();
    with_ups(&stage, &upsd, "MINSUPPLIES 2");
    let launched = stage.run(&[]);
    assert_eq!(launched.code, Some(1));
    assert!(launched.stderr.contains("Fatal error: insufficient power configured!"), "{}", launched.stderr);
    if is_root() {
        with_ups(&stage, &upsd, "RUN_AS_USER no-such-user");
        let launched = stage.run(&[]);
        assert_eq!(launched.code, Some(1));
        assert!(launched.stderr.contains("user no-such-user not found"), "{}", launched.stderr);
    }
}
