//! `STARTTLS` with the real program: its files, its clients, those who mean harm.

use super::stage::{Driver, Stage, Upsd};
use nut_proto::names::Secret;
use nut_tls::client::{Trust, configuration};
use nut_tls::shell::{authorities, credentials};
use nut_tls::testing::{Authority, authority};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

const UPS_CONF: &str = "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n";
const USERS: &str = "[mon]\n password = secret\n upsmon primary\n";

/// A client behind its handshake.
struct Encrypted(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Encrypted {
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix('\n').expect("a whole line").to_owned()
    }

    fn ask(&mut self, request: &str, expected: &str) {
        self.say(&format!("{request}\n"));
        assert_eq!(self.line(), expected, "{request}");
    }
}

/// `STARTTLS`, then the handshake, trusting this authority if one is given, showing this certificate if one is given.
fn try_encrypted(upsd: &Upsd, trusted: Option<&Path>, own: Option<&Path>) -> std::io::Result<Encrypted> {
    let mut plain = upsd.client();
    plain.ask("STARTTLS", "OK STARTTLS");
    let trusted = trusted.map(|path| Arc::new(authorities(path, None).unwrap()));
    let own = own.map(|path| credentials(path, Some(("", &Secret::new("")))).unwrap());
    let trust = Trust { authorities: trusted, name: None };
    let config = configuration(trust, own.as_ref()).unwrap();
    let connection = ClientConnection::new(config, ServerName::try_from("upsd").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, plain.into_stream());
    stream.write_all(b"NETVER\n")?;
    let mut encrypted = Encrypted(BufReader::new(stream));
    let mut line = String::new();
    encrypted.0.read_line(&mut line)?;
    if line == "1.3\n" { Ok(encrypted) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

fn encrypted(upsd: &Upsd, trusted: Option<&Path>) -> Encrypted {
    try_encrypted(upsd, trusted, None).unwrap()
}

/// A stage with a server's certificate, and the authority that stands for it in `ca.pem`.
fn stage(more: &str) -> (Stage, Authority) {
    let stage = Stage::new();
    let ca = authority("Test CA");
    stage.file("ups.conf", UPS_CONF);
    stage.file("upsd.users", USERS);
    stage.file("ca.pem", &ca.certificate);
    stage.file("upsd.pem", &ca.host("ups.example.org").own());
    stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 0\nCERTFILE upsd.pem\n{more}"));
    (stage, ca)
}

#[test]
fn a_client_speaks_tls_from_login_to_logout() {
    let (stage, _) = stage("CERTIDENT ups.example.org \"\"\n");
    let driver = Driver::listen(&stage, "apcsmart-nicole");
    let upsd = stage.start(&[]);
    let mut link = driver.accept();
    let mut dump = String::from("SETINFO ups.status \"OL\"\n");
    for n in 0..1000 {
        dump.push_str(&format!("SETINFO v{n} \"{}\"\n", "x".repeat(100)));
    }
    link.write_all(format!("{dump}DATAOK\nDUMPDONE\n").as_bytes()).unwrap();
    upsd.client().ask_until("GET VAR nicole v999", &format!("VAR nicole v999 \"{}\"", "x".repeat(100)));

    let mut client = encrypted(&upsd, Some(&stage.path("ca.pem")));
    client.ask("USERNAME mon", "OK");
    client.ask("PASSWORD secret", "OK");
    client.ask("LOGIN nicole", "OK");
    client.ask("STARTTLS", "ERR ALREADY-SSL-MODE");
    // More than a record, more than a buffer, each way.
    client.say(&"NETVER\n".repeat(20_000));
    for _ in 0..20_000 {
        assert_eq!(client.line(), "1.3");
    }
    client.say(&"LIST VAR nicole\n".repeat(20));
    for _ in 0..20 * 1003 {
        client.line();
    }
    client.ask("LOGOUT", "OK Goodbye");
    let mut rest = Vec::new();
    // No error: the end was told.
    assert_eq!(client.0.read_to_end(&mut rest).unwrap(), 0);
    upsd.logged("User mon@127.0.0.1 logged into UPS [nicole] (SSL)");
    upsd.logged("User mon@127.0.0.1 logged out from UPS [nicole] (SSL)");
}

#[test]
fn a_list_that_is_not_read_waits_encrypted_and_comes_whole() {
    let (stage, _) = stage("");
    let driver = Driver::listen(&stage, "apcsmart-nicole");
    let upsd = stage.start(&[]);
    let mut link = driver.accept();
    let value = "y".repeat(250);
    // With `ups.status`: a thousand.
    let dump: String = (1..1000).map(|n| format!("SETINFO v{n} \"{value}\"\n")).collect();
    link.write_all(format!("{dump}DATAOK\nDUMPDONE\n").as_bytes()).unwrap();
    upsd.client().ask_until("GET VAR nicole v999", &format!("VAR nicole v999 \"{value}\""));
    let mut client = encrypted(&upsd, None);
    client.say(&"LIST VAR nicole\n".repeat(40));
    // Asked by another connection, so that the lists wait in the meantime.
    upsd.client().ask("NETVER", "1.3");
    for _ in 0..40 {
        assert_eq!(client.line(), "BEGIN LIST VAR nicole");
        for _ in 0..1000 {
            assert!(client.line().starts_with("VAR nicole "));
        }
        assert_eq!(client.line(), "END LIST VAR nicole");
    }
}

/// Says all of it and the end of its stream in one piece; gives all that comes back until the server's end.
fn says_all_at_once(upsd: &Upsd, requests: &str) -> String {
    let (mut tls, mut socket) = encrypted(upsd, None).0.into_inner().into_parts();
    tls.writer().write_all(requests.as_bytes()).unwrap();
    tls.send_close_notify();
    let mut wire = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut wire).unwrap();
    }
    socket.write_all(&wire).unwrap();
    let mut answers = String::new();
    // No error: the end was told.
    StreamOwned::new(tls, socket).read_to_string(&mut answers).unwrap();
    answers
}

#[test]
fn whoever_ends_his_stream_with_his_last_request_still_gets_his_answers() {
    let (stage, _) = stage("");
    let (_, hash, _) = stage.run_with_input(&["--hash-password"], "secret\n");
    stage.file("upsd.users", &format!("[mon]\n{hash}instcmds = ALL\nupsmon primary\n"));
    let driver = Driver::listen(&stage, "apcsmart-nicole");
    let upsd = stage.start(&[]);
    let mut link = driver.accept();
    let value = "y".repeat(250);
    let dump: String = (1..1000).map(|n| format!("SETINFO v{n} \"{value}\"\n")).collect();
    link.write_all(format!("{dump}ADDCMD load.off\nDATAOK\nDUMPDONE\n").as_bytes()).unwrap();
    upsd.client().ask_until("GET VAR nicole v999", &format!("VAR nicole v999 \"{value}\""));

    assert_eq!(says_all_at_once(&upsd, "NETVER\n"), "1.3\n");
    // More than is answered at a stretch, and more than a socket takes.
    let lists = says_all_at_once(&upsd, &"LIST VAR nicole\n".repeat(40));
    assert_eq!(lists.lines().count(), 40 * 1002);
    // A password that must be checked elsewhere first, and an order that the driver must get.
    let login = "USERNAME mon\nPASSWORD secret\nINSTCMD nicole load.off\nLOGIN nicole\nNETVER\n";
    assert_eq!(says_all_at_once(&upsd, login), "OK\nOK\nOK\nOK\n1.3\n");
    assert!(says_all_at_once(&upsd, &format!("{login}LOGOUT\n")).ends_with("OK Goodbye\n"));
    // Nobody stays logged in.
    upsd.client().ask_until("GET NUMLOGINS nicole", "NUMLOGINS nicole 0");
}

#[test]
fn what_came_in_clear_behind_starttls_is_not_obeyed() {
    let (stage, _) = stage("");
    let upsd = stage.start(&[]);
    let mut plain = upsd.client();
    plain.stream().write_all(b"STARTTLS\nUSERNAME eve\nPASSWORD eve\n").unwrap();
    assert_eq!(plain.line(), "OK STARTTLS");
    let config = configuration(Trust::default(), None).unwrap();
    let connection = ClientConnection::new(config, ServerName::try_from("upsd").unwrap()).unwrap();
    let mut client = Encrypted(BufReader::new(StreamOwned::new(connection, plain.into_stream())));
    client.ask("USERNAME mon", "OK");
}

#[test]
fn a_handshake_that_stalls_or_is_none_disturbs_nobody() {
    let (stage, _) = stage("");
    let upsd = stage.start(&[]);
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut one = upsd.client();
        one.ask("STARTTLS", "OK STARTTLS");
        // The head of a record that never comes.
        one.stream().write_all(&[22, 3, 1, 2, 0]).unwrap();
        stalled.push(one);
    }
    encrypted(&upsd, None).ask("NETVER", "1.3");
    for rubbish in [&b"NETVER\nNETVER\n"[..], &[0; 100], &[22, 3, 1, 0, 4, 1, 2, 3, 4], &[0xff; 20_000]] {
        let mut one = upsd.client();
        one.ask("STARTTLS", "OK STARTTLS");
        one.stream().write_all(rubbish).unwrap();
        // It gets an alert at most, and is cut off.
        let mut rest = Vec::new();
        let end = one.into_stream().read_to_end(&mut rest);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
        assert!(rest.len() < 100, "{} bytes", rest.len());
    }
    upsd.logged("TLS with 127.0.0.1 failed: ");
    encrypted(&upsd, None).ask("NETVER", "1.3");
    upsd.client().ask("NETVER", "1.3");
}

#[test]
fn clients_must_show_a_certificate_where_one_is_required() {
    let (stage, _) = stage("CERTPATH clients\nCERTREQUEST REQUIRE\n");
    let (clients, strangers) = (authority("Clients"), authority("Strangers"));
    std::fs::create_dir(stage.path("clients")).unwrap();
    stage.file("clients/a.pem", &clients.certificate);
    stage.file("good.pem", &clients.host("client").own());
    stage.file("bad.pem", &strangers.host("client").own());
    let upsd = stage.start(&[]);
    try_encrypted(&upsd, None, Some(&stage.path("good.pem"))).unwrap().ask("NETVER", "1.3");
    assert!(try_encrypted(&upsd, None, Some(&stage.path("bad.pem"))).is_err());
    assert!(try_encrypted(&upsd, None, None).is_err());
    // As in NUT this is about TLS: who speaks none is served.
    upsd.client().ask("NETVER", "1.3");
}

#[test]
fn a_damaged_file_among_the_authorities_is_named_and_costs_no_other() {
    let (stage, ca) = stage("CERTPATH trust\nCERTREQUEST REQUEST\n");
    std::fs::create_dir(stage.path("trust")).unwrap();
    stage.file("trust/ca.pem", &ca.certificate);
    stage.file("trust/cut-off.pem", "-----BEGIN CERTIFICATE-----\n???\n");
    stage.file("trust/README", "no certificate");
    let upsd = stage.start(&["-F"]);
    let line = upsd.logged("passed over");
    assert!(
        line.contains("trust/cut-off.pem: passed over, for it is no PEM file, or a damaged one"),
        "{line}"
    );
    upsd.client().ask("NETVER", "1.3");
}

#[test]
fn broken_settings_stop_the_start_with_a_message() {
    let (stage, ca) = stage("");
    let host = ca.host("ups.example.org");
    stage.file("nokey.pem", &host.certificate);
    for (conf, words) in [
        ("CERTFILE missing.pem\n", &["CERTFILE", "missing.pem", "there is no such file"][..]),
        ("CERTFILE nokey.pem\n", &["nokey.pem: holds no private key"]),
        (
            "CERTFILE upsd.pem\nCERTIDENT other.example.org \"\"\n",
            &["CERTIDENT wants a certificate for \"other.example.org\""],
        ),
        ("CERTFILE upsd.pem\nCERTREQUEST 2\n", &["CERTREQUEST", "add CERTPATH"]),
        (
            "CERTFILE upsd.pem\nCERTREQUEST 1\nCERTPATH nowhere\n",
            &["CERTPATH", "nowhere", "there is no such file"],
        ),
    ] {
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 0\n{conf}"));
        for mode in ["-F", "-B"] {
            let (code, said) = stage.run(&[mode, "-u", &super::stage::current_user()]);
            assert_eq!(code, 1, "{conf}{said}");
            assert!(words.iter().all(|word| said.contains(word)), "{conf}{said}");
        }
    }
}

#[test]
fn a_reload_takes_a_new_certificate_and_keeps_the_old_one_if_it_is_broken() {
    let (stage, _) = stage("");
    let upsd = stage.start(&[]);
    let mut before = encrypted(&upsd, Some(&stage.path("ca.pem")));
    let other = authority("Next year's CA");
    stage.file("next.pem", &other.certificate);
    stage.file("upsd.pem", &other.host("ups.example.org").own());
    upsd.hang_up();
    upsd.logged("SIGHUP: reloading configuration");
    before.ask("NETVER", "1.3");
    encrypted(&upsd, Some(&stage.path("next.pem"))).ask("NETVER", "1.3");
    assert!(try_encrypted(&upsd, Some(&stage.path("ca.pem")), None).is_err());
    stage.file("upsd.pem", "half written");
    upsd.hang_up();
    upsd.logged("the certificate in use stays");
    encrypted(&upsd, Some(&stage.path("next.pem"))).ask("NETVER", "1.3");
    before.ask("NETVER", "1.3");
}

#[test]
fn settings_for_nss_are_answered_with_what_exports_them() {
    let stage = Stage::new();
    stage.file("ups.conf", UPS_CONF);
    stage.file("upsd.users", USERS);
    std::fs::create_dir(stage.path("certs")).unwrap();
    stage.file("certs/cert9.db", "SQLite format 3");
    stage.file(
        "upsd.conf",
        "LISTEN 127.0.0.1 0\nCERTPATH certs\nCERTIDENT \"NUT server\" secret\nCERTREQUEST 0\n",
    );
    let upsd = stage.start(&[]);
    upsd.logged("pk12util -d");
    upsd.client().ask("STARTTLS", "ERR FEATURE-NOT-CONFIGURED");
}
