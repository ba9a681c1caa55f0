//! A fleet: two hundred hosts with a real upsmon each, on one upsd, and a primary that stops last.

use crate::support::{PATIENCE, connected, me, stage, upsd, write_dummies};
use nut_drill::record::Entry;
use nut_drill::stage::{Host, Stage};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Hosts besides the primary.
const HOSTS: usize = 200;

/// How long the primary waits for them: longer than the whole test may take, so that it does not stop by itself.
const HOST_SYNC: u64 = 600;

const USERS: &str =
    "[pri]\n  password = a-long-one\n  upsmon primary\n[sec]\n  password = another-one\n  upsmon secondary\n";

fn configure(stage: &Stage, host: &Host, port: u16, user: &str, role: &str) {
    let shutdown = stage.teller(host, "SHUTDOWNCMD", "shutdown").unwrap();
    let password = if role == "primary" { "a-long-one" } else { "another-one" };
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 {user} {password} {role}\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\n\
         HOSTSYNC {HOST_SYNC}\nFINALDELAY 0\nRUN_AS_USER {}\nSHUTDOWNCMD \"{}\"\nPOWERDOWNFLAG {}\n",
        me(),
        shutdown.display(),
        host.state.join("killpower").display()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
}

/// Waits until all hosts count, the primary with them. (The log leaves out lines when one address causes so many.)
async fn all_are_logged_in(port: u16) {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let all = format!("NUMLOGINS unit {}\n", HOSTS + 1);
    let wait = async {
        let mut line = String::new();
        while line != all {
            nut_drill::stage::turn().await;
            line.clear();
            stream.get_mut().write_all(b"GET NUMLOGINS unit\n").await.unwrap();
            stream.read_line(&mut line).await.unwrap();
        }
    };
    tokio::time::timeout(3 * PATIENCE, wait).await.expect("all log in");
}

#[tokio::test]
async fn two_hundred_hosts_stop_first_and_the_primary_waits_for_each() {
    let mut stage = stage();
    let central = stage.host("central").unwrap();
    write_dummies(&stage, &central, &[("unit", "ups.status: OL\n")]);
    stage.write(&central.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&central.conf.join("upsd.users"), USERS).unwrap();
    let _driver = stage.start(&central, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (_server, port) = upsd(&mut stage, &central).await;
    connected(&mut stage, &central, "unit").await;

    configure(&stage, &central, port, "pri", "primary");
    let mut monitors = vec![stage.start(&central, "upsmon", &["-F", "-p"]).unwrap()];
    for nth in 0..HOSTS {
        let host = stage.host(&format!("host{nth}")).unwrap();
        configure(&stage, &host, port, "sec", "secondary");
        monitors.push(stage.start(&host, "upsmon", &["-F", "-p"]).unwrap());
    }
    all_are_logged_in(port).await;

    stage.write(&central.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    for monitor in &mut monitors {
        let ended = tokio::time::timeout(3 * PATIENCE, monitor.ended()).await;
        assert_eq!(ended.expect("every host stops in time"), Some(0));
    }
    let last = |entry: &Entry| entry.is_script("central", "SHUTDOWNCMD", None);
    stage.record.wait(0, PATIENCE, "the central host stops", last).await.unwrap();

    let entries = stage.record.entries();
    let stopped = |host: &str| {
        let all: Vec<_> = entries.iter().filter(|entry| entry.is_script(host, "SHUTDOWNCMD", None)).collect();
        assert_eq!(all.len(), 1, "{host} stops once");
        all[0].at
    };
    let central = stopped("central");
    for nth in 0..HOSTS {
        let host = format!("host{nth}");
        assert!(stopped(&host) <= central, "{host} stops before the central host");
    }
    // It did not wait in vain: the last one's leaving was enough.
    let forced = entries.iter().find(|entry| entry.is_line("central", "upsd", "set FSD on UPS [unit]"));
    let waited = central.since(forced.expect("the shutdown was forced").at);
    assert!(waited.as_secs() < HOST_SYNC, "{waited:?}");
}
