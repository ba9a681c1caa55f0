//! Whole files as people have them: those that must be read without a murmur, and what is said of those that are broken.

use nut_conf::{Diagnostic, Severity, Source, upsmon_conf, worst};

/// Reads a file of the kind that its name says.
fn read(path: &str, text: &str) -> (String, Vec<Diagnostic>) {
    let source = Source { path, text: text.as_bytes() };
    macro_rules! with {
        ($module:ident) => {{
            let (conf, found) = nut_conf::$module::parse(source);
            (format!("{conf:#?}"), found)
        }};
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.split('-').next().unwrap_or_default().trim_end_matches(".conf") {
        "ups" => with!(ups_conf),
        "upsd" => with!(upsd_conf),
        "upsd.users" => with!(upsd_users),
        "upsmon" => with!(upsmon_conf),
        "upssched" => with!(upssched_conf),
        "hosts" => with!(hosts_conf),
        "nut" => with!(nut_conf),
        other => panic!("no parser for {other}"),
    }
}

fn shown(found: &[Diagnostic]) -> String {
    found.iter().map(|one| format!("{:?} {one}\n", one.severity)).collect()
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("data/", $path)))),*]
    };
}

#[test]
fn good_files_give_nothing_above_a_note() {
    let files = files![
        "school/ups.conf",
        "school/upsd.conf",
        "school/upsd.users",
        "school/upsmon.conf",
        "school/upsmon-remote.conf",
        "school/upssched.conf",
        "debian/ups.conf",
        "debian/upsd.conf",
        "debian/upsd.users",
        "debian/upsmon.conf",
        "debian/upssched.conf",
        "debian/hosts.conf",
        "debian/nut.conf",
        "full/ups.conf",
        "full/upsd.conf",
        "full/upsd.users",
        "full/upsmon.conf",
        "full/upssched.conf",
        "full/hosts.conf",
        "full/nut.conf",
    ];
    for (path, text) in files {
        let (conf, found) = read(path, text);
        assert!(worst(&found) <= Some(Severity::Note), "{}", shown(&found));
        // With the line ends of another system, and without the last one, it is the same file.
        for other in [text.replace('\n', "\r\n"), text.trim_end().to_owned(), format!("\u{feff}{text}")] {
            assert_eq!(read(path, &other).0, conf, "{path}");
        }
        // Nothing was lost: each line that is no comment is in what was read, or was told.
        let empty = read(path, "").0;
        let active = text.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
        assert_eq!(conf != empty, active, "{path}");
    }
}

#[test]
fn the_schools_files_are_understood() {
    let source = |path, text: &'static str| Source { path, text: text.as_bytes() };
    let (ups, _) = nut_conf::ups_conf::parse(source("ups.conf", include_str!("data/school/ups.conf")));
    let [nicole] = &ups.sections[..] else { panic!("{ups:?}") };
    assert_eq!((nicole.driver.as_deref(), nicole.port.as_deref()), (Some("apcsmart"), Some("/dev/ttyS0")));
    assert_eq!((nicole.desc.as_deref(), nicole.shutdown_order), (Some("Smart-UPS 1000"), 10));
    assert_eq!((nicole.options[0].name.as_str(), nicole.options[0].value.as_deref()), ("sdtype", Some("0")));

    let (upsd, _) = nut_conf::upsd_conf::parse(source("upsd.conf", include_str!("data/school/upsd.conf")));
    assert_eq!((upsd.acls.len(), upsd.access.len(), upsd.listen.len()), (3, 3, 0));

    let (users, _) =
        nut_conf::upsd_users::parse(source("upsd.users", include_str!("data/school/upsd.users")));
    let rights: Vec<_> = users.users.iter().map(|user| user.actions.join(" ")).collect();
    assert_eq!(rights, ["SET FSD", "LOGIN PRIMARY FSD", "LOGIN"]);
    assert_eq!(
        users.users[2].allow_from.as_deref(),
        Some(&["localhost".to_owned(), "myservers".to_owned()][..])
    );

    let (upsmon, _) = upsmon_conf::parse(source("upsmon.conf", include_str!("data/school/upsmon.conf")));
    let weights: Vec<_> = upsmon.monitors.iter().map(|monitor| monitor.power_value.0).collect();
    assert_eq!((weights, upsmon.min_supplies, upsmon.notify_flags.len()), (vec![3, 1, 1], 3, 10));
    assert!(upsmon.monitors.iter().all(|monitor| monitor.role == upsmon_conf::Role::Primary));

    let (upssched, _) =
        nut_conf::upssched_conf::parse(source("upssched.conf", include_str!("data/school/upssched.conf")));
    assert_eq!((upssched.rules.len(), upssched.missing), (2, None));
}

#[test]
fn broken_files_are_told_as_a_person_can_use() {
    let files = files![
        "broken/ups.conf",
        "broken/upsd.conf",
        "broken/upsd.users",
        "broken/upsmon.conf",
        "broken/upssched.conf",
        "broken/upssched-early.conf",
        "broken/hosts.conf",
        "broken/nut.conf",
    ];
    let mut all = String::new();
    for (path, text) in files {
        let (_, found) = read(path, text);
        all.push_str(&shown(&found));
        all.push('\n');
    }
    assert!(!all.contains("secret"), "a secret is shown");
    let expected = include_str!("data/broken/shown.txt");
    assert!(all == expected, "this is shown now:\n{all}");
}

#[test]
fn no_slip_of_the_pen_shows_a_password() {
    const PASSWORD: &str = "geheimes";
    let lines = [
        ("upsmon.conf", "MONITOR u@h 1 user geheimes primary\n"),
        ("upsmon.conf", "MONITOR u@h 1 user \"geheimes\" primary\n"),
        ("upsmon.conf", "CERTIDENT \"my name\" geheimes\n"),
        ("upsd.conf", "CERTIDENT name geheimes\n"),
        ("upsd.users", "[admin]\n password = geheimes\n actions = SET\n"),
        ("upsd.users", "[admin]\n password = \"geheimes\"\n"),
        ("ups.conf", "[u]\n driver = snmp-ups\n port = x\n authPassword = geheimes\n"),
    ];
    // Every byte outside the password is left out, replaced and preceded by each of these.
    let slips = [" ", "\"", "#", "=", "\\", "[", "]", "\n", "\t", "A", "m", "1", "@", ""];
    for (path, line) in lines {
        let start = line.find(PASSWORD).unwrap();
        let outside = (0..line.len()).filter(|at| *at < start || *at >= start + PASSWORD.len());
        for at in outside {
            for (slip, behind) in slips.iter().flat_map(|slip| [(slip, at), (slip, at + 1)]) {
                let text = format!("{}{slip}{}", &line[..at], &line[behind..]);
                let (_, found) = read(path, &text);
                assert!(!shown(&found).contains(PASSWORD), "{text:?}\n{}", shown(&found));
            }
        }
    }
    // Two slips in one line.
    for line in [
        "MONITOR \"u@h 1 user geheimes\" primary\n",
        "MONITOR u@h 1 \"user geheimes primary\"\n",
        "MONITOR u@h 1 \"user geheimes\" primary\n",
        "MONITOR u@h user geheimes prim ary\n",
        "MONITOR u@h user geheimes prima#ry\n",
    ] {
        let (_, found) = read("upsmon.conf", line);
        assert!(!found.is_empty() && !shown(&found).contains(PASSWORD), "{line}{}", shown(&found));
    }
}

#[test]
fn the_message_of_the_style_guide() {
    let text = format!("{}MONITOR apc@localhost 1 upsmon geheim\n", "#\n".repeat(13));
    let (_, found) = upsmon_conf::parse(Source { path: "/etc/nut/upsmon.conf", text: text.as_bytes() });
    let expected = "/etc/nut/upsmon.conf:14:1: MONITOR takes 5 words, found 4\n   \
                    14 | MONITOR apc@localhost 1 upsmon ****\n   \
                    this UPS is not watched: a power failure there will not stop this host\n   \
                    write: MONITOR apc@localhost 1 upsmon PASSWORD primary";
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert_eq!(worst(&found), Some(Severity::Error));
}

#[test]
fn the_worst_of_nothing_is_nothing() {
    assert_eq!(worst(&[]), None);
}
