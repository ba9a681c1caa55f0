//! What `upsd.users` says in both eras, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read, shown};
use nut_proto::names::Secret;
use proptest::prelude::*;

#[test]
fn every_row_is_read() {
    let (password, others) = TABLE.split_first().unwrap();
    assert_eq!(password.name, "password");
    every_example_is_understood(parse, std::slice::from_ref(password), "[u]\n");
    every_example_is_understood(parse, others, "[u]\npassword = x\n");
}

fn user(name: &str, password: &str, actions: &[&str]) -> User {
    User {
        name: UserName::new(name),
        password: Some(Password::Plain(Secret::new(password))),
        actions: actions.iter().map(ToString::to_string).collect(),
        commands: Commands::default(),
        allow_from: None,
    }
}

fn these(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn users_of_both_eras() {
    let conf = good(
        parse,
        "[admin]\n\tpassword = \"two words\"\n\tactions = set fsd\n\tinstcmds = all\n\tallowfrom = localhost lan\n\
         [old]\npassword=a\\#b\nupsmon master\n[new]\npassword = c\nupsmon secondary\n[sign]\npassword = d\nUPSMON = primary\n\
         [joined]\n\"password=e f=g\"\nactions=SET\nactions = FSD SET\ninstcmds = load.off Load.Off test.battery.start\n\
         allowfrom = lan\nallowfrom = home lan\n[]\npassword = x\n",
    );
    let expected = [
        User {
            commands: Commands::All,
            allow_from: Some(these(&["localhost", "lan"])),
            ..user("admin", "two words", &["SET", "FSD"])
        },
        user("old", "a#b", &["LOGIN", "PRIMARY", "FSD"]),
        user("new", "c", &["LOGIN"]),
        user("sign", "d", &["LOGIN", "PRIMARY", "FSD"]),
        User {
            commands: Commands::These(these(&["load.off", "test.battery.start"])),
            allow_from: Some(these(&["lan", "home"])),
            ..user("joined", "e f=g", &["SET", "FSD"])
        },
        user("", "x", &[]),
    ];
    assert_eq!(conf.users, expected);
}

#[test]
fn the_first_password_counts() {
    let (conf, found) = bad(parse, "[a]\npassword = one two\n[b]\npassword = x\npassword = y\n");
    assert_eq!(conf.users, [user("a", "one", &[]), user("b", "x", &[])]);
    assert_eq!(
        found,
        ["2:16 warning the password ends at a blank", "5:12 warning the user has a password already"]
    );
}

#[test]
fn a_second_section_of_a_user_gives_rights_to_nobody() {
    let (conf, found) = bad(
        parse,
        "[a]\npassword = x\n[b]\npassword = y\n[a]\nactions = SET\n[b]\nactions = FSD\n[c]\npassword=z\n[c]\nactions = SET\n",
    );
    assert_eq!(conf.users, [user("a", "x", &[]), user("b", "y", &[]), user("c", "z", &["SET"])]);
    assert_eq!(
        found,
        [
            "5:1 warning user \"a\" has a section in line 1 already",
            "7:1 warning user \"b\" has a section in line 3 already",
            "11:1 note section \"c\" goes on here"
        ]
    );
}

#[test]
fn a_broken_header_gives_rights_to_nobody() {
    let (conf, found) =
        bad(parse, "[a]\npassword = x\n[my user]\npassword = y\nactions = SET\n[b] more\npassword = z\n");
    assert_eq!(conf.users, [user("a", "x", &[]), user("b", "z", &[])]);
    assert_eq!(
        found,
        [
            "3:1 warning the section's name is not closed by a ] in the same word",
            "6:5 warning words stand behind the section's name"
        ]
    );
    assert_eq!(good(parse, "\"[my user]\"\npassword = y\n").users, [user("my user", "y", &[])]);
}

#[test]
fn lines_that_do_not_read_as_they_are_used() {
    let cases = [
        ("pasword = hush", "3:1 warning unknown directive \"pasword\""),
        ("colour = blue", "3:1 warning unknown directive \"colour\""),
        ("password hush", "3:1 warning the line has no equals sign"),
        ("hush", "3:1 warning the line has no equals sign"),
        ("actions SET", "3:1 warning the line has no equals sign"),
        ("actions =", "3:1 warning actions has no value"),
        ("upsmon", "3:1 warning upsmon has no value"),
        ("upsmon mster", "3:8 warning Unknown upsmon type \"mster\""),
        ("upsmon master now", "3:15 warning upsmon takes 1 word"),
        ("actions = SETT", "3:11 warning \"SETT\" is no action"),
        ("user old hush", "3:1 warning this is a user in the manner of NUT 1.2"),
        ("instcmds = \"a#b\"", "3:14 warning a '#' inside quotes needs a backslash"),
        ("= = =", "3:1 warning the line has no equals sign"),
    ];
    for (line, expected) in cases {
        let (conf, found) = bad(parse, format!("[u]\npassword = x\n{line}\n"));
        assert_eq!((conf.users.len(), found), (1, vec![expected.to_owned()]), "{line}");
    }
    let (conf, found) = bad(parse, "password = hush\n[u]\n[v]\npassword = \"\"\n");
    assert_eq!(conf.users.len(), 2);
    assert_eq!(
        found,
        ["1:1 warning password stands before the first section", "2:1 warning user \"u\" has no password"]
    );
}

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

#[test]
fn a_password_may_be_a_hash() {
    for line in [
        format!("password = \"{HASH}\""),
        format!("password=\"{HASH}\""),
        format!("\"password={HASH}\""),
        format!("Password = {}", HASH.replace('=', "\\=")),
    ] {
        let conf = good(parse, &format!("[u]\n{line}\nactions = SET\n"));
        let expected =
            User { password: Some(Password::Hashed(HASH.parse().unwrap())), ..user("u", "", &["SET"]) };
        assert_eq!(conf.users, [expected], "{line}");
    }
}

#[test]
fn a_hash_that_cannot_be_used_is_told_and_no_password() {
    for (line, expected) in [
        (
            format!("password = {HASH}"),
            "2:12 warning a hashed password must stand in quotes: outside them each = is a word of its own",
        ),
        (
            format!("password={HASH}"),
            "2:10 warning a hashed password must stand in quotes: outside them each = is a word of its own",
        ),
        (
            format!("password = \"{}\"", HASH.replace("v=19", "v=20")),
            "2:12 warning the password begins as a hash, but only version 19 of argon2id is known (v=19)",
        ),
        (
            format!("password = \"{}\"", HASH.replace("m=19456", "m=4000000")),
            "2:12 warning the password begins as a hash, but m must be a number from 8 to 65536",
        ),
        (
            "password = $argon2id$hush-hush".to_owned(),
            "2:12 warning the password begins as a hash, but a hash reads \
             $argon2id$v=19$m=NUMBER,t=NUMBER,p=NUMBER$SALT$HASH, this one does not",
        ),
    ] {
        let (conf, found) = bad(parse, format!("[u]\n{line}\n"));
        assert_eq!((conf.users[0].password.clone(), found), (None, vec![expected.to_owned()]), "{line}");
        let (conf, found) = bad(parse, format!("[u]\n{line}\npassword = other\n"));
        assert_eq!(conf.users[0].password, None, "no other takes its place");
        assert_eq!(found[1..], ["3:12 warning the user has a password already"]);
        let (_, found) = read(parse, format!("[u]\n{line}\n"));
        let shown = shown(&found);
        assert!(!shown.contains("hush-hush") && !shown.contains("c29tZ"), "{shown}");
    }
}

#[test]
fn rights_have_a_limit() {
    let text = format!(
        "[u]\npassword=x\n{}",
        (0..MAX_RIGHTS + 9).map(|nth| format!("instcmds = c{nth}\n")).collect::<String>()
    );
    let (conf, found) = bad(parse, text);
    let Commands::These(names) = &conf.users[0].commands else { panic!() };
    assert_eq!((names.len(), found.len()), (MAX_RIGHTS, 9));
}

#[test]
fn a_password_on_the_headers_line_is_not_shown() {
    for line in
        ["[u] password = hush-hush", "[u] password hush-hush", "[u]password=hush-hush", "[u]hush-hush", "[u"]
    {
        let (_, found) = read(parse, format!("{line} upsmon hush-hush\nactions = SET\n"));
        assert!(!found.is_empty() && !shown(&found).contains("hush"), "{line}\n{}", shown(&found));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "((\\[|password|actions|instcmds|upsmon|allowfrom|user)[ a-z=\"#\\[\\]\\\\]{0,30}\n){0,8}") {
        let _ = read(parse, &text);
    }

    #[test]
    fn a_password_is_never_shown(line in "password = hush-hush|password=hush-hush|\"password=hush-hush\"|password hush-hush", at in any::<prop::sample::Index>(), put in "[\"#\\\\=\n x\\[\\]]", drop in any::<bool>(), before in "|\\[u\\]\n") {
        let secret = line.find("hush").unwrap();
        let places: Vec<usize> = (0..=line.len()).filter(|at| *at <= secret || *at >= secret + 9).collect();
        let at = *at.get(&places);
        let end = if drop && at != secret && at < line.len() { at + 1 } else { at };
        let text = format!("{before}{}{put}{}\nactions = SET\n", &line[..at], &line[end..]);
        let (_, found) = read(parse, &text);
        prop_assert!(!shown(&found).contains("hush-hush"), "{}\n{}", text, shown(&found));
    }

    #[test]
    fn a_broken_line_costs_itself(at in 1usize..9, broken in "password|colour = \"x|actions|\"|x = \"#\"|é|upsmon|instcmds = \"a") {
        let lines = ["[a]", "password = x", "actions = SET", "[b]", "# no \"", "password = \"y z\"", "upsmon = slave", "instcmds = all"];
        let (expected, _) = read(parse, lines.join("\n"));
        let mut with: Vec<&str> = lines.to_vec();
        with.insert(at, &broken);
        let (conf, found) = read(parse, with.join("\n"));
        prop_assert_eq!(conf, expected);
        prop_assert!(found.iter().any(|one| one.severity > Severity::Note));
    }
}
