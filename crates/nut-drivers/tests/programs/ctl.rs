//! `upsdrvctl` as a program.

use crate::stage::Stage;

const CTL: &str = env!("CARGO_BIN_EXE_upsdrvctl");

fn stage() -> Stage {
    let stage = Stage::new(
        "maxretry = 2\nretrydelay = 0\n\
         [a]\nsdorder = 2\ndriver = dummy-ups\nport = a.dev\n\
         [missing]\ndriver = nosuchdriver\nport = x\n\
         [silent]\ndriver = dummy-ups\nport = none.dev\nsdorder = -1\n\
         [b]\ndriver = dummy-ups\nport = a.dev\n",
    );
    stage.write("a.dev", "ups.status: OL\n");
    stage
}

#[test]
fn one_driver_that_does_not_start_does_not_stop_the_others() {
    let stage = stage();
    let said = stage.output(CTL, "start");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("[missing] Can't start ") && said.err.contains("/nosuchdriver: "), "{said:?}");
    assert!(said.err.contains("[silent] attempt 1 of 2 failed"), "{said:?}");
    assert!(said.err.contains("[silent] Driver failed to start (exit status: 1)"), "{said:?}");
    assert_eq!(stage.left_over(), ["dummy-ups-a", "dummy-ups-a.pid", "dummy-ups-b", "dummy-ups-b.pid"]);

    let said = stage.output(CTL, "status");
    assert_eq!(said.code, Some(0));
    let lines: Vec<Vec<&str>> =
        said.out.lines().map(|line| line.split('\t').map(str::trim).collect()).collect();
    let expected = ["UPSNAME", "UPSDRV", "RUNNING", "PF_PID", "S_RESPONSIVE", "S_PID", "S_STATUS"];
    assert_eq!(lines[0], expected);
    assert_eq!(
        (lines[1][0], lines[1][2], lines[1][4], lines[1][6]),
        ("a", "RUNNING", "RESPONSIVE", "\"OL\"")
    );
    assert_eq!(lines[1][3], lines[1][5]);
    assert_eq!(lines[2][..6], ["missing", "nosuchdriver", "N/A", "-3", "NOT_RESPONSIVE", "N/A"]);

    assert_eq!(stage.output(CTL, "-c reload a").code, Some(0));
    assert_eq!(stage.output(CTL, "stop a").code, Some(0));
    assert_eq!(stage.left_over(), ["dummy-ups-b", "dummy-ups-b.pid"]);
    let said = stage.output(CTL, "stop");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("[a] the driver is not running"), "{said:?}");
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

#[test]
fn what_would_be_done_is_shown_in_its_order() {
    let stage = stage();
    let shown = |args: &str| {
        let said = stage.output(CTL, args);
        assert_eq!(said.code, Some(0), "{said:?}");
        let lines = said.out.lines().filter_map(|line| line.strip_prefix("exec:  "));
        let short = |line: &str| {
            let (program, args) = line.split_once(' ').unwrap();
            format!("{} {args}", program.rsplit_once('/').unwrap().1)
        };
        lines.map(short).collect::<Vec<_>>()
    };
    assert_eq!(
        shown("-t start"),
        ["dummy-ups -a a", "nosuchdriver -a missing", "dummy-ups -a silent", "dummy-ups -a b"]
    );
    assert_eq!(
        shown("-t shutdown"),
        ["nosuchdriver -a missing -k", "dummy-ups -a b -k", "dummy-ups -a a -k"]
    );
    assert_eq!(shown("-t -u me -r /jail shutdown silent"), ["dummy-ups -a silent -k -r /jail -u me"]);
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

#[test]
fn shutdown_tries_all_and_tells_the_truth() {
    let stage = stage();
    let said = stage.output(CTL, "shutdown");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(said.err.matches("shutdown not supported").count(), 4, "{said:?}");
    assert!(!said.err.contains("[silent]"), "{said:?}");
}

#[test]
fn lists_and_words_it_does_not_know() {
    let stage = stage();
    assert_eq!(stage.output(CTL, "list").out, "a\nmissing\nsilent\nb\n");
    assert_eq!(stage.output(CTL, "-l").out, "a\nmissing\nsilent\nb\n");
    assert_eq!(stage.output(CTL, "list b").out, "b\n");
    for (args, text) in [
        ("list nosuch", "UPS nosuch not found in ups.conf"),
        ("jump", "Error: unrecognized command [jump]"),
        ("start a b", "too many words"),
        ("-c jump", "unrecognized command"),
    ] {
        let said = stage.output(CTL, args);
        assert!(said.code == Some(1) && said.err.contains(text), "{args}: {said:?}");
    }
    for args in ["", "-h", "-Z"] {
        let said = stage.output(CTL, args);
        assert!(said.code == Some(0) && said.out.contains("shutdown"), "{args}: {said:?}");
    }
    stage.conf("");
    let said = stage.output(CTL, "start").err;
    assert!(said.contains("Error: no UPS definitions found in ups.conf (/"), "{said}");
    stage.remove("ups.conf");
    assert_eq!(stage.output(CTL, "start").code, Some(1));
}

#[test]
fn in_the_foreground_the_driver_takes_its_place() {
    let stage = stage();
    assert!(stage.output(CTL, "-F start").err.contains("name the UPS"));
    let mut driver = stage.start(CTL, "-FF start a");
    let mut reader = stage.connect("dummy-ups-a");
    reader.say("GETPID\n");
    assert_eq!(reader.line(), Some(format!("PID {}", driver.pid())));
    assert_eq!(stage.output(CTL, "stop a").code, Some(0));
    assert_eq!(driver.end(), Some(0));
}

#[test]
fn a_driver_that_takes_too_long_is_left_alone_and_counts_as_failed() {
    let stage = Stage::new("[slow]\ndriver = sleeper\nport = x\nmaxstartdelay = 1\n");
    let bin = stage.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("sleeper"), "#!/bin/sh\nexec sleep 30\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bin.join("sleeper"), mode).unwrap();
    stage.conf(&format!(
        "driverpath = {}\n[slow]\ndriver = sleeper\nport = x\nmaxstartdelay = 1\n",
        bin.display()
    ));
    let said = stage.output(CTL, "start");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("Startup timer elapsed, continuing..."), "{said:?}");
    assert!(said.err.contains("[slow] driver sleeper is still starting"), "{said:?}");

    stage.conf(&format!("driverpath = {}\nnowait\n[slow]\ndriver = sleeper\nport = x\n", bin.display()));
    assert_eq!(stage.output(CTL, "start").code, Some(0));
}

#[test]
fn a_driver_that_does_not_end_is_killed() {
    let stage = Stage::new("[u]\ndriver = stubborn\nport = x\n");
    let mut driver = stage.start_without_socket("stubborn", "u", ":");
    let said = stage.output(CTL, "stop");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("[u] the driver had to be killed"), "{said:?}");
    assert_eq!(driver.end(), None);
    assert_eq!(stage.notes(), "runs\nTERM\n");
    assert_eq!(stage.left_over(), Vec::<String>::new());
}
