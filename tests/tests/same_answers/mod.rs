//! The same conversations with NUT's upsd and with ours, over the same drivers: the answers are the same, byte for byte.
//!
//! | part | what it plays |
//! |---|---|
//! | [`catalogue`] | every command of the specification, right and wrong, one request at a time |
//! | [`grammar`] | random conversations, thousands of requests, cut into random pieces |
//! | `scripts.txt` | several connections at once, and reloads between them |
//!
//! Excused is only what differs by nature: version numbers, the scheme of NUT's address, and the ids of tracked orders.
//! What differs on purpose stands in `docs/differences-from-nut.md`, and is not played.
//!
//! `COBNUT_ANSWERS=100000 COBNUT_SEED=7 cargo test -p scenarios same_answers` plays so many random requests, from another
//! seed on.

mod catalogue;
mod grammar;
mod scripts;

use crate::oracle::Oracle;
use crate::support::{PATIENCE, me, stage};
use catalogue::catalogue;
use grammar::Dice;
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
    host: Host,
    running: nut_drill::stage::Running,
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
    Server { port, host, running }
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
    let is_id =
        |word: &str| word.len() == 36 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let alike = |line: &str| -> String {
        let words: Vec<&str> = line.split(' ').map(|word| if is_id(word) { "ID" } else { word }).collect();
        words.join(" ")
    };
    let text: String = answer.split('\n').map(alike).collect::<Vec<_>>().join("\n");
    // HELP names PROTVER since 2.8.3.
    let text = text.replace("https://", "http://").replace("HELP VER PROTVER GET", "HELP VER GET");
    text.replace(nut_drill::programs::NUT_LEVEL, "VERSION").replace("2.8.0", "VERSION")
}

/// Says all of this in pieces of these lengths, hangs up its side, and gives all that came back up to the end.
async fn stream(port: u16, text: &[u8], pieces: &[usize]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut input, mut output) = stream.into_split();
    let say = async {
        let mut rest = text;
        for piece in pieces {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            if output.write_all(now).await.is_err() {
                return;
            }
            rest = later;
            tokio::task::yield_now().await;
        }
        let _ = output.write_all(rest).await;
    };
    let mut heard = Vec::new();
    let (_, read) = tokio::join!(say, input.read_to_end(&mut heard));
    read.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

/// Number from the environment, or this one.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

async fn both_servers(stage: &Stage, oracle: &Oracle) -> (Server, Server) {
    tokio::join!(server(stage, "ours", None), server(stage, "nut", Some(oracle)))
}

/// Plays one request after the other, and adds those whose answers differ.
async fn compare(
    (ours, nuts): (&Server, &Server),
    name: &str,
    requests: &[Vec<u8>],
    different: &mut Vec<String>,
) -> usize {
    let both = async { tokio::join!(conversation(ours.port, requests), conversation(nuts.port, requests)) };
    let (ours, nuts) =
        tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| panic!("{name}: no answer"));
    assert_eq!(ours.len(), nuts.len(), "{name}: one server hung up before the other");
    for ((request, ours), nuts) in requests.iter().zip(&ours).zip(&nuts) {
        if alike(ours) != alike(nuts) {
            different.push(format!("{name}: {}\n  NUT:  {nuts:?}\n  ours: {ours:?}", request.escape_ascii()));
        }
    }
    ours.len()
}

#[tokio::test]
async fn nuts_upsd_and_ours_answer_the_same() {
    let Some(oracle) = Oracle::get("nuts_upsd_and_ours_answer_the_same") else { return };
    let stage = stage();
    let (ours, nuts) = both_servers(&stage, oracle).await;
    let mut compared = 0;
    let mut different = Vec::new();
    for (name, requests) in &catalogue() {
        compared += compare((&ours, &nuts), name, requests, &mut different).await;
    }
    assert!(compared > 800, "only {compared} answers were compared");
    let count = different.len();
    assert!(count == 0, "{count} of {compared} answers differ:\n{}", different.join("\n"));
}

/// Requests in a random conversation.
const LENGTH: usize = 50;

/// Conversations that one pair of servers plays: after some 200 of these NUT's answers no more.
const UNTIL_RESTART: usize = 100;

#[tokio::test]
async fn nuts_upsd_and_ours_answer_the_same_to_random_requests() {
    let Some(oracle) = Oracle::get("nuts_upsd_and_ours_answer_the_same_to_random_requests") else { return };
    let (count, first) = (number("COBNUT_ANSWERS", 5_000), number("COBNUT_SEED", 1));
    let seeds: Vec<u64> = (first..first + count.div_ceil(u64::try_from(LENGTH).unwrap())).collect();
    for some in seeds.chunks(UNTIL_RESTART) {
        let stage = stage();
        let servers = both_servers(&stage, oracle).await;
        for seed in some {
            play_random(&servers, *seed).await;
        }
    }
}

/// Plays the conversation of one seed with both servers.
async fn play_random((ours, nuts): &(Server, Server), seed: u64) {
    let mut requests = grammar::conversation(seed, LENGTH);
    requests.push(b"LOGOUT\n".to_vec());
    let text = requests.concat();
    let mut dice = Dice::new(seed ^ 0xC0B);
    let pieces: Vec<usize> = (0..dice.below(12)).map(|_| 1 + dice.below(400)).collect();
    let in_time = async |name: &str, port: u16| {
        tokio::time::timeout(PATIENCE, stream(port, &text, &pieces))
            .await
            .unwrap_or_else(|_| panic!("seed {seed}: no answer from {name} to {}", text.escape_ascii()))
    };
    let (heard, expected) = tokio::join!(in_time("ours", ours.port), in_time("NUT's", nuts.port));
    if alike(&heard) != alike(&expected) {
        // Once more, a request at a time: which one is it?
        let mut different = Vec::new();
        compare((ours, nuts), &format!("seed {seed}"), &requests, &mut different).await;
        assert!(
            !different.is_empty(),
            "seed {seed}, pieces {pieces:?}: only in these pieces\n  said: {}\n  NUT:  {expected:?}\n  ours: {heard:?}",
            text.escape_ascii()
        );
        panic!("{}", different.join("\n"));
    }
}
