//! The catalogue: every command of net-protocol in its right and wrong forms, for every state of a driver and every user.
//!
//! What NUT answers with an error and we in the words of NUT before 1.5 (`LOGIN` alone, `REQ`, ...) does not stand here:
//! `upsd`'s own tests have it.

const NAMES: [&str; 7] = ["ups1", "UPS1", "Down", "down", "stale", "nope", "\"\""];

pub(super) fn lines(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| format!("{}\n", text.as_ref()).into_bytes()).collect()
}

/// Every conversation of the catalogue, with a name.
pub(super) fn catalogue() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut gets = Vec::new();
    for what in ["VAR", "TYPE", "DESC", "CMDDESC"] {
        for ups in NAMES {
            for name in ["ups.status", "UPS.Status", "nosuch", "load.off", "server.info", "battery.charge"] {
                gets.push(format!("GET {what} {ups} {name}"));
            }
        }
    }
    for what in ["NUMLOGINS", "UPSDESC", "VAR", "TYPE"] {
        gets.extend(NAMES.map(|ups| format!("GET {what} {ups}")));
    }
    gets.extend(
        [
            "GET",
            "GET FOO",
            "GET TRACKING",
            "GET TRACKING x",
            "GET VAR ups1 empty",
            "GET VAR x SERVER.info",
            "GET VAR x server.x",
            "GET DESC ups1 ups.odd",
        ]
        .map(str::to_owned),
    );
    let mut lists = vec!["LIST".to_owned(), "list ups extra".to_owned(), "LIST CLIENTS ups1".to_owned()];
    for what in ["VAR", "RW", "CMD", "CLIENT", "UPS", "FOO", "ENUM"] {
        lists.extend(NAMES.map(|ups| format!("LIST {what} {ups}")));
    }
    for what in ["ENUM", "RANGE", "VAR"] {
        for ups in NAMES {
            for name in ["input.transfer.low", "UPS.delay.start", "ups.status", "nosuch"] {
                lists.push(format!("LIST {what} {ups} {name}"));
            }
        }
    }
    let odd = [
        "",
        "   ",
        "# c",
        "FOO",
        "VER",
        "ver x",
        "NETVER",
        "PROTVER",
        "HELP x",
        "LOGOUT x",
        "NETVER#x",
        "NETVER # x",
        "\"NETVER\"",
        "NET\\VER",
        "GET VAR ups1=ups.status",
        "PASSWORD a=b",
        "STARTTLS",
        "STARTTLS x",
        "\"GET\"VAR\"ups1\"",
        "GET \"VAR\" \"ups1\" \"ups.status\"",
        "GET VAR ups1 ups.status a b c",
        "GET VAR ups1 \"ups\n.status\"",
        "GET VAR ups1 \\\nups.status",
        "NETVER \\\n ",
        "NETVER \u{1}",
        "USERNAME",
        "USERNAME a b",
        "USERNAME \"x y\"",
        "USERNAME z",
        "PASSWORD",
        "PASSWORD \"\"",
        "PASSWORD q",
        "GET VAR ups1 'ups.status'",
    ];
    let raw = [
        &b"\xff\xfd\x03NETVER\n"[..],
        b"NETVER\r\n",
        b"NETVER\r\r\n",
        b"NET\0VER\n",
        b"NETVER\nNETVER\nVER x\n",
        b"GET VAR caf\xc3\xa9 x\n",
    ];
    let gate = [
        "LOGIN ups1",
        "PRIMARY ups1",
        "FSD ups1",
        "SET",
        "SET VAR ups1 a b",
        "SET TRACKING ON",
        "INSTCMD",
        "INSTCMD ups1 load.off",
    ];
    let set = [
        "SET VAR nope v x",
        "SET VAR down v x",
        "SET VAR stale v x",
        "SET VAR ups1 nosuch x",
        "SET VAR ups1 ups.status x",
        "SET VAR ups1 s x",
        "SET VAR ups1 battery.charge 123456",
        "SET VAR ups1 battery.charge 12345",
        "SET VAR ups1 input.transfer.low 1033",
        "SET VAR ups1 input.transfer.low 101",
        "SET VAR ups1 INPUT.transfer.low 100",
        "SET VAR ups1 ups.delay.start 31",
        "SET VAR ups1 ups.delay.start 75.9xyz",
        "SET VAR ups1 ups.delay.start abc",
        "SET VAR ups1 ups.delay.start -1",
        "SET VAR ups1 n \"any text\"",
        "SET VAR ups1 n a b",
        "SET VAR ups1 n \"\"",
        "SET VAR ups1 n \"a\\\"b\\\\c\\#d\"",
        "SET VAR ups1",
        "SET VAR ups1 n",
        "SET FOO a b c",
        "SET",
        "SET TRACKING",
        "SET TRACKING maybe",
        "SET TRACKING on",
        "GET TRACKING",
        "SET VAR ups1 n 5",
        "GET TRACKING nonsense",
        "SET TRACKING OFF",
        "SET VAR ups1 n 6",
    ];
    let command = [
        "INSTCMD",
        "INSTCMD ups1",
        "INSTCMD nope load.off",
        "INSTCMD down load.off",
        "INSTCMD stale load.off",
        "INSTCMD ups1 nosuch",
        "INSTCMD ups1 load.off",
        "INSTCMD UPS1 LOAD.off",
        "INSTCMD ups1 test.panel.start",
        "INSTCMD ups1 load.off 30",
        "INSTCMD ups1 load.off 30 40",
        "SET TRACKING ON",
        "INSTCMD ups1 load.off",
        "INSTCMD ups1 load.off 5",
    ];
    let login = [
        "LOGIN a b",
        "LOGIN nope",
        "LOGIN UPS1",
        "LOGIN ups1",
        "LOGIN down",
        "GET NUMLOGINS ups1",
        "LIST CLIENT ups1",
        "PRIMARY",
        "PRIMARY nope",
        "PRIMARY ups1",
        "MASTER down",
        "FSD nope",
        "FSD ups1",
        "GET VAR ups1 ups.status",
        "GET VAR ups1 UPS.STATUS",
        "LIST VAR ups1",
        "LIST RW ups1",
        "LOGOUT",
    ];
    let mut all = vec![
        ("get".to_owned(), lines(gets)),
        ("list".to_owned(), lines(lists)),
        ("odd".to_owned(), lines(odd)),
        ("raw".to_owned(), raw.map(<[u8]>::to_vec).to_vec()),
        ("gate".to_owned(), lines(gate)),
        ("gate with a name".to_owned(), lines(["USERNAME x"].iter().chain(&gate))),
        ("gate with a password".to_owned(), lines(["PASSWORD x"].iter().chain(&gate))),
    ];
    for (user, password) in [
        ("admin", "adminpw"),
        ("admin", "bad"),
        ("setter", "setpw"),
        ("tester", "testpw"),
        ("mon", "mpw"),
        ("nobody", "x"),
    ] {
        let hello = [format!("USERNAME {user}"), format!("PASSWORD {password}")];
        for (kind, requests) in [("set", &set[..]), ("command", &command[..]), ("login", &login[..])] {
            let requests = requests.iter().map(ToString::to_string);
            all.push((
                format!("{kind} as {user} with {password}"),
                lines(hello.iter().cloned().chain(requests)),
            ));
        }
    }
    all
}
