//! The notices: kind, default text, default channels; filling in the text.

use nut_conf::upsmon_conf::{Channels, NoticeKind, UpsmonConf};

/// Longest text of a notice, in bytes; what is longer is cut. NUT cuts at 511.
pub const MAX_TEXT: usize = 4096;

/// Where a notice goes unless `NOTIFYFLAG` says otherwise: to the log and to everybody's terminal.
///
/// (In NUT 2.8.0 `CAL` went to the log alone; since 2.8.1 there is no exception.)
pub const DEFAULT_CHANNELS: Channels = Channels { syslog: true, wall: true, exec: false };

/// What a notice says unless `NOTIFYMSG` says otherwise. `%s` is the UPS, a second one what else there is to say.
#[must_use]
pub const fn default_text(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Online => "UPS %s on line power",
        NoticeKind::OnBatt => "UPS %s on battery",
        NoticeKind::LowBatt => "UPS %s battery is low",
        NoticeKind::Fsd => "UPS %s: forced shutdown in progress",
        NoticeKind::CommOk => "Communications with UPS %s established",
        NoticeKind::CommBad => "Communications with UPS %s lost",
        NoticeKind::Shutdown => "Auto logout and shutdown proceeding",
        NoticeKind::ReplBatt => "UPS %s battery needs to be replaced",
        NoticeKind::NoComm => "UPS %s is unavailable",
        NoticeKind::NoParent => "upsmon parent process died - shutdown impossible",
        NoticeKind::Cal => "UPS %s: calibration in progress",
        NoticeKind::NotCal => "UPS %s: calibration finished",
        NoticeKind::Off => "UPS %s: administratively OFF or asleep",
        NoticeKind::NotOff => "UPS %s: no longer administratively OFF or asleep",
        NoticeKind::Bypass => "UPS %s: on bypass (powered, not protecting)",
        NoticeKind::NotBypass => "UPS %s: no longer on bypass",
        NoticeKind::Eco => "UPS %s: in ECO mode (as defined by vendor)",
        NoticeKind::NotEco => "UPS %s: no longer in ECO mode",
        NoticeKind::Alarm => "UPS %s: one or more active alarms: [%s]",
        NoticeKind::NotAlarm => "UPS %s is no longer in an alarm state (no active alarms)",
        NoticeKind::Over => "UPS %s: overloaded",
        NoticeKind::NotOver => "UPS %s: no longer overloaded",
        NoticeKind::Trim => "UPS %s: trimming incoming voltage",
        NoticeKind::NotTrim => "UPS %s: no longer trimming incoming voltage",
        NoticeKind::Boost => "UPS %s: boosting incoming voltage",
        NoticeKind::NotBoost => "UPS %s: no longer boosting incoming voltage",
        NoticeKind::Other => "UPS %s: has at least one unclassified status token: [%s]",
        NoticeKind::NotOther => "UPS %s has no unclassified status tokens anymore",
        NoticeKind::SuspendStarting => "OS is entering sleep/suspend/hibernate mode",
        NoticeKind::SuspendFinished => {
            "OS just finished sleep/suspend/hibernate mode, de-activating obsolete UPS readings to avoid an \
             unfortunate shutdown"
        }
        NoticeKind::ShutdownHostSync => {
            "Shutdown initiated; primary system is waiting for secondaries to log out or time out"
        }
        NoticeKind::SuspendTimeJump => "Unexpected clock change by %s, treating as wake up from sleep",
    }
}

/// One notice, ready to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is about; `NOTIFYTYPE` for scripts.
    pub kind: NoticeKind,
    /// The UPS as `MONITOR` names it, `UPSNAME` for scripts; nothing for notices about this host.
    pub ups: Option<Box<str>>,
    /// What it says.
    pub text: String,
    /// Why this host stops, if that is what it is about, in the words of the log; `NOTIFYREASON` for scripts.
    pub reason: Option<Box<str>>,
    /// Where it goes; with no channel at all it goes nowhere (`IGNORE`).
    pub to: Channels,
}

/// What the configuration says about notices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notices {
    texts: Vec<(NoticeKind, String)>,
    channels: Vec<(NoticeKind, Channels)>,
}

impl From<&UpsmonConf> for Notices {
    fn from(conf: &UpsmonConf) -> Self {
        Self { texts: conf.notify_messages.clone(), channels: conf.notify_flags.clone() }
    }
}

impl Notices {
    /// Makes a notice: `extra` is what fills the text's second gap, or its only one if there is no UPS.
    #[must_use]
    pub fn render(&self, kind: NoticeKind, ups: Option<&str>, extra: Option<&str>) -> Notice {
        let text = last(&self.texts, kind).map_or_else(|| default_text(kind), String::as_str);
        let gaps = [ups, extra].into_iter().flatten();
        Notice {
            kind,
            ups: ups.map(Into::into),
            text: fill(text, gaps),
            reason: None,
            to: last(&self.channels, kind).copied().unwrap_or(DEFAULT_CHANNELS),
        }
    }
}

/// What was said of this kind last.
fn last<T>(said: &[(NoticeKind, T)], kind: NoticeKind) -> Option<&T> {
    said.iter().rev().find(|(of, _)| *of == kind).map(|(_, what)| what)
}

/// Fills the gaps: each `%s` of the first two takes the next text, or nothing when there is none left; `%%` is `%`;
/// everything else stands as it is. (NUT hands the text to `printf`, with all that follows from that.)
fn fill<'a>(text: &str, mut gaps: impl Iterator<Item = &'a str>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut left = 2;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        filled.push_str(before);
        rest = match (after.strip_prefix('s'), after.strip_prefix('%')) {
            (Some(after), _) if left > 0 => {
                left -= 1;
                filled.extend(gaps.next().unwrap_or_default().chars().map(harmless));
                after
            }
            (_, Some(after)) => {
                filled.push('%');
                after
            }
            _ => {
                filled.push('%');
                after
            }
        };
    }
    filled.push_str(rest);
    let end = (0..=MAX_TEXT.min(filled.len())).rev().find(|end| filled.is_char_boundary(*end)).unwrap_or(0);
    filled.truncate(end);
    filled
}

/// Text from a device reaches terminals and mails: no control character does.
fn harmless(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_text_and_names_its_ups_if_it_has_one() {
        let own = [
            NoticeKind::Shutdown,
            NoticeKind::NoParent,
            NoticeKind::SuspendStarting,
            NoticeKind::SuspendFinished,
            NoticeKind::ShutdownHostSync,
        ];
        for kind in NoticeKind::ALL {
            let gaps = default_text(kind).matches("%s").count();
            let expected = match kind {
                NoticeKind::Alarm | NoticeKind::Other => 2,
                kind if own.contains(&kind) => 0,
                _ => 1,
            };
            assert_eq!(gaps, expected, "{kind}");
        }
    }

    /// Scripts and people look for these words; here they stand once more, as NUT has them.
    #[test]
    fn texts_and_channels_are_nuts() {
        let named = [
            "ONLINE|UPS a@h on line power",
            "ONBATT|UPS a@h on battery",
            "LOWBATT|UPS a@h battery is low",
            "FSD|UPS a@h: forced shutdown in progress",
            "COMMOK|Communications with UPS a@h established",
            "COMMBAD|Communications with UPS a@h lost",
            "REPLBATT|UPS a@h battery needs to be replaced",
            "NOCOMM|UPS a@h is unavailable",
            "CAL|UPS a@h: calibration in progress",
            "NOTCAL|UPS a@h: calibration finished",
            "OFF|UPS a@h: administratively OFF or asleep",
            "NOTOFF|UPS a@h: no longer administratively OFF or asleep",
            "BYPASS|UPS a@h: on bypass (powered, not protecting)",
            "NOTBYPASS|UPS a@h: no longer on bypass",
            "ECO|UPS a@h: in ECO mode (as defined by vendor)",
            "NOTECO|UPS a@h: no longer in ECO mode",
            "ALARM|UPS a@h: one or more active alarms: [Fire!]",
            "NOTALARM|UPS a@h is no longer in an alarm state (no active alarms)",
            "OVER|UPS a@h: overloaded",
            "NOTOVER|UPS a@h: no longer overloaded",
            "TRIM|UPS a@h: trimming incoming voltage",
            "NOTTRIM|UPS a@h: no longer trimming incoming voltage",
            "BOOST|UPS a@h: boosting incoming voltage",
            "NOTBOOST|UPS a@h: no longer boosting incoming voltage",
            "OTHER|UPS a@h: has at least one unclassified status token: [Fire!]",
            "NOTOTHER|UPS a@h has no unclassified status tokens anymore",
        ];
        let ours = [
            "SHUTDOWN|Auto logout and shutdown proceeding",
            "NOPARENT|upsmon parent process died - shutdown impossible",
            "SUSPEND_STARTING|OS is entering sleep/suspend/hibernate mode",
            "SUSPEND_FINISHED|OS just finished sleep/suspend/hibernate mode, de-activating obsolete UPS readings to \
             avoid an unfortunate shutdown",
            "SHUTDOWN_HOSTSYNC|Shutdown initiated; primary system is waiting for secondaries to log out or time out",
            "SUSPEND_TIMEJUMP_UNEXPECTED|Unexpected clock change by Fire!, treating as wake up from sleep",
        ];
        let notices = Notices::default();
        let all = named.iter().map(|line| (line, Some("a@h"))).chain(ours.iter().map(|line| (line, None)));
        let mut seen = Vec::new();
        for (line, ups) in all {
            let (kind, text) = line.split_once('|').unwrap();
            let kind = NoticeKind::from_text(kind).unwrap();
            let notice = notices.render(kind, ups, Some("Fire!"));
            assert_eq!(notice.text, text);
            assert_eq!(notice.to, Channels { syslog: true, wall: true, exec: false }, "{kind}");
            seen.push(kind);
        }
        seen.sort();
        let mut all = NoticeKind::ALL.to_vec();
        all.sort();
        assert_eq!(seen, all);
    }

    #[test]
    fn the_manual_has_every_notice() {
        let words = |to: Channels| {
            let named = [(to.syslog, "SYSLOG"), (to.wall, "WALL"), (to.exec, "EXEC")];
            let words: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
            words.join("+")
        };
        let mut block = format!(
            "Unless\n.Ic NOTIFYFLAG\nsays otherwise, every notice goes to\n.Li {} .\n.Bl -tag -width 4n\n",
            words(DEFAULT_CHANNELS)
        );
        for kind in NoticeKind::ALL {
            block += &format!(".It Sy {kind}\n{}\n", nut_drill::manual::prose(default_text(kind)));
        }
        block += ".El\n";
        nut_drill::manual::keep("upsmon.conf.5", "notices", &block, "upsmon")
            .unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn gaps_are_filled_and_nothing_else_is_read_into_the_text() {
        let cases = [
            ("UPS %s on battery", "UPS a@h on battery"),
            ("%s: [%s]", "a@h: [Fire!]"),
            ("100%% of %s", "100% of a@h"),
            ("100%%", "100%"),
            ("%d %x %", "%d %x %"),
            ("%s %s %s", "a@h Fire! %s"),
            ("%%s", "%s"),
            ("", ""),
            ("$(id) `id` \"", "$(id) `id` \""),
        ];
        for (text, expected) in cases {
            assert_eq!(fill(text, ["a@h", "Fire!"].into_iter()), expected, "{text}");
        }
        assert_eq!(fill("%s [%s]", ["a@h"].into_iter()), "a@h []");
    }

    /// NUT up to 2.8.5 lets a shell read such a text.
    #[test]
    fn g12_a_text_of_the_file_is_taken_as_it_stands() {
        let text = r#"ups [%s] & `id -u` $(echo hi) "quoted" 'too' ; | > /x \ $HOME"#;
        let conf =
            UpsmonConf { notify_messages: vec![(NoticeKind::OnBatt, text.into())], ..UpsmonConf::default() };
        let notice = Notices::from(&conf).render(NoticeKind::OnBatt, Some("a@h"), None);
        assert_eq!(notice.text, text.replace("%s", "a@h"));
    }

    #[test]
    fn device_text_stays_text_and_is_cut_at_the_limit() {
        assert_eq!(fill("[%s]", ["a\n\u{1b}[31mb%s$(x)"].into_iter()), "[a  [31mb%s$(x)]");
        assert_eq!(fill(&"ä".repeat(4000), std::iter::empty()).len(), MAX_TEXT);
    }

    #[test]
    fn the_configuration_replaces_texts_and_channels_and_the_last_line_counts() {
        let conf = UpsmonConf {
            notify_messages: vec![
                (NoticeKind::OnBatt, "first %s".into()),
                (NoticeKind::OnBatt, "%s: mains failed".into()),
            ],
            notify_flags: vec![(NoticeKind::OnBatt, Channels { syslog: false, wall: false, exec: true })],
            ..UpsmonConf::default()
        };
        let notices = Notices::from(&conf);
        let notice = notices.render(NoticeKind::OnBatt, Some("a@h"), None);
        assert_eq!(notice.text, "a@h: mains failed");
        assert!(notice.to.exec && !notice.to.syslog && !notice.to.wall);
        let notice = notices.render(NoticeKind::SuspendTimeJump, None, Some("3 s"));
        assert_eq!(notice.text, "Unexpected clock change by 3 s, treating as wake up from sleep");
        assert_eq!((notice.ups, notice.to), (None, DEFAULT_CHANNELS));
    }
}
