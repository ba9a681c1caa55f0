//! What `ups.conf` says, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read, shown};
use proptest::prelude::*;

#[test]
fn every_row_is_read() {
    let of = |scope| TABLE.iter().filter(|row| row.scope != scope).cloned().collect::<Vec<_>>();
    every_example_is_understood(parse, &of(Scope::Section), "");
    every_example_is_understood(parse, &of(Scope::Global), "[x]\ndriver = d\nport = p\n[x]\n");
}

#[test]
fn global_lines() {
    let conf = good(
        parse,
        "chroot = /c\ndriverpath = /d\nSTATEPATH = /s\nuser = u\ngroup = g\npollinterval = 3\nsynchronous = no\n\
         maxstartdelay = -1\nmaxretry = 3\nretrydelay = 0\nnowait\nDEBUG_MIN = 2\n",
    );
    let expected = Global {
        chroot: Some("/c".into()),
        driver_path: Some("/d".into()),
        state_path: Some("/s".into()),
        user: Some("u".into()),
        group: Some("g".into()),
        poll_interval: Some(Duration::from_secs(3)),
        synchronous: Some(Synchronous::No),
        max_start_delay: Some(-1),
        max_retry: Some(3),
        retry_delay: Some(0),
        no_wait: true,
        debug_min: Some(2),
    };
    assert_eq!(conf, UpsConf { global: expected, sections: Vec::new() });
}

fn option(name: &str, value: Option<&str>, line: usize) -> DriverOption {
    DriverOption {
        name: name.to_owned(),
        value: value.map(str::to_owned),
        at: crate::Span { line, column: 1 },
    }
}

#[test]
fn a_section_has_the_cores_lines_and_the_drivers() {
    let conf = good(
        parse,
        "[apc]\nsdorder = -1\ndriver = apcsmart\nport = /dev/ttyS0\ndesc = \"Smart-UPS 1000\"\nmaxstartdelay = 9\n\
         maxretry = 2\nretrydelay = 1\nuser = u\ngroup = g\npollinterval = 5\nsynchronous = auto\ndebug_min = 1\nnolock\n\
         ignorelb\nallow_killpower\nsdcommands = \"shutdown.return, load.off,\"\nsdtype = 0\ncable = 940-0095B\nlowbatt\n\
         Empty = \"\"\ndefault.battery.voltage.high = 27.6\nOVERRIDE.battery.charge.low = 30\nx=\"a=b\"\n",
    );
    let [section] = &conf.sections[..] else { panic!("{conf:?}") };
    let expected = Section {
        driver: Some("apcsmart".into()),
        port: Some("/dev/ttyS0".into()),
        desc: Some("Smart-UPS 1000".into()),
        shutdown_order: -1,
        max_start_delay: Some(9),
        max_retry: Some(2),
        retry_delay: Some(1),
        user: Some("u".into()),
        group: Some("g".into()),
        poll_interval: Some(Duration::from_secs(5)),
        synchronous: Some(Synchronous::Auto),
        debug_min: Some(1),
        no_lock: true,
        ignore_lb: true,
        allow_killpower: true,
        shutdown_commands: vec!["shutdown.return".into(), "load.off".into()],
        defaults: vec![("battery.voltage.high".into(), "27.6".into())],
        overrides: vec![("battery.charge.low".into(), "30".into())],
        options: vec![
            option("sdtype", Some("0"), 18),
            option("cable", Some("940-0095B"), 19),
            option("lowbatt", None, 20),
            option("Empty", Some(""), 21),
            option("x", Some("a=b"), 24),
        ],
        ..Section::new("apc".parse().unwrap(), crate::Span { line: 1, column: 1 })
    };
    assert_eq!(section, &expected);
}

#[test]
fn sections_of_one_name_are_one() {
    let (conf, found) =
        bad(parse, "[a]\ndriver = d\nport = p\n[b]\ndriver=d\nport=q\n[a]\nport = r\nsdorder = 3\n");
    assert_eq!(
        conf.sections.iter().map(|section| section.port.as_deref()).collect::<Vec<_>>(),
        [Some("r"), Some("q")]
    );
    assert_eq!(conf.sections[0].shutdown_order, 3);
    assert_eq!(found, ["7:1 note section a begins in line 1"]);
}

#[test]
fn names_that_differ_in_case_only_collide_in_upsd() {
    let (conf, found) = bad(parse, "[a]\ndriver=d\nport=p\n[A]\ndriver=d\nport=q\n");
    assert_eq!(conf.sections.len(), 2);
    assert_eq!(found, ["4:1 warning UPS name [A] is already in use!"]);
}

#[test]
fn a_broken_header_does_not_change_the_section_above_it() {
    for header in ["[ups 4]", "[ups", "\"[ups 4]\"", "[a@b]", "[]", "[a=b]"] {
        let (conf, found) = bad(parse, format!("[a]\ndriver=d\nport=p\n{header}\nport = other\nnolock\n"));
        let ports: Vec<_> =
            conf.sections.iter().map(|section| (section.port.as_deref(), section.no_lock)).collect();
        assert_eq!((ports, found.len()), (vec![(Some("p"), false)], 1), "{header}");
        assert!(found[0].starts_with("4:1 warning"), "{header}");
    }
}

#[test]
fn sections_without_driver_or_port_are_told() {
    let (conf, found) = bad(parse, "[a]\n[b]\ndriver = d\n[c]\nport = p\n");
    assert_eq!(conf.sections.len(), 3);
    assert_eq!(
        found,
        [
            "1:1 warning UPS a has neither driver nor port",
            "2:1 warning UPS b has no port",
            "4:1 warning UPS c has no driver"
        ]
    );
}

#[test]
fn lines_that_do_not_read_as_they_are_used() {
    let cases: [(&str, &[&str]); 22] = [
        ("foo =", &["4:5 warning nothing stands behind the equals sign"]),
        ("foo \"x\"", &["4:5 warning an equals sign is missing"]),
        ("foo x y", &["4:5 warning an equals sign is missing"]),
        ("desc = two words", &["4:12 warning \"desc\" takes one word"]),
        ("port", &["4:1 warning port needs a value"]),
        ("ignorelb = yes", &["4:12 warning ignorelb stands alone; it takes no value"]),
        ("ignorelb = no", &["4:12 warning ignorelb stands alone; it takes no value"]),
        ("pollinterval = 0", &["4:16 warning pollinterval cannot be less than 1, found 0"]),
        ("pollinterval = x", &["4:16 warning pollinterval takes a number, found \"x\""]),
        ("sdorder = 1st", &["4:11 warning \"1st\" is no number; 1 is"]),
        ("sdorder = first", &["4:11 warning sdorder takes a number, found \"first\""]),
        ("debug_min = -1", &["4:13 warning debug_min cannot be less than 0, found -1"]),
        (
            "driver = ../x",
            &["4:1 note driver stands in line 2, too", "4:10 warning \"../x\" is no driver's name"],
        ),
        ("override. = 1", &["4:1 warning \"override.\" names no variable: the name is empty"]),
        ("override.x", &["4:1 warning override.x needs a value"]),
        ("nowait", &["4:1 warning nowait belongs before the first section"]),
        ("driverpath = /x", &["4:1 warning driverpath belongs before the first section"]),
        ("Port = x", &["4:1 warning \"Port\" is written port"]),
        (
            "synchronous = maybe",
            &[
                "4:1 note synchronous has no effect here",
                "4:15 warning synchronous takes yes, no or auto, found \"maybe\"",
            ],
        ),
        ("sddelay = 3", &["4:1 note sddelay has no effect here"]),
        ("LIBUSB_DEBUG = 3", &["4:1 note LIBUSB_DEBUG has no effect here"]),
        ("desc = \"UPS #1\"", &["4:13 warning a '#' inside quotes needs a backslash"]),
    ];
    for (line, expected) in cases {
        let (conf, found) = bad(parse, format!("[a]\ndriver = d\nport = p\n{line}\n"));
        assert_eq!(found, expected, "{line}");
        assert_eq!(
            (conf.sections[0].driver.as_deref(), conf.sections[0].port.as_deref()),
            (Some("d"), Some("p")),
            "{line}"
        );
    }
    let section =
        |line: &str| bad(parse, format!("[a]\ndriver = d\nport = p\n{line}\n")).0.sections.remove(0);
    assert_eq!(section("desc = two words").desc.as_deref(), Some("two"));
    assert!(section("ignorelb = yes").ignore_lb && !section("ignorelb = no").ignore_lb);
    assert_eq!(section("sdorder = 1st").shutdown_order, 1);
    assert_eq!(section("Port = x").options, [option("Port", Some("x"), 4)]);
    assert!(section("desc = \"UPS #1\"").options.is_empty());
}

#[test]
fn global_lines_that_do_not_read_as_they_are_used() {
    let (conf, found) = bad(
        parse,
        "port = x\nsdtype = 0\nMaxRetry = 3\nretrydealy = 1\nnowait = no\nmaxretry = 2\nmaxretry = 3\n",
    );
    assert_eq!(conf.global, Global { max_retry: Some(3), ..Global::default() });
    assert_eq!(
        found,
        [
            "1:1 warning port belongs in a section",
            "2:1 note unknown directive \"sdtype\"",
            "3:1 warning unknown directive \"MaxRetry\"",
            "4:1 warning unknown directive \"retrydealy\"",
            "5:10 warning nowait stands alone; it takes no value",
            "7:1 note maxretry stands in line 6, too"
        ]
    );
}

#[test]
fn a_password_behind_another_word_is_not_shown() {
    for line in [
        "x password = hush",
        "x community=hush",
        "[v] authPassword = \"hush\"",
        "x = secret=hush",
        "x \"pass = hush",
    ] {
        let (_, found) = read(parse, format!("[u]\ndriver=d\nport=p\n{line}\n"));
        assert!(!found.is_empty() && !shown(&found).contains("hush"), "{line}\n{}", shown(&found));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "((\\[|driver|port|nolock|default\\.|override\\.|sdorder|x)[ a-z0-9.=\"#\\[\\]\\\\]{0,30}\n){0,8}") {
        let _ = read(parse, &text);
    }

    #[test]
    fn a_password_is_never_shown(line in "(authPassword|community|password) = hush-hush", at in any::<prop::sample::Index>(), put in "[\"#\\\\= +]{1,2}") {
        // A slip behind the name: before it, nobody can know what the line was.
        let sign = line.find('=').unwrap();
        let at = *at.get(&[sign, sign + 1, sign + 2, line.len()]);
        let text = format!("[u]\ndriver=d\nport=p\n{}{put}{}\nnolock\n", &line[..at], &line[at..]);
        let (_, found) = read(parse, &text);
        prop_assert!(!shown(&found).contains("hush-hush"), "{}\n{}", text, shown(&found));
    }

    #[test]
    fn a_broken_line_costs_itself(at in 1usize..9, broken in "desc = \"x|x y|\"|x = \"#\"|port|sdorder = x|z = \"|default\\.x") {
        let lines = ["[a]", "port = \"/dev/x\"", "sdtype = \"0\"", "nolock", "driver = d", "[b]", "# no \"", "driver = e", "port = q"];
        let (mut expected, _) = read(parse, lines.join("\n"));
        let mut with: Vec<&str> = lines.to_vec();
        with.insert(at, &broken);
        let (mut conf, found) = read(parse, with.join("\n"));
        for section in expected.sections.iter_mut().chain(&mut conf.sections) {
            section.at = crate::Span::default();
            for option in &mut section.options {
                option.at = crate::Span::default();
            }
        }
        prop_assert_eq!(conf, expected, "{}", with.join("\n"));
        prop_assert!(found.iter().any(|one| one.severity > Severity::Note));
    }
}
