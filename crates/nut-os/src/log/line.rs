//! One line of the log: an event's message, then its facts, harmless and of limited length.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::PanicHookInfo;
use std::time::Duration;

use syslog::Severity;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::{Chain, MAX_TEXT, without_numbers};

/// One line to be logged.
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) severity: Severity,
    pub(super) text: String,
}

impl Line {
    pub(super) fn from_event(event: &Event<'_>) -> Self {
        let level = *event.metadata().level();
        let mut fields = Fields { message: String::new(), rest: String::new(), severity: None };
        event.record(&mut fields);
        let text = harmless(&(fields.message + &fields.rest));
        Self { level, severity: fields.severity.unwrap_or(severity_of(level)), text }
    }

    /// What a panic comes to. Whoever reads it can do nothing about it but tell us, and needs the place for that.
    pub(super) fn of_panic(panic: &PanicHookInfo<'_>) -> Self {
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let what = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = format!("panic at {place}: {what}; this is a defect of the program: please report it");
        Self { level: Level::ERROR, severity: Severity::LOG_CRIT, text: harmless(&text) }
    }

    /// As NUT writes it: with debugging on, each line begins with the seconds since the start.
    pub(super) fn for_stderr(&self, since_start: Option<Duration>) -> String {
        let mut line = String::with_capacity(self.text.len() + 24);
        if let Some(since) = since_start {
            // Cannot fail: it is a String.
            let _ = write!(line, "{:4}.{:06}\t", since.as_secs(), since.subsec_micros());
        }
        match self.level {
            Level::DEBUG => line.push_str("[D1] "),
            Level::TRACE => line.push_str("[D3] "),
            _ => {}
        }
        line.push_str(&self.text);
        line.push('\n');
        line
    }
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::LOG_ERR,
        Level::WARN => Severity::LOG_WARNING,
        Level::INFO => Severity::LOG_INFO,
        _ => Severity::LOG_DEBUG,
    }
}

/// What the macros of [`crate::log`] put into the field `syslog`, where a level does not say enough.
fn severity_named(name: &str) -> Option<Severity> {
    match name {
        "alert" => Some(Severity::LOG_ALERT),
        "crit" => Some(Severity::LOG_CRIT),
        "notice" => Some(Severity::LOG_NOTICE),
        _ => None,
    }
}

/// Control characters escaped, at most [`MAX_TEXT`] bytes. A TAB stays: it begins no line, and NUT's texts have some
/// that scripts cut at.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for c in text.chars() {
        if out.len() >= MAX_TEXT - 16 {
            out.push_str("...");
            break;
        }
        if c.is_control() && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The message, and ` key=value` for each other field.
struct Fields {
    message: String,
    rest: String,
    severity: Option<Severity>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "syslog" => self.severity = severity_named(value),
            name => {
                self.rest.extend([" ", name, "="]);
                // What has quotes in it brought its own, as `{:?}` of a text does.
                let bare = !value.is_empty() && !value.contains(' ') || value.contains('"');
                if bare {
                    self.rest.push_str(value);
                } else {
                    self.rest.extend(["\"", value, "\""]);
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &without_numbers(&format!("{value:?}")));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, &Chain(value).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::path::Path;
    use std::sync::{Arc, Mutex};
    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    /// Keeps what is logged while `act` runs.
    fn lines_of(act: impl FnOnce()) -> Vec<Line> {
        struct Keep(Arc<Mutex<Vec<Line>>>);
        impl<S: Subscriber> Layer<S> for Keep {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.0.lock().unwrap().push(Line::from_event(event));
            }
        }
        let lines = Arc::default();
        let keep = tracing_subscriber::registry().with(Keep(Arc::clone(&lines)));
        tracing::subscriber::with_default(keep, act);
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
        let expected = "no configuration error=\"cannot open /no/such/file: No such file or directory\"";
        assert_eq!(texts, [expected, expected]);
        let texts = texts_of(|| {
            let error = io::Error::from_raw_os_error(2);
            tracing::warn!(%error, "cannot: {error}");
        });
        assert_eq!(texts, ["cannot: No such file or directory error=\"No such file or directory\""]);
    }

    #[test]
    fn each_event_has_its_severity() {
        use Severity::{LOG_ALERT, LOG_CRIT, LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_NOTICE, LOG_WARNING};
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
        let expected =
            [LOG_ALERT, LOG_CRIT, LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG, LOG_DEBUG];
        assert_eq!(lines.len(), expected.len());
        for (line, severity) in lines.iter().zip(expected) {
            let same = std::mem::discriminant(&line.severity) == std::mem::discriminant(&severity);
            assert!(same, "{}", line.text);
        }
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
    fn a_tab_stays_a_tab() {
        let timer = "New timer: onbatt\t[ONBATT]\t[u@h]";
        assert_eq!(texts_of(|| tracing::info!("{timer}")), [timer]);
    }
}
