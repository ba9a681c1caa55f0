//! `--explain`: the running instance is asked, however it runs, and whoever asks.

use super::stage::{DEADLINE, Ended, Stage, is_root, kill, uid_of};
use super::upsd::Upsd;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

/// Asks again and again until the answer has this text.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn ask_until(stage: &Stage, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let answer = stage.run(&["--explain"]);
        if answer.stdout.contains(text) {
            assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
            return answer.stdout;
        }
        assert!(begun.elapsed() < DEADLINE, "no {text:?} in {}{}", answer.stdout, answer.stderr);
    }
}

/// Waits until something is so.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "not within the deadline: {what}");
        thread::yield_now();
    }
}

fn one_ups(upsd: &Upsd, more: &str) -> String {
    format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\n{more}", upsd.port)
}

/// The line of the answer that begins with this, blanks aside.
#[track_caller]
fn line<'a>(answer: &'a str, begins: &str) -> &'a str {
    let found = answer.lines().map(str::trim).find(|line| line.starts_with(begins));
    found.unwrap_or_else(|| panic!("no {begins} in {answer}"))
}

#[test]
fn on_mains_on_battery_stale_reloaded_and_forced_it_says_what_it_would_do_and_why() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    let waits = "DEADTIME 600\nOBLBDURATION 500\nFINALDELAY 700";
    stage.configure(&one_ups(&upsd, waits));
    let conf = stage.path("upsmon.conf").display().to_string();
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");

    let answer = ask_until(&stage, "  OL, heard ");
    assert!(answer.contains("  No: 1 supply is good, 1 needed (MINSUPPLIES)\n"), "{answer}");
    assert!(answer.contains(": counts as a supply\n"), "{answer}");
    assert!(answer.contains(&format!("process {}, user ", upsmon.worker())), "{answer}");
    assert!(line(&answer, "UPS u1@").ends_with(&format!("power value 1, primary ({conf}:10)")), "{answer}");
    assert!(line(&answer, "DEADTIME 600").ends_with(&format!(" {conf}:11")), "{answer}");
    assert!(line(&answer, "RBWARNTIME 43200").ends_with(" default"), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");

    upsd.set("u1", "OB LB");
    let answer = ask_until(&stage, "OBLBDURATION 500: ");
    assert!(
        line(&answer, "OBLBDURATION 500: ").contains(" left, then it does not count as a supply"),
        "{answer}"
    );
    assert!(line(&answer, "OB LB, heard ").contains("; on battery for "), "{answer}");
    assert!(answer.contains("  No: 1 supply is good, 1 needed (MINSUPPLIES)\n"), "{answer}");

    upsd.set("u1", "ERR DATA-STALE");
    let answer = ask_until(&stage, "no answer: Data stale");
    assert!(
        line(&answer, "unknown for ").ends_with("counts as a supply while the waits below run"),
        "{answer}"
    );
    assert!(line(&answer, "DEADTIME 600: ").contains(" left, then "), "{answer}");

    stage.configure(&one_ups(&upsd, "\n\nFINALDELAY 700\nMINSUPPLIES 0"));
    assert_eq!(stage.run(&["-c", "reload"]).code, Some(0));
    let answer = ask_until(&stage, "with MINSUPPLIES 0 no power failure stops it");
    assert!(line(&answer, "MINSUPPLIES 0").ends_with(&format!(" {conf}:14")), "{answer}");
    assert!(line(&answer, "OBLBDURATION 500 ").contains(&format!("{conf}:12 before a reload; ")), "{answer}");

    assert_eq!(stage.run(&["-c", "fsd"]).code, Some(0));
    // Asked before the server has taken FSD, it waits for that.
    let answer = ask_until(&stage, "FINALDELAY 700: ");
    let why = "It is being shut down, and nothing stops that: ordered by upsmon -c fsd\n";
    assert!(answer.contains(why), "{answer}");
    assert!(line(&answer, "FINALDELAY 700: ").ends_with(" left, then SHUTDOWNCMD is run"), "{answer}");
    assert!(!stage.path("shutdown.out").exists());
}

#[test]
fn the_answer_gives_the_reason_that_the_log_and_the_script_got() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, "FINALDELAY 700\nNOTIFYFLAG SHUTDOWN EXEC"));
    stage.script("notify", "echo \"because $NOTIFYREASON\"");
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB LB");
    upsmon.log("because 0 supplies are left");
    let said = upsmon.seen.iter().find_map(|line| line.split_once("because ")).unwrap().1.to_owned();
    let answer = ask_until(&stage, "It is being shut down");
    assert!(answer.contains(&format!("nothing stops that: {said}\n")), "{said}: {answer}");
    assert!(upsmon.has_in_order(&[&format!("initiating forced shutdown: {said}")]), "{said}");
}

#[test]
fn however_it_runs_it_is_asked_beside_its_pid_file_and_leaves_nothing_there() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let socket = stage.path("upsmon.sock");
    let dir_modes: &[u32] = if is_root() { &[0o777, 0o755] } else { &[0o777] };
    for (arguments, mode) in [(&["-F"][..], 0o777), (&["-F", "-p"], 0o777), (&[], 0o777), (&["-F"], 0o755)] {
        if !dir_modes.contains(&mode) {
            continue;
        }
        // One that was killed has left this.
        if !socket.exists() {
            drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        }
        // Where the half that is not root may not write, the one that is makes the socket for it.
        fs::set_permissions(stage.path("."), fs::Permissions::from_mode(mode)).unwrap();
        let mut upsmon = stage.start(arguments);
        ask_until(&stage, "  OL, heard ");
        let meta = fs::metadata(&socket).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o600, uid_of(upsmon.worker())), "{arguments:?}");
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        upsmon.end();
        if mode == 0o777 {
            wait_until("the socket goes", || !socket.exists());
        }
        let answer = stage.run(&["--explain"]);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(answer.stderr.contains("no upsmon is running: nobody answers at "), "{}", answer.stderr);
    }
}

#[test]
fn one_that_does_not_listen_is_told_from_one_that_does_not_run() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    // Nobody removes what is no socket, and it is watched all the same.
    fs::write(stage.path("upsmon.sock"), "precious").unwrap();
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("is no socket: move it away: upsmon --explain will not reach this instance");
    upsmon.log("UPS: u1@127.0.0.1");
    let answer = stage.run(&["--explain"]);
    assert_eq!(answer.code, Some(1));
    let told = format!("upsmon runs as process {}, but nobody answers at ", upsmon.worker());
    assert!(answer.stderr.contains(&told), "{}", answer.stderr);
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
    assert_eq!(stage.read("upsmon.sock"), "precious");
}

/// Asks as another user, with a copy of the program that he may run.
fn ask_as(stage: &Stage, program: &Path, uid: u32) -> Ended {
    let mut command = stage.command_of(program, &["--explain"]);
    command.uid(uid).gid(uid).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ended::of(command.output().unwrap())
}

#[test]
fn its_own_user_may_ask_and_others_are_told_who_may() {
    if !is_root() {
        eprintln!("skipped: only root can be several users");
        return;
    }
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let program = stage.path("upsmon");
    fs::copy(env!("CARGO_BIN_EXE_upsmon"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut upsmon = stage.start(&["-F"]);
    ask_until(&stage, "  OL, heard ");
    let own = uid_of(upsmon.worker());
    let answer = ask_as(&stage, &program, own);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(answer.stdout.contains("Would this host be shut down now?\n  No: "), "{}", answer.stdout);

    let answer = ask_as(&stage, &program, 54_321);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""));
    let told = "only root and the user it runs as may. Ask as one of them: sudo upsmon --explain";
    assert!(
        answer.stderr.contains(told) && answer.stderr.contains("user 54321 (group 54321) may not ask"),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains("(owner nobody, "), "{}", answer.stderr);
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();

    // One that somebody else has started, and whom root may ask, too.
    let mut command = stage.command_of(&program, &["-F"]);
    command.uid(own).gid(own);
    fs::set_permissions(stage.path("upsmon.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let mut upsmon = stage.start_command(command);
    upsmon.log("Not root, shutdown may fail");
    let answer = ask_until(&stage, "  OL, heard ");
    assert!(answer.contains("SHUTDOWNCMD is run by this process itself"), "{answer}");
    assert_eq!(ask_as(&stage, &program, own).code, Some(0));
    assert_eq!(fs::metadata(stage.path("upsmon.sock")).unwrap().uid(), own);
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}

#[test]
fn who_stalls_while_he_asks_delays_no_decision() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let mut upsmon = stage.start(&["-F"]);
    ask_until(&stage, "  OL, heard ");
    let clients: Vec<_> = (0..40).map(|_| UnixStream::connect(stage.path("upsmon.sock")).unwrap()).collect();
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0), "{}", upsmon.seen.join("\n"));
    assert!(stage.read("shutdown.out").ends_with(" upsmon-shutdown-file\n"));
    drop(clients);
}

#[test]
fn one_that_is_killed_leaves_a_socket_that_nobody_takes_for_an_instance() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&one_ups(&upsd, ""));
    let mut upsmon = stage.start(&["-F"]);
    ask_until(&stage, "  OL, heard ");
    kill(upsmon.worker(), "KILL");
    upsmon.end();
    assert!(stage.path("upsmon.sock").exists());
    let answer = stage.run(&["--explain"]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("no upsmon is running"), "{}", answer.stderr);
    let mut upsmon = stage.start(&["-F"]);
    ask_until(&stage, "  OL, heard ");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}
