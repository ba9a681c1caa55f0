//! Which `AT` lines match a notice, and what they order.
//!
//! Pure: [`crate::shell`] carries the orders out, one after the other.

use nut_conf::upssched_conf::{At, Missing, Order, UpsschedConf};

use crate::pipe::{Origin, ToTimers};

/// What one notice leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders<'a> {
    /// The matching lines, in the file's order: all of them act.
    pub lines: Vec<Line<'a>>,
    /// What the first `AT` line that could not be used lacks. The file ends there: what stands below was not looked at
    /// (upssched §2), and after the lines above have acted this is a failure, also if that line would not have matched.
    pub lacks: Option<Missing>,
}

/// One matching `AT` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// The line, with CMDSCRIPT, PIPEFN and LOCKFN as they stood above it.
    pub at: &'a At,
    /// The lock of the timer process that listens on the line's PIPEFN: see [`lock_of`].
    pub lock: String,
    /// What is to be done.
    pub deed: Deed<'a>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed<'a> {
    /// The client runs CMDSCRIPT with this argument, now.
    Execute(&'a str),
    /// The timer process is told.
    Tell(ToTimers),
}

/// What the file says to this event: its notice type is compared without case, its UPS byte for byte.
///
/// There is no pattern but the single word `*`, which stands for every UPS and also for none (`SHUTDOWN` has none).
#[must_use]
pub fn orders<'a>(conf: &'a UpsschedConf, event: &Origin) -> Orders<'a> {
    let matches =
        |at: &&At| at.notice.eq_ignore_ascii_case(&event.notice) && (at.ups == "*" || at.ups == event.ups);
    let line =
        |at: &'a At| Line { at, lock: lock_of(conf, &at.pipe, &at.lock), deed: deed(&at.order, event) };
    Orders { lines: conf.rules.iter().filter(matches).map(line).collect(), lacks: conf.missing }
}

/// The lock of the timer process that listens on `pipe`, where LOCKFN is `lock`.
///
/// A file may have several PIPEFN, each with a timer process of its own, and one LOCKFN for them all: NUT needs that
/// only for the moment in which a process starts. Ours holds its lock as long as it lives, so the second one has its own
/// beside it, `LOCKFN.2`, and so on.
#[must_use]
pub fn lock_of(conf: &UpsschedConf, pipe: &str, lock: &str) -> String {
    let mut pipes: Vec<&str> = Vec::new();
    for at in conf.rules.iter().filter(|at| at.lock == lock) {
        if at.pipe == pipe {
            break;
        }
        if !pipes.contains(&at.pipe.as_str()) {
            pipes.push(&at.pipe);
        }
    }
    if pipes.is_empty() { lock.to_owned() } else { format!("{lock}.{}", pipes.len() + 1) }
}

/// Where the timer processes of this file are to be found: each PIPEFN once, with the lock of its process.
#[must_use]
pub fn places(conf: &UpsschedConf) -> Vec<(&str, String)> {
    let last = conf.pipe.as_deref().map(|pipe| (pipe, conf.lock.as_deref().unwrap_or_default()));
    let mut found: Vec<(&str, String)> = Vec::new();
    for (pipe, lock) in conf.rules.iter().map(|at| (at.pipe.as_str(), at.lock.as_str())).chain(last) {
        if !found.iter().any(|(one, _)| *one == pipe) {
            found.push((pipe, lock_of(conf, pipe, lock)));
        }
    }
    found
}

fn deed<'a>(order: &'a Order, event: &Origin) -> Deed<'a> {
    let origin = event.clone();
    match order {
        Order::Execute { command } => Deed::Execute(command),
        Order::Start { name, after } => {
            Deed::Tell(ToTimers::Start { name: name.clone(), after: *after, origin })
        }
        Order::StartShared { name, after } => {
            Deed::Tell(ToTimers::StartShared { name: name.clone(), after: *after, origin })
        }
        Order::Cancel { name, otherwise } => {
            Deed::Tell(ToTimers::Cancel { name: name.clone(), otherwise: otherwise.clone(), origin })
        }
        Order::CancelMatched { name, otherwise } => {
            Deed::Tell(ToTimers::CancelMatched { name: name.clone(), otherwise: otherwise.clone(), origin })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(notice: &str, ups: &str, order: Order) -> At {
        At {
            notice: notice.into(),
            ups: ups.into(),
            order,
            script: vec!["/bin/dispatch".into()],
            pipe: "/run/nut/upssched.pipe".into(),
            lock: "/run/nut/upssched.lock".into(),
            at: nut_conf::Span::default(),
        }
    }

    fn execute(command: &str) -> Order {
        Order::Execute { command: command.into() }
    }

    /// The school's file (upssched §9) with lines that nearly match.
    fn school() -> UpsschedConf {
        let after = Duration::from_secs(30);
        UpsschedConf {
            rules: vec![
                at("ONBATT", "nicole@localhost", Order::Start { name: "onbatt-nicole".into(), after }),
                at(
                    "ONLINE",
                    "nicole@localhost",
                    Order::Cancel { name: "onbatt-nicole".into(), otherwise: None },
                ),
                at("onbatt", "*", execute("any")),
                at("*", "*", execute("never: * is no notice type")),
                at("ONBATT", "nicole@*", execute("never: there are no patterns")),
                at("ONBATT", "NICOLE@localhost", execute("never: a UPS has its case")),
                at("ONBATT", "nicole", execute("never: the host is part of the name")),
                at("SHUTDOWN", "*", execute("powerdown")),
            ],
            ..UpsschedConf::default()
        }
    }

    fn event(notice: &str, ups: &str) -> Origin {
        Origin { notice: notice.into(), ups: ups.into(), message: format!("UPS {ups}: {notice}") }
    }

    #[test]
    fn every_matching_line_acts_in_the_files_order() {
        let (conf, event) = (school(), event("ONBATT", "nicole@localhost"));
        let found = orders(&conf, &event);
        let after = Duration::from_secs(30);
        let start = ToTimers::Start { name: "onbatt-nicole".into(), after, origin: event.clone() };
        let deeds: Vec<&Deed<'_>> = found.lines.iter().map(|line| &line.deed).collect();
        assert_eq!(deeds, [&Deed::Tell(start), &Deed::Execute("any")]);
        assert_eq!(found.lacks, None);
    }

    #[test]
    fn the_notice_has_no_case_and_the_ups_has_one() {
        let conf = school();
        for (notice, ups, expected) in [
            ("OnBatt", "nicole@localhost", 2),
            ("ONBATT", "Nicole@localhost", 1),
            ("ONBATT", "paris@localhost", 1),
            ("ONLINE", "nicole@localhost", 1),
            ("ONLINE", "nicole@localhos", 0),
            ("", "", 0),
        ] {
            assert_eq!(orders(&conf, &event(notice, ups)).lines.len(), expected, "{notice} {ups}");
        }
    }

    #[test]
    fn a_star_stands_for_no_ups_too() {
        let conf = school();
        let found = orders(&conf, &event("SHUTDOWN", "")).lines;
        assert_eq!(found.iter().map(|line| &line.deed).collect::<Vec<_>>(), [&Deed::Execute("powerdown")]);
    }

    #[test]
    fn cancels_carry_the_event_and_what_to_run_instead() {
        let name = "onbatt".to_owned();
        let otherwise = Some("back".to_owned());
        let origin = event("ONLINE", "u@h");
        let matched = Order::CancelMatched { name: name.clone(), otherwise: otherwise.clone() };
        let shared = Order::StartShared { name: name.clone(), after: Duration::from_secs(5) };
        let conf = UpsschedConf {
            rules: vec![at("ONLINE", "*", matched), at("ONLINE", "*", shared)],
            ..UpsschedConf::default()
        };
        let after = Duration::from_secs(5);
        let expected = [
            Deed::Tell(ToTimers::CancelMatched { name: name.clone(), otherwise, origin: origin.clone() }),
            Deed::Tell(ToTimers::StartShared { name, after, origin: origin.clone() }),
        ];
        let found: Vec<_> = orders(&conf, &origin).lines.into_iter().map(|line| line.deed).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_pipe_has_its_own_timer_process_and_lock() {
        let line = |pipe: &str, lock: &str| At {
            pipe: pipe.into(),
            lock: lock.into(),
            ..at("ONBATT", "*", execute("x"))
        };
        let conf = UpsschedConf {
            rules: vec![
                line("/a", "/l"),
                line("/b", "/l"),
                line("/a", "/l"),
                line("/c", "/m"),
                line("/d", "/l"),
            ],
            pipe: Some("/e".into()),
            lock: Some("/m".into()),
            ..UpsschedConf::default()
        };
        let event = event("ONBATT", "u@h");
        let locks: Vec<String> = orders(&conf, &event).lines.into_iter().map(|line| line.lock).collect();
        assert_eq!(locks, ["/l", "/l.2", "/l", "/m", "/l.3"]);
        let places = places(&conf);
        let places: Vec<(&str, &str)> = places.iter().map(|(pipe, lock)| (*pipe, lock.as_str())).collect();
        assert_eq!(places, [("/a", "/l"), ("/b", "/l.2"), ("/c", "/m"), ("/d", "/l.3"), ("/e", "/m.2")]);
        assert!(super::places(&UpsschedConf::default()).is_empty());
    }

    #[test]
    fn e9_a_line_without_its_settings_is_told_also_if_nothing_matches() {
        for (lacks, name) in
            [(Missing::Script, "CMDSCRIPT"), (Missing::Pipe, "PIPEFN"), (Missing::Lock, "LOCKFN")]
        {
            let conf = UpsschedConf { missing: Some(lacks), ..school() };
            assert_eq!(orders(&conf, &event("ONBATT", "nicole@localhost")).lines.len(), 2);
            assert_eq!(orders(&conf, &event("REPLBATT", "x@y")).lacks, Some(lacks));
            assert_eq!(lacks.to_string(), format!("{name} must be set before any ATs in the config file!"));
        }
    }
}
