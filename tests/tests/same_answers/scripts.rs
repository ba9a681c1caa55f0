//! Conversations of several connections, with reloads between them: `scripts.txt`.
//!
//! | line | what it does |
//! |---|---|
//! | `== name` | begins a script; connections of the one before are closed, its files taken back |
//! | `a> request` | the connection `a` (opened at its first word) says this; the answers must be the same |
//! | `a! ` | `a` hangs up without a word |
//! | `until a> request = answer` | `a` asks until the first line of the answer is this one, from both servers |
//! | `file name` | the indented lines below are what the file holds from now on |
//! | `reload` | both servers are told to read their files again |

use super::{Server, alike, both_servers};
use crate::oracle::Oracle;
use crate::support::{PATIENCE, stage};
use nix::sys::signal::Signal;
use nut_drill::stage::Stage;
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SCRIPTS: &str = include_str!("scripts.txt");

/// The same connection to both servers.
struct Pair {
    ours: TcpStream,
    nuts: TcpStream,
}

impl Pair {
    async fn open(ours: u16, nuts: u16) -> Self {
        let open = async |port: u16| TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self { ours: open(ours).await, nuts: open(nuts).await }
    }

    async fn ask(&mut self, request: &str) -> (String, String) {
        tokio::join!(ask(&mut self.ours, request), ask(&mut self.nuts, request))
    }
}

/// Says one line and gives what came back, `<end>` behind it if the server has hung up.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    // Behind LOGOUT there may be nothing: NUT would go on.
    let mark = if request == "LOGOUT" { "" } else { "GET VAR mark server.version\n" };
    let text = format!("{request}\n{mark}");
    let asked = async {
        let mut heard = Vec::new();
        if stream.write_all(text.as_bytes()).await.is_err() {
            return "<end>".to_owned();
        }
        let mut piece = [0; 4096];
        loop {
            let so_far = String::from_utf8_lossy(&heard).into_owned();
            if let Some(at) = so_far.find("VAR mark server.version ")
                && so_far.ends_with('\n')
            {
                return so_far[..at].to_owned();
            }
            match stream.read(&mut piece).await.unwrap_or(0) {
                0 => return format!("{so_far}<end>"),
                count => heard.extend_from_slice(&piece[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{request}: no answer"))
}

fn write(stage: &Stage, server: &Server, file: &str, text: &str) {
    stage.write(&server.host.conf.join(file), text).unwrap();
}

fn read(server: &Server, file: &str) -> String {
    std::fs::read_to_string(server.host.conf.join(file)).unwrap()
}

#[tokio::test]
async fn nuts_upsd_and_ours_answer_the_same_to_many_at_once_and_after_reloads() {
    let name = "nuts_upsd_and_ours_answer_the_same_to_many_at_once_and_after_reloads";
    let Some(oracle) = Oracle::get(name) else { return };
    let stage = stage();
    let (ours, nuts) = both_servers(&stage, oracle).await;
    let mut compared = 0;
    let mut script = "";
    let mut pairs: BTreeMap<&str, Pair> = BTreeMap::new();
    let mut lines = SCRIPTS.lines().enumerate().peekable();
    while let Some((nth, line)) = lines.next() {
        let place = format!("{script}, line {}: {line}", nth + 1);
        if let Some(name) = line.strip_prefix("== ") {
            script = name;
            pairs.clear();
        } else if let Some(file) = line.strip_prefix("file ") {
            let mut text = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(' ')) {
                text.push_str(line.trim());
                text.push('\n');
            }
            for server in [&ours, &nuts] {
                // The port is each server's own.
                let listen: String = read(server, file)
                    .lines()
                    .filter(|line| line.starts_with("LISTEN") || line.starts_with("DATAPATH"))
                    .map(|line| format!("{line}\n"))
                    .collect();
                write(&stage, server, file, &format!("{listen}{text}"));
            }
        } else if line == "reload" {
            for server in [&ours, &nuts] {
                server.running.signal(Signal::SIGHUP).unwrap();
            }
        } else if let Some((name, _)) = line.split_once('!').filter(|(name, _)| name.len() == 1) {
            pairs.remove(name);
        } else if let Some((name, rest)) = line.strip_prefix("until ").and_then(|rest| rest.split_once("> "))
        {
            let (request, expected) = rest.split_once(" = ").unwrap_or_else(|| panic!("{place}"));
            if !pairs.contains_key(name) {
                pairs.insert(name, Pair::open(ours.port, nuts.port).await);
            }
            let pair = pairs.get_mut(name).unwrap();
            let wait = async {
                loop {
                    let (ours, nuts) = pair.ask(request).await;
                    let first = |answer: &str| answer.lines().next().map(str::to_owned);
                    if first(&ours).as_deref() == Some(expected) && first(&nuts).as_deref() == Some(expected)
                    {
                        return;
                    }
                    nut_drill::stage::turn().await;
                }
            };
            tokio::time::timeout(PATIENCE, wait)
                .await
                .unwrap_or_else(|_| panic!("{place}: it does not come"));
        } else if let Some((name, request)) = line.split_once("> ").filter(|(name, _)| name.len() == 1) {
            if !pairs.contains_key(name) {
                pairs.insert(name, Pair::open(ours.port, nuts.port).await);
            }
            let (ours, nuts) = pairs.get_mut(name).unwrap().ask(request).await;
            assert_eq!(alike(&ours), alike(&nuts), "{place}: ours, then NUT's");
            compared += 1;
        } else {
            assert!(line.trim().is_empty() || line.starts_with('#'), "{place}: what is that?");
        }
    }
    assert!(compared > 80, "only {compared} answers were compared");
}
