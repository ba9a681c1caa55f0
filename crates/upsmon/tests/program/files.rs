//! What it starts with, and the power-down flag.

use super::stage::Stage;
use super::upsd::Upsd;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn k_says_whether_the_flag_is_set() {
    let stage = Stage::new();
    stage.configure("MONITOR u1@127.0.0.1:1 1 pri secret primary");
    let foreign = "does not contain the upsmon magic string";
    for (content, code, text) in [
        (None, 1, "Power down flag is not set"),
        (Some("upsmon-shutdown-file"), 0, "Power down flag is set"),
        (Some("upsmon-shutdown-file\nmore"), 0, "Power down flag is set"),
        (Some("other"), 1, foreign),
        (Some(""), 1, foreign),
        (Some("\nupsmon-shutdown-file"), 1, foreign),
    ] {
        let flag = stage.path("flag");
        match content {
            Some(content) => fs::write(&flag, content).unwrap(),
            None => assert!(!flag.exists()),
        }
        let ended = stage.run(&["-K"]);
        assert_eq!(ended.code, Some(code), "{content:?}");
        assert!(ended.stderr.contains(text), "{content:?}: {}", ended.stderr);
    }
    let stage = Stage::new();
    assert_eq!(stage.run(&["-K"]).code, Some(1));
}

/// After a shutdown upsmon did not start again, and months later somebody stops the host for other reasons.
#[test]
fn k_does_not_obey_a_flag_of_an_earlier_boot() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB LB");
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary\nFINALDELAY 0", upsd.port));
    assert_eq!(stage.start(&["-F"]).end().code(), Some(0));
    assert_eq!(stage.read("flag"), "upsmon-shutdown-file");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mark = stage.read("flag.boot");
    assert!(mark.starts_with(boot.trim_end()), "{mark}");
    assert_eq!(stage.run(&["-K"]).code, Some(0));

    let of_another_boot = mark.replace(boot.trim_end(), "5e2f6f0e-0000-4000-8000-000000000000");
    fs::write(stage.path("flag.boot"), of_another_boot).unwrap();
    let stale = stage.run(&["-K"]);
    assert_eq!(stale.code, Some(1), "{}", stale.stderr);
    assert!(
        stale.stderr.contains("Power down flag is not set: ") && stale.stderr.contains("earlier shutdown")
    );

    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary", upsd.port));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    assert!(!stage.path("flag").exists() && !stage.path("flag.boot").exists());
}

#[test]
fn it_does_not_start_with_what_cannot_work() {
    let stage = Stage::new();
    let missing = stage.run(&["-F"]);
    assert_eq!(missing.code, Some(1));
    let text = format!("Can't open {}: No such file or directory", stage.path("upsmon.conf").display());
    assert!(missing.stdout.contains(&text), "{}", missing.stdout);

    stage.configure("MONITOR u1@127.0.0.1:1 1 pri secret primary\nMINSUPPLIES 2");
    let weak = stage.run(&["-F"]);
    assert_eq!(weak.code, Some(1));
    let text = "\nFatal error: insufficient power configured!\n\n\
                Sum of power values........: 1\n\
                Minimum value (MINSUPPLIES): 2\n\n\
                Edit your upsmon.conf and change the values.\n";
    assert!(weak.stdout.contains(text), "{}", weak.stdout);

    stage.configure("MONITOR u1@127.0.0.1:1 1 secret primary");
    let old = stage.run(&["-F"]);
    assert_eq!(old.code, Some(1));
    assert!(old.stdout.contains("Fatal error: unusable configuration"), "{}", old.stdout);
    assert!(old.stderr.contains("MONITOR takes 5 words, found 4"), "{}", old.stderr);
    assert!(!old.stderr.contains("secret") && !old.stdout.contains("secret"));
}

#[test]
fn a_file_of_passwords_that_all_may_read_is_warned_about() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary", upsd.port));
    let path = stage.path("upsmon.conf");
    for (mode, is_told) in [(0o644, true), (0o640, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut upsmon = stage.start(&["-F", "-p"]);
        upsmon.log("UPS: u1@127.0.0.1");
        let told = upsmon.seen.iter().filter(|line| line.contains("upsmon.conf is world readable")).count();
        assert_eq!(told, usize::from(is_told), "{mode:o}");
        assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
        upsmon.end();
    }
}

#[test]
fn a_stale_flag_is_removed_and_a_foreign_one_never_touched() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!("MONITOR u1@127.0.0.1:{} 1 pri secret primary", upsd.port));
    fs::write(stage.path("flag"), "upsmon-shutdown-file").unwrap();
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    assert!(!stage.path("flag").exists());
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();

    fs::write(stage.path("flag"), "precious").unwrap();
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("does not contain the upsmon magic string");
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0));
    assert_eq!(stage.read("flag"), "precious");
    assert!(stage.read("shutdown.out").ends_with(" precious\n"));

    // The start says why a file is none, as -K does.
    fs::remove_file(stage.path("flag")).unwrap();
    fs::create_dir(stage.path("flag")).unwrap();
    upsd.set("u1", "OL");
    let mut upsmon = stage.start(&["-F"]);
    let said = upsmon.log("' exists, but we can't read from it: ");
    assert!(said.ends_with("is not a regular file"), "{said}");
    upsmon.log("(not a NUT file) - disabling!");
    upsmon.log("UPS: u1@127.0.0.1");
    assert_eq!(stage.run(&["-c", "stop"]).code, Some(0));
    upsmon.end();
}
