//! The values in force, as one would write them into `upsmon.conf`, each with the place it comes from.

use super::{Channels, Origin, ShutdownExit, UpsmonConf};
use nut_proto::words;
use std::time::Duration;

/// What stands for a password.
const MASK: &str = "****";

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The directive.
    pub name: &'static str,
    /// What would stand behind it in the file, passwords as `****`; empty if there is no value.
    pub words: String,
    /// Where it comes from.
    pub origin: Origin<'a>,
}

impl UpsmonConf {
    /// All values but the `MONITOR` lines, in the order of [`TABLE`](super::TABLE); of notices and of hosts with
    /// certificates those that are named.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting<'_>> {
        let mut all = Vec::new();
        let mut add = |name, words: String| all.push(Setting { name, words, origin: self.places.of(name) });
        add("MINSUPPLIES", self.min_supplies.to_string());
        add("SHUTDOWNCMD", in_words(&self.shutdown_command));
        add("SHUTDOWNEXIT", exit(self.shutdown_exit));
        add("NOTIFYCMD", in_words(&self.notify_command));
        for (kind, text) in &self.notify_messages {
            let words = in_words(&[kind.as_str(), text]);
            let origin = self.places.of_notice("NOTIFYMSG", *kind);
            all.push(Setting { name: "NOTIFYMSG", words, origin });
        }
        for (kind, to) in &self.notify_flags {
            let words = format!("{kind} {}", flags(*to));
            let origin = self.places.of_notice("NOTIFYFLAG", *kind);
            all.push(Setting { name: "NOTIFYFLAG", words, origin });
        }
        let mut add = |name, words: String| all.push(Setting { name, words, origin: self.places.of(name) });
        add("POLLFREQ", secs(self.poll_frequency));
        add("POLLFREQALERT", secs(self.poll_frequency_alert));
        add("DEADTIME", secs(self.dead_time));
        add("HOSTSYNC", secs(self.host_sync));
        add("FINALDELAY", secs(self.final_delay));
        add("NOCOMMWARNTIME", secs(self.no_comm_warn_time));
        add("RBWARNTIME", secs(self.replace_battery_warn_time));
        add("POWERDOWNFLAG", in_words(self.power_down_flag.as_slice()));
        add("RUN_AS_USER", in_words(self.run_as_user.as_slice()));
        add("POLLFAIL_LOG_THROTTLE_MAX", self.poll_fail_log_throttle.to_string());
        add("OFFDURATION", self.off_duration.map_or_else(|| "-1".to_owned(), secs));
        add("OBLBDURATION", secs(self.low_battery_duration));
        add("OVERDURATION", self.overload_duration.map_or_else(|| "-1".to_owned(), secs));
        add("ALARMCRITICAL", switch(self.alarm_critical).to_owned());
        add("CERTPATH", in_words(self.tls.cert_path.as_slice()));
        add("CERTFILE", in_words(self.tls.cert_file.as_slice()));
        let ident = self.tls.cert_ident.as_ref().map(|(name, _)| format!("{} {MASK}", in_words(&[name])));
        add("CERTIDENT", ident.unwrap_or_default());
        for (host, name, verify, force) in &self.tls.hosts {
            let words = format!("{} {} {}", in_words(&[host, name]), switch(*verify), switch(*force));
            let origin = self.places.of_subject("CERTHOST", host);
            all.push(Setting { name: "CERTHOST", words, origin });
        }
        let mut add = |name, words: String| all.push(Setting { name, words, origin: self.places.of(name) });
        add("CERTVERIFY", switch(self.tls.verify).to_owned());
        add("FORCESSL", switch(self.tls.force).to_owned());
        add("DEBUG_MIN", self.debug_min.map(|level| level.to_string()).unwrap_or_default());
        all
    }
}

fn secs(time: Duration) -> String {
    time.as_secs().to_string()
}

const fn switch(on: bool) -> &'static str {
    if on { "1" } else { "0" }
}

fn exit(exit: ShutdownExit) -> String {
    match exit {
        ShutdownExit::AtOnce => "yes".to_owned(),
        ShutdownExit::After(time) => secs(time),
        ShutdownExit::Never => "no".to_owned(),
    }
}

/// The channels as `NOTIFYFLAG` writes them.
fn flags(to: Channels) -> String {
    let named = [(to.syslog, "SYSLOG"), (to.wall, "WALL"), (to.exec, "EXEC")];
    let words: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if words.is_empty() { "IGNORE".to_owned() } else { words.join("+") }
}

/// Words with quotes where they need them.
fn in_words<T: AsRef<str>>(words: &[T]) -> String {
    let written = |word: &T| {
        let word = word.as_ref();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\#=".contains(&byte);
        if !word.is_empty() && word.bytes().all(is_plain) {
            return word.to_owned();
        }
        let mut quoted = Vec::new();
        words::quote(&mut quoted, word);
        String::from_utf8_lossy(&quoted).into_owned()
    };
    words.iter().map(written).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::{TABLE, parse, parse_again};
    use super::*;
    use crate::Source;

    fn read(text: &str) -> UpsmonConf {
        parse(Source { path: "/x/upsmon.conf", text: text.as_bytes() }).0
    }

    const FULL: &str = "MINSUPPLIES 3\nSHUTDOWNCMD \"/sbin/shutdown -h +0\" \"a \\\"b\\\"\" \\#1 \\=\n\
        SHUTDOWNEXIT 30\nNOTIFYCMD /sbin/upssched \"-D x\"\nNOTIFYMSG ONBATT \"%s: 100%% \\# gone\"\n\
        NOTIFYFLAG ONBATT SYSLOG+EXEC\nNOTIFYFLAG ONLINE IGNORE\nPOLLFREQ 1\nPOLLFREQALERT 2\nDEADTIME 6\n\
        HOSTSYNC 0\nFINALDELAY 4\nNOCOMMWARNTIME 8\nRBWARNTIME 9\nPOWERDOWNFLAG \"/x y\"\nRUN_AS_USER ups\n\
        POLLFAIL_LOG_THROTTLE_MAX 0\nOFFDURATION -1\nOBLBDURATION 3\nOVERDURATION 7\nALARMCRITICAL 0\n\
        CERTPATH /p\nCERTFILE /f\nCERTIDENT \"my name\" hush\nCERTHOST h1 \"n 1\" 1 0\nCERTHOST h2 n2 -1 -1\n\
        CERTVERIFY 1\nFORCESSL 0\nDEBUG_MIN 2\n";

    #[test]
    fn every_directive_has_its_value_and_its_place() {
        for conf in [read(FULL), read("")] {
            let names: Vec<&str> = conf.settings().iter().map(|one| one.name).collect();
            for row in TABLE.iter().filter(|row| !row.repeats) {
                assert_eq!(names.iter().filter(|name| **name == row.name).count(), 1, "{}", row.name);
            }
        }
        let conf = read(FULL);
        for (nth, line) in FULL.lines().enumerate() {
            let name = line.split(' ').next().unwrap();
            let at_line = format!("/x/upsmon.conf:{}", nth + 1);
            let found =
                conf.settings().iter().any(|one| one.name == name && one.origin.to_string() == at_line);
            assert!(found, "{line}: {:?}", conf.settings());
        }
        assert!(read("").settings().iter().all(|one| one.origin == Origin::Default));
        assert!(!format!("{:?}", conf.settings()).contains("hush"));
    }

    #[test]
    fn what_is_shown_can_be_written_and_means_the_same() {
        for text in [FULL, "", "SHUTDOWNEXIT no\nNOTIFYMSG ONLINE \"\"\nSHUTDOWNCMD a\\\\b \"\"\n"] {
            let conf = read(text);
            let shown: String = conf
                .settings()
                .iter()
                .filter(|one| !one.words.is_empty())
                .map(|one| format!("{} {}\n", one.name, one.words.replace(MASK, "hush")))
                .collect();
            let again = UpsmonConf { places: conf.places.clone(), ..read(&shown) };
            assert_eq!(again, conf, "{shown}");
        }
    }

    #[test]
    fn a_value_that_a_reload_leaves_says_that_it_has_stayed() {
        let source = |text: &'static str| Source { path: "/x/upsmon.conf", text: text.as_bytes() };
        let (first, _) = parse(source("DEADTIME 20\nHOSTSYNC 9\nDEBUG_MIN 3\nCERTHOST a n 1 1\n"));
        let (again, _) = parse_again(&first, source("# moved\n\nHOSTSYNC 9\nCERTHOST b n 1 1\n"));
        let origin = |name| again.places.of(name).to_string();
        assert_eq!(
            origin("DEADTIME"),
            "/x/upsmon.conf:1 before a reload; not named any more, so the value has stayed"
        );
        assert_eq!(origin("HOSTSYNC"), "/x/upsmon.conf:3");
        assert_eq!((origin("DEBUG_MIN"), origin("POLLFREQ")), ("default".into(), "default".into()));
        assert_eq!(again.places.of_subject("CERTHOST", "a"), Origin::Default);
        assert_eq!(again.places.of_subject("CERTHOST", "b").to_string(), "/x/upsmon.conf:4");
        // And after one more.
        let (third, _) = parse_again(&again, source("\n\n\n\n\n\nDEADTIME 30\n"));
        assert_eq!(third.places.of("DEADTIME").to_string(), "/x/upsmon.conf:7");
        assert!(third.places.of("HOSTSYNC").to_string().starts_with("/x/upsmon.conf:3 before a reload"));
    }
}
