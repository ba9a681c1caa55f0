//! A connection against small scripted servers.

use super::*;
use crate::dialog::{DialogError, Progress};
use nut_proto::net::{Get, List};
use std::net::{Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// What a scripted server does, in order; at the end it hangs up.
enum Do {
    /// Waits for this line.
    Expect(&'static str),
    /// Sends this.
    Say(&'static str),
    /// Sends this, a byte every twenty milliseconds.
    Trickle(&'static str),
    /// Stays until the client hangs up.
    Hang,
}

use Do::{Expect, Hang, Say, Trickle};

/// Plays a script for the first client; the task gives what that client sent beyond the script.
async fn play(script: Vec<Do>) -> (Server, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = Server { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        for step in script {
            match step {
                Expect(expected) => {
                    line.clear();
                    stream.read_line(&mut line).await.unwrap();
                    assert_eq!(line.trim_end_matches('\n'), expected);
                }
                Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Trickle(text) => {
                    for byte in text.bytes() {
                        clock::until(clock::now() + Duration::from_millis(20)).await;
                        if stream.write_all(&[byte]).await.is_err() {
                            break;
                        }
                    }
                }
                Hang => {
                    line.clear();
                    // A reset is as good as an end here.
                    let _ = stream.read_to_string(&mut line).await;
                    return line;
                }
            }
        }
        String::new()
    });
    (server, task)
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("within the deadline")
}

fn short() -> Deadlines {
    let wait = Duration::from_millis(60);
    Deadlines { connect: Some(wait), read: wait, answer: 4 * wait }
}

async fn connect(server: &Server, deadlines: Deadlines) -> Connection {
    soon(Connection::open(server, deadlines, Family::Any)).await.unwrap()
}

const STATUS: Request<'static> = Request::Get(Get::Var("apc", "ups.status"));
const SAY_STATUS: Do = Say("VAR apc ups.status \"OL\"\n");

#[tokio::test]
async fn questions_are_answered_and_goodbye_is_said() {
    let (server, played) = play(vec![
        Expect("GET VAR apc ups.status"),
        SAY_STATUS,
        Expect("LIST UPS"),
        Say("BEGIN LIST UPS\nUPS apc \"x\"\nEND "),
        Say("LIST UPS\n"),
        Expect("LOGOUT"),
        Say("OK Goodbye\n"),
        Hang,
    ])
    .await;
    let mut connection = connect(&server, Deadlines::default()).await;
    assert_eq!(soon(connection.ask(STATUS)).await, Ok(Answer::Value("OL".into())));
    let list = soon(connection.ask(Request::List(List::Ups))).await;
    assert_eq!(list, Ok(Answer::Pairs(vec![("apc".into(), "x".into())])));
    assert_eq!(connection.address().port(), server.port);
    soon(connection.close()).await;
    assert_eq!(soon(played).await.unwrap(), "");
}

#[tokio::test]
async fn several_questions_go_out_together() {
    let (server, played) = play(vec![
        Expect("GET VAR apc ups.status"),
        Expect("GET NUMLOGINS apc"),
        Expect("GET TRACKING"),
        SAY_STATUS,
        Say("ERR DATA-STALE\nON\n"),
        Hang,
    ])
    .await;
    let mut connection = connect(&server, Deadlines::default()).await;
    let requests = [STATUS, Request::Get(Get::NumLogins("apc")), Request::Get(Get::TrackingState)];
    let answers = soon(connection.ask_all(&requests)).await.unwrap();
    assert_eq!(answers[0], Answer::Value("OL".into()));
    assert!(matches!(&answers[1], Answer::Refused(refusal) if refusal.is(ErrCode::DataStale)));
    assert_eq!(answers[2], Answer::Tracking(Progress::On));
    drop(connection);
    soon(played).await.unwrap();
}

#[tokio::test]
async fn a_primary_logs_in_step_by_step() {
    let (server, played) = play(vec![
        Expect("USERNAME me"),
        Say("OK\n"),
        Expect("PASSWORD \"two words\""),
        Say("OK\n"),
        Expect("LOGIN apc"),
        Say("OK\n"),
        Expect("PRIMARY apc"),
        Say("ERR UNKNOWN-COMMAND\n"),
        Expect("MASTER apc"),
        Say("OK MASTER-GRANTED\n"),
        Hang,
    ])
    .await;
    let mut connection = connect(&server, Deadlines::default()).await;
    let password = Secret::new("two words");
    assert_eq!(soon(connection.login("me", &password, "apc", Role::Primary)).await, Ok(Login::Granted));
    assert_eq!(connection.standing().primary_of.as_deref(), Some("apc"));
    drop(connection);
    assert_eq!(soon(played).await.unwrap(), "");
}

#[tokio::test]
async fn a_login_that_ended_half_way_goes_on_where_it_ended() {
    let (server, played) = play(vec![
        Expect("USERNAME me"),
        Say("ERR INVALID-USERNAME\n"),
        Expect("USERNAME me"),
        Say("OK\n"),
        Expect("PASSWORD x"),
        Say("ERR INVALID-PASSWORD\n"),
        Expect("PASSWORD x"),
        Say("OK\n"),
        Expect("LOGIN apc"),
        Say("ERR UNKNOWN-UPS\n"),
        Expect("LOGIN apc"),
        Say("OK\n"),
        Expect("PRIMARY apc"),
        Say("ERR ACCESS-DENIED\n"),
        Expect("MASTER apc"),
        Say("ERR ACCESS-DENIED\n"),
        Expect("PRIMARY apc"),
        Say("OK PRIMARY-GRANTED\n"),
        Hang,
    ])
    .await;
    let mut connection = connect(&server, Deadlines::default()).await;
    let password = Secret::new("x");
    let refused = [Step::Username, Step::Password, Step::Login, Step::Primary].map(Some);
    for expected in refused.into_iter().chain([None, None]) {
        let login = soon(connection.login("me", &password, "apc", Role::Primary)).await.unwrap();
        let refused = match login {
            Login::Refused { step, .. } => Some(step),
            Login::Granted => None,
        };
        assert_eq!(refused, expected);
    }
    drop(connection);
    assert_eq!(soon(played).await.unwrap(), "");
}

#[tokio::test]
async fn a_login_says_where_it_was_refused() {
    let ok = || Say("OK\n");
    let denied = || Say("ERR ACCESS-DENIED\n");
    let expect = [Expect("USERNAME me"), Expect("PASSWORD x"), Expect("LOGIN apc"), Expect("PRIMARY apc")];
    let steps = [Step::Username, Step::Password, Step::Login, Step::Primary];
    for (refused_at, step) in steps.into_iter().enumerate() {
        let mut script = Vec::new();
        for (nth, line) in expect.iter().enumerate().take(refused_at + 1) {
            let Expect(line) = line else { unreachable!() };
            script.extend([Expect(line), if nth == refused_at { denied() } else { ok() }]);
        }
        if step == Step::Primary {
            script.extend([Expect("MASTER apc"), Say("ERR UNKNOWN-COMMAND\n")]);
        }
        script.extend([Expect("GET VAR apc ups.status"), SAY_STATUS, Hang]);
        let (server, played) = play(script).await;
        let mut connection = connect(&server, Deadlines::default()).await;
        let login = soon(connection.login("me", &Secret::new("x"), "apc", Role::Primary)).await.unwrap();
        let Login::Refused { step: seen, refusal } = login else { panic!("granted at {step}") };
        assert_eq!(seen, step);
        assert_eq!((refusal.text(), refusal.line.as_str()), ("Access denied", "ERR ACCESS-DENIED"));
        assert_eq!(connection.standing().logged_in_to.is_some(), step == Step::Primary);
        assert!(soon(connection.ask(STATUS)).await.is_ok(), "refused is not broken");
        drop(connection);
        soon(played).await.unwrap();
    }
}

/// A server with words of its own for no: as in NUT, who cannot log in asks all the same.
#[tokio::test]
async fn an_odd_answer_to_a_login_is_a_refusal_and_whatever_begins_with_ok_is_none() {
    let (server, played) = play(vec![
        Expect("STARTTLS"),
        Say("OK\n"),
        Expect("USERNAME me"),
        Say("OKAY\n"),
        Expect("PASSWORD x"),
        Say("OK Granted\n"),
        Expect("LOGIN apc"),
        Say("WHAT ACCESS-DENIED\n"),
        Expect("GET VAR apc ups.status"),
        SAY_STATUS,
        Expect("FSD apc"),
        Say("\n"),
        Expect("GET VAR apc ups.status"),
        Say("OK\n"),
        Hang,
    ])
    .await;
    let mut connection = connect(&server, Deadlines::default()).await;
    assert_eq!(soon(connection.secure(&Security::attempt().unwrap())).await, Ok(false));
    let login = soon(connection.login("me", &Secret::new("x"), "apc", Role::Secondary)).await.unwrap();
    let Login::Refused { step, refusal } = login else { panic!("granted") };
    assert_eq!(
        (step, refusal.text(), refusal.line.as_str()),
        (Step::Login, "Protocol error", "WHAT ACCESS-DENIED")
    );
    assert!(!refusal.is(ErrCode::AccessDenied));
    assert!(soon(connection.ask(STATUS)).await.is_ok());
    assert!(matches!(soon(connection.ask(Request::Fsd("apc"))).await, Ok(Answer::Refused(_))));
    // But an answer that is out of step is believed by nobody.
    assert!(soon(connection.ask(STATUS)).await.is_err());
    drop(connection);
    soon(played).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_a_connection_refused() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let server = Server { host: "127.0.0.1".into(), port };
    let error = soon(Connection::open(&server, Deadlines::default(), Family::Any)).await.unwrap_err();
    assert_eq!(error.to_string(), "Connection failure: Connection refused");
}

#[tokio::test]
async fn a_host_without_address_of_the_family_is_no_such_host() {
    for (host, family) in
        [("127.0.0.1", Family::V6), ("::1", Family::V4), ("no-such-host.invalid", Family::Any)]
    {
        let server = Server { host: host.into(), port: 1 };
        let error = soon(Connection::open(&server, Deadlines::default(), family)).await.unwrap_err();
        assert_eq!(error, ClientError::NoSuchHost, "{host}");
    }
    assert!(Family::V6.admits(&(Ipv6Addr::LOCALHOST, 1).into()));
    assert!(Family::V4.admits(&(Ipv4Addr::LOCALHOST, 1).into()));
}

#[tokio::test]
async fn a_host_that_swallows_packets_is_a_connection_timed_out() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let server = Server { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    // Nobody accepts: once the queue is full, the kernel drops what comes.
    let mut queue = Vec::new();
    let error = loop {
        match soon(Connection::open(&server, short(), Family::Any)).await {
            Ok(connection) => queue.push(connection),
            Err(error) => break error,
        }
        assert!(queue.len() < 100);
    };
    assert_eq!(error.to_string(), "Connection failure: Connection timed out");
}

/// Plays a script behind the question for the status, and gives how asking it failed.
async fn failure(script: Vec<Do>) -> ClientError {
    let mut whole = vec![Expect("GET VAR apc ups.status")];
    whole.extend(script);
    let (server, played) = play(whole).await;
    let mut connection = connect(&server, short()).await;
    let error = soon(connection.ask(STATUS)).await.unwrap_err();
    assert!(!connection.is_open());
    assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
    soon(connection.close()).await;
    soon(played).await.unwrap();
    error
}

#[tokio::test]
async fn a_server_that_is_silent_slow_or_gone_has_disconnected() {
    let start = clock::now();
    assert_eq!(failure(vec![Hang]).await, ClientError::Disconnected);
    assert!(clock::now().since(start) >= short().read);
    assert_eq!(failure(vec![Say("VAR apc ups.st"), Hang]).await, ClientError::Disconnected);
    assert_eq!(failure(vec![Say("VAR apc ups.st")]).await, ClientError::Disconnected);
    assert_eq!(failure(vec![]).await, ClientError::Disconnected);
    let start = clock::now();
    assert_eq!(
        failure(vec![Trickle("VAR apc ups.status \"a long story that never comes to its end")]).await,
        ClientError::Disconnected
    );
    assert!(clock::now().since(start) >= short().answer);
}

#[tokio::test]
async fn a_server_that_talks_nonsense_is_left() {
    let error = failure(vec![Say("VAR apc ups.load \"1\"\n"), Hang]).await;
    assert!(matches!(error, ClientError::Dialog(DialogError::Mismatch { .. })));
    assert_eq!(error.to_string(), "Protocol error");
}

#[tokio::test]
async fn a_slow_answer_in_pieces_is_an_answer() {
    let (server, played) =
        play(vec![Expect("GET VAR apc ups.status"), Trickle("VAR apc ups.status \"OL\"\n"), Hang]).await;
    let mut connection = connect(&server, Deadlines::default()).await;
    assert_eq!(soon(connection.ask(STATUS)).await, Ok(Answer::Value("OL".into())));
    drop(connection);
    soon(played).await.unwrap();
}

#[tokio::test]
async fn a_line_without_end_is_left() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = Server { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let endless = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let mut connection = connect(&server, Deadlines::default()).await;
    let error = soon(connection.ask(Request::Ver)).await.unwrap_err();
    assert_eq!(error, ClientError::Dialog(DialogError::LineTooLong));
    soon(endless).await.unwrap();
}

#[tokio::test]
async fn a_server_that_hung_up_between_two_questions_is_noticed() {
    let (server, played) = play(vec![Expect("GET VAR apc ups.status"), SAY_STATUS]).await;
    let mut connection = connect(&server, Deadlines::default()).await;
    assert!(soon(connection.ask(STATUS)).await.is_ok());
    soon(played).await.unwrap();
    assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
}

#[tokio::test]
async fn a_question_given_up_takes_the_connection_with_it() {
    let (server, played) = play(vec![Expect("GET VAR apc ups.status"), Hang]).await;
    let mut connection = connect(&server, Deadlines::default()).await;
    tokio::select! {
        answer = connection.ask(STATUS) => panic!("answered: {answer:?}"),
        () = clock::until(clock::now() + Duration::from_millis(50)) => {}
    }
    // The server sees the end although our side still holds the value.
    soon(played).await.unwrap();
    assert!(!connection.is_open());
    assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
}

#[tokio::test]
async fn goodbye_is_not_waited_for_long() {
    let (server, played) = play(vec![Expect("LOGOUT"), Hang]).await;
    let connection = connect(&server, Deadlines::default()).await;
    let start = clock::now();
    soon(connection.close()).await;
    let took = clock::now().since(start);
    assert!((GOODBYE..READ).contains(&took), "{took:?}");
    soon(played).await.unwrap();
}

#[tokio::test]
async fn a_list_that_breaks_off_leaves_what_had_come() {
    let (server, played) =
        play(vec![Expect("LIST VAR apc"), Say("BEGIN LIST VAR apc\nVAR apc a \"1\"\n")]).await;
    let mut connection = connect(&server, Deadlines::default()).await;
    let error = soon(connection.ask(Request::List(List::Var("apc")))).await.unwrap_err();
    assert_eq!(error, ClientError::Disconnected);
    assert_eq!(connection.unfinished(), Some(Answer::Pairs(vec![("a".into(), "1".into())])));
    soon(played).await.unwrap();
}

mod encrypted {
    use super::*;
    use crate::Security;
    use nut_tls::client::{Trust, configuration};
    use nut_tls::material::{Authorities, Credentials};
    use nut_tls::pem;
    use nut_tls::server::{Demand, configuration as serving};
    use nut_tls::testing::{Authority, authority};
    use std::sync::Arc;
    use tokio::io::AsyncBufRead;
    use tokio_rustls::TlsAcceptor;

    /// A server that answers `STARTTLS` with this, and then, encrypted, each question with the same.
    async fn serve(ca: &Authority, answer: &'static str) -> Server {
        let own = ca.host("ups.example.org").own();
        let chain = pem::certificates(own.as_bytes()).unwrap();
        let credentials = Credentials::new(chain, pem::private_key(own.as_bytes(), None).unwrap()).unwrap();
        let config: Arc<rustls::ServerConfig> = serving(&credentials, None, Demand::No).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Server { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert_eq!(line_of(&mut BufReader::new(&mut stream)).await, "STARTTLS\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.starts_with("ERR") {
                assert_eq!(line_of(&mut BufReader::new(&mut stream)).await, "GET VAR apc ups.status\n");
                return stream.write_all(b"VAR apc ups.status \"OL\"\n").await.unwrap();
            }
            let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            for _ in 0..2 {
                assert_eq!(line_of(&mut BufReader::new(&mut stream)).await, "GET VAR apc ups.status\n");
                stream.write_all(b"VAR apc ups.status \"OL\"\n").await.unwrap();
                stream.flush().await.unwrap();
            }
            // And goes without a word.
        });
        server
    }

    async fn line_of(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        line
    }

    fn trusting(ca: &Authority) -> Security {
        let mut authorities = Authorities::default();
        authorities.add(vec![ca.der()]);
        let trust = Trust { authorities: Some(Arc::new(authorities)), name: None };
        Security::new(configuration(trust, None).unwrap(), true)
    }

    #[tokio::test]
    async fn a_server_that_can_is_spoken_to_encrypted() {
        let ca = authority("CA");
        for security in [Security::attempt().unwrap(), trusting(&ca)] {
            let server = serve(&ca, "OK STARTTLS\n").await;
            let mut connection = connect(&server, Deadlines::default()).await;
            assert_eq!(soon(connection.secure(&security)).await, Ok(true));
            for _ in 0..2 {
                assert_eq!(soon(connection.ask(STATUS)).await, Ok(Answer::Value("OL".into())));
            }
            assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
        }
    }

    #[tokio::test]
    async fn what_a_server_says_in_clear_behind_its_answer_is_not_believed() {
        let ca = authority("CA");
        let server = serve(&ca, "OK STARTTLS\nVAR apc ups.status \"OB LB\"\n").await;
        let mut connection = connect(&server, Deadlines::default()).await;
        // The clear line is no record of TLS, or it is dropped: it is never an answer.
        match soon(connection.secure(&Security::attempt().unwrap())).await {
            Ok(true) => assert_eq!(soon(connection.ask(STATUS)).await, Ok(Answer::Value("OL".into()))),
            other => assert!(other.is_err(), "{other:?}"),
        }
    }

    #[tokio::test]
    async fn one_that_cannot_is_spoken_to_in_clear_unless_that_is_forbidden() {
        let ca = authority("CA");
        let server = serve(&ca, "ERR FEATURE-NOT-CONFIGURED\n").await;
        let mut connection = connect(&server, Deadlines::default()).await;
        assert_eq!(soon(connection.secure(&Security::attempt().unwrap())).await, Ok(false));
        assert_eq!(soon(connection.ask(STATUS)).await, Ok(Answer::Value("OL".into())));
        let server = serve(&ca, "ERR FEATURE-NOT-CONFIGURED\n").await;
        let mut connection = connect(&server, Deadlines::default()).await;
        assert_eq!(soon(connection.secure(&trusting(&ca))).await, Err(ClientError::NoTls));
        assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
    }

    #[tokio::test]
    async fn a_stranger_is_not_spoken_to_at_all() {
        let server = serve(&authority("CA"), "OK STARTTLS\n").await;
        let mut connection = connect(&server, Deadlines::default()).await;
        let refused = soon(connection.secure(&trusting(&authority("Other")))).await;
        assert!(
            matches!(&refused, Err(ClientError::Tls(why)) if why.contains("UnknownIssuer")),
            "{refused:?}"
        );
        assert_eq!(soon(connection.ask(STATUS)).await, Err(ClientError::Disconnected));
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_end_has_a_deadline() {
        let (server, _played) = play(vec![Expect("STARTTLS"), Say("OK STARTTLS\n"), Hang]).await;
        let mut connection = connect(&server, short()).await;
        let late = soon(connection.secure(&Security::attempt().unwrap())).await;
        assert_eq!(late, Err(ClientError::Tls("Connection timed out".into())));
    }
}
