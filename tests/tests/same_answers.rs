//! The same conversations with NUT's upsd and with ours, over the same driver: the answers are the same, byte for byte.
//!
//! Excused are only what differs by nature: version numbers, the scheme of NUT's address, and the ids of tracked orders.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, me, stage};
use nut_drill::stage::{Host, Stage};
use std::path::Path;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// What the driver of `ups1` tells: every kind of variable there is.
const DUMP: &str = r#"SETINFO ups.status "OL"
SETINFO ups.mfr "Acme \"Q\" Corp"
SETINFO battery.charge "100"
SETFLAGS battery.charge RW STRING
SETAUX battery.charge 5
SETINFO input.transfer.low "103"
SETFLAGS input.transfer.low RW STRING
SETAUX input.transfer.low 3
ADDENUM input.transfer.low "103"
ADDENUM input.transfer.low "100"
SETINFO ups.delay.start "20"
SETFLAGS ups.delay.start RW NUMBER
ADDRANGE ups.delay.start 0 30
ADDRANGE ups.delay.start 60 90
ADDRANGE ups.delay.start 5 30
SETINFO Driver.Flag "x"
SETINFO ups.odd "a\#b"
SETINFO s "x"
SETFLAGS s RW STRING
SETINFO n "1"
SETFLAGS n RW NUMBER
SETINFO empty ""
SETINFO a-b "1"
SETINFO a.b "1"
SETINFO a_b "1"
SETINFO a0 "1"
SETINFO aB "1"
ADDCMD load.off
ADDCMD Beeper.Enable
ADDCMD load.OFF
ADDCMD test.panel.start
DATAOK
DUMPDONE
"#;

const STALE: &str = "SETINFO ups.status \"OL\"\nDATASTALE\nDUMPDONE\n";

const UPS_CONF: &str = "[ups1]\ndriver = dummy-ups\nport = x\ndesc = \"Test \\\"UPS\\\" one\"\n\
    [Down]\ndriver = dummy-ups\nport = x\n[stale]\ndriver = dummy-ups\nport = x\n";

const USERS: &str = "[admin]\npassword = adminpw\nactions = SET FSD\ninstcmds = ALL\nupsmon primary\n\
    [setter]\npassword = setpw\nactions = SET\n[tester]\npassword = testpw\ninstcmds = test.panel.start\n\
    [mon]\npassword = mpw\nupsmon secondary\n";

const TABLE: &str = "VARDESC ups.status \"UPS status\"\nCMDDESC load.off \"Turn off\"\n\
    VARDESC ups.odd \"first\"\nVARDESC ups.odd \"last\"\n";

const NAMES: [&str; 7] = ["ups1", "UPS1", "Down", "down", "stale", "nope", "\"\""];

/// A driver that tells what it is given, answers PING, and judges tracked orders.
fn driver(socket: &Path, dump: &'static str) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((reader, _)) = listener.accept().await {
            tokio::spawn(serve(reader, dump));
        }
    });
}

async fn serve(reader: UnixStream, dump: &'static str) {
    let (input, mut output) = reader.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "DUMPALL" => dump.to_owned(),
            "PING" => "PONG\n".to_owned(),
            order => match order.rsplit_once(" TRACKING ") {
                Some((order, id)) => {
                    format!("TRACKING {id} {}\n", if order.contains("load.off") { 0 } else { 2 })
                }
                None => continue,
            },
        };
        if output.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One of the two servers.
struct Server {
    port: u16,
    _running: nut_drill::stage::Running,
}

async fn server(stage: &Stage, name: &str, oracle: Option<&Oracle>) -> Server {
    let host = stage.host(name).unwrap();
    driver(&host.state.join("dummy-ups-ups1"), DUMP);
    driver(&host.state.join("dummy-ups-stale"), STALE);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = format!("LISTEN 127.0.0.1 {port}\nDATAPATH {}\n", host.conf.display());
    for (file, text) in
        [("ups.conf", UPS_CONF), ("upsd.users", USERS), ("cmdvartab", TABLE), ("upsd.conf", conf.as_str())]
    {
        stage.write(&host.conf.join(file), text).unwrap();
    }
    let me = me();
    let running = match oracle {
        Some(oracle) => oracle.start(stage, &host, "nut-upsd", &["upsd", "-F", "-u", &me]).unwrap(),
        None => stage.start(&host, "upsd", &["-F", "-u", &me]).unwrap(),
    };
    ready(stage, &host, port).await;
    Server { port, _running: running }
}

/// Waits until the server knows all of its driver and has found the other one stale.
async fn ready(stage: &Stage, host: &Host, port: u16) {
    tokio::time::timeout(PATIENCE, async {
        for (target, wanted) in [("ups1", "OL\n"), ("stale", "Error: Data stale\n")] {
            let target = format!("{target}@127.0.0.1:{port}");
            loop {
                let (_, output, errors) = stage.run(host, "upsc", &[&target, "ups.status"]).await.unwrap();
                if output + &errors == wanted {
                    break;
                }
                nut_drill::stage::turn().await;
            }
        }
    })
    .await
    .expect("the server is ready in time");
}

/// Says these lines one after the other, and gives what came back for each.
async fn conversation(port: u16, lines: &[Vec<u8>]) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut answers = Vec::new();
    for (nth, line) in lines.iter().enumerate() {
        // The server's own variables answer whatever the UPS is called: so the end of an answer can be seen.
        let mark = format!("VAR mark{nth} server.version ");
        stream.write_all(line).await.unwrap();
        let is_last = line == b"LOGOUT\n";
        if !is_last {
            stream.write_all(format!("GET VAR mark{nth} server.version\n").as_bytes()).await.unwrap();
        }
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer);
            if let Some(at) = text.find(&mark)
                && text.ends_with('\n')
            {
                answers.push(text[..at].to_owned());
                break;
            }
            match stream.read(&mut piece).await.unwrap_or(0) {
                0 => {
                    answers.push(format!("{text}<end>"));
                    return answers;
                }
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
    }
    answers
}

/// What differs by nature, made alike.
fn alike(answer: &str) -> String {
    let mut words = Vec::new();
    for word in answer.split(' ') {
        let bare = word.trim_end_matches('\n');
        let is_id = bare.len() == 36 && bare.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        words.push(if is_id { format!("ID{}", &word[bare.len()..]) } else { word.to_owned() });
    }
    let text = words.join(" ").replace("https://", "http://");
    text.replace(nut_drill::programs::NUT_LEVEL, "VERSION").replace("2.8.0", "VERSION")
}

fn lines(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| format!("{}\n", text.as_ref()).into_bytes()).collect()
}

/// Every conversation of the catalogue, with a name.
fn catalogue() -> Vec<(String, Vec<Vec<u8>>)> {
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
        "REQ STATUS",
        "LISTVARS",
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
        "LOGIN",
        "LOGIN ups1",
        "PRIMARY ups1",
        "MASTER",
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
        "LOGIN",
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

/// Random requests from a grammar of words that mean something, always the same for one seed.
fn random(seed: u64, count: usize) -> Vec<Vec<u8>> {
    const WORDS: [&str; 30] = [
        "GET",
        "LIST",
        "SET",
        "INSTCMD",
        "LOGIN",
        "VAR",
        "RW",
        "CMD",
        "ENUM",
        "RANGE",
        "TYPE",
        "DESC",
        "UPS",
        "CLIENT",
        "NUMLOGINS",
        "UPSDESC",
        "TRACKING",
        "ups1",
        "UPS1",
        "stale",
        "Down",
        "ups.status",
        "n",
        "s",
        "load.off",
        "\"two words\"",
        "=",
        "#",
        "ON",
        "x",
    ];
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    (0..count)
        .map(|_| {
            let words: Vec<&str> = (0..=next(5)).map(|_| WORDS[next(WORDS.len())]).collect();
            (words.join(" ") + "\n").into_bytes()
        })
        .collect()
}

#[tokio::test]
async fn nuts_upsd_and_ours_answer_the_same() {
    let Some(oracle) = Oracle::get("nuts_upsd_and_ours_answer_the_same") else { return };
    let stage = stage();
    let (ours, nuts) = tokio::join!(server(&stage, "ours", None), server(&stage, "nut", Some(oracle)));
    let mut all = catalogue();
    for seed in 1..=4 {
        let mut requests = lines(["USERNAME setter", "PASSWORD setpw"]);
        requests.extend(random(seed, 150));
        all.push((format!("random with seed {seed}"), requests));
    }
    let mut compared = 0;
    let mut different = Vec::new();
    for (name, requests) in &all {
        let both =
            async { tokio::join!(conversation(ours.port, requests), conversation(nuts.port, requests)) };
        let (ours, nuts) =
            tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("{name}: no answer"));
        assert_eq!(ours.len(), nuts.len(), "{name}: one server hung up before the other");
        for ((request, ours), nuts) in requests.iter().zip(&ours).zip(&nuts) {
            compared += 1;
            if alike(ours) != alike(nuts) {
                different
                    .push(format!("{name}: {}\n  NUT:  {nuts:?}\n  ours: {ours:?}", request.escape_ascii()));
            }
        }
    }
    assert!(compared > 1000, "only {compared} answers were compared");
    assert!(
        different.is_empty(),
        "{} of {compared} answers differ:\n{}",
        different.len(),
        different.join("\n")
    );
}
