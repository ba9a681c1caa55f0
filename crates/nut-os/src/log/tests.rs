//! What a log line looks like, and that a log daemon in trouble does not become ours.

use super::*;
use crate::files::scratch::Scratch;
use std::sync::Arc;

/// Keeps what is logged while `act` runs.
fn lines_of(act: impl FnOnce()) -> Vec<Line> {
    struct Keep(Arc<Mutex<Vec<Line>>>);
    impl Subscriber for Keep {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(Line::from_event(event));
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
    let lines = Arc::default();
    tracing::subscriber::with_default(Keep(Arc::clone(&lines)), act);
    std::mem::take(&mut *lines.lock().unwrap())
}

fn texts_of(act: impl FnOnce()) -> Vec<String> {
    lines_of(act).into_iter().map(|line| line.text).collect()
}

#[test]
fn the_message_comes_first_and_facts_follow_as_fields() {
    let error = io::Error::other("no such host");
    let texts = texts_of(|| {
        tracing::warn!(ups = "apc", %error, retry_in = ?Duration::from_secs(5), empty = "", "driver socket lost");
        tracing::info!(from = ?Some("a b"), count = 3, ok = true, "changed {}", "now");
    });
    assert_eq!(
        texts,
        [
            "driver socket lost ups=apc error=\"no such host\" retry_in=5s empty=\"\"",
            "changed now from=Some(\"a b\") count=3 ok=true",
        ]
    );
}

#[test]
fn an_error_is_shown_with_all_that_led_to_it() {
    let error = crate::files::read_limited(Path::new("/no/such/file"), 1).unwrap_err();
    let texts = texts_of(|| {
        let as_error: &(dyn Error + 'static) = &error;
        tracing::error!(error = as_error, "no configuration");
        tracing::error!(error = %Chain(&error), "no configuration");
    });
    let expected =
        "no configuration error=\"cannot open /no/such/file: No such file or directory (os error 2)\"";
    assert_eq!(texts, [expected, expected]);
}

#[test]
fn each_event_has_its_syslog_priority() {
    let ups = "apc";
    let lines = lines_of(|| {
        crate::alert!("Parent died");
        crate::crit!(%ups, "Executing automatic power-fail shutdown");
        tracing::error!("e");
        tracing::warn!("w");
        crate::notice!("UPS {ups} on battery");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    });
    let priorities: Vec<u8> = lines.iter().map(|line| line.priority.number() - 24).collect();
    assert_eq!(priorities, [1, 2, 3, 4, 5, 6, 7, 7]);
    assert_eq!(lines[1].text, "Executing automatic power-fail shutdown ups=apc");
    assert_eq!(lines[4].text, "UPS apc on battery");
}

#[test]
fn stderr_looks_as_nuts_does() {
    let lines = lines_of(|| {
        tracing::info!("plain");
        tracing::debug!("poll");
        tracing::trace!("bytes");
    });
    let since = Some(Duration::from_micros(12_000_345));
    assert_eq!(lines[0].for_stderr(None), "plain\n");
    assert_eq!(lines[0].for_stderr(since), "  12.000345\tplain\n");
    assert_eq!(lines[1].for_stderr(since), "  12.000345\t[D1] poll\n");
    assert_eq!(lines[2].for_stderr(since), "  12.000345\t[D3] bytes\n");
}

#[test]
fn text_from_outside_cannot_forge_a_line_nor_flood_one() {
    let texts = texts_of(|| {
        tracing::info!("model {}", "APC\n<9>root: \x1b[2J é");
        tracing::info!(value = "x".repeat(100_000), "long");
    });
    assert_eq!(texts[0], "model APC\\n<9>root: \\u{1b}[2J é");
    assert!(texts[1].len() <= MAX_TEXT && texts[1].ends_with("..."));
}

#[test]
fn more_is_logged_the_more_debugging_is_asked_for() {
    let log = |debug| Log {
        debug: AtomicU8::new(debug),
        to: AtomicU8::new(Destination::Nowhere.code()),
        started: Moment::START,
        syslog: Mutex::new(Syslog::new("test".into(), Path::new("/no/such/socket"))),
    };
    let most: Vec<LevelFilter> = (0..5).map(|debug| log(debug).most()).collect();
    use LevelFilter as Filter;
    assert_eq!(most, [Filter::INFO, Filter::DEBUG, Filter::DEBUG, Filter::TRACE, Filter::TRACE]);
}

#[test]
fn destinations_keep_their_code_and_the_environment_chooses_one() {
    for to in [Destination::Stderr, Destination::Syslog, Destination::Both, Destination::Nowhere] {
        assert_eq!(Destination::from_code(to.code()), to);
    }
    for (value, to) in [
        (None, Destination::Syslog),
        (Some("default"), Destination::Syslog),
        (Some("stderr"), Destination::Stderr),
        (Some("none"), Destination::Nowhere),
    ] {
        assert_eq!(Destination::from_debug_syslog(value), to, "{value:?}");
    }
}

struct LogDaemon(UnixDatagram);

impl LogDaemon {
    fn start(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    fn next(&self) -> String {
        let mut buffer = vec![0; 2 * MAX_TEXT];
        let len = self.0.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }
}

#[test]
fn a_message_has_the_form_of_rfc_3164() {
    let dir = Scratch::new();
    let daemon = LogDaemon::start(&dir.path("log"));
    let mut syslog = Syslog::new("upsmon".into(), &dir.path("log"));
    syslog.send(Priority::Notice, "UPS apc@localhost on battery");
    let message = daemon.next();
    let end = format!(" upsmon[{}]: UPS apc@localhost on battery", std::process::id());
    assert!(message.starts_with("<29>") && message.ends_with(&end), "{message}");
    assert_eq!(message.len(), "<29>Jan  2 03:04:05".len() + end.len(), "{message}");
}

#[test]
fn a_log_daemon_that_was_restarted_is_found_again_and_what_was_lost_is_counted() {
    let dir = Scratch::new();
    let path = dir.path("log");
    let mut syslog = Syslog::new("upsd".into(), &path);
    syslog.send(Priority::Info, "nobody listens yet");
    let daemon = LogDaemon::start(&path);
    syslog.send(Priority::Info, "one");
    assert!(daemon.next().ends_with(": 1 messages are missing here: the system log did not take them"));
    assert!(daemon.next().ends_with(": one"));
    drop(daemon);
    std::fs::remove_file(&path).unwrap();
    let daemon = LogDaemon::start(&path);
    syslog.send(Priority::Info, "two");
    assert!(daemon.next().ends_with(": two"));
}

#[test]
fn a_log_daemon_that_hangs_holds_us_up_once_and_briefly() {
    let dir = Scratch::new();
    let path = dir.path("log");
    let daemon = LogDaemon::start(&path);
    let mut syslog = Syslog::new("upsd".into(), &path);
    let before = clock::now();
    for number in 0..2000 {
        syslog.send(Priority::Info, &format!("message {number} {}", "x".repeat(500)));
    }
    let took = clock::now().since(before);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(syslog.lost > 0 && syslog.stalled);
    // It wakes up: what it has is whole, then comes the count.
    let kept = 2000 - syslog.lost;
    for number in 0..kept {
        assert!(daemon.next().contains(&format!(": message {number} ")));
    }
    syslog.send(Priority::Info, "last");
    assert!(daemon.next().contains(&format!(": {} messages are missing here", 2000 - kept)));
    assert!(daemon.next().ends_with(": last"));
    assert!(!syslog.stalled && syslog.lost == 0);
}
